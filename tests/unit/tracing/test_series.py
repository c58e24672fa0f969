"""A series records what the SDK would, in fewer steps."""

import json
import math
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics._internal import _default_meter_configurator, _disable_meter_configurator
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.util.types import AttributeValue

from tracing import series
from tracing.api import recorder
from tracing.labels import Labels, LabelSet
from tracing.metrics import Metrics
from tracing.series import Series

LABELS: dict[str, AttributeValue] = {
    "messaging.system": "kafka",
    "messaging.operation.type": "send",
    "server.port": 9092,
}
_TIMES = {"start_time_unix_nano", "time_unix_nano"}

fast = pytest.mark.skipif("_no_such_name" in series.PRIVATE, reason="every measurement goes the SDK's way in this run")

Setup = Callable[[], tuple[MeterProvider, InMemoryMetricReader]]


def plain() -> tuple[MeterProvider, InMemoryMetricReader]:
    """The defaults."""
    reader = InMemoryMetricReader()
    return MeterProvider([reader], shutdown_on_exit=False), reader


def views() -> tuple[MeterProvider, InMemoryMetricReader]:
    """Two views of one instrument, a dropped label, a dropped instrument."""
    reader = InMemoryMetricReader()
    several = [
        View(instrument_name="h", attribute_keys={"server.port"}),
        View(instrument_name="h", name="e", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="d", aggregation=DropAggregation()),
    ]
    return MeterProvider([reader], views=several, shutdown_on_exit=False), reader


def deltas() -> tuple[MeterProvider, InMemoryMetricReader]:
    """Each collection begins anew, and every measurement may be an exemplar."""
    delta = dict.fromkeys((sdk.Counter, sdk.Histogram), AggregationTemporality.DELTA)
    reader = InMemoryMetricReader(preferred_temporality=delta)  # type: ignore[arg-type]
    return MeterProvider([reader], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False), reader


def no_exemplars() -> tuple[MeterProvider, InMemoryMetricReader]:
    """No measurement is an exemplar."""
    reader = InMemoryMetricReader()
    return MeterProvider([reader], exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False), reader


def collected(reader: InMemoryMetricReader) -> Any:
    """Return what was collected, without its times, which differ from run to run."""

    def timeless(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: timeless(value) for name, value in found.items() if name not in _TIMES}
        return [timeless(each) for each in found] if isinstance(found, list) else found

    data = reader.get_metrics_data()
    return None if data is None else timeless(json.loads(data.to_json()))


def instruments(provider: MeterProvider) -> list[Counter | Histogram]:
    """One that counts, one that measures, and one for a view to drop."""
    meter = provider.get_meter("m")
    return [meter.create_counter("c"), meter.create_histogram("h"), meter.create_histogram("d")]


def run(setup: Setup, steps: list[float | None], record: Callable[[LabelSet, Any, float], None]) -> list[Any]:
    """Record values, each with every instrument and both kinds of labels; None collects."""
    provider, reader = setup()
    found, both, chance = instruments(provider), Labels.of(LABELS), random.getstate()
    random.seed(7)  # Which measurements a reservoir keeps as exemplars.
    data = []
    try:
        for value in steps:
            if value is None:
                data.append(collected(reader))
                continue
            for instrument in found:
                for labels in both:
                    record(labels, instrument, value)
    finally:
        random.setstate(chance)
    data.append(collected(reader))
    provider.shutdown()
    return data


def by_the_sdk(labels: LabelSet, instrument: Counter | Histogram, value: float) -> None:
    """Record as the SDK does."""
    recorder(instrument)(value, labels._labels)


#: Nothing between 0 and a nanosecond: the SDK's own exponential histogram can't be collected ("Incorrect merge scale")
#: with a value below about 1e-77 after a collection of zeros alone.
_VALUES = st.one_of(
    st.none(), st.floats(1e-9, 100), st.integers(0, 3), st.sampled_from([0.0, -1.0, math.nan, math.inf])
)


@pytest.mark.parametrize("setup", [plain, views, deltas, no_exemplars])
@given(steps=st.lists(_VALUES, max_size=30), sampled=st.booleans())
def test_a_series_records_what_the_sdk_would(setup: Setup, steps: list[float | None], *, sampled: bool) -> None:
    """Whatever the views, temporality, exemplars and values: the same points."""
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else 0))
    with trace.use_span(NonRecordingSpan(context)):
        assert run(setup, steps, LabelSet.record) == run(setup, steps, by_the_sdk)


@fast
@pytest.mark.parametrize("setup", [plain, views, deltas, no_exemplars])
def test_a_series_finds_its_aggregations(setup: Setup) -> None:
    """Whatever the views: after the first measurement, the SDK's own way is not needed."""
    provider, _ = setup()
    for instrument in instruments(provider):
        found = Series(instrument, LABELS)
        assert not found._bound()
        found.record(1)
        assert found._bound()


def total(reader: InMemoryMetricReader) -> float | None:
    """Return the value of the only point, if there is one."""
    data = collected(reader)
    if data is None:
        return None
    return float(data["resource_metrics"][0]["scope_metrics"][0]["metrics"][0]["data"]["data_points"][0]["value"])


def test_readers_may_come_and_go() -> None:
    """A reader has what was recorded while it was there, and no measurement twice."""
    provider, first = plain()
    counted = Series(provider.get_meter("m").create_counter("c"), LABELS)
    counted.record(1)
    counted.record(1)
    second = InMemoryMetricReader()
    provider.add_metric_reader(second)
    counted.record(1)
    counted.record(1)
    assert (total(first), total(second)) == (4, 2)
    provider.remove_metric_reader(second)
    counted.record(1)
    assert total(first) == 5


def test_a_meter_may_be_switched_off_and_on() -> None:
    """What is recorded meanwhile is dropped, as the SDK drops it, also before the first measurement."""
    provider, reader = plain()
    counted = Series(provider.get_meter("m").create_counter("c"), LABELS)
    provider._set_meter_configurator(meter_configurator=_disable_meter_configurator)
    counted.record(1)
    provider._set_meter_configurator(meter_configurator=_default_meter_configurator)
    counted.record(1)
    counted.record(1)
    provider._set_meter_configurator(meter_configurator=_disable_meter_configurator)
    counted.record(1)
    provider._set_meter_configurator(meter_configurator=_default_meter_configurator)
    counted.record(1)
    assert total(reader) == 3


@fast
def test_an_aggregation_that_the_sdk_dropped_is_found_anew() -> None:
    """If an SDK forgets its aggregations, a measurement still reaches the one that is collected."""
    provider, reader = plain()
    counted = Series(provider.get_meter("m").create_counter("c"), LABELS)
    counted.record(1)
    counted.record(1)
    counted._streams[0].aggregations.clear()
    counted.record(1)
    counted.record(1)
    assert total(reader) == 2


@pytest.mark.parametrize("gone", ["PRIVATE", "SdkMeasurement"])
def test_an_sdk_that_is_built_otherwise_is_called_as_anyone_calls_it(
    monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Where a private name is missing, every measurement goes the public way."""
    monkeypatch.setattr(series, gone, ("_no_such_name",) if gone == "PRIVATE" else None)
    provider, reader = plain()
    counted = Series(provider.get_meter("m").create_counter("c"), LABELS)
    for _ in range(3):
        counted.record(1)
    assert total(reader) == 3
    assert counted._streams == ()


@fast
def test_a_measurement_with_known_labels_costs_few_calls() -> None:
    """Once the aggregations are found, a measurement is a handful of calls: the SDK's own way has 33 of them here."""
    provider, _ = plain()
    metrics, labels = Metrics(provider), Labels.of(LABELS)
    calls: list[str] = []

    def called(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    metrics.process(labels, 1)
    sys.setprofile(called)
    try:
        metrics.process(labels, 1)
    finally:
        sys.setprofile(None)
    assert len(calls) <= 16, calls
    assert not {"_clean_attribute_value", "_hash_attributes"} & set(calls)
