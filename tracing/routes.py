"""Compute once what is the same for every message of one operation on one topic by one client.

A route holds the span name, the attributes that a span starts with, and the labels of its metrics. Each client has its
routes by operation and topic; a client is forgotten together with the producer or consumer that it describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.util.types import AttributeValue

from tracing import semconv
from tracing.labels import Labels
from tracing.options import Options
from tracing.semconv import Names

_DEFAULT_PORT: Final = 9092
#: The most routes of a client; a program that invents topics (one for each reply, say) must not grow without bound.
_LIMIT: Final = 1024


class Route:
    """One operation on one topic."""

    __slots__ = ("_by_partition", "_labels", "attributes", "name", "named_by", "traced")

    def __init__(
        self,
        operation: str,
        topics: tuple[str, ...],
        client: dict[str, AttributeValue],
        *,
        named_by: str | None,
        traced: bool,
    ) -> None:
        self.name = semconv.span_name(operation, topics)
        #: The attribute that names the spans of single messages (the option `name_attribute`), if there is one.
        self.named_by = named_by
        self.traced = traced
        self.attributes: dict[str, AttributeValue] = {semconv.MESSAGING_OPERATION_NAME: operation}
        if operation in semconv.OPERATION_TYPES:
            self.attributes[semconv.MESSAGING_OPERATION_TYPE] = semconv.OPERATION_TYPES[operation]
        if len(topics) == 1:
            self.attributes[semconv.MESSAGING_DESTINATION_NAME] = topics[0]
        self.attributes.update(client)
        # A client id differs from process to process. It is for spans only: on a metric it would multiply the series.
        self._labels = {name: value for name, value in self.attributes.items() if name != semconv.MESSAGING_CLIENT_ID}
        self._by_partition: dict[int | None, Labels] = {}

    def name_of(self, attributes: Mapping[str, AttributeValue]) -> str:
        """Return the name of one message's span: by its attribute `named_by` if that is a text, else the usual one."""
        value = attributes.get(self.named_by or "")
        if not isinstance(value, str) or not value:
            return self.name
        return f"{self.attributes[semconv.MESSAGING_OPERATION_NAME]!s} {value}"

    def labels_of(self, partition: int | None) -> Labels:
        """Return the metric labels, with the partition if it is known."""
        labels = self._by_partition.get(partition)
        if labels is None:
            known = {} if partition is None else {semconv.MESSAGING_DESTINATION_PARTITION_ID: str(partition)}
            labels = self._by_partition[partition] = Labels.of({**self._labels, **known})
        return labels


class Routes:
    """The routes of one client, or of the handlers of one consumer group."""

    __slots__ = ("_attributes", "_options", "_routes")

    def __init__(self, options: Options, attributes: dict[str, AttributeValue]) -> None:
        self._options = options
        self._attributes = attributes
        self._routes: dict[tuple[str, tuple[str, ...]], Route] = {}

    def get(self, operation: str, *topics: str) -> Route:
        """Return the route of an operation on a topic, or on several topics in one call."""
        route = self._routes.get((operation, topics))
        if route is None:
            route = self._add(operation, topics)
        return route

    def _add(self, operation: str, topics: tuple[str, ...]) -> Route:
        if len(self._routes) >= _LIMIT:
            self._routes.clear()
        traced = not topics or any(self._options.traces(topic) for topic in topics)
        route = Route(operation, topics, self._attributes, named_by=self._options.name_attribute, traced=traced)
        self._routes[operation, topics] = route
        return route


def client_attributes(
    client: object, group: str | None, cluster: str | None, names: Names
) -> dict[str, AttributeValue]:
    """Return the attributes of an aiokafka client: its id, group and cluster, and the first bootstrap server."""
    attributes: dict[str, AttributeValue] = {names.system: semconv.KAFKA}
    if client_id := getattr(client, "_client_id", None):
        attributes[semconv.MESSAGING_CLIENT_ID] = str(client_id)
    if group:
        attributes[semconv.MESSAGING_CONSUMER_GROUP_NAME] = str(group)
    if server := first_server(getattr(client, "_bootstrap_servers", None)):
        attributes[semconv.SERVER_ADDRESS], attributes[semconv.SERVER_PORT] = server
    if cluster:
        attributes[names.cluster_id] = cluster
    names.add_twins(attributes)
    return attributes


def first_server(servers: object) -> tuple[str, int] | None:
    """Return host and port of the first bootstrap server.

    Args:
        servers: as aiokafka takes them: a string `host[:port]`, several joined by commas, or a sequence of these.
    """
    if isinstance(servers, list | tuple):
        servers = servers[0] if servers else None
    if not isinstance(servers, str) or not (first := servers.split(",")[0].strip()):
        return None
    host, _, port = first.rpartition(":")
    if not host or (":" in host and not host.endswith("]")):
        host, port = first, ""
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else _DEFAULT_PORT
