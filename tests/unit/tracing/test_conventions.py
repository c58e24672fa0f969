"""Which version's attribute names are written: what OTEL_SEMCONV_STABILITY_OPT_IN asks for."""

from dataclasses import dataclass
from typing import Any

import pytest

import tracing
from tests.support.conventions import OPT_IN
from tracing.settings import messaging_opt_in
from tracing.testing import RecordedSpans

pytestmark = pytest.mark.skipif(bool(OPT_IN), reason="this run has chosen the names")


@dataclass
class Record:
    """A received message without a value."""

    topic: str = "orders"
    partition: int = 2
    offset: int = 7
    timestamp: int = 0
    key: object = b"o-1"
    value: object = None
    headers: Any = ()


OLD = {
    "messaging.system": "kafka",
    "messaging.kafka.offset": 7,
    "messaging.kafka.message.key": "o-1",
    "messaging.kafka.message.tombstone": True,
}
NEW = {
    "messaging.system.name": "kafka",
    "kafka.offset": 7,
    "kafka.message.key": "o-1",
    "kafka.message.tombstone": True,
}
SAME = {
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "orders",
    "messaging.destination.partition.id": "2",
}


@pytest.mark.parametrize(
    ("value", "names", "schema"),
    [
        (None, OLD, "1.44.0"),
        ("http,database/dup", OLD, "1.44.0"),
        ("messaging", NEW, "1.45.0"),
        ("messaging/dup", {**OLD, **NEW}, "1.45.0"),
    ],
)
def test_names_and_schema_are_those_of_the_version_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str | None, names: dict[str, object], schema: str
) -> None:
    """Spans have the old names, the new ones or both, and tracer and meter have the schema of the newest of them."""
    if value is not None:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", value)
    with RecordedSpans() as spans:
        with tracing.process(Record()):
            pass
        span = spans.one("process orders")
        (point,) = spans.metric_points("messaging.process.duration")
        data = spans._reader.get_metrics_data()
    assert span.attributes == {**names, **SAME}
    assert {name for name in point.attributes if "system" in name} == {name for name in names if "system" in name}
    assert span.instrumentation_scope is not None
    assert data is not None
    urls = {span.instrumentation_scope.schema_url, data.resource_metrics[0].scope_metrics[0].scope.schema_url}
    assert urls == {f"https://opentelemetry.io/schemas/{schema}"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        (" ", ""),
        ("http", ""),
        ("messaging", "messaging"),
        (" database/dup , messaging ", "messaging"),
        ("messaging/dup", "messaging/dup"),
        ("messaging/dup,messaging", "messaging/dup"),
        ("messaging,http/dup,messaging/dup", "messaging/dup"),
        ("messagings,messaging/dupe", ""),
    ],
)
def test_the_variable_is_a_list(value: str, expected: str) -> None:
    """Values of other conventions do not count, and both names win over the new ones alone."""
    assert messaging_opt_in({"OTEL_SEMCONV_STABILITY_OPT_IN": value}) == expected


def test_the_names_are_chosen_when_it_is_instrumented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the environment has no effect until `instrument()` is called again."""
    with RecordedSpans() as spans:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging")
        with tracing.process(Record()):
            pass
        assert "messaging.system" in (spans.one("process orders").attributes or {})
