"""The audit trail on a real database: every event once, byte for byte, forever."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import Executable, delete, update
from sqlalchemy.exc import DBAPIError

from services.audit import store
from services.audit.entry import entry_of
from services.audit.handlers import AuditHandler
from services.audit.tables import trail
from services.contracts import ContractError, encode, topics
from services.contracts.catalog import FOLDER
from services.messaging.errors import Fatal
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from tests.support.outboxes import event
from tracing.testing import RecordedSpans


@dataclass(frozen=True)
class Record:
    """A Kafka record."""

    value: bytes | None
    offset: int = 0
    topic: str = topics.SAGA_EVENTS
    partition: int = 1


@pytest.fixture
async def database(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """The audit's database."""
    database_url = await service_database("audit")
    opened = Database(database_url, schema="audit")
    yield opened
    await opened.close()


@pytest.fixture
def handle(database: Database) -> AuditHandler:
    """The audit's handler."""
    return AuditHandler(database, Inbox(topics.AUDIT_GROUP))


def _unknown(**changes: object) -> bytes:
    """An event of a type that a later version writes."""
    return json.dumps(
        {**json.loads(encode(event("a", 5))), "event_type": "saga.paused", "mood": "calm", **changes}
    ).encode()


async def test_an_event_is_kept_as_it_came(database: Database, handle: AuditHandler) -> None:
    """The trail has the record's place and bytes, the event's ids, and the trace in which it came."""
    message = event("a", 5)
    with (
        RecordedSpans(instrumented=False) as spans,
        spans.tracer_provider.get_tracer("test").start_as_current_span("process") as span,
    ):
        await handle(entry_of(Record(encode(message), offset=7)))
    async with database.reading() as connection:
        (row,) = await store.of_order(connection, "a")
    assert (row["topic"], row["partition"], row["offset"]) == ("oms.saga.events", 1, 7)
    assert (row["event_id"], row["event_type"], row["is_known"]) == (message.event_id, "saga.started", True)
    assert (row["saga_id"], row["order_id"], row["sequence"]) == ("saga-of-a", "a", 5)
    assert (row["value"], row["occurred_at"]) == (encode(message), message.occurred_at)
    assert row["trace_id"] == f"{span.get_span_context().trace_id:032x}"


async def test_an_event_is_kept_once(database: Database, handle: AuditHandler) -> None:
    """A redelivered record, and the same event sent a second time, change nothing."""
    message = event("a")
    for offset in (1, 1, 2):
        await handle(entry_of(Record(encode(message), offset=offset)))
    async with database.reading() as connection:
        assert [row["offset"] for row in await store.of_order(connection, "a")] == [1]


@pytest.mark.parametrize("payload", [{"a": {"b": [1]}}, [], None, 2**70], ids=["object", "list", "null", "number"])
async def test_an_unknown_type_is_kept_too(database: Database, handle: AuditHandler, payload: object) -> None:
    """An event of a type that this version does not know is in the trail, with all its bytes, whatever its payload."""
    value = _unknown(payload=payload)
    await handle(entry_of(Record(value)))
    async with database.reading() as connection:
        (row,) = await store.of_order(connection, "a")
    assert (row["event_type"], row["is_known"], row["value"]) == ("saga.paused", False, value)


async def test_an_unknown_version_is_kept_too(database: Database, handle: AuditHandler) -> None:
    """An event of a newer version is in the trail like one of a newer type, whatever its payload."""
    value = _unknown(event_type="saga.started", schema_version=2, payload=[7])
    await handle(entry_of(Record(value)))
    async with database.reading() as connection:
        (row,) = await store.of_order(connection, "a")
    assert (row["event_type"], row["is_known"], row["value"]) == ("saga.started", False, value)


async def test_an_old_version_is_known_and_kept_as_it_came(database: Database, handle: AuditHandler) -> None:
    """The trail has the bytes that an older program wrote, not what they are read as."""
    old = (FOLDER / "order.created.v1.json").read_text()
    value = json.dumps(json.loads(old)["examples"][0]).encode()
    await handle(entry_of(Record(value)))
    async with database.reading() as connection:
        (row,) = await store.of_order(connection, "0195f2c0-7b1a-7c00-8000-00000000000c")
    assert (row["event_type"], row["is_known"], row["value"]) == ("order.created", True, value)


async def test_an_unknown_event_without_an_id_is_known_by_its_place(database: Database, handle: AuditHandler) -> None:
    """Without an event id, the same record twice is still one row, and the second delivery's span says so."""
    anonymous = json.loads(_unknown())
    del anonymous["event_id"]
    record = Record(json.dumps(anonymous).encode())
    await handle(entry_of(record))
    with RecordedSpans(instrumented=False) as spans:
        with spans.tracer_provider.get_tracer("test").start_as_current_span("process"):
            await handle(entry_of(record))
        assert dict(spans.one("process").attributes or {}) == {
            "sagatrace.message.type": "saga.paused",
            "sagatrace.duplicate": True,
        }
    async with database.reading() as connection:
        assert len(await store.of_order(connection, "a")) == 1


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", _unknown(order_id=17), _unknown(saga_id="no spaces")])
def test_what_is_not_an_event_is_refused(value: bytes | None) -> None:
    """A record that is not an event is a contract error, whose text shows nothing of the value."""
    with pytest.raises(ContractError) as raised:
        entry_of(Record(value))
    assert "no spaces" not in str(raised.value)


async def test_a_message_without_its_record_is_refused(handle: AuditHandler) -> None:
    """The trail keeps records: a message that was read without its place is a fault of the wiring."""
    with pytest.raises(Fatal):
        await handle(event("a"))


@pytest.mark.parametrize("change", [update(trail).values(order_id="b"), delete(trail)])
async def test_the_trail_only_grows(database: Database, handle: AuditHandler, change: Executable) -> None:
    """The database itself refuses to change or delete an entry."""
    await handle(entry_of(Record(encode(event("a")))))
    with pytest.raises(DBAPIError, match="append-only"):
        await _execute(database, change)
    async with database.reading() as connection:
        assert len(await store.of_order(connection, "a")) == 1


async def _execute(database: Database, statement: Executable) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)
