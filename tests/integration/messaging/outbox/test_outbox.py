"""The outbox on a real database: what may be claimed, in which order, and by whom it may be finished."""

import asyncio
import json

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach

from services.contracts import parse_message
from services.messaging.errors import MessageTooLarge
from services.messaging.outbox.outbox import Backlog, Outbox, OutboxRow
from services.messaging.storage.database import Database
from tests.support.created_orders import created
from tests.support.outboxes import event, expire_leases, fates, make_due, mark_all_sent, put, put_late
from tracing.testing import RecordedSpans

_LEASE_S = 60.0


def _orders(rows: list[OutboxRow]) -> list[str]:
    return [row.order_id for row in rows]


async def test_a_key_keeps_its_order_with_one_row_in_flight(database: Database, outbox: Outbox) -> None:
    """A claim takes the oldest row of each key, and the next one only after that was sent."""
    first, second, other = await put(database, outbox, "a", "a", "b")
    claimed = await outbox.claim(10, _LEASE_S)
    assert [row.event_id for row in claimed] == [first, other]
    assert await outbox.claim(10, _LEASE_S) == []
    await mark_all_sent(database, outbox, claimed[:1])
    assert [row.event_id for row in await outbox.claim(10, _LEASE_S)] == [second]


async def test_a_key_is_ordered_per_topic(database: Database, outbox: Outbox) -> None:
    """The same key on two topics is two orders: neither waits for the other."""
    await put(database, outbox, "a", topic="events")
    await put(database, outbox, "a", topic="commands")
    assert [row.topic for row in await outbox.claim(10, _LEASE_S)] == ["events", "commands"]


async def test_a_claim_is_limited(database: Database, outbox: Outbox) -> None:
    """A claim takes no more rows than asked for, the oldest first."""
    await put(database, outbox, "a", "b", "c")
    assert _orders(await outbox.claim(2, _LEASE_S)) == ["a", "b"]
    assert _orders(await outbox.claim(2, _LEASE_S)) == ["c"]


async def test_a_row_reads_back_as_it_was_written(database: Database, outbox: Outbox) -> None:
    """The claim gives the message's own bytes, its key, its ids and its wait by the database's clock."""
    message = event("a", 7)
    async with database.transaction() as connection:
        await outbox.add(connection, "events", message)
    (row,) = await outbox.claim(1, _LEASE_S)
    assert parse_message(row.value) == message
    assert (row.topic, row.key, row.event_type) == ("events", "a", "saga.started")
    assert (row.event_id, row.saga_id, row.attempts) == (message.event_id, "saga-of-a", 1)
    assert 0 <= row.waited_s < 30


async def test_a_held_type_is_written_at_its_older_version(database: Database) -> None:
    """What a deploy holds back is in the outbox as the old program reads it; the row says the same about it."""
    held = Outbox(database, held={"order.created": 1})
    message = created("a")
    async with database.transaction() as connection:
        await held.add(connection, "events", message)
    (row,) = await held.claim(1, _LEASE_S)
    assert (json.loads(row.value)["schema_version"], row.event_id) == (1, message.event_id)
    assert "delivery_window" not in json.loads(row.value)["payload"]


async def test_an_expired_lease_can_be_claimed_again(database: Database, outbox: Outbox) -> None:
    """A relay that died holds a row for its lease and no longer."""
    await put(database, outbox, "a")
    (first,) = await outbox.claim(1, _LEASE_S)
    await expire_leases(database)
    (second,) = await outbox.claim(1, _LEASE_S)
    assert second.event_id == first.event_id
    assert second.lease_token != first.lease_token
    assert second.attempts == 2


async def test_a_relay_does_not_claim_what_it_has_in_hand(database: Database, outbox: Outbox) -> None:
    """A row whose lease ran out while it was being sent is left to other relays, and its key still waits for it."""
    await put(database, outbox, "a", "a")
    (row,) = await outbox.claim(10, _LEASE_S)
    await expire_leases(database)
    assert await outbox.claim(10, _LEASE_S, besides=[row.id]) == []
    assert [other.id for other in await outbox.claim(10, _LEASE_S)] == [row.id]


@pytest.mark.parametrize("finish", ["sent", "failed", "released"])
async def test_a_stale_lease_can_finish_nothing(database: Database, outbox: Outbox, finish: str) -> None:
    """Whoever lost the lease writes nothing, whichever way it wants to end the row."""
    await put(database, outbox, "a")
    (stale,) = await outbox.claim(1, _LEASE_S)
    await expire_leases(database)
    (current,) = await outbox.claim(1, _LEASE_S)
    async with database.transaction() as connection:
        writes = {
            "sent": outbox.mark_sent(connection, [stale]),
            "failed": outbox.mark_failed(connection, stale, "late", 3600),
            "released": outbox.release(connection, [stale]),
        }
        wanted = writes.pop(finish)
        for other in writes.values():
            other.close()
        assert not await wanted
    assert await mark_all_sent(database, outbox, [current]) == [True]
    assert await mark_all_sent(database, outbox, [current]) == [False]


async def test_a_failed_row_blocks_its_key_until_it_is_due(database: Database, outbox: Outbox) -> None:
    """A row that cannot be sent keeps the later ones of its key waiting, and no others."""
    await put(database, outbox, "a", "a", "b", "b")
    failed, sent = await outbox.claim(10, _LEASE_S)
    async with database.transaction() as connection:
        assert await outbox.mark_failed(connection, failed, "SendFailed: " + "x" * 500, retry_in_s=3600)
        assert await outbox.mark_sent(connection, [sent]) == [sent]
    assert _orders(await outbox.claim(10, _LEASE_S)) == ["b"]
    last_error = (await fates(database))[0].last_error
    assert last_error is not None
    assert len(last_error) == 200
    await make_due(database)
    assert [row.id for row in await outbox.claim(10, _LEASE_S)] == [failed.id]


async def test_a_released_row_can_be_claimed_at_once(database: Database, outbox: Outbox) -> None:
    """A row given back at a stop waits for nobody; its attempt counts, because what was cut may have been sent."""
    await put(database, outbox, "a")
    (row,) = await outbox.claim(1, _LEASE_S)
    async with database.transaction() as connection:
        await outbox.release(connection, [row])
    (again,) = await outbox.claim(1, _LEASE_S)
    assert again.attempts == 2


@pytest.mark.parametrize("write", ["renewed", "released"])
async def test_a_row_that_is_being_settled_is_not_waited_for(database: Database, outbox: Outbox, write: str) -> None:
    """Leases are renewed, or given back, without waiting for a row that another transaction holds."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time: no row is held by another")
    await put(database, outbox, "a", "b")
    one, other = await outbox.claim(2, _LEASE_S)
    async with database.transaction() as settling:
        assert await outbox.mark_sent(settling, [one]) == [one]
        async with asyncio.timeout(50), database.transaction() as connection:
            if write == "renewed":
                await outbox.renew(connection, [one, other], _LEASE_S)
            else:
                await outbox.release(connection, [one, other])
    assert [(fate.sent, fate.leased) for fate in await fates(database)] == [(True, False), (False, write == "renewed")]


async def test_a_row_that_commits_late_is_not_passed_over(database: Database, outbox: Outbox) -> None:
    """A row whose id is lower than ids sent long ago is claimed as soon as it is visible."""
    await put(database, outbox, "first")
    await mark_all_sent(database, outbox, await outbox.claim(10, _LEASE_S))
    await put_late(database, "late", row_id=-5)
    assert _orders(await outbox.claim(10, _LEASE_S)) == ["late"]


async def test_a_row_of_an_open_transaction_is_sent_after_its_commit(database: Database, outbox: Outbox) -> None:
    """A transaction that took its id first and commits last loses nothing (PostgreSQL; SQLite has one writer)."""
    if database.is_sqlite:
        pytest.skip("one writer at a time: ids are given in commit order")
    async with database.transaction() as slow:
        await outbox.add(slow, "events", event("slow"))
        await put(database, outbox, "quick")
        quick = await outbox.claim(10, _LEASE_S)
        await mark_all_sent(database, outbox, quick)
    late = await outbox.claim(10, _LEASE_S)
    assert (_orders(quick), _orders(late)) == (["quick"], ["slow"])
    assert late[0].id < quick[0].id


async def test_two_claims_at_once_share_no_row(database: Database, outbox: Outbox) -> None:
    """Relays of two processes that claim at the same time get different rows, and together all of them."""
    orders = [f"order-{number:02}" for number in range(40)]
    await put(database, outbox, *orders)
    claims = await asyncio.gather(*(outbox.claim(10, _LEASE_S) for _ in range(8)))
    rest = await outbox.claim(100, _LEASE_S)
    claimed = [order for claim in [*claims, rest] for order in _orders(claim)]
    assert sorted(claimed) == orders


async def test_a_rolled_back_row_was_never_there(database: Database, outbox: Outbox) -> None:
    """A transaction that fails leaves no message, and wakes nobody."""

    async def add_and_fail() -> None:
        async with database.transaction() as connection:
            await outbox.add(connection, "events", event("a"))
            raise LookupError

    with pytest.raises(LookupError):
        await add_and_fail()
    assert await outbox.claim(10, _LEASE_S) == []
    assert not outbox.added.is_set()


async def test_the_relay_is_woken_by_the_commit(database: Database, outbox: Outbox) -> None:
    """The event is set once the row is committed, not before."""
    async with database.transaction() as connection:
        await outbox.add(connection, "events", event("a"))
        assert not outbox.added.is_set()
    assert outbox.added.is_set()


async def test_a_message_that_cannot_be_sent_is_refused_at_the_insert(database: Database) -> None:
    """What is larger than the limit fails where it is written, in the transaction of the state that it reports."""
    message = event("a")
    small = Outbox(database, max_bytes=len(message.model_dump_json()) - 1)
    with pytest.raises(MessageTooLarge):
        async with database.transaction() as connection:
            await small.add(connection, "events", message)
    assert await fates(database) == []


async def test_a_row_keeps_the_trace_and_no_baggage(database: Database, outbox: Outbox) -> None:
    """The context of the span that wrote the row is stored as W3C trace context alone."""
    with RecordedSpans(instrumented=False) as spans:
        tracer = spans.tracer_provider.get_tracer("test")
        token = attach(baggage.set_baggage("customer", "secret"))
        with tracer.start_as_current_span("handler") as span:
            await put(database, outbox, "a")
        detach(token)
    (row,) = await outbox.claim(1, _LEASE_S)
    context = span.get_span_context()
    assert list(row.trace_context) == ["traceparent"]
    assert row.trace_context["traceparent"].split("-")[1:3] == [f"{context.trace_id:032x}", f"{context.span_id:016x}"]


async def test_the_backlog_counts_what_is_unsent(database: Database, outbox: Outbox) -> None:
    """The backlog is the unsent rows and the age of the oldest, by the database's clock."""
    async with database.reading() as connection:
        assert await outbox.backlog(connection) == Backlog(rows=0, oldest_s=0.0)
    await put(database, outbox, "a", "b")
    await mark_all_sent(database, outbox, await outbox.claim(1, _LEASE_S))
    async with database.reading() as connection:
        backlog = await outbox.backlog(connection)
    assert backlog.rows == 1
    assert 0 <= backlog.oldest_s < 30


async def test_pruning_deletes_sent_rows_only(database: Database, outbox: Outbox) -> None:
    """A sent row goes after its retention; an unsent one never does."""
    await put(database, outbox, "a", "b")
    await mark_all_sent(database, outbox, await outbox.claim(1, _LEASE_S))
    async with database.transaction() as connection:
        assert await outbox.prune(connection, retention_s=3600) == 0
        assert await outbox.prune(connection, retention_s=-1) == 1
    assert [fate.order for fate in await fates(database)] == ["b"]
