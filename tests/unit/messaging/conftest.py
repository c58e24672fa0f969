"""Fixtures of the consume loop's tests."""

from collections.abc import Iterator

import pytest

from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from tracing.testing import RecordedSpans


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span of the test."""
    with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as recorded:
        yield recorded
