"""A trace on the page: its heading, its story, its facts, a time axis and the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.cli.traces.model import Span
from services.cli.traces.page.axis import Axis
from services.cli.traces.page.references import References
from services.cli.traces.page.row import row_html
from services.cli.traces.page.shown import shown
from services.cli.traces.tree import Row, duration, length_ns, rows
from services.cli.traces.waits import Place

# From how many rows on it matters to a browser which of them are on the screen.
_MANY = 200


@dataclass(frozen=True, slots=True)
class TraceSection:
    """One trace on the page.

    Args:
        title: Its heading; unique on the page.
        fields: Names and values to show below the heading.
        spans: The spans to draw.
        story: What happened, as one line of text; empty if nobody tells it.
        jaeger: The address of the trace's page in Jaeger, http or https; None if there is none.
    """

    title: str
    fields: Mapping[str, str]
    spans: tuple[Span, ...]
    story: str = ""
    jaeger: str | None = None


def anchor(section: TraceSection) -> str:
    """Return the id of a section's heading."""
    return "trace-" + "".join(character if character.isalnum() else "-" for character in section.title)


def section_html(section: TraceSection, hues: Mapping[str, int], references: References) -> str:
    """Return the section of a trace.

    Args:
        section: The trace.
        hues: Each service's colour, in degrees on the colour wheel.
        references: The names of all spans of the page.
    """
    drawn = rows(section.spans)
    axis = Axis.of(length_ns(section.spans))
    lines = "\n".join(
        row_html(row, hues[row.span.service], references, is_parent=_is_parent(drawn, index))
        for index, row in enumerate(drawn)
    )
    return f"""<section class="trace" aria-labelledby="{anchor(section)}" style="--step:{axis.step:.5f}">
<header><h2 id="{anchor(section)}">{shown(section.title)}</h2>{_elsewhere(section)}</header>
{"".join(_about(section))}
<div class="axis"><p class="legend">{"".join(_legend(drawn))}</p>{axis.html()}</div>
<p class="none" hidden>No span of this trace passes the filter.</p>
<ul class="rows{" many" * (len(drawn) > _MANY)}" aria-label="Spans of {shown(section.title)}">
{lines}
</ul>
</section>"""


def _is_parent(drawn: Sequence[Row], index: int) -> bool:
    return index + 1 < len(drawn) and drawn[index + 1].depth > drawn[index].depth


def _about(section: TraceSection) -> Iterator[str]:
    if section.story:
        yield f'<p class="story">{shown(section.story[0].upper() + section.story[1:])}.</p>\n'
    yield '<dl class="facts">'
    facts = {"took": duration(length_ns(section.spans)), "spans": str(len(section.spans))} | dict(section.fields)
    for name, value in facts.items():
        yield f"<div><dt>{shown(name)}</dt><dd>{shown(value)}</dd></div>"
    yield "</dl>"


def _elsewhere(section: TraceSection) -> str:
    if section.jaeger is None:
        return ""
    return f'<a class="elsewhere" href="{shown(section.jaeger)}" rel="noreferrer">Open in Jaeger</a>'


def _legend(drawn: Sequence[Row]) -> Iterator[str]:
    """Yield what the shades of waits mean, of those that are drawn."""
    places = {row.wait.place for row in drawn if row.wait}
    for place in Place:
        if place in places:
            yield f'<span><i class="wait {place.name.lower()}"></i> waits in {place}</span>'
