"""The backlog as metrics: what an alert on a stuck outbox looks at."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.messaging.outbox.backlog import backlog_gauges
from services.messaging.outbox.outbox import Outbox
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings
from services.messaging.storage.database import Database
from tests.support.eventually import eventually
from tests.support.outboxes import put
from tests.support.publishers import KeepingPublisher


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """What the meters measure while the test runs; the global provider can be set once only, so it is not used."""
    memory = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[memory], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield memory
    provider.shutdown()


def _measured(reader: InMemoryMetricReader) -> dict[str, float]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if hasattr(point, "value")
    }


async def test_the_backlog_is_measured(database: Database, outbox: Outbox, reader: InMemoryMetricReader) -> None:
    """The gauges show how many messages are unsent and the age of the oldest, in seconds."""
    await put(database, outbox, "a", "b")
    loop = backlog_gauges(database, outbox, interval_s=3600.0)
    task = asyncio.create_task(loop.run())
    await eventually(lambda: "sagatrace.outbox.age" in _measured(reader))
    await loop.stop()
    await asyncio.wait_for(task, 100)
    measured = _measured(reader)
    assert measured["sagatrace.outbox.unsent"] == 2
    assert 0 <= measured["sagatrace.outbox.age"] < 30


async def test_a_row_that_cannot_be_sent_is_counted(
    database: Database,
    outbox: Outbox,
    reader: InMemoryMetricReader,
) -> None:
    """Each failed attempt to send counts: the alert on a stuck key."""
    settings = RelaySettings(poll_interval=3600.0, first_backoff=3600.0, longest_backoff=3600.0)
    running = Relay(database, outbox, KeepingPublisher(refused={"a"}), settings=settings)
    await put(database, outbox, "a")
    task = asyncio.create_task(running.run())
    await eventually(lambda: _measured(reader).get("sagatrace.outbox.failures") == 1)
    await running.stop()
    await asyncio.wait_for(task, 100)
