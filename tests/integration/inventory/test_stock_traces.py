"""The inventory's part of an order's trace: replies, compensation, and delayed work."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from services.contracts import Message, topics
from services.inventory.delayed import DelayedReservations
from services.inventory.handlers import StockHandler
from services.inventory.stock import FailurePlan
from services.messaging import semconv
from services.messaging.errors import Unavailable
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.trace_context import span_context
from tests.support.commands import release, reserve
from tests.support.eventually import eventually
from tests.support.replies import replies_in
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans


@dataclass(frozen=True)
class Traced:
    """The service, and the spans that it makes."""

    database: Database
    handle: StockHandler
    delayed: DelayedReservations
    spans: RecordedSpans

    async def process(self, name: str, command: Message) -> None:
        """Handle a command in a span, as the consumer does."""
        with self.spans.tracer_provider.get_tracer("test").start_as_current_span(name):
            await self.handle(command)

    def span_id(self, name: str) -> int:
        """Return the id of the one span with this name."""
        return self.spans.one(name).get_span_context().span_id  # type: ignore[union-attr]  # a finished span has one

    async def writers(self) -> list[int | None]:
        """Return the span that wrote each answer."""
        found = [span_context(answer.trace_context) for answer in await replies_in(self.database)]
        return [context and context.span_id for context in found]


@pytest.fixture
async def traced(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Traced]:
    """An inventory under a recorder of spans."""
    database_url = await service_database("inventory")
    database = Database(database_url, schema="inventory")
    box, plan = Outbox(database), FailurePlan(delay_s=0.001)
    with RecordedSpans(instrumented=False) as spans:
        handler = StockHandler(database, Inbox(topics.INVENTORY_GROUP), box, plan)
        yield Traced(database, handler, DelayedReservations(database, box, plan), spans)
    await database.close()


async def test_an_answer_continues_the_trace_of_its_command(traced: Traced) -> None:
    """The reply's row keeps the context of the process span, so its send is that span's child."""
    await traced.process("process reserve", reserve())
    assert await traced.writers() == [traced.span_id("process reserve")]


async def test_a_release_links_to_the_reserve(traced: Traced) -> None:
    """The compensating process span, of every attempt at it, links to the process span of the step that it undoes."""
    await traced.process("process reserve", reserve())
    await traced.process("process reserve again", reserve(attempt=2))
    await traced.process("process release", release())
    await traced.process("process release again", release())
    for name in ("process release", "process release again"):
        (link,) = traced.spans.one(name).links
        assert link.context.span_id == traced.span_id("process reserve")
        assert dict(link.attributes or {}) == {"link.type": "compensates"}
    assert traced.spans.one("process reserve again").links == ()


async def test_a_release_of_nothing_links_to_nothing(traced: Traced) -> None:
    """There is no span to link to if nothing was ever reserved."""
    await traced.process("process release", release())
    assert traced.spans.one("process release").links == ()


async def test_a_late_decision_continues_the_trace_of_its_reserve(traced: Traced) -> None:
    """A slow reservation is decided in a span under the reserve's, with the order's ids, and answers from there."""
    await traced.process("process reserve", reserve(sku="sku_slow"))
    await eventually(traced.delayed.settle_next)
    decided = traced.spans.one("reserve stock")
    assert traced.spans.children(traced.spans.one("process reserve")) == [decided]
    assert dict(decided.attributes or {}) == {
        semconv.SAGA_ID: "saga-1",
        semconv.ORDER_ID: "order-of-saga-1",
        semconv.SAGA_STEP: "reserve",
    }
    assert await traced.writers() == [traced.span_id("reserve stock")]


async def test_a_release_of_a_late_reservation_links_to_its_reserve(traced: Traced) -> None:
    """The link goes to the process span of the reserve, also when the stock was taken later."""
    await traced.process("process reserve", reserve(sku="sku_slow"))
    await eventually(traced.delayed.settle_next)
    await traced.process("process release", release())
    (link,) = traced.spans.one("process release").links
    assert link.context.span_id == traced.span_id("process reserve")


async def test_redelivered_work_says_so(traced: Traced) -> None:
    """The span of a redelivery is marked as a duplicate's, links to nothing and writes nothing."""
    command = release()
    await traced.process("process reserve", reserve())
    await traced.process("process release", command)
    await traced.process("process redelivery", command)
    redelivery = traced.spans.one("process redelivery")
    assert dict(redelivery.attributes or {}) == {"sagatrace.duplicate": True}
    assert redelivery.links == ()
    assert len(await traced.writers()) == 2


async def test_the_span_of_a_refusal_says_no(traced: Traced) -> None:
    """What rejects a reserve is an error with the reply's type, each time that it says so; what reserves is none."""
    command = reserve(sku="sku_none")
    await traced.process("process reserve", command)
    await traced.process("process another attempt", reserve(sku="sku_none", attempt=2))
    await traced.process("process redelivery", command)
    await traced.process("process good", reserve("saga-2"))
    for name in ("process reserve", "process another attempt"):
        span = traced.spans.one(name)
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "inventory.rejected")
        assert attributes_of(span) == {"error.type": "rejected", "sagatrace.reply.type": "inventory.rejected"}
    for name in ("process redelivery", "process good"):
        assert traced.spans.one(name).status.status_code is StatusCode.UNSET
        assert "sagatrace.reply.type" not in attributes_of(traced.spans.one(name))


async def test_a_late_refusal_is_on_the_span_that_decided(traced: Traced) -> None:
    """A reservation that is rejected when it is due says so on its own span, and the reserve's span is no error."""
    plan = FailurePlan(delay_s=0.001, slow=frozenset({"sku_none"}))
    handle = StockHandler(traced.database, Inbox(topics.INVENTORY_GROUP), Outbox(traced.database), plan)
    with traced.spans.tracer_provider.get_tracer("test").start_as_current_span("process reserve"):
        await handle(reserve(sku="sku_none"))
    await eventually(traced.delayed.settle_next)
    decided = traced.spans.one("reserve stock")
    assert (decided.status.status_code, decided.status.description) == (StatusCode.ERROR, "inventory.rejected")
    assert attributes_of(decided)["error.type"] == "rejected"
    assert traced.spans.one("process reserve").status.status_code is StatusCode.UNSET


async def test_a_refusal_that_was_rolled_back_is_not_told(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose transaction failed said nothing: the next one may find the stock."""
    insert = Outbox.insert

    async def insert_and_fail(*given: Any) -> None:
        await insert(*given)
        raise Unavailable("the database is away")

    with monkeypatch.context() as patched, traced.spans.tracer_provider.get_tracer("test").start_as_current_span("p"):
        patched.setattr(Outbox, "insert", insert_and_fail)
        with pytest.raises(Unavailable):
            await traced.handle(reserve(sku="sku_none"))
    assert traced.spans.one("p").status.status_code is StatusCode.UNSET
