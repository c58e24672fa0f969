"""Recorded spans, as tests read them."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return a span's attributes."""
    return span.attributes or {}
