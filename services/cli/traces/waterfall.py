"""Draw a trace as a waterfall on a terminal: service, name, duration and bar, one line a span."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.text import Text

from services.cli.traces.model import Span
from services.cli.traces.tree import Row, duration, rows

_COLOURS = ("cyan", "green", "blue", "magenta", "yellow", "bright_cyan", "bright_green", "bright_blue")
_ERROR = "bold red"
_COMPENSATION = "yellow"
_DURATION = 9


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters to draw with."""

    bar: str
    point: str
    error: str
    compensation: str
    cut: str


UNICODE = Signs(bar="█", point="▏", error="✗", compensation="↩", cut="…")
ASCII = Signs(bar="#", point="|", error="!", compensation="<", cut="~")


def waterfall(spans: Iterable[Span], *, width: int, signs: Signs = UNICODE) -> list[Text]:
    """Return the lines of a waterfall.

    Args:
        spans: The spans to draw.
        width: The terminal's columns; no line is longer.
        signs: The characters to draw with; `ASCII` for a terminal without Unicode.
    """
    drawn = rows(spans)
    if not drawn:
        return []
    services = sorted({row.span.service for row in drawn})
    colours = {service: _COLOURS[number % len(_COLOURS)] for number, service in enumerate(services)}
    layout = _Layout.of(max(map(len, services)), width)
    return [_line(row, layout, colours[row.span.service], signs) for row in drawn]


@dataclass(frozen=True, slots=True)
class _Layout:
    service: int
    name: int
    bar: int
    indent: int

    @classmethod
    def of(cls, service: int, width: int) -> _Layout:
        """Divide the width: a fifth for the bar, the rest for the name."""
        wide = 150
        bar = max(8, width // 5)
        service = min(service, 16)
        return cls(service, max(12, width - service - _DURATION - bar - 4), bar, 2 if width > wide else 1)


def _line(row: Row, layout: _Layout, colour: str, signs: Signs) -> Text:
    span = row.span
    line = Text(no_wrap=True, end="")
    line.append(_fit(span.service, layout.service, signs), style=colour)
    line.append(" ")
    name = Text(" " * layout.indent * row.depth)
    for text, style in _name(row, signs):
        name.append(text, style=style)
    name.truncate(layout.name, overflow="ellipsis" if signs is UNICODE else "crop", pad=True)
    line.append_text(name)
    line.append(f" {duration(span.duration_ns):>{_DURATION}} ", style="dim")
    line.append(_bar(row, layout.bar, signs), style=_ERROR if span.is_error else colour)
    line.rstrip()
    return line


def _name(row: Row, signs: Signs) -> Iterator[tuple[str, str]]:
    span = row.span
    if span.is_error:
        yield f"{signs.error} ", _ERROR
    if row.is_compensation:
        yield f"{signs.compensation} ", _COMPENSATION
    yield span.name, _ERROR if span.is_error else _COMPENSATION if row.is_compensation else ""
    if row.message:
        yield f" {row.message}", "dim"
    if row.is_compensation:
        yield " (compensates)", _COMPENSATION
    if span.is_error and span.status:
        yield f" {span.status}", _ERROR


def _bar(row: Row, width: int, signs: Signs) -> str:
    begin = min(width - 1, int(row.begin * width))
    length = min(width - begin, round(row.width * width))
    return " " * begin + (signs.bar * length or signs.point)


def _fit(text: str, width: int, signs: Signs) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + signs.cut
