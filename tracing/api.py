"""What an object of the OpenTelemetry API is, found out without importing the SDK, which may not be installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.util.types import AttributeValue


def is_of_sdk(thing: object) -> bool:
    """Return whether the class of an object is the SDK's, or is derived from one of the SDK's."""
    return any(kind.__module__.startswith("opentelemetry.sdk.") for kind in type(thing).__mro__)


def recorder(instrument: Counter | Histogram) -> Callable[[float, Mapping[str, AttributeValue]], None]:
    """Return the instrument's own method that takes a value and its labels."""
    return instrument.add if isinstance(instrument, Counter) else instrument.record
