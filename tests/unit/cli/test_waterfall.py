"""The waterfall shows every span of a trace once, under its parent, in the width that there is."""

from dataclasses import replace
from typing import Any

import pytest

from services.cli.durations import spoken
from services.cli.traces.model import Event
from services.cli.traces.tree import duration, rows
from services.cli.traces.waterfall import ASCII, waterfall
from tests.support.saga_traces import changed, completed, declined, doing


def test_every_span_has_one_row_under_its_parent() -> None:
    """Rows are a walk through the tree: a span comes after its parent, one level deeper."""
    spans = completed().spans
    drawn = rows(spans)
    assert sorted(row.span.span_id for row in drawn) == sorted(span.span_id for span in spans)
    depths = {row.span.span_id: row.depth for row in drawn}
    for position, row in enumerate(drawn):
        above = [each.span.span_id for each in drawn[:position]]
        if row.span.parent_id is None:
            assert row.depth == 0
        else:
            assert row.span.parent_id in above
            assert row.depth == depths[row.span.parent_id] + 1


def test_rows_lie_within_the_trace() -> None:
    """The first row begins at 0, and no row reaches beyond the whole."""
    drawn = rows(declined().spans)
    assert drawn[0].begin == 0
    assert all(0 <= row.begin <= row.begin + row.width <= 1 + 1e-9 for row in drawn)


def test_orphans_and_cycles_are_drawn_too() -> None:
    """Spans without their parent, and spans that are each other's, are still shown once each."""
    spans = completed().spans
    one, two = doing(spans, "send", "saga.completed"), doing(spans, "process", "saga.completed")
    broken = changed(changed(spans, one, parent_id=two.span_id), two, parent_id=one.span_id)
    broken = [replace(span, parent_id="e" * 16) if span is spans[5] else span for span in broken]
    assert len(rows(broken)) == len(broken)


@pytest.mark.parametrize("field", ["name", "service", "status"])
def test_nothing_in_a_span_reaches_the_terminal_as_a_control_character(field: str) -> None:
    """A name that would rename the window is shown as its escapes."""
    spans = declined().spans
    hostile: dict[str, Any] = {field: "x\x1b]0;title\x07\n", "is_error": True}
    drawn = "".join(line.plain for line in waterfall(changed(spans, spans[-1], **hostile), width=200))
    assert "\\x1b]0" in drawn
    assert not {"\x1b", "\x07", "\n"}.intersection(drawn)


@pytest.mark.parametrize("width", [60, 80, 130, 250])
def test_lines_fit_the_width(width: int) -> None:
    """No line is longer than the terminal is wide."""
    lines = [line.plain for line in waterfall(declined().spans, width=width)]
    assert len(lines) == len(declined().spans)
    assert max(map(len, lines)) <= width


def test_errors_and_compensation_are_marked() -> None:
    """A failed span says why, a compensating span says what it undoes, and both have a sign and a colour."""
    lines = waterfall(declined().spans, width=160)
    failed, refused = [line for line in lines if "✗" in line.plain]
    (undoing,) = [line for line in lines if "↩" in line.plain]
    assert "✗ saga order failed: declined " in failed.plain
    assert "✗ process payment.charge: payment.declined" in refused.plain
    assert any("red" in str(part.style) for part in failed.spans)
    assert "↩ process inventory.release (undoes inventory.reserve)" in undoing.plain


def test_what_a_name_says_is_not_said_again() -> None:
    """The type of a message and the reason of a failure stand beside the name only if they are not in it."""
    spans = declined().spans
    charge = doing(spans, "process", "payment.charge")
    named = changed(spans, charge, name="process oms.payment.commands")
    (line,) = [line.plain for line in waterfall(named, width=160) if "process oms.payment.commands" in line.plain]
    assert "✗ process oms.payment.commands payment.charge: payment.declined " in line
    (line,) = [line.plain for line in waterfall(spans, width=160) if "process payment.charge" in line.plain]
    assert line.count("payment.charge") == 1
    (line,) = [line.plain for line in waterfall(spans, width=160) if "saga order" in line.plain]
    assert line.count("declined") == 1


def test_waits_are_shaded_before_the_bar() -> None:
    """The time in which a message waited is shaded up to the span that ended the wait, and only there."""
    spans = declined().spans
    send = doing(spans, "send", "payment.charge")
    slow = changed(spans, send, attributes={"sagatrace.outbox.wait_ms": 5.0})
    lines = [line.plain for line in waterfall(slow, width=200)]
    (slow_line,) = [line for line in lines if "send payment.charge" in line]
    assert slow_line.index("░") < slow_line.rindex("░") == slow_line.index("█") - 1
    (unhurried,) = [line for line in lines if "process payment.charge" in line]
    assert "░" not in unhurried
    assert "." in waterfall(slow, width=200, signs=ASCII)[lines.index(slow_line)].plain.rpartition("ms ")[2]


def test_names_get_what_they_need_and_bars_the_rest() -> None:
    """On a wide terminal no name is cut, and the bars take what the names leave."""
    for width in (130, 180):
        lines = [line.plain for line in waterfall(declined().spans, width=width)]
        assert not any("…" in line for line in lines)
        assert max(map(len, lines)) == width


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"events": (Event("retry", 0), Event("retry", 1))}, "(2 retries)"),
        ({"events": (Event("unavailable", 0),)}, "(database or broker away)"),
        ({"attributes": {"sagatrace.duplicate": True}}, "(duplicate)"),
        ({"attributes": {"saga.verdict": "stale"}}, "(stale reply)"),
        ({"attributes": {"sagatrace.interrupted": True}}, "(interrupted)"),
        ({"attributes": {"sagatrace.original.topic": "oms.payment.commands"}}, "(re-driven)"),
    ],
)
def test_what_is_unusual_stands_behind_the_name(changes: dict[str, Any], mark: str) -> None:
    """A row says what is unusual about its span, and leaves that out whole where there is no room."""
    spans = declined().spans
    odd = changed(spans, doing(spans, "process", "payment.charge"), **changes)
    assert [line.plain for line in waterfall(odd, width=160) if mark in line.plain]
    assert not [line.plain for line in waterfall(odd, width=80) if "(" in line.plain]


def test_plain_signs_are_ascii() -> None:
    """Where only ASCII can be shown, only ASCII is drawn."""
    assert all(line.plain.isascii() for line in waterfall(declined().spans, width=100, signs=ASCII))


def test_no_spans_are_no_lines() -> None:
    """A trace without spans has no waterfall."""
    assert waterfall([], width=80) == []


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 us"),
        (350_000, "350 us"),
        (12_340_000, "12.3 ms"),
        (4_560_000_000, "4.56 s"),
        (150 * 10**9, "2.5 min"),
        (11_160 * 10**9, "3.1 h"),
        (9 * 86_400 * 10**9, "9.0 days"),
    ],
)
def test_durations_are_written_for_people(nanoseconds: int, text: str) -> None:
    """A duration has the unit that suits it."""
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.0004, "0 ms"),
        (0.045, "45 ms"),
        (0.0949, "95 ms"),
        (0.096, "0.1 s"),
        (0.94, "0.9 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7_169, "119 min"),
        (7_200, "2 h"),
        (170_000, "47 h"),
        (172_800, "2 days"),
        (9 * 86_400, "9 days"),
    ],
)
def test_durations_are_spoken_in_a_sentence(seconds: float, text: str) -> None:
    """In a sentence a duration has one or two digits that count, and never two units."""
    assert spoken(round(seconds * 1e9)) == text
