"""The inbox on a real database: one effect per (group, event id), in the transaction of the effect."""

import asyncio

import pytest
from opentelemetry.trace import SpanContext

from services.contracts import new_id
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from tracing import exposure
from tracing.testing import RecordedSpans


async def test_a_message_is_new_once_per_group(database: Database) -> None:
    """The second delivery to a group is none of its business; another group has its own."""
    event_id = new_id()
    async with database.transaction() as connection:
        assert await Inbox("one").first_delivery(connection, event_id) is True
    async with database.transaction() as connection:
        assert await Inbox("one").first_delivery(connection, event_id) is False
        assert await Inbox("two").first_delivery(connection, event_id) is True


async def test_a_rollback_frees_the_message(database: Database) -> None:
    """If the effect fails, the message has not been processed, and its redelivery has the effect."""
    event_id = new_id()

    async def deliver(error: Exception | None = None) -> bool:
        async with database.transaction() as connection:
            first = await Inbox("group").first_delivery(connection, event_id)
            if error:
                raise error
            return first

    with pytest.raises(LookupError):
        await deliver(LookupError())
    assert await deliver() is True


async def test_deliveries_at_the_same_time_have_one_effect(database: Database) -> None:
    """Of several transactions with the same message, the ones behind wait for the first and find it done."""
    event_id = new_id()

    async def deliver() -> bool:
        async with database.transaction() as connection:
            return await Inbox("group").first_delivery(connection, event_id)

    assert sorted(await asyncio.gather(*(deliver() for _ in range(4)))) == [False, False, False, True]


async def test_a_duplicate_marks_its_span(database: Database) -> None:
    """Redelivered work is visible in the trace: `sagatrace.duplicate` is true on the current span."""
    event_id = new_id()
    with RecordedSpans(instrumented=False) as spans:
        tracer = spans.tracer_provider.get_tracer("test")
        for name in ("first", "second"):
            with tracer.start_as_current_span(name):
                async with database.transaction() as connection:
                    await Inbox("group").first_delivery(connection, event_id)
    assert dict(spans.one("first").attributes or {}) == {}
    assert dict(spans.one("second").attributes or {}) == {"sagatrace.duplicate": True}


async def test_pruning_forgets_old_messages_of_the_group_only(database: Database) -> None:
    """A group's pruning deletes what it processed before its retention, and nothing of other groups."""
    async with database.transaction() as connection:
        await Inbox("one").first_delivery(connection, new_id())
        await Inbox("two").first_delivery(connection, new_id())
    async with database.transaction() as connection:
        assert await Inbox("one").prune(connection, retention_s=3600) == 0
        assert await Inbox("one").prune(connection, retention_s=-1) == 1
        assert await Inbox("one").prune(connection, retention_s=-1) == 0


async def test_the_span_that_had_the_effect_is_kept_before_its_commit(database: Database) -> None:
    """The first delivery's span is known to the journal before anybody can see that the message was processed."""
    event_id = new_id()
    seen: list[SpanContext] = []
    exposure.listen(seen.append)
    try:
        with RecordedSpans(instrumented=False) as spans:
            tracer = spans.tracer_provider.get_tracer("test")
            with tracer.start_as_current_span("process") as first:
                async with database.transaction() as connection:
                    await Inbox("one").first_delivery(connection, event_id)
                    assert seen == [first.get_span_context()]
            with tracer.start_as_current_span("process"):
                async with database.transaction() as connection:
                    await Inbox("one").first_delivery(connection, event_id)
    finally:
        exposure.listen(None)
    assert seen == [first.get_span_context()]
