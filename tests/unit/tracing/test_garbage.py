"""What a program lets go is gone while tracing is on: nothing that is kept about a client refers to it."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tracing import telemetry
from tracing.testing import RecordedSpans

_CLIENTS: dict[str, Callable[[], Any]] = {
    "producer": AIOKafkaProducer,
    "producer with serializers": lambda: AIOKafkaProducer(key_serializer=str.encode, value_serializer=str.encode),
    "consumer": AIOKafkaConsumer,
}


@pytest.mark.parametrize("make", _CLIENTS.values(), ids=_CLIENTS)
async def test_a_client_is_gone_when_nothing_refers_to_it(make: Callable[[], Any]) -> None:
    """What tracing knows about a client goes with it, and does not keep it, also after instrumenting twice."""
    client = make()
    await client.stop()
    for _ in range(2):
        with RecordedSpans():
            telemetry.current().client(client)
    with RecordedSpans():
        telemetry.current().client(client)
        gone = weakref.ref(client)
        del client
        gc.collect()
        assert gone() is None
        assert not telemetry.current()._clients
