"""The orchestrator's part of an order's trace as whole trees, written by hand: what hangs on what."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import takewhile
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from sqlalchemy import update

from services.contracts import Message
from services.messaging.readiness import Readiness
from services.messaging.trace_context import restore
from services.oms.api import create_app
from services.oms.settings import TimeoutSettings
from services.oms.tables import outbox, sagas
from tests.support.orders import OrderService, order_service
from tracing.binding import use_context
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
        """Answer the last command, inside the process span of the answer, which hangs on what sent the command."""
        command = await self.oms.command()
        tracer = trace.get_tracer("test")
        with use_context(restore(await self._written_in(command))), tracer.start_as_current_span(f"process {kind}"):
            await self.oms.answer(kind, **payload)

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
  process inventory.reserved [INTERNAL]
  timeout charging [INTERNAL]
  timeout charging [INTERNAL]
    process payment.refunded [INTERNAL]
      process inventory.released [INTERNAL]
  saga order [INTERNAL] ERROR no_answer"""
    )


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
    process inventory.released [INTERNAL]
  saga order [INTERNAL]"""
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
  process inventory.reserved [INTERNAL]
    process payment.charged [INTERNAL]
  request refund [INTERNAL] links=1
    process payment.refunded [INTERNAL]
      process inventory.released [INTERNAL]
  saga order [INTERNAL]
  refund order [INTERNAL]"""
    )
    assert (spans.one("refund order").start_time or 0) > (spans.one("saga order").end_time or 0)


def _tree(spans: RecordedSpans, story: Story) -> str:
    """Draw the order's trace; the requests for a cancel or refund have others.

    The spans of a life come last: they begin when the database says, which may be a moment before what caused them.
    """
    spans.assert_connected(story.placed["trace_id"])
    first, *lines = spans.tree().splitlines()
    own = list(takewhile(lambda line: line.startswith(" "), lines))
    return "\n".join([first, *sorted(own, key=lambda line: line.lstrip().startswith(("saga order", "refund order")))])
