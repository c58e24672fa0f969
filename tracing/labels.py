"""The labels of a metric that do not change from one measurement to the next, and what records with them.

With the SDK's instruments that is a `Series`, which is bound once; any other instrument is called each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.util.types import AttributeValue

from tracing import semconv
from tracing.api import is_of_sdk, recorder

if TYPE_CHECKING:
    from tracing.series import Series

Attributes = Mapping[str, AttributeValue]


class Labels(NamedTuple):
    """The labels of one operation on one topic, or on one partition of it.

    Only the client's operation duration has the operation type (messaging-metrics.md), so there are two sets of them.
    """

    typed: LabelSet
    untyped: LabelSet

    @classmethod
    def of(cls, labels: Attributes) -> Labels:
        """Make both sets from the one with the operation type."""
        untyped = {name: value for name, value in labels.items() if name != semconv.MESSAGING_OPERATION_TYPE}
        return cls(LabelSet(labels), LabelSet(untyped))


class LabelSet:
    """Labels that do not change, and the series of each instrument that was recorded with them."""

    __slots__ = ("_labels", "_series")

    def __init__(self, labels: Attributes) -> None:
        self._labels = labels
        self._series: dict[Counter | Histogram, Series] = {}

    def record(self, instrument: Counter | Histogram, value: float, error: str | None = None) -> None:
        """Add a value to an instrument, for what went well or for one type of error."""
        if error is not None:
            recorder(instrument)(value, {**self._labels, semconv.ERROR_TYPE: error})
            return
        series = self._series.get(instrument) or self._bind(instrument)
        if series is None:
            recorder(instrument)(value, self._labels)
        else:
            series.record(value)

    def _bind(self, instrument: Counter | Histogram) -> Series | None:
        """Bind one of the SDK's instruments to the labels; None for any other."""
        # The API's stand-in for a provider that was not there yet keeps the real instrument.
        if not is_of_sdk(getattr(instrument, "_real_instrument", None) or instrument):
            return None
        from tracing.series import Series  # noqa: PLC0415 - it imports the SDK, which is there if an instrument is

        series = self._series[instrument] = Series(instrument, self._labels)
        return series
