"""The order service on a real database."""

from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.support.orders import OrderService, order_service
from tracing.testing import RecordedSpans


@pytest.fixture
async def oms(database_url: str) -> AsyncIterator[OrderService]:
    """The order service, with nothing in it."""
    async with order_service(database_url) as service:
        yield service


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """All spans of the test."""
    with RecordedSpans(instrumented=False) as recorded:
        yield recorded


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """A reader of the metrics of the test; the global provider can be set only once, so it is not used."""
    memory = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[memory], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield memory
    provider.shutdown()
