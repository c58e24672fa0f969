"""What a row opens to: the span in a sentence, its attributes, its events, and the spans that it belongs with."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.traces.model import Attributes, AttributeValue, Event
from services.cli.traces.page.attributes import grouped, text_of
from services.cli.traces.page.references import References
from services.cli.traces.page.shown import shown
from services.cli.traces.tree import Row, duration


def details_html(row: Row, references: References) -> str:
    """Return the details of a span."""
    return "".join(_parts(row, references))


def _parts(row: Row, references: References) -> Iterator[str]:
    span = row.span
    yield f"<p>{shown('; '.join(_sentence(row, references)))}.</p>"
    if related := list(references.of(span)):
        lines = "".join(f"<div><dt>{shown(reason)}</dt><dd>{reference}</dd></div>" for reason, reference in related)
        yield f'<dl class="related">{lines}</dl>'
    yield _table(_all_attributes(row), f"Attributes of {span.name}")
    for event in span.events:
        yield _event(event, span.start_ns)


def _sentence(row: Row, references: References) -> Iterator[str]:
    span = row.span
    begin_ns = span.start_ns - references.begin_ns(span.trace_id)
    yield f"{span.service}, {span.kind.name.lower()} span"
    yield f"begins at {duration(begin_ns)}, takes {duration(span.duration_ns)}"
    if row.wait:
        yield f"its message waited {duration(row.wait.length_ns)} in {row.wait.place}"
    if span.is_interrupted:
        yield "its process died before it ended"


def _all_attributes(row: Row) -> Attributes:
    span = row.span
    known: dict[str, AttributeValue] = {"name": span.name, "trace id": span.trace_id, "span id": span.span_id}
    if span.is_error:
        known["error"] = span.status or True
    return known | dict(span.attributes)


def _event(event: Event, start_ns: int) -> str:
    heading = f"<h3>{shown(event.name)}, {duration(max(0, event.time_ns - start_ns))} after its start</h3>"
    return heading + (_table(event.attributes, f"Attributes of {event.name}") if event.attributes else "")


def _table(attributes: Attributes, label: str) -> str:
    bodies = "".join(
        f'<tbody><tr><th scope="rowgroup" colspan="2">{group}</th></tr>{"".join(_lines(values))}</tbody>'
        for group, values in grouped(attributes).items()
    )
    return f'<table aria-label="{shown(label)}">{bodies}</table>'


def _lines(attributes: Attributes) -> Iterator[str]:
    for name, value in attributes.items():
        yield f'<tr><th scope="row">{shown(name)}</th><td>{shown(text_of(name, value))}</td></tr>'
