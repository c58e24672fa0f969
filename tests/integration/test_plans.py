"""A hop costs the same however many sagas are open: nothing that is done for a message reads a whole table."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from sqlalchemy import make_url, text

from services.contracts import parse_message, topics
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.oms import store
from tests.support.orders import OrderService, order_service, reply

pytestmark = [pytest.mark.databases("postgres"), pytest.mark.timeout(120)]

OPEN = 100_000
_FILL = (
    """INSERT INTO orders (order_id, customer_id, items, total_amount, currency, payment_method, created_at)
       SELECT 'o-' || n, 'c', '[]', 1, 'EUR', 'pm_ok', now() FROM generate_series(1, :open) n""",
    """INSERT INTO sagas (saga_id, order_id, definition, state, status, version, attempt, command_id, deadline,
                          needs_attention, trace_context, created_at, updated_at, phase_began_at)
       SELECT 's-' || n, 'o-' || n, 1, 'charging', 'running', 2, 1, gen_random_uuid(), now() + interval '1 day',
              false, '{}', now(), now() + n * interval '1 millisecond', now() FROM generate_series(1, :open) n""",
    """INSERT INTO inbox (consumer_group, event_id, processed_at)
       SELECT 'g', gen_random_uuid(), now() FROM generate_series(1, :open / 5) n""",
    """INSERT INTO idempotency_keys (key, fingerprint, order_id, created_at)
       SELECT 'k-' || n, 'f', 'o-' || n, now() FROM generate_series(1, :open / 5) n""",
    """INSERT INTO saga_history (saga_id, sequence, at, input, verdict, state_from, state, attempt)
       SELECT 's-' || n, 1, now(), 'start', 'applied', 'new', 'reserving', 1 FROM generate_series(1, :open / 5) n""",
    """INSERT INTO outbox (event_id, topic, key, event_type, value, trace_context, saga_id, order_id, created_at,
                           attempts, next_attempt_at, sent_at)
       SELECT gen_random_uuid(), 't', 'o-' || n, 'e', '', '{}', 's', 'o', now(), 1, now(), now()
         FROM generate_series(1, :open / 5) n""",
)
_READ = "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE schemaname = 'oms'"


async def test_no_hop_reads_a_table_from_end_to_end(service_database: Callable[[str], Awaitable[str]]) -> None:
    """With 100,000 open sagas all that a saga's messages, relay and clock do finds its rows by an index."""
    url = await service_database("oms")
    await _fill(url)
    # A statement that is executed often gets a plan that does not look at its parameters.
    for plan in ("force_custom_plan", "force_generic_plan"):
        await _execute(
            url, f"ALTER ROLE CURRENT_USER IN DATABASE {make_url(url).database} SET plan_cache_mode = {plan}"
        )
        before = await _rows_read(url)
        async with order_service(url) as oms:
            await _live(oms, plan)
        after = await _rows_read(url)
        # A table of a few rows is read whole, and ought to be.
        read = {table: rows - before[table] for table, rows in after.items() if rows - before[table] > 100}
        assert read == {}, plan


async def _live(oms: OrderService, key: str) -> None:
    """Do everything that is done for a saga, and what is done all the time."""
    outbox, inbox = Outbox(oms.database), Inbox(topics.ORCHESTRATOR_GROUP)
    placed = await oms.place(idempotency_key=key)
    for answer in ("inventory.reserved", "payment.charged"):
        rows = await outbox.claim(100, 60.0)
        async with oms.database.transaction() as connection:
            await oms.timeouts.commands_sent(connection, await outbox.mark_sent(connection, rows))
        ours = [row for row in rows if row.saga_id == placed.saga_id]
        (command,) = [parse_message(row.value) for row in ours if row.topic in topics.COMMAND_TOPICS]
        await oms.replies(reply(answer, command))
    await oms.orders.order(placed.order_id)
    await oms.orders.saga(placed.saga_id)
    await oms.orders.refund(placed.order_id)
    await oms.timeouts.sweep()
    async with oms.database.reading() as connection:
        await outbox.backlog(connection)
        await store.is_any_overdue(connection)
    async with oms.database.transaction() as connection:
        await inbox.prune(connection, 3600.0)
        await outbox.prune(connection, 3600.0)
        await store.prune_keys(connection, 3600.0)


async def _fill(url: str) -> None:
    await _execute(url, *(statement.replace(":open", str(OPEN)) for statement in _FILL), "ANALYZE")


async def _execute(url: str, *statements: str) -> None:
    database = Database(url, schema="oms", wait_s=50)
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await database.close()


async def _rows_read(url: str) -> Mapping[str, int]:
    """Return for each table how many rows full scans have read; a connection reports them when it closes."""
    database = Database(url, schema="oms")
    try:
        async with database.reading() as connection:
            found = await connection.execute(text(_READ))
            return {row.relname: row.seq_tup_read for row in found}
    finally:
        await database.close()
