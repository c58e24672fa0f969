"""A metric series: one instrument with labels that do not change from one measurement to the next.

For each measurement the SDK cleans, copies, sorts and hashes the labels, only to find the aggregation to which it adds
the value. The labels of a route never change, so a series looks up its aggregations once, one for each reader and view,
and from then on passes them each value as the SDK would, exemplars included.

A measurement goes through the SDK in every case in which the series cannot be sure of the same result: the first one,
which creates the aggregations; a value that the SDK refuses; a meter that was switched off; readers that were added or
removed; an aggregation that the SDK has dropped; another kind of instrument; an SDK without one of the private names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import fields
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk import metrics as sdk
from opentelemetry.util.types import AttributeValue

from tracing.api import recorder

try:
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes as hash_attributes
    from opentelemetry.sdk.metrics._internal.measurement import Measurement as SdkMeasurement
except ImportError:  # Another version of the SDK: every measurement goes through it.
    SdkMeasurement = None  # type: ignore[assignment,misc]

Attributes = Mapping[str, AttributeValue]

#: The private names of the SDK's instruments that a series needs.
PRIVATE: tuple[str, ...] = ("_is_enabled", "_measurement_consumer")
#: The SDK's own methods that record; a subclass may have others.
_METHODS: Final = (sdk.Counter.add, sdk.Histogram.record)


class Measurement:
    """A measurement for the SDK's aggregations, with all attributes of the SDK's own class."""

    __slots__ = ("attributes", "context", "instrument", "time_unix_nano", "value")

    def __init__(self, value: float, now: int, instrument: object, context: Context, attributes: Attributes) -> None:
        self.value = value
        self.time_unix_nano = now
        self.instrument = instrument
        self.context = context
        self.attributes = attributes


class _Stream(NamedTuple):
    """The place of this series in one reader and view; it is valid as long as the key finds the aggregation."""

    aggregations: dict[Hashable, Any]
    key: Hashable
    aggregation: Any


class Series:
    """One instrument with one set of labels."""

    __slots__ = ("_instrument", "_is_known", "_labels", "_readers", "_record", "_samples", "_streams")

    def __init__(self, instrument: Counter | Histogram, labels: Attributes) -> None:
        # The API's proxy for a provider that was not there yet holds the real instrument.
        self._instrument: Any = getattr(instrument, "_real_instrument", None) or instrument
        self._is_known = _known(self._instrument)
        self._record = recorder(instrument)
        self._labels = labels
        #: The readers that the streams belong to; None while there are no streams.
        self._readers: object = None
        self._streams: tuple[_Stream, ...] = ()
        self._samples: Callable[[float, int, Attributes, Context], bool]

    def record(self, value: float) -> None:
        """Add a value."""
        if not (0 <= value < math.inf and self._bound()):
            self._record(value, self._labels)
            self._bind()
            return
        context, now = get_current(), time_ns()
        measurement = Measurement(value, now, self._instrument, context, self._labels)
        samples = self._samples(value, now, self._labels, context)
        for stream in self._streams:
            stream.aggregation.aggregate(measurement, samples)

    def _bound(self) -> bool:
        if self._readers is None or self._readers is not self._instrument._measurement_consumer._reader_storages:
            return False
        for aggregations, key, aggregation in self._streams:
            if aggregations.get(key) is not aggregation:
                return False
        return bool(self._instrument._is_enabled())

    def _bind(self) -> None:
        """Find the aggregations that a measurement has just been added to."""
        self._readers = None
        if not self._is_known:
            return
        try:
            consumer = self._instrument._measurement_consumer
            readers = consumer._reader_storages
            self._streams = tuple(self._found(readers.values()))
            self._samples = consumer._sdk_config.exemplar_filter.should_sample
        except (AttributeError, KeyError, TypeError):
            return  # Built otherwise, or missing: the meter is off, or a reader was just added.
        self._readers = readers

    def _found(self, readers: Iterable[Any]) -> Iterator[_Stream]:
        for reader in readers:
            for match in reader._get_or_init_view_instrument_match(self._instrument):
                kept = match._view._attribute_keys
                labels = {name: value for name, value in self._labels.items() if kept is None or name in kept}
                key = hash_attributes(labels)
                yield _Stream(match._attributes_aggregation, key, match._attributes_aggregation[key])


def _known(instrument: Counter | Histogram) -> bool:
    """Return whether the instrument and the SDK's measurement are built as a series expects."""
    return (
        getattr(recorder(instrument), "__func__", None) in _METHODS
        and all(hasattr(instrument, name) for name in PRIVATE)
        and SdkMeasurement is not None
        and {field.name for field in fields(SdkMeasurement)} == set(Measurement.__slots__)
    )
