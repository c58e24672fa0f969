"""An HTML page with traces as waterfalls: one file that needs no network, and works without its script.

Everything that comes from a span is escaped; the page's security policy forbids every request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from json import dumps

from services.cli.traces.model import Attributes, AttributeValue, Link, Span
from services.cli.traces.tree import Row, duration, length_ns, rows
from tracing.semconv import LINK_TYPE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_HUES = (205, 140, 275, 20, 330, 60, 180, 245)


@dataclass(frozen=True, slots=True)
class TraceSection:
    """One trace on the page.

    Args:
        title: Its heading; unique on the page.
        fields: Names and values to show below the heading.
        spans: The spans to draw.
        story: What happened, as one line of text; empty if nobody tells it.
    """

    title: str
    fields: Mapping[str, str]
    spans: tuple[Span, ...]
    story: str = ""


def page(title: str, sections: Iterable[TraceSection]) -> str:
    """Return the page."""
    known = list(sections)
    here = {span.span_id for section in known for span in section.spans}
    services = sorted({span.service for section in known for span in section.spans})
    hues = {service: _HUES[number % len(_HUES)] for number, service in enumerate(services)}
    index = "".join(f'<li><a href="#{_anchor(section)}">{escape(section.title)}</a></li>' for section in known)
    body = "\n".join(_section(section, hues, here) for section in known)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>Each line is a span: open it for its attributes. ✗ failed, ↩ undoes what another span did.</p>
<nav aria-label="Traces"><ul>{index}</ul></nav>
</header>
<main>
{body}
</main>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def _section(section: TraceSection, hues: Mapping[str, int], here: Collection[str]) -> str:
    fields = " · ".join(f"{escape(name)} <code>{escape(value)}</code>" for name, value in section.fields.items())
    lines = "\n".join(_row(row, hues[row.span.service], here) for row in rows(section.spans))
    size = f"{len(section.spans)} spans, {duration(length_ns(section.spans))}"
    story = f'<p class="story">{escape(section.story)}</p>\n' if section.story else ""
    return f"""<section aria-labelledby="{_anchor(section)}">
<h2 id="{_anchor(section)}">{escape(section.title)}</h2>
{story}<p>{size} · {fields}</p>
<ul class="waterfall">
{lines}
</ul>
</section>"""


def _row(row: Row, hue: int, here: Collection[str]) -> str:
    span = row.span
    classes = " ".join(name for name, is_so in (("error", span.is_error), ("undo", row.is_compensation)) if is_so)
    style = f"--hue:{hue};--depth:{row.depth};--begin:{row.begin:.5f};--width:{row.width:.5f}"
    message = f' <span class="message">{escape(row.message)}</span>' if row.message else ""
    return f"""<li><details id="{escape(span.span_id)}" class="{classes}" style="{style}">
<summary><span class="service">{escape(span.service)}</span>\
<span class="name">{_marks(row)}{escape(span.name)}{message}</span>\
<span class="time">{duration(span.duration_ns)}</span><span class="bar" aria-hidden="true"><i></i></span></summary>
<div class="about">{"".join(_details(row, here))}</div>
</details></li>"""


def _marks(row: Row) -> str:
    error = '<span class="mark" role="img" aria-label="failed">✗</span> ' if row.span.is_error else ""
    undo = '<span class="mark" role="img" aria-label="compensates">↩</span> ' if row.is_compensation else ""
    return error + undo


def _details(row: Row, here: Collection[str]) -> Iterator[str]:
    span = row.span
    known: dict[str, AttributeValue] = {"kind": span.kind.name, "trace id": span.trace_id, "span id": span.span_id}
    if span.is_error:
        known["error"] = span.status or True
    yield _table(known | dict(sorted(span.attributes.items())), f"Attributes of {span.name}")
    if span.parent_id:
        yield f"<h3>Parent</h3><ul><li>{_reference(span.parent_id, '', here)}</li></ul>"
    if span.links:
        yield "<h3>Links</h3><ul>" + "".join(f"<li>{_link(link, span, here)}</li>" for link in span.links) + "</ul>"
    for event in span.events:
        yield f"<h3>{escape(event.name)} at +{duration(event.time_ns - span.start_ns)}</h3>"
        yield _table(event.attributes, f"Attributes of {event.name}")


def _link(link: Link, span: Span, here: Collection[str]) -> str:
    reason = link.attributes.get(LINK_TYPE)
    elsewhere = f" in trace {link.trace_id}" if link.trace_id != span.trace_id else ""
    return _reference(link.span_id, elsewhere, here) + (f" ({escape(str(reason))})" if reason else "")


def _reference(span_id: str, where: str, here: Collection[str]) -> str:
    text = f"<code>{escape(span_id)}</code>{escape(where)}"
    return f'<a href="#{escape(span_id)}">{text}</a>' if span_id in here else text


def _table(attributes: Attributes, label: str) -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_text(value))}</td></tr>'
        for name, value in attributes.items()
    )
    return f'<table aria-label="{escape(label)}">{lines}</table>'


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False)


def _anchor(section: TraceSection) -> str:
    return "trace-" + "".join(character if character.isalnum() else "-" for character in section.title)


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
