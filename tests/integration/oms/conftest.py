"""The order service on a real database."""

from collections.abc import AsyncIterator, Iterator

import pytest

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
