"""The state of one `instrument()`: options, spans, metrics, propagation, and what is known about each client.

There is one at a time. Without `instrument()` the functions of the package use a default one, which follows the
global providers, so that `tracing.process` works with a consumer that is not instrumented.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from aiokafka.cluster import ClusterMetadata
from opentelemetry.context import Context
from opentelemetry.trace import Link

from tracing import faults, message_key, semconv, settings
from tracing.clusters import cluster_id
from tracing.metrics import Metrics
from tracing.options import Options
from tracing.room import Claims, claims
from tracing.routes import Routes, client_attributes
from tracing.spans import Spans
from tracing.wire import Propagation


class OpenTransaction(Protocol):
    """The transaction that a send belongs to."""

    def adopt(self, context: Context) -> tuple[Context, tuple[Link, ...]]:
        """Return the context and the links to start a span with."""

    def end(self, outcome: str | None, error: BaseException | None) -> None:
        """End the transaction's span, with its outcome if that is known."""


class OpenDeliveries(Protocol):
    """The records that a consumer has handed out, and that are being processed."""

    #: Whether the processing of its records begins when it hands them out.
    hands_out: bool

    def put_down(self) -> asyncio.Task[Any] | None:
        """End what the current task has at hand, and return the task."""

    def hand_out(self, record: Any, task: asyncio.Task[Any] | None) -> None:  # noqa: ANN401 - a record of any kind
        """Begin the processing of a record in the current task."""

    def step(self, record: Any) -> object | None:  # noqa: ANN401 - as above
        """Begin the processing of the next record of a batch, which `end` ends."""

    def end(self, key: object) -> None:
        """End what a task has at hand, or what `step` has returned."""

    def stop(self) -> None:
        """End everything, because the consumer stops."""

    def close(self) -> None:
        """End everything, because tracing is switched off."""


class Client:
    """One producer or consumer: its routes, and a producer's open transaction.

    It is kept as long as the producer or consumer, so nothing in it may refer to that.
    """

    __slots__ = ("claims", "routes", "transaction")

    def __init__(self, routes: Routes, claims: Claims | None) -> None:
        self.routes = routes
        self.claims = claims
        self.transaction: OpenTransaction | None = None


class Telemetry:
    """What the wrappers and `process` need, resolved once."""

    __slots__ = (
        "_clients",
        "_handlers",
        "active",
        "ambient_parent",
        "background",
        "captured_headers",
        "deliveries",
        "loops",
        "metrics",
        "names",
        "options",
        "propagation",
        "render_key",
        "spans",
        "spares_getmany",
        "spares_getone",
    )

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        #: The names of attributes that depend on the version of the conventions.
        self.names = semconv.NAMES[settings.messaging_opt_in()]
        self.spans = Spans(self.options.tracer_provider, version(), self.names, lean=self.options.lean_spans)
        self.metrics = Metrics(self.options.meter_provider, version(), self.names.schema_url)
        self.propagation = Propagation(self.options.propagator)
        self.render_key = message_key.RENDERERS[self.options.message_key]
        self.captured_headers = frozenset(self.options.captured_headers)
        #: Whether the clients are wrapped; a wrapper that is left after `uninstrument()` passes calls through.
        self.active = False
        #: Whether the parent of a record's process span is the current span, and not its sender's.
        self.ambient_parent = self.options.process_parent == "ambient"
        #: Whether loops begin the processing of what they hand out.
        self.loops = self.options.process_spans == "loop"
        #: Whether a receive that found its messages prefetched has no span.
        self.spares_getone = self.options.poll_spans in {"waited", "waited_getone"}
        self.spares_getmany = self.options.poll_spans == "waited"
        #: Hooks that wait, as tasks, held so that none is garbage-collected while it runs.
        self.background: set[asyncio.Task[None]] = set()
        #: What each consumer has handed out, by its identity; it goes with the consumer.
        self.deliveries: dict[int, OpenDeliveries] = {}
        self._clients: WeakKeyDictionary[object, Client] = WeakKeyDictionary()
        self._handlers: dict[str | None, Routes] = {}

    def client(self, instance: object) -> Client:
        """Return what is known about an aiokafka producer or consumer."""
        client = self._clients.get(instance)
        if client is None:
            client = self._clients[instance] = Client(self._routes(instance), claims(instance))
            # What is handled may come from this one.
            self._handlers.clear()
        return client

    def connected(self, cluster: ClusterMetadata) -> None:
        """Take note that the id of a cluster is known, or is another one: routes have it from now on."""
        for instance, client in list(self._clients.items()):
            if getattr(_inner(instance), "cluster", None) is cluster:
                client.routes = self._routes(instance)
        self._handlers.clear()

    def _routes(self, instance: object) -> Routes:
        inner = _inner(instance)
        group = getattr(instance, "_group_id", None)
        return Routes(self.options, client_attributes(inner, group, cluster_id(inner), self.names))

    def _cluster_of(self, group: str | None) -> str | None:
        """Return the id of the cluster that a group's consumers here read, or all of them; None if it is not one."""
        consumers = [instance for instance in list(self._clients) if hasattr(instance, "_group_id")]
        found = {
            cluster_id(_inner(consumer))
            for consumer in consumers
            if group is None or getattr(consumer, "_group_id", None) == group
        }
        return found.pop() if len(found) == 1 else None

    def release_transactions(self) -> list[tuple[object, OpenTransaction]]:
        """Return the open transactions, each with its producer, and forget them."""
        found: list[tuple[object, OpenTransaction]] = []
        for producer, client in list(self._clients.items()):
            if client.transaction is not None:
                found.append((producer, client.transaction))
                client.transaction = None
        return found

    def adopt_transactions(self, transactions: Iterable[tuple[object, OpenTransaction]]) -> None:
        """Go on with transactions that are open, each of its producer."""
        for producer, transaction in transactions:
            self.client(producer).transaction = transaction

    def close_deliveries(self) -> None:
        """End the processing of what loops have handed out."""
        for deliveries in list(self.deliveries.values()):
            deliveries.close()

    def handlers(self, group: str | None) -> Routes:
        """Return the routes of the handlers of a consumer group."""
        routes = self._handlers.get(group)
        if routes is None:
            attributes = client_attributes(None, group, self._cluster_of(group), self.names)
            routes = self._handlers[group] = Routes(self.options, attributes)
        return routes


def _inner(instance: object) -> object:
    """Return the client of aiokafka inside a producer or consumer."""
    return getattr(instance, "client", None) or getattr(instance, "_client", None)


def version() -> str:
    """Return the version of the installed distribution; empty if the package runs from a bare folder."""
    try:
        return metadata.version("sagatrace")
    except metadata.PackageNotFoundError:
        return ""


_default: Telemetry | None = None
_active: Telemetry | None = None


def current() -> Telemetry:
    """Return the telemetry of the active instrumentation, else the default one."""
    global _default  # noqa: PLW0603 - made at first use: nothing is configured at import
    if _active is not None:
        return _active
    if _default is None:
        _default = Telemetry()
    return _default


def activate(telemetry: Telemetry) -> None:
    """Put this telemetry to use."""
    global _active  # noqa: PLW0603 - one instrumentation at a time is what the module is about
    faults.forget()
    telemetry.active = True
    _active = telemetry


def deactivate() -> None:
    """Return to the default telemetry; wrappers that are left pass calls through from now on.

    The span of an open transaction, and of what a loop has handed out, ends here, because its end will not be seen.
    """
    global _active  # noqa: PLW0603 - as above
    if _active is not None:
        _active.active = False
        _active.close_deliveries()
        for _, transaction in _active.release_transactions():
            try:
                transaction.end(None, None)
            except Exception as error:  # noqa: BLE001 - a foreign span processor must not keep the wrappers on
                faults.report("ending a transaction span", error)
    _active = None
