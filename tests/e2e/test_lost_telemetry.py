"""Services whose back end accepts no telemetry: orders are handled as usual, and a stop takes no longer."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from services.cli.run import Service
from services.cli.scenarios import SCENARIOS
from tests.runs.sizes import thorough
from tests.runs.slowness import is_within
from tests.support.bad_backends import BAD_BACKENDS
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.running import runner

_SERVICES = (Service.OMS, Service.INVENTORY, Service.PAYMENT)
_ORDERS = 20
# What one export may take, in seconds: whoever waited for one would be seen.
_EXPORT_S = 100
_DONE_S = 40.0
# Each span is an export of its own, and none is in time; what there is no room for is dropped.
_TELEMETRY = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": str(_EXPORT_S),
    "OTEL_BSP_EXPORT_TIMEOUT": str(_EXPORT_S * 1000),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
    "OTEL_BSP_MAX_QUEUE_SIZE": "50",
    "SAGATRACE_FLUSH_TIMEOUT": "1",
}
# The flush, and what the parts and a loaded machine take; an export would take longer.
_STOP_S = 1 + 15


@pytest.mark.timeout(120)
@pytest.mark.brokers("embedded")
@pytest.mark.parametrize("kind", ["silent", pytest.param("refusing", marks=thorough)])
async def test_sagas_go_on_without_a_back_end(tmp_path: Path, broker: Broker, kind: str) -> None:
    """Every order ends well long before a single export would, and SIGTERM ends each service in time."""
    with BAD_BACKENDS[kind]() as endpoint, runner(tmp_path, broker, endpoint, variables=_TELEMETRY) as starts:
        started = [starts.start(service) for service in _SERVICES]
        await asyncio.to_thread(starts.wait_until_ready, *started)
        placed = [starts.orders.place(SCENARIOS[0].order).order_id for _ in range(_ORDERS)]
        await eventually(lambda: {starts.orders.status(order) for order in placed} == {"completed"}, _DONE_S)
        assert starts.orders.is_ready()
        told = time.monotonic()
        for child in started:
            child.process.send_signal(signal.SIGTERM)
        codes = [await asyncio.to_thread(child.process.wait, 10 * _DONE_S) for child in started]
        assert codes == [0, 0, 0]
        assert is_within(time.monotonic() - told, _STOP_S)
