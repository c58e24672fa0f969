"""Settling: `commit`, transactions and the offsets in them.

`commit TOPIC` is a CLIENT span of type settle, a child of the current span. The option `commit_spans` leaves it out,
also where the commit failed; its metric is recorded all the same. A transaction is one CLIENT span from its begin to
its commit or abort. It is never made current, because begin and commit may run in different tasks. A send in the
transaction has it as parent if it is called under the same span as the begin, and links to it otherwise, so that a send
in a handler stays in its message's trace.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from time import time_ns
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, Span, SpanKind

from tracing import faults, semconv
from tracing.routes import Route
from tracing.spans import record_error, suppressed
from tracing.telemetry import Telemetry

Call = Callable[..., Awaitable[None]]

COMMITTED: Final = "committed"
ABORTED: Final = "aborted"


class Settlement:
    """One call that commits offsets."""

    __slots__ = ("_route", "_span", "_started", "_telemetry")

    def __init__(self, telemetry: Telemetry, route: Route, span: Span, started: int) -> None:
        self._telemetry = telemetry
        self._route = route
        self._span = span
        self._started = started

    def end(self, error: BaseException | None = None) -> None:
        """End the span, with an error if there was one."""
        try:
            kind = None if error is None else record_error(self._span, error)
            ended = time_ns()
            self._span.end(ended)
            if self._telemetry.metrics.enabled:
                self._telemetry.metrics.operation(self._route.labels_of(None), ended - self._started, kind)
        except Exception as fault:  # noqa: BLE001 - the caller must see its own error and no other
            faults.report("ending a commit span", fault)


def begin(
    telemetry: Telemetry, client: object, partitions: Callable[[], Iterable[TopicPartition]], group: str | None = None
) -> Settlement | None:
    """Start the span of a commit; return None if there is nothing to record."""
    try:
        context = get_current()
        if not telemetry.active or suppressed(context):
            return None
        known = telemetry.client(client)
        settled = set(partitions())
        route = known.routes.get(semconv.COMMIT, *sorted({tp.topic for tp in settled}))
        if not route.traced:
            return None
        links: tuple[Link, ...] = ()
        if known.transaction is not None:
            context, links = known.transaction.adopt(context)
        started = time_ns()
        parent = trace.get_current_span(context).get_span_context()
        if not telemetry.options.commit_spans or telemetry.spans.drops(parent):
            return Settlement(telemetry, route, trace.INVALID_SPAN, started)
        attributes = route.attributes.copy()
        if group is not None:
            attributes[semconv.MESSAGING_CONSUMER_GROUP_NAME] = group
        if len(settled) == 1:
            attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(next(iter(settled)).partition)
        span = telemetry.spans.start(route.name, context, SpanKind.CLIENT, attributes, links, started)
        return Settlement(telemetry, route, span, started)
    except Exception as error:  # noqa: BLE001 - offsets are committed untraced rather than not at all
        faults.report("starting a commit span", error)
        return None


async def _settle(settlement: Settlement | None, call: Awaitable[None]) -> None:
    try:
        await call
    except BaseException as error:
        if settlement is not None:
            settlement.end(error)
        raise
    if settlement is not None:
        settlement.end()


def wrap_commit(original: Call, telemetry: Telemetry) -> Call:
    """Return `AIOKafkaConsumer.commit` with a span around it."""

    @functools.wraps(original)
    async def commit(self: AIOKafkaConsumer, offsets: Any = None) -> None:  # noqa: ANN401 - unchecked
        settlement = begin(telemetry, self, lambda: self.assignment() if offsets is None else offsets)
        await _settle(settlement, original(self, offsets))

    return commit


def wrap_send_offsets(original: Call, telemetry: Telemetry) -> Call:
    """Return `AIOKafkaProducer.send_offsets_to_transaction` with a span around it."""

    @functools.wraps(original)
    async def send_offsets_to_transaction(self: AIOKafkaProducer, offsets: Any, group_id: object) -> None:  # noqa: ANN401
        settlement = begin(telemetry, self, lambda: offsets, group_id if isinstance(group_id, str) else None)
        await _settle(settlement, original(self, offsets, group_id))

    return send_offsets_to_transaction


class Transaction:
    """An open transaction: its span, and the span under which it was begun."""

    __slots__ = ("_outer", "_span")

    def __init__(self, span: Span, outer: Span) -> None:
        self._span = span
        self._outer = outer.get_span_context()

    def adopt(self, context: Context) -> tuple[Context, tuple[Link, ...]]:
        """Return the context and links of an operation inside: a child of the transaction, or linked to it."""
        own = self._span.get_span_context()
        if trace.get_current_span(context).get_span_context() == self._outer:
            return trace.set_span_in_context(self._span, context), ()
        return context, (Link(own, {semconv.LINK_TYPE: semconv.LINK_TRANSACTION}),) if own.is_valid else ()

    def end(self, outcome: str | None, error: BaseException | None) -> None:
        """End the span, with its outcome if that is known."""
        if error is not None:
            record_error(self._span, error)
        elif outcome is not None and self._span.is_recording():
            self._span.set_attribute(semconv.TRANSACTION_OUTCOME, outcome)
        self._span.end()


def _open(telemetry: Telemetry, producer: AIOKafkaProducer, started: int) -> Transaction | None:
    context = get_current()
    if not telemetry.active or suppressed(context):
        return None
    outer = trace.get_current_span(context)
    if telemetry.spans.drops(outer.get_span_context()):
        return None
    route = telemetry.client(producer).routes.get(semconv.TRANSACTION)
    attributes = route.attributes.copy()
    manager = getattr(producer, "_txn_manager", None)
    if transactional_id := getattr(manager, "transactional_id", None):
        attributes[semconv.TRANSACTIONAL_ID] = transactional_id
    span = telemetry.spans.start(route.name, context, SpanKind.CLIENT, attributes, (), started)
    return Transaction(span, outer)


def wrap_begin_transaction(original: Call, telemetry: Telemetry) -> Call:
    """Return `begin_transaction` starting a span that stays open."""

    @functools.wraps(original)
    async def begin_transaction(self: AIOKafkaProducer) -> None:
        started = time_ns()
        await original(self)
        try:
            telemetry.client(self).transaction = _open(telemetry, self, started)
        except Exception as error:  # noqa: BLE001 - the transaction runs untraced rather than not at all
            faults.report("starting a transaction span", error)

    return begin_transaction


def wrap_end_transaction(original: Call, telemetry: Telemetry, outcome: str) -> Call:
    """Return `commit_transaction` or `abort_transaction` ending the span, with an error if the call raised."""

    @functools.wraps(original)
    async def end_transaction(self: AIOKafkaProducer) -> None:
        try:
            await original(self)
        except BaseException as error:
            _close(telemetry, self, outcome, error)
            raise
        _close(telemetry, self, outcome, None)

    return end_transaction


def _close(telemetry: Telemetry, producer: AIOKafkaProducer, outcome: str, error: BaseException | None) -> None:
    try:
        client = telemetry.client(producer)
        transaction, client.transaction = client.transaction, None
        if transaction is not None:
            transaction.end(outcome, error)
    except Exception as fault:  # noqa: BLE001 - the caller must see its own error and no other
        faults.report("ending a transaction span", fault)
