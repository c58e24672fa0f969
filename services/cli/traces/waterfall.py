"""Draw a trace as a waterfall on a terminal: service, name, duration and bar, one line a span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from services.cli.printable import printable
from services.cli.traces.model import Span
from services.cli.traces.tree import Row, duration, rows

_COLOURS = ("cyan", "green", "blue", "magenta", "yellow", "bright_cyan", "bright_green", "bright_blue")
_ERROR = "bold red"
_COMPENSATION = "yellow"
_DURATION = 9
_SERVICE = 16
_SHORTEST_NAME = 12
_SHORTEST_BAR = 8
_GAPS = 3
_WIDE = 150


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters to draw with."""

    bar: str
    point: str
    wait: str
    error: str
    compensation: str
    cut: str


UNICODE = Signs(bar="█", point="▏", wait="░", error="✗", compensation="↩", cut="…")
ASCII = Signs(bar="#", point="|", wait=".", error="!", compensation="<", cut="~")


def waterfall(spans: Iterable[Span], *, width: int, signs: Signs = UNICODE) -> list[Text]:
    """Return the lines of a waterfall.

    Args:
        spans: The spans to draw.
        width: The terminal's columns; no line is longer.
        signs: The characters to draw with; `ASCII` for a terminal without Unicode.
    """
    drawn = rows(_safe(span) for span in spans)
    if not drawn:
        return []
    services = sorted({row.span.service for row in drawn})
    colours = {service: _COLOURS[number % len(_COLOURS)] for number, service in enumerate(services)}
    layout = _Layout.of(drawn, width, signs)
    return [_line(row, layout, colours[row.span.service], signs) for row in drawn]


def _safe(span: Span) -> Span:
    """Return a span that is safe to print: a trace that Jaeger has may hold anything."""
    texts = {name: value for name, value in span.attributes.items() if isinstance(value, str)}
    if all(map(str.isprintable, (span.service, span.name, span.status, *texts.values()))):
        return span
    attributes = {**span.attributes, **{name: printable(value) for name, value in texts.items()}}
    service, name, status = map(printable, (span.service, span.name, span.status))
    return replace(span, service=service, name=name, status=status, attributes=attributes)


def legend(signs: Signs = UNICODE) -> Text:
    """Return a line that says what the signs mean."""
    meanings = {
        signs.bar: "at work",
        signs.wait: "its message waits, in the outbox or in Kafka",
        signs.error: "failed",
        signs.compensation: "undoes a step",
    }
    return Text("   ".join(f"{sign} {meaning}" for sign, meaning in meanings.items()), style="dim")


@dataclass(frozen=True, slots=True)
class _Layout:
    service: int
    name: int
    bar: int
    indent: int

    @classmethod
    def of(cls, drawn: Sequence[Row], width: int, signs: Signs) -> _Layout:
        """Divide the width: names get what they need, but leave a seventh to the bars, which get the rest."""
        indent = 2 if width > _WIDE else 1
        service = min(max(len(row.span.service) for row in drawn), _SERVICE)
        left = width - service - _DURATION - _GAPS
        most = max(_SHORTEST_NAME, left - max(_SHORTEST_BAR, width // 7))
        name = min(most, max(_need(row, indent, most, signs) for row in drawn))
        return cls(service, name, max(_SHORTEST_BAR, left - name), indent)


def _need(row: Row, indent: int, most: int, signs: Signs) -> int:
    """Return the room that a row's name needs, with its marks if that is not too much."""
    bare = indent * row.depth + len(_name(row, signs))
    whole = bare + len(_marks(row))
    return whole if whole <= most else bare


def _line(row: Row, layout: _Layout, colour: str, signs: Signs) -> Text:
    span = row.span
    line = Text(no_wrap=True, end="")
    line.append(_fit(span.service, layout.service, signs), style=colour)
    line.append(" ")
    name = Text(" " * layout.indent * row.depth).append_text(_name(row, signs))
    if len(name) + len(_marks(row)) <= layout.name:
        name.append(_marks(row), style=_COMPENSATION)
    name.truncate(layout.name, overflow="ellipsis" if signs is UNICODE else "crop", pad=True)
    line.append_text(name)
    line.append(f" {duration(span.duration_ns):>{_DURATION}} ", style="dim")
    wait, bar = _bar(row, layout.bar, signs)
    line.append(wait, style="dim")
    line.append(bar, style=_ERROR if span.is_error else colour)
    line.rstrip()
    return line


def _name(row: Row, signs: Signs) -> Text:
    span = row.span
    name = Text()
    if span.is_error:
        name.append(f"{signs.error} ", style=_ERROR)
    if row.is_compensation:
        name.append(f"{signs.compensation} ", style=_COMPENSATION)
    name.append(span.name, style=_ERROR if span.is_error else _COMPENSATION if row.is_compensation else "")
    if row.message:
        name.append(f" {row.message}", style="dim")
    if row.reason:
        name.append(f": {row.reason}", style=_ERROR)
    return name


def _marks(row: Row) -> str:
    """Return what is unusual about a span in parentheses: it stands behind the name where there is room for all."""
    return f" ({', '.join(row.marks)})" if row.marks else ""


def _bar(row: Row, width: int, signs: Signs) -> tuple[str, str]:
    """Return the wait with the blanks before it, and the bar."""
    begin = min(width - 1, int(row.begin * width))
    wait = min(begin, int(row.wait_begin * width))
    length = min(width - begin, round(row.width * width))
    return " " * wait + signs.wait * (begin - wait), signs.bar * length or signs.point


def _fit(text: str, width: int, signs: Signs) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + signs.cut
