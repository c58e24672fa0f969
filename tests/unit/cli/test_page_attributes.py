"""Attributes stand in the order in which a person asks for them, and numbers have their units."""

import pytest

from services.cli.traces.page import TraceSection, page
from tests.support.saga_traces import changed, declined, doing


def _shown(**attributes: object) -> str:
    """Return the table of a process span with these attributes more; an underscore pair stands for a dot."""
    spans = declined().spans
    span = doing(spans, "process", "payment.charge")
    more = {name.replace("__", "."): value for name, value in attributes.items()}
    text = page("x", [TraceSection("declined", {}, tuple(changed(spans, span, attributes=more)))])
    return text.partition(f'id="{span.span_id}"')[2].partition("</details>")[0]


def test_the_order_comes_first_and_what_is_technical_last() -> None:
    """Order, saga, step, message, error and wait come in this order, before the rest."""
    shown = _shown(saga__step="charge", error__type="declined", messaging__kafka__queue__time_ms=2.5, zone="a")
    keys = ["order.id", "saga.id", "saga.step", "sagatrace.message.type", "error.type", "queue.time_ms", ">zone<"]
    places = [shown.index(key) for key in keys]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (33.8623, "33.86 ms"),
        (12345.678, "12345.7 ms"),
        (7, "7 ms"),
        (float("inf"), "inf ms"),
        ("7", "7"),
        (True, "true"),
    ],
)
def test_a_number_has_its_unit(value: object, text: str) -> None:
    """A number whose key ends in its unit is shown with it; what is no number is shown as it is."""
    assert f"<td>{text}</td>" in _shown(sagatrace__outbox__wait_ms=value)
