"""The orchestrator's part of an order's trace as whole trees, written by hand: what hangs on what."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import takewhile
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from sqlalchemy import select, update

from services.contracts import Message
from services.messaging.readiness import Readiness
from services.messaging.trace_context import restore
from services.oms.api import create_app
from services.oms.settings import TimeoutSettings
from services.oms.tables import outbox, sagas
from tests.support.orders import OrderService, order_service
from tracing.binding import use_context
from tracing.linking import links_in
from tracing.testing import RecordedSpans

LINE = {"sku": "sku_ok", "quantity": 2, "unit_price": {"amount": 150, "currency": "EUR"}}
ORDER = {"customer_id": "c-1", "items": [LINE], "payment_method": "pm_ok"}
DAYS = timedelta(days=9)


class Story:
    """An order's life, told over HTTP and by replies that continue the trace of their command."""

    def __init__(self, oms: OrderService, client: httpx2.AsyncClient) -> None:
        self.oms = oms
        self.client = client
        self.placed: dict[str, Any] = {}

    async def place(self) -> None:
        """Place the order."""
        self.placed = (await self.client.post("/orders", json=ORDER)).json()

    async def answer(self, kind: str, **payload: Any) -> None:
        """Send the last command, as the relay does, and answer it inside the process span of the answer."""
        async with self._sent():
            with trace.get_tracer("test").start_as_current_span(f"process {kind}"):
                await self.oms.answer(kind, **payload)

    async def send(self) -> None:
        """Send the last command, as the relay does."""
        async with self._sent():
            pass

    @asynccontextmanager
    async def _sent(self) -> AsyncIterator[None]:
        """Send the last command, with the span of the send current."""
        command = await self.oms.command()
        with use_context(restore(await self._written_in(command))) as context:
            links = links_in(context)
            with trace.get_tracer("test").start_as_current_span(f"send {command.event_type}", links=links):
                yield

    def causes(self, spans: RecordedSpans) -> dict[str, str]:
        """Return what each send links to as its cause."""
        names = {span.context.span_id: span.name for span in spans.finished if span.context}
        return {
            span.name: names[link.context.span_id]
            for span in spans.finished
            for link in span.links
            if (link.attributes or {}).get("link.type") == "caused_by"
        }

    async def time_out(self) -> None:
        """Let the awaited answer's time run out."""
        await self.oms.run_out()
        await self.oms.timeouts.sweep()

    async def ask(self, request: str) -> None:
        """Cancel or refund, over HTTP."""
        answer = await self.client.post(f"/orders/{self.placed['order_id']}/{request}")
        assert answer.status_code == 202

    async def days_pass(self) -> None:
        """Move the clock: all that has happened to the saga happened days ago."""
        moments = (sagas.c.created_at, sagas.c.updated_at, sagas.c.phase_began_at, sagas.c.ended_at)
        view = await self.oms.orders.saga(self.placed["saga_id"])
        ago = {column.name: view.created_at - DAYS for column in moments}
        async with self.oms.database.transaction() as connection:
            await connection.execute(update(sagas).values(ago))

    async def _written_in(self, command: Message) -> dict[str, str]:
        async with self.oms.database.reading() as connection:
            query = outbox.select().where(outbox.c.event_id == command.event_id)
            row = (await connection.execute(query)).one()
        context: dict[str, str] = row.trace_context
        return context


@pytest.fixture
async def story(database_url: str, spans: RecordedSpans) -> AsyncIterator[Story]:
    """An order service that asks twice, behind HTTP, with all its spans recorded."""
    assert not spans.finished
    async with order_service(database_url, TimeoutSettings(attempts_forward=2)) as oms:
        oms.read_replies()
        transport = httpx2.ASGITransport(create_app(oms.orders, Readiness()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://oms") as client:
            yield Story(oms, client)


async def test_timeouts_compensation_and_a_late_answer(story: Story, spans: RecordedSpans) -> None:
    """A saga that gets no answer, turns back, and hears the answer after all is one tree under its request."""
    await story.place()
    await story.answer("inventory.reserved")
    await story.time_out()
    await story.time_out()
    await story.answer("payment.refunded")
    await story.answer("inventory.released")
    assert (
        _tree(spans, story)
        == """\
POST /orders [SERVER]
  send inventory.reserve [INTERNAL]
    process inventory.reserved [INTERNAL]
  timeout charging [INTERNAL]
  timeout charging [INTERNAL]
    send payment.refund [INTERNAL]
      process payment.refunded [INTERNAL]
    send inventory.release [INTERNAL] links=1
      process inventory.released [INTERNAL]
  saga order failed: no_answer [INTERNAL] ERROR no_answer"""
    )
    assert story.causes(spans) == {"send inventory.release": "process payment.refunded"}


async def test_a_declined_charge(story: Story, spans: RecordedSpans) -> None:
    """The steps of a saga that an answer turns back stand below its request too, one below the other."""
    await story.place()
    await story.answer("inventory.reserved")
    await story.answer("payment.declined", reason="card_declined")
    await story.answer("inventory.released")
    assert (
        _tree(spans, story)
        == """\
POST /orders [SERVER]
  send inventory.reserve [INTERNAL]
    process inventory.reserved [INTERNAL]
  send payment.charge [INTERNAL] links=1
    process payment.declined [INTERNAL]
  send inventory.release [INTERNAL] links=1
    process inventory.released [INTERNAL]
  saga order failed [INTERNAL] ERROR card_declined"""
    )


async def test_an_open_saga_has_no_orphan(story: Story, spans: RecordedSpans) -> None:
    """While the process span of a reply is still open, or after its process died, every span has its parent."""
    await story.place()
    with trace.get_tracer("test").start_as_current_span("process inventory.reserved", Context()) as process:
        await story.oms.answer("inventory.reserved")
        await story.send()
        ended = {span.context.span_id: span for span in spans.finished if span.context}
        send = spans.one("send payment.charge")
        assert [link.context.span_id for link in send.links] == [process.get_span_context().span_id]
        own = [span for span in ended.values() if span.name != "POST /orders"]
        assert [span.name for span in own] == ["send payment.charge"]
        assert all(span.parent and span.parent.span_id in ended for span in own)


async def test_an_operators_retry_of_a_refund(story: Story, spans: RecordedSpans) -> None:
    """A retry has the command that it sends below it; the steps after it stand where they stood before."""
    await story.place()
    await story.answer("inventory.reserved")
    await story.answer("payment.charged")
    await story.ask("refund")
    await story.oms.answer("command.dead_lettered", reason="dead_lettered")
    await story.oms.orders.retry(story.placed["order_id"])
    await story.answer("payment.refunded")
    await story.answer("inventory.released")
    assert (
        _tree(spans, story).partition("  request refund")[2]
        == """ [INTERNAL] links=1
    send inventory.release [INTERNAL] links=1
      process inventory.released [INTERNAL]
  request retry [INTERNAL]
    send payment.refund [INTERNAL]
      process payment.refunded [INTERNAL]
  saga order completed [INTERNAL]
  refund order completed [INTERNAL]"""
    )


async def test_a_saga_of_an_earlier_version(story: Story) -> None:
    """A saga that was turned back before its row kept by what goes on below its request."""
    await story.place()
    await story.ask("cancel")
    async with story.oms.database.transaction() as connection:
        await connection.execute(update(sagas).values(turn_context=None))
    await story.answer("inventory.released")
    async with story.oms.database.reading() as connection:
        found = (await connection.execute(select(outbox.c.event_type, outbox.c.trace_context))).all()
        entry = (await connection.execute(select(sagas.c.trace_context))).scalar_one()
    kept = {row.event_type: row.trace_context for row in found}
    assert kept["order.canceled"]["traceparent"] == kept["saga.canceled"]["traceparent"] == entry["traceparent"]


async def test_an_untraced_saga(database_url: str) -> None:
    """Without tracing no row names a parent; what is sent once there is tracing is a child of what caused it."""
    async with order_service(database_url) as oms:
        await oms.place()
        with RecordedSpans(instrumented=False) as spans:
            with spans.tracer_provider.get_tracer("test").start_as_current_span("process"):
                await oms.answer("inventory.reserved")
            (process,) = spans.finished
        async with oms.database.reading() as connection:
            rows = (await connection.execute(select(outbox.c.trace_context).order_by(outbox.c.id))).scalars().all()
    assert rows[:-1] == [{}] * 3
    assert process.context is not None
    assert list(rows[-1]) == ["traceparent"]
    assert trace.format_span_id(process.context.span_id) in rows[-1]["traceparent"]


async def test_a_cancel_before_the_pivot(story: Story, spans: RecordedSpans) -> None:
    """A cancel's own request keeps its trace; what it causes hangs on the order's, with a link to the request."""
    await story.place()
    await story.ask("cancel")
    await story.answer("inventory.released")
    assert (
        _tree(spans, story)
        == """\
POST /orders [SERVER]
  request cancel [INTERNAL] links=1
    send inventory.release [INTERNAL]
      process inventory.released [INTERNAL]
  saga order canceled [INTERNAL]"""
    )


async def test_a_refund_days_later(story: Story, spans: RecordedSpans) -> None:
    """Nine days after its end a saga is taken back in the trace that it began in, as a life of its own."""
    await story.place()
    await story.answer("inventory.reserved")
    await story.answer("payment.charged")
    await story.days_pass()
    await story.ask("refund")
    await story.answer("payment.refunded")
    await story.answer("inventory.released")
    assert (
        _tree(spans, story)
        == """\
POST /orders [SERVER]
  send inventory.reserve [INTERNAL]
    process inventory.reserved [INTERNAL]
  send payment.charge [INTERNAL] links=1
    process payment.charged [INTERNAL]
  request refund [INTERNAL] links=1
    send payment.refund [INTERNAL]
      process payment.refunded [INTERNAL]
    send inventory.release [INTERNAL] links=1
      process inventory.released [INTERNAL]
  saga order completed [INTERNAL]
  refund order completed [INTERNAL]"""
    )
    assert story.causes(spans) == {
        "send payment.charge": "process inventory.reserved",
        "send inventory.release": "process payment.refunded",
    }
    assert (spans.one("refund order completed").start_time or 0) > (spans.one("saga order completed").end_time or 0)


def _tree(spans: RecordedSpans, story: Story) -> str:
    """Draw the order's trace; the requests for a cancel or refund have others.

    The spans of a life come last: they begin when the database says, which may be a moment before what caused them.
    """
    spans.assert_connected(story.placed["trace_id"])
    first, *lines = spans.tree().splitlines()
    own = list(takewhile(lambda line: line.startswith(" "), lines))
    return "\n".join([first, *sorted(own, key=lambda line: line.lstrip().startswith(("saga order", "refund order")))])
