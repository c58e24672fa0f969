"""Fixtures of the consume loop's tests."""

from collections.abc import Iterator

import pytest

from tracing.testing import RecordedSpans


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span of the test."""
    with RecordedSpans() as recorded:
        yield recorded
