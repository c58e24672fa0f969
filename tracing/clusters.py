"""The id of the Kafka cluster that a client is connected to.

aiokafka asks for metadata when a client starts, and every few minutes from then on. Each answer names the cluster
(KIP-78), which the client does not keep. It is kept here, so no request of our own is needed: a client that has started
knows its cluster, and one that had started before `instrument()` learns it from the next answer, within
`metadata_max_age_ms`.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from aiokafka import AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata

from tracing import faults

Update = Callable[[ClusterMetadata, Any], None]
Start = Callable[[AIOKafkaConsumer], Awaitable[None]]

#: What the brokers said, by the metadata that a client keeps of its cluster. It outlives a change of the options.
_ids: Final[WeakKeyDictionary[ClusterMetadata, str]] = WeakKeyDictionary()


class Clients(Protocol):
    """What is known about clients."""

    def client(self, instance: object) -> object:
        """Return what is known about a producer or consumer."""

    def connected(self, cluster: ClusterMetadata) -> None:
        """Take note that the id of a cluster is known, or is another one."""


def cluster_id(client: object) -> str | None:
    """Return the id of the cluster that an aiokafka client is connected to; None if no broker has told it."""
    cluster = getattr(client, "cluster", None)
    return _ids.get(cluster) if isinstance(cluster, ClusterMetadata) else None


def wrap_update_metadata(original: Update, telemetry: Clients) -> Update:
    """Return `update_metadata` that keeps the id of the cluster."""

    @functools.wraps(original)
    def update_metadata(self: ClusterMetadata, metadata: Any) -> None:  # noqa: ANN401 - of one of six classes
        try:
            told = getattr(metadata, "cluster_id", None)
            if told and _ids.get(self) != told:
                _ids[self] = told
                telemetry.connected(self)
        except Exception as error:  # noqa: BLE001 - the client goes on without its cluster's id
            faults.report("reading the id of a cluster", error)
        original(self, metadata)

    return update_metadata


def wrap_start(original: Start, telemetry: Clients) -> Start:
    """Return `start` of a consumer that makes it known, also where its receives have no span of their own."""

    @functools.wraps(original)
    async def start(self: AIOKafkaConsumer) -> None:
        await original(self)
        try:
            telemetry.client(self)
        except Exception as error:  # noqa: BLE001 - the consumer has started
            faults.report("looking at a consumer", error)

    return start
