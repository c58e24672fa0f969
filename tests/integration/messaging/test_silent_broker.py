"""The producer, with its broker silent, gone, and back again."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer
from structlog.testing import capture_logs

from services.messaging import Producer
from services.messaging.errors import MessageTooLarge, SendFailed, Unavailable
from services.messaging.settings import ProducerSettings
from tests.runs.slowness import is_within
from tests.support.eventually import eventually
from tests.support.faults import Api, Code, FaultyBroker, faulty_broker

HASTY = ProducerSettings(
    attempts=2,
    send_timeout=0.5,
    start_timeout=0.5,
    stop_timeout=0.3,
    first_backoff=0.01,
    longest_backoff=0.02,
)
# What two hasty attempts, and cutting off the client, take at most on a slow machine.
BOUND_S = 6.0


@pytest.fixture
def fragile() -> Iterator[FaultyBroker]:
    """A broker that may be made silent or killed."""
    with faulty_broker() as started:
        yield started


async def values(brokers: str, topic: str, least: int) -> list[bytes | None]:
    """Read a topic until so many records are there and no further one comes."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest") as consumer:
        found: list[bytes | None] = []
        while batches := await consumer.getmany(timeout_ms=5000 if len(found) < least else 300):
            found.extend(record.value for batch in batches.values() for record in batch)
        return found


@pytest.mark.parametrize("fault", ["freeze", "kill"])
async def test_no_call_waits_for_ever_without_a_broker(fragile: FaultyBroker, fault: str) -> None:
    """With the broker silent or gone, many sends at once return within the bound of one, and so does the stop."""
    producer = Producer(fragile.address, settings=HASTY)
    await producer.publish("t", key=b"k", value=b"before")
    getattr(fragile, fault)()
    began = time.monotonic()
    sends = [producer.publish("t", key=b"k", value=b"%d" % n) for n in range(20)]
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes), outcomes
    assert is_within(time.monotonic() - began, BOUND_S)
    began = time.monotonic()
    await producer.stop()
    assert is_within(time.monotonic() - began, BOUND_S)
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, timeout_s=2)


async def test_what_was_given_up_is_not_sent_later(fragile: FaultyBroker) -> None:
    """When a silent broker wakes up, the next send works, by a new client; what ran out of time is not repeated."""
    async with Producer(fragile.address, settings=HASTY) as producer:
        await producer.publish("t", key=b"k", value=b"before")
        fragile.freeze()
        with capture_logs() as logs, pytest.raises(Unavailable):
            await producer.publish("t", key=b"k", value=b"given up")
        assert {"event": "producer.replaced", "reason": "TimeoutError", "log_level": "warning"} in logs
        fragile.thaw()
        await producer.publish("t", key=b"k", value=b"after")
    found = await values(fragile.address, "t", 2)
    # The request that was on its way when the broker fell silent may still arrive: once, not once per attempt.
    assert [value for value in found if value != b"given up"] == [b"before", b"after"]
    assert found.count(b"given up") <= 1


async def test_a_silent_broker_keeps_nobody_from_stopping(fragile: FaultyBroker) -> None:
    """A stop while sends are under way ends in time, and each of them is told."""
    patient = HASTY.model_copy(update={"send_timeout": 30.0})
    producer = Producer(fragile.address, settings=patient)
    await producer.publish("t", key=b"k", value=b"before")
    fragile.freeze()
    sends = [asyncio.create_task(producer.publish("t", key=b"k", value=b"%d" % n)) for n in range(5)]
    done, _ = await asyncio.wait(sends, timeout=0.2)
    assert not done
    began = time.monotonic()
    await producer.stop()
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert is_within(time.monotonic() - began, BOUND_S)
    assert all(isinstance(outcome, SendFailed) for outcome in outcomes), outcomes


async def test_one_that_stops_waiting_does_not_disturb_the_others(fragile: FaultyBroker) -> None:
    """A send that is cancelled while the client connects leaves the connection to those who still wait for it."""
    producer = Producer(fragile.address, settings=ProducerSettings(send_timeout=20, start_timeout=20))
    fragile.freeze()
    impatient = asyncio.create_task(producer.publish("t", key=b"k", value=b"1"))
    other = asyncio.create_task(producer.publish("t", key=b"k", value=b"2"))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    fragile.thaw()
    await other
    await producer.stop()
    assert await values(fragile.address, "t", 1) == [b"2"]


async def test_a_send_that_waits_for_the_connection_is_told_of_the_stop(fragile: FaultyBroker) -> None:
    """A stop ends the connecting, and a send that waited for it fails without another attempt."""
    fragile.freeze()
    producer = Producer(fragile.address)
    waiting = asyncio.create_task(producer.publish("t", key=b"k", value=b"1"))
    await asyncio.sleep(0)
    began = time.monotonic()
    await producer.stop()
    with pytest.raises(SendFailed, match="the producer is stopped"):
        await waiting
    assert is_within(time.monotonic() - began, BOUND_S)


async def test_a_size_that_the_broker_refuses_is_final_and_leaves_no_poison(fragile: FaultyBroker) -> None:
    """The broker's refusal of a size is told at once, and the client whose sequence it broke is replaced."""
    async with Producer(fragile.address) as producer:
        await producer.publish("t", key=b"k", value=b"1")
        fragile.fail(Api.PRODUCE, Code.MESSAGE_TOO_LARGE)
        with capture_logs() as logs, pytest.raises(MessageTooLarge, match="takes no record of this size for t"):
            await producer.publish("t", key=b"k", value=b"2")
        assert {"event": "producer.replaced", "reason": "MessageSizeTooLargeError", "log_level": "warning"} in logs
        await producer.publish("t", key=b"k", value=b"3")
    assert await values(fragile.address, "t", 2) == [b"1", b"3"]


@pytest.mark.parametrize("code", [Code.OUT_OF_ORDER_SEQUENCE_NUMBER, Code.NOT_ENOUGH_REPLICAS])
async def test_an_error_of_the_broker_costs_an_attempt(fragile: FaultyBroker, code: Code) -> None:
    """An error that may pass is tried again, with a new client where the old one would never recover."""
    async with Producer(fragile.address) as producer:
        fragile.fail(Api.PRODUCE, code)
        await producer.publish("t", key=b"k", value=b"1")
        await producer.publish("t", key=b"k", value=b"2")
    assert await values(fragile.address, "t", 2) == [b"1", b"2"]


async def test_an_attempt_that_failed_is_logged_without_a_payload(fragile: FaultyBroker) -> None:
    """What the retries log names the cause, and no key, value or header."""
    async with Producer(fragile.address, settings=HASTY) as producer:
        fragile.kill()
        with capture_logs() as logs, pytest.raises(Unavailable):
            await producer.publish("t", key=b"SECRET", value=b"SECRET", headers=[("x", b"SECRET")])
    assert any(entry["event"] == "stamina.retry_scheduled" for entry in logs)
    assert "SECRET" not in repr(logs)
