"""A span as a row: service, name, duration and bar, above the details that open."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.traces.page.details import details_html
from services.cli.traces.page.references import References
from services.cli.traces.page.shown import shown
from services.cli.traces.saga_trace import operation
from services.cli.traces.tree import Row, duration

# A longer service, or a longer name, may be cut, and so has its whole as a title.
_SHORT = 12
_LONG = 60


def row_html(row: Row, hue: int, references: References, *, is_parent: bool) -> str:
    """Return the row of a span.

    Args:
        row: The span, and where it is drawn.
        hue: The colour of its service, in degrees on the colour wheel.
        references: The names of all spans of the page.
        is_parent: Whether the next row is below it.
    """
    span = row.span
    marks = (("parent", is_parent), ("error", span.is_error), ("undo", row.is_compensation))
    classes = "".join(f" {name}" for name, is_so in marks if is_so)
    style = f"--hue:{hue};--depth:{row.depth};--begin:{row.begin:.5f};--width:{row.width:.5f}"
    about = f'data-level="{row.depth + 1}" data-service="{shown(span.service)}" data-kind="{span.kind.name.lower()}"'
    return f"""<li id="{shown(span.span_id)}" class="row{classes}" {about} style="{style}"><details>
<summary><span class="service"{_title(span.service, _SHORT)}>{shown(span.service)}</span>\
<span class="what"><i class="fold" aria-hidden="true"></i><span class="text"{_title(_plain(row))}>\
{"".join(_text(row))}</span></span>\
<span class="time">{duration(span.duration_ns)}</span>\
<span class="bar" aria-hidden="true">{_wait(row)}<i class="work"></i></span></summary>
<div class="about">{details_html(row, references)}</div>
</details></li>"""


def _title(text: str, limit: int = _LONG) -> str:
    whole = shown(text)
    return f' title="{whole}"' if len(whole) > limit else ""


def _plain(row: Row) -> str:
    return " ".join(filter(None, (row.span.name, row.message, row.reason, *row.marks)))


def _text(row: Row) -> Iterator[str]:
    span = row.span
    if span.is_error:
        yield '<span class="mark" role="img" aria-label="failed">✗</span> '
    if row.is_compensation:
        yield '<span class="mark" role="img" aria-label="compensates">↩</span> '
    yield _name(row)
    if row.message:
        yield f" {shown(row.message)}"
    if row.reason:
        yield f' <span class="why">{shown(row.reason)}</span>'
    if row.marks:
        yield f' <span class="note">{shown(", ".join(row.marks))}</span>'


def _name(row: Row) -> str:
    """Return the name, with its verb apart if it is about a message: what was sent is read before that it was."""
    verb, space, rest = row.span.name.partition(" ")
    if not (space and operation(row.span) == verb):
        return shown(row.span.name)
    return f'<span class="verb">{shown(verb)}</span> {shown(rest)}'


def _wait(row: Row) -> str:
    if row.wait is None:
        return ""
    style = f"--begin:{row.wait_begin:.5f};--width:{row.begin - row.wait_begin:.5f}"
    return f'<i class="wait {row.wait.place.name.lower()}" style="{style}"></i>'
