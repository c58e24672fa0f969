"""Metrics in memory: what a test's meter has counted."""

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

Points = dict[tuple[str, ...], Any]


def points(reader: InMemoryMetricReader, name: str) -> Points:
    """Read a metric: the values of its attributes -> its value, or its count."""
    data: Any = reader.get_metrics_data()
    if data is None:
        return {}
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    return {
        tuple(map(str, point.attributes.values())): getattr(point, "value", None) or getattr(point, "count", 0)
        for metric in found
        if metric.name == name
        for point in metric.data.data_points
    }
