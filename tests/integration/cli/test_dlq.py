"""`sagatrace dlq` on a real dead-letter topic: what it shows, what it sends, and what it refuses."""

import asyncio
import base64
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import RecordMetadata

from services.contracts import encode, events
from services.contracts.topics import INVENTORY_GROUP, NOTIFICATION_GROUP, dead_letter_topic, retry_topic
from services.messaging import Producer
from services.messaging.breaker.row import BreakerRow
from services.messaging.breaker.tally import Cooldown
from services.messaging.dead_letters.headers import ORIGINAL, OWN, Header
from services.messaging.storage.database import Database
from services.messaging.storage.migrations import upgrade
from tests.support.broker import Broker, create_topics, embedded_broker
from tests.support.databases import sqlite_url
from tests.support.operator import OPERATOR, Operator
from tests.support.unreadable import send_unreadable

GROUP = NOTIFICATION_GROUP
ESCAPE = "\x1b]0;pwned\x07\x1b[2J\x9b31m"
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

pytestmark = pytest.mark.timeout(120)


Retried = Callable[["Topic"], Awaitable[Sequence[ConsumerRecord[bytes, bytes]]]]


@dataclass
class Topic:
    """A group's dead-letter topic, with dead letters of a key that no other test uses."""

    brokers: str
    key: str
    operator: Operator
    #: A partition of an origin that no other test uses.
    partition: int = field(default_factory=lambda: uuid4().int % 2**31)
    offset: int = 0

    async def add(self, value: bytes | None, *more: Header, **failure: object) -> RecordMetadata:
        """Write a dead letter, as a group does."""
        self.offset += 1
        usual = {
            "group": GROUP,
            "attempts": 3,
            "error-type": "services.contracts.errors.Undecodable",
            "failed-at": "2026-11-25T03:00:00.000+00:00",
            "state": "failed",
            "original-topic": "oms.order.events",
            "original-partition": self.partition,
            "original-offset": self.offset,
        }
        names = {name.replace("_", "-"): content for name, content in failure.items()}
        headers: list[Header] = [(f"{OWN}{name}", str(content).encode()) for name, content in (usual | names).items()]
        async with Producer(self.brokers) as producer:
            key = self.key.encode()
            return await producer.publish(dead_letter_topic(GROUP), key=key, value=value, headers=[*headers, *more])

    def list(self, *options: str) -> list[str]:
        """Return the places of the key's dead letters that a list with these options shows."""
        listed = self.operator.json("dlq", "list", GROUP, "--key", self.key, *options)
        return [one["at"] for one in listed]


def at(sent: RecordMetadata) -> str:
    """Return the place of a dead letter, as the command writes it."""
    return f"{sent.partition}:{sent.offset}"


@pytest.fixture
def retried(broker: Broker) -> Retried:
    """Read what was sent to the group's retry topic with the key so far."""

    async def read(dlq: Topic) -> Sequence[ConsumerRecord[bytes, bytes]]:
        topic, key = retry_topic(GROUP), dlq.key.encode()
        async with AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest") as reader:
            ends = await reader.end_offsets(reader.assignment())
            records = []
            while [tp for tp, end in ends.items() if await reader.position(tp) < end]:
                batches = await reader.getmany(timeout_ms=100)
                records += [record for batch in batches.values() for record in batch if record.key == key]
        return records

    return read


@pytest.fixture
async def dlq(broker: Broker, tmp_path: Path) -> Topic:
    """The topic, and the tables of the group's service."""
    if not broker.is_embedded:
        await asyncio.to_thread(create_topics, broker, dead_letter_topic(GROUP), retry_topic(GROUP))
    url = sqlite_url(tmp_path, "notification")
    await upgrade(url, "notification")
    return Topic(broker, f"order-{uuid4()}", Operator({"KAFKA_BOOTSTRAP_SERVERS": broker, "DATABASE_URL": url}))


async def test_dead_letters_are_listed_and_chosen_by_every_filter(dlq: Topic) -> None:
    """Each filter chooses its dead letters, and a record that failed again is listed once, at its original place."""
    event = events.SagaStarted(saga_id="s-1", order_id="o-1", sequence=1)
    poison = at(await dlq.add(b"{"))
    busy = at(await dlq.add(encode(event), error_type="payment.GatewayBusy", failed_at="2999-01-01T00:00:00+00:00"))
    again = at(await dlq.add(b"{", original_offset=1))
    assert dlq.list() == [again, busy]
    assert (
        dlq.list("--error", "GatewayBusy") == dlq.list("--type", "saga.started") == dlq.list("--since", "1h") == [busy]
    )
    assert dlq.list("--until", "1s") == dlq.list("--offset", again, "--offset", poison) == [again]
    assert dlq.list("--limit", "1") == [again]
    (listed,) = dlq.operator.json("dlq", "list", GROUP, "--offset", busy)
    assert (listed["event_id"], listed["key"], listed["attempts"]) == (str(event.event_id), dlq.key, 3)


@pytest.mark.brokers("embedded")
async def test_no_escape_of_a_record_reaches_the_terminal(dlq: Topic) -> None:
    """Key, value, header names and values, and the failure are shown without any control character."""
    dlq.key += ESCAPE
    sent = await dlq.add(
        ESCAPE.encode() + b"\xff\nline",
        (f"x-{ESCAPE}", ESCAPE.encode()),
        (f"{OWN}error-message", ESCAPE.encode()),
        error_type=f"a.{ESCAPE}",
        stacktrace=f"one\ntwo {ESCAPE}",
    )
    for command in (
        ["list", GROUP],
        ["show", GROUP, at(sent)],
        ["show", GROUP, at(sent), "--value"],
        ["redrive", GROUP],
    ):
        for options in ([], ["--json"]):
            code, out, err = dlq.operator.run("dlq", *command, *options)
            assert (code, err) == (0, "")
            assert "pwned" in out
            assert not [one for one in out.replace("\n", "") if unicodedata.category(one).startswith("C")]


@pytest.mark.brokers("embedded")
async def test_a_payload_is_shown_only_when_it_is_asked_for(dlq: Topic) -> None:
    """Only `show --value` prints the payload, as text and, in JSON, also byte for byte."""
    payload = b"card 4111\xff"
    place = at(await dlq.add(payload, ("traceparent", TRACEPARENT)))
    for command in (["list", GROUP], ["show", GROUP, place], ["redrive", GROUP], ["redrive", GROUP, "--execute"]):
        for options in ([], ["--json"]):
            code, out, err = dlq.operator.run("dlq", *command, *options)
            assert code == 0
            assert "4111" not in out + err
    code, out, _ = dlq.operator.run("dlq", "show", GROUP, place, "--value", "--jaeger", "http://jaeger")
    assert "    card 4111\\xff" in out.splitlines()
    assert "http://jaeger/trace/0af7651916cd43dd8448eb211c80319c" in out
    shown = dlq.operator.json("dlq", "show", GROUP, place, "--value")
    assert base64.b64decode(shown["value_base64"]) == payload


async def test_a_redrive_keeps_the_record_its_order_and_its_trace(dlq: Topic, retried: Retried) -> None:
    """A dry run sends nothing; a run sends bytes, headers and the trace on, in the order of the key."""
    mine, own = ("x-mine", b"\x00\xff"), ("traceparent", TRACEPARENT)
    for number in range(3):
        await dlq.add(f"value {number}".encode(), mine, own, failed_span=TRACEPARENT.decode())
    chosen = ("dlq", "redrive", GROUP, "--key", dlq.key)
    dry = dlq.operator.json(*chosen)
    assert (dry["executed"], len(dry["done"])) == (False, 3)
    assert await retried(dlq) == []
    done = dlq.operator.json(*chosen, "--execute", "--rate", "5", "--reason", "fixed")
    assert [one["at"] for one in done["done"]] == [one["at"] for one in dry["done"]]
    records = await retried(dlq)
    assert [record.value for record in records] == [b"value 0", b"value 1", b"value 2"]
    # Two pauses of 200 ms, by the producer's clock, which counts whole milliseconds.
    assert records[2].timestamp - records[0].timestamp >= 399
    for number, record in enumerate(records):
        headers = dict(record.headers)
        assert headers["x-mine"] == b"\x00\xff"
        assert headers[f"{ORIGINAL}offset"] == str(number + 1).encode()
        assert headers[f"{OWN}redrive-count"] == b"1"
        assert headers["traceparent"].split(b"-")[1:3] == TRACEPARENT.split(b"-")[1:3]


@pytest.mark.brokers("embedded")
async def test_what_was_done_is_known_and_not_done_again(dlq: Topic, retried: Retried) -> None:
    """A re-drive and a discard leave who, when and why; a second run lists what is closed only if it is named."""
    first, second = at(await dlq.add(b"1")), at(await dlq.add(b"2"))
    discard = ("dlq", "discard", GROUP, "--offset", first, "--reason", "no order")
    assert len(dlq.operator.json(*discard)["done"]) == 1
    assert dlq.list() == [first, second]
    assert len(dlq.operator.json(*discard, "--execute")["done"]) == 1
    assert dlq.list() == [second]
    assert dlq.operator.json(*discard, "--execute")["done"] == []
    redrive = ("dlq", "redrive", GROUP, "--key", dlq.key, "--execute")
    assert [one["at"] for one in dlq.operator.json(*redrive)["done"]] == [second]
    assert [one["status"] for one in dlq.operator.json(*redrive)["left"]] == ["left: under way"]
    for named in (discard, ("dlq", "redrive", GROUP, "--offset", first)):
        assert [one["status"] for one in dlq.operator.json(*named)["left"]] == ["left: closed"]
    by_key = dlq.operator.json("dlq", "discard", GROUP, "--key", dlq.key, "--reason", "no order")
    assert ([one["at"] for one in by_key["done"]], by_key["left"]) == ([second], [])
    assert len(await retried(dlq)) == 1
    for place, name, reason in ((first, "discard", "no order"), (second, "redrive", None)):
        (action,) = dlq.operator.json("dlq", "show", GROUP, place)["acts"]
        assert (action["action"], action["by"], action["reason"]) == (name, OPERATOR, reason)


@pytest.mark.brokers("embedded")
async def test_a_dead_letter_that_could_not_be_sent_goes_with_the_next_run(dlq: Topic, retried: Retried) -> None:
    """A run that fails says how far it came and exits with 2; what it could not send is not under way."""
    await dlq.add(b"1")
    large = at(await dlq.add(b"2" * 2000))
    chosen = ("dlq", "redrive", GROUP, "--key", dlq.key, "--execute")
    narrow = Operator({**dlq.operator.variables, "SAGATRACE_PRODUCER_MAX_BYTES": "1500"})
    code, out, err = narrow.run(*chosen)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "SAGATRACE_PRODUCER_MAX_BYTES" in err
    assert "1 of 2 are re-driven" in err
    assert [one["at"] for one in dlq.operator.json(*chosen)["done"]] == [large]
    actions = dlq.operator.json("dlq", "show", GROUP, large)["acts"]
    assert [one["action"] for one in actions] == ["redrive", "taken back", "redrive"]
    assert [len(record.value or b"") for record in await retried(dlq)] == [1, 2000]


@pytest.mark.brokers("embedded")
async def test_what_is_parked_goes_only_by_force(dlq: Topic, retried: Retried) -> None:
    """A dead letter re-driven too often, and what waits behind it, are refused with exit code 1; force sends them."""
    await dlq.add(b"1", state="parked", redrive_count=3)
    await dlq.add(b"2", state="behind")
    chosen = ("dlq", "redrive", GROUP, "--key", dlq.key, "--execute")
    code, _, err = dlq.operator.run(*chosen)
    assert (code, err.count("\n")) == (1, 1)
    assert "parked" in err
    assert await retried(dlq) == []
    assert dlq.operator.run(*chosen, "--force")[0] == 0
    assert [dict(record.headers)[f"{OWN}redrive-count"] for record in await retried(dlq)] == [b"4", b"1"]


@pytest.mark.brokers("embedded")
async def test_a_group_that_its_breaker_stopped_goes_on_by_command(dlq: Topic) -> None:
    """A tripped breaker shows in the list, `resume` closes it, and a second one finds it closed."""
    database = Database(dlq.operator.variables["DATABASE_URL"])
    await BreakerRow(database, GROUP).trip("10 dead letters in a row", Cooldown(30, 60, 1))
    await database.close()
    assert "stopped: 10 dead letters in a row" in dlq.operator.run("dlq", "list", GROUP)[1]
    await dlq.add(b"1")
    (listed,) = dlq.operator.json("dlq", "list", GROUP, "--key", dlq.key)
    assert listed["stopped"] == "10 dead letters in a row"
    code, _, err = dlq.operator.run("dlq", "redrive", GROUP, "--key", dlq.key, "--execute")
    assert (code, err.count("\n")) == (0, 1)
    assert f"{GROUP} has stopped (10 dead letters in a row)" in err
    assert dlq.operator.run("dlq", "resume", GROUP, "--reason", "fixed") == (0, f"{GROUP} goes on\n", "")
    assert "nothing to resume" in dlq.operator.run("dlq", "resume", GROUP)[1]
    assert "stopped" not in dlq.operator.run("dlq", "list", GROUP)[1]


@pytest.mark.brokers("embedded")
async def test_what_it_cannot_do_is_one_line(dlq: Topic) -> None:
    """What is wrong with options, broker or database is exit code 2 and names what to mend; nothing is done."""
    await dlq.add(b"1")
    away = Operator({**dlq.operator.variables, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    unmade = Operator({**dlq.operator.variables, "DATABASE_URL": "sqlite+aiosqlite:////nowhere/none.sqlite"})
    for operator, arguments, hint in (
        (dlq.operator, ["show", GROUP, "17"], "PARTITION:OFFSET"),
        (dlq.operator, ["show", GROUP, "0:999999"], "dlq list"),
        (dlq.operator, ["list", GROUP, "--since", "1y"], "--since"),
        (dlq.operator, ["list", GROUP, "--until", "9999999d"], "--until"),
        (dlq.operator, ["list", GROUP, "--key", "\udcff"], "--key"),
        (dlq.operator, ["redrive", GROUP, "--since", "", "--execute"], "--since"),
        (dlq.operator, ["discard", GROUP, "--error", "", "--reason", "x", "--execute"], "--error"),
        (dlq.operator, ["discard", GROUP, "--reason", "x", "--execute"], "--offset"),
        (dlq.operator, ["discard", GROUP, "--reason", " ", "--key", dlq.key, "--execute"], "--reason"),
        (away, ["list", GROUP], "KAFKA_BOOTSTRAP_SERVERS"),
        (unmade, ["list", GROUP], "DATABASE_URL"),
    ):
        code, out, err = operator.run("dlq", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), (arguments, err)
        assert hint in err
    assert len(dlq.list()) == 1


@pytest.mark.brokers("embedded")
async def test_a_dead_letter_that_claims_anything_can_be_discarded(dlq: Topic) -> None:
    """Counts and times that no row could hold, in a record that anybody wrote, do not keep it from being closed."""
    sent = await dlq.add(
        b"1",
        redrive_count="99999999999",
        failed_at="0001-01-01T00:00:00+23:59",
        error_type="a\0b",
        original_offset=2**63,
    )
    options = ("--offset", at(sent), "--reason", "not ours", "--execute")
    assert len(dlq.operator.json("dlq", "discard", GROUP, *options)["done"]) == 1
    assert dlq.list() == []


async def test_a_record_that_cannot_be_read_hides_no_other_group(tmp_path: Path) -> None:
    """A list of all groups shows those that can be read, and then says which can't, with exit code 2."""
    url = sqlite_url(tmp_path, "notification")
    await upgrade(url, "notification")
    unreadable = dead_letter_topic(INVENTORY_GROUP)
    with embedded_broker() as own:
        dlq = Topic(own, "order-1", Operator({"KAFKA_BOOTSTRAP_SERVERS": own, "DATABASE_URL": url}))
        await dlq.add(b"1")
        await send_unreadable(own, unreadable, b"key")
        code, out, err = dlq.operator.run("dlq", "list")
    assert (code, err.count("\n")) == (2, 1), err
    assert f"{GROUP}: 1 dead letter" in out
    assert f"{unreadable} holds a record that this client can't read" in err
