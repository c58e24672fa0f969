"""The metrics, without a broker."""

from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tracing import semconv
from tracing.labels import Labels
from tracing.metrics import Metrics


def test_buckets_units_and_names_are_those_of_the_convention() -> None:
    """Durations have the advised buckets in seconds, and queue time reaches a week."""
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider(metric_readers=[reader]))
    labels = Labels.of({semconv.MESSAGING_OPERATION_TYPE: "send", "a": "b"})
    metrics.operation(labels, 1_500_000_000)
    metrics.process(labels, 1_500_000_000, "TimeoutError")
    metrics.queue_time(labels, 86_400.0)
    metrics.sent(labels, 3)
    metrics.consumed(labels, 2)
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, tuple[str, Any]] = {
        m.name: (m.unit or "", m.data.data_points[0]) for m in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert {name: unit for name, (unit, _) in found.items()} == {
        "messaging.client.operation.duration": "s",
        "messaging.process.duration": "s",
        "messaging.kafka.queue.time": "s",
        "messaging.client.sent.messages": "{message}",
        "messaging.client.consumed.messages": "{message}",
    }
    advised = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert tuple(found["messaging.client.operation.duration"][1].explicit_bounds) == advised
    assert tuple(found["messaging.process.duration"][1].explicit_bounds) == advised
    assert found["messaging.kafka.queue.time"][1].explicit_bounds[-1] == 7 * 24 * 3600
    assert found["messaging.client.operation.duration"][1].sum == 1.5
    assert dict(found["messaging.client.operation.duration"][1].attributes) == {
        "messaging.operation.type": "send",
        "a": "b",
    }
    assert dict(found["messaging.process.duration"][1].attributes) == {"a": "b", "error.type": "TimeoutError"}
    assert (found["messaging.client.sent.messages"][1].value, found["messaging.client.consumed.messages"][1].value) == (
        3,
        2,
    )


def test_nobody_who_listens_is_not_enabled() -> None:
    """Without a provider, or with one that does nothing, nothing need be computed."""
    assert not Metrics().enabled
    assert not Metrics(NoOpMeterProvider()).enabled
    assert Metrics(MeterProvider()).enabled
