"""Log lines: JSON, findable from a trace, and without anybody's data."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from services.messaging import logs
from services.messaging.errors import Unavailable
from tracing.testing import RecordedSpans

SECRET = "4111 1111"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Undo after a test what it configured."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    aiokafka_level = logging.getLogger("aiokafka").level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("aiokafka").setLevel(aiokafka_level)


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the last line of the log."""
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_a_line_is_json_with_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    """An event is one JSON object with its fields, the service, the level and the time in UTC."""
    logs.configure("oms")
    structlog.get_logger("a.logger").info("order.placed", order_id="o-1")
    line = last_line(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "order.placed",
        "order_id": "o-1",
        "service": "oms",
        "level": "info",
        "logger": "a.logger",
    }


def test_a_line_inside_a_span_is_found_from_its_trace(
    capsys: pytest.CaptureFixture[str],
    spans: RecordedSpans,
) -> None:
    """Lines of structlog and of the standard library carry the ids of the span in which they are written."""
    logs.configure("oms")
    with trace.get_tracer("test").start_as_current_span("work"):
        structlog.get_logger().info("inside")
        ours = last_line(capsys)
        logging.getLogger("theirs").warning("inside %s", "too")
        theirs = last_line(capsys)
    context = spans.one("work").get_span_context()
    assert context is not None
    ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert {name: ours[name] for name in ids} == ids
    assert {name: theirs[name] for name in ids} == ids
    assert theirs["event"] == "inside too"


@pytest.mark.parametrize(("error", "told"), [(ValueError(SECRET), None), (Unavailable("no broker"), "no broker")])
def test_a_strangers_exception_is_told_without_its_text(
    error: Exception,
    told: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of an exception the class and the stack are told; its text only if it is ours."""
    logs.configure("oms")
    try:
        raise error
    except (ValueError, Unavailable):
        structlog.get_logger().exception("failed")
    line = last_line(capsys)
    assert line["exception"].endswith(type(error).__name__)
    assert "test_logs.py" in line["exception_stack"]
    assert line.get("exception_text") == told
    assert SECRET not in json.dumps(line["exception"])
