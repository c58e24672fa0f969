"""A call of a producer has the same outcome with tracing and without it, however odd its arguments are."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.metadata import MetadataResponse_v1
from hypothesis import given
from hypothesis import strategies as st

from tracing.testing import RecordedSpans

#: Bytes of a request and of a batch, so few that a context is often too much.
_LIMIT = 400
_TOPIC = "orders"

_data = st.one_of(
    st.none(),
    st.binary(max_size=3),
    st.integers(200, 420).map(lambda size: b"x" * size),
    st.sampled_from(["text", 7, bytearray(b"ab"), memoryview(b"abc"), [b"a"], True, 1.5, object]),
)
_entry = st.one_of(
    st.tuples(st.sampled_from(["app", "traceparent", "tracestate", "baggage"]), st.none() | st.binary(max_size=60)),
    st.sampled_from(
        [("a", "text"), ("a",), (b"a", b"b"), ["a", b"b"], ["traceparent", b"b"], ("traceparent", 3), 3, None]
    ),
    st.sampled_from([("traceparent", bytearray(b"x")), ("\ud800", b"x"), "ab", b"ab", ("a", b"b", b"c"), {}]),
)
#: Makes the headers anew for each call: an iterator can be read once.
_headers: st.SearchStrategy[Callable[[], Any]] = st.one_of(
    st.lists(_entry, max_size=3).map(lambda entries: lambda: list(entries)),
    st.lists(_entry, max_size=2).map(lambda entries: lambda: tuple(entries)),
    st.lists(_entry, max_size=2).map(lambda entries: lambda: iter(entries)),
    st.sampled_from([None, "", "ab", 0, 7, {}, {"a": b"b"}, set(), b"ab"]).map(lambda value: lambda: value),
)
_partition = st.sampled_from([None, 0, 1, 99, -1, "0", 1.0, True])
_timestamp = st.sampled_from([None, 0, 1_700_000_000_000, -1, 1.5, "now", 1 << 70])
_topic = st.sampled_from([_TOPIC, _TOPIC, _TOPIC, [], {}])
_serializer: st.SearchStrategy[Any] = st.sampled_from(
    [None, lambda value: value, lambda value: value and bytes(value), lambda value: value.encode()]
)
_unknown = st.sampled_from([{}, {}, {}, {"nonsense": 1}])


def _producer(**settings: Any) -> AIOKafkaProducer:
    """Make a producer that knows a topic as a broker would have told it, and has no broker."""
    producer = AIOKafkaProducer(max_request_size=_LIMIT, max_batch_size=_LIMIT, request_timeout_ms=50, **settings)
    partitions = [(0, number, 1, [1], [1]) for number in range(2)]
    producer.client.cluster.update_metadata(
        MetadataResponse_v1([(1, "localhost", 9092, None)], 1, [(0, _TOPIC, False, partitions)])
    )
    return producer


async def _outcome(call: Callable[[], Any]) -> object:
    """Return what a call comes to: its result as far as it is the same each time, or its error."""
    try:
        result = call()
        if inspect.isawaitable(result):
            result = await result
    except Exception as error:  # noqa: BLE001 - whatever the client raises
        return type(error), str(error)
    return "a future" if isinstance(result, asyncio.Future) else result and (result.offset, result.size)


def _both(scenario: Callable[[AIOKafkaProducer], Awaitable[list[object]]], **settings: Any) -> None:
    """Run a scenario without tracing and with it, and compare."""

    async def run() -> list[object]:
        producer = _producer(**settings)
        try:
            return await asyncio.wait_for(scenario(producer), 50)
        finally:
            producer._message_accumulator._batches.clear()
            await producer.stop()

    without = asyncio.run(run())
    with RecordedSpans():
        traced = asyncio.run(run())
    assert traced == without


@given(
    st.lists(st.tuples(_topic, _data, _data, _partition, _timestamp, _headers, _unknown), min_size=1, max_size=3),
    _serializer,
    _serializer,
)
def test_a_send(calls: list[tuple[Any, ...]], key_serializer: Any, value_serializer: Any) -> None:
    """A send is taken or refused, with the same error and the same text."""

    async def scenario(producer: AIOKafkaProducer) -> list[object]:
        outcomes = []
        for topic, *arguments, headers, unknown in calls:
            send: Callable[..., Any] = producer.send
            send = functools.partial(send, topic, *arguments, headers(), **unknown)
            outcomes.append(await _outcome(send))
            # As a sender does, for which there is no broker here.
            producer._message_accumulator._batches.clear()
        return outcomes

    _both(scenario, key_serializer=key_serializer, value_serializer=value_serializer)


@given(
    st.lists(st.tuples(_data, _data, _timestamp, _headers, _unknown), max_size=5),
    _topic,
    _partition,
    _serializer,
)
def test_a_batch(appends: list[tuple[Any, ...]], topic: Any, partition: Any, serializer: Any) -> None:
    """Each append has the same answer, and so has the send of the batch; an append in between changes neither."""

    async def scenario(producer: AIOKafkaProducer) -> list[object]:
        batch = producer.create_batch()
        outcomes: list[object] = []
        for key, value, timestamp, headers, unknown in appends:
            arguments = {"key": key, "value": value, "timestamp": timestamp, "headers": headers(), **unknown}
            outcomes.append(await _outcome(functools.partial(batch.append, **arguments)))
            outcomes.append((batch.size(), batch.record_count(), batch.closed()))
        append: Callable[..., Any] = batch.append
        outcomes.append(await _outcome(functools.partial(append, b"positional")))
        outcomes.append(await _outcome(functools.partial(producer.send_batch, batch, topic, partition=partition)))
        return outcomes

    _both(scenario, value_serializer=serializer)


@pytest.mark.parametrize("batch", [None, 7, "batch", object()], ids=lambda batch: type(batch).__name__)
def test_what_is_no_batch(batch: Any) -> None:
    """What is no batch is refused alike."""

    async def scenario(producer: AIOKafkaProducer) -> list[object]:
        send: Callable[..., Any] = producer.send_batch
        topics: tuple[Any, ...] = (_TOPIC, [])
        return [await _outcome(functools.partial(send, batch, topic, partition=0)) for topic in topics]

    _both(scenario)
