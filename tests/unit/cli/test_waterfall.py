"""The waterfall shows every span of a trace once, under its parent, in the width that there is."""

from dataclasses import replace

import pytest

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


@pytest.mark.parametrize("width", [60, 80, 130, 250])
def test_lines_fit_the_width(width: int) -> None:
    """No line is longer than the terminal is wide."""
    lines = [line.plain for line in waterfall(declined().spans, width=width)]
    assert len(lines) == len(declined().spans)
    assert max(map(len, lines)) <= width


def test_errors_and_compensation_are_marked() -> None:
    """A failed span and a compensating span are marked by a sign and by a colour."""
    lines = waterfall(declined().spans, width=160)
    (failed,) = [line for line in lines if "✗" in line.plain]
    (undoing,) = [line for line in lines if "↩" in line.plain]
    assert "saga order" in failed.plain
    assert "card_declined" in failed.plain
    assert any("red" in str(part.style) for part in failed.spans)
    assert "process oms.inventory.commands inventory.release (compensates)" in undoing.plain


def test_plain_signs_are_ascii() -> None:
    """Where only ASCII can be shown, only ASCII is drawn."""
    assert all(line.plain.isascii() for line in waterfall(declined().spans, width=100, signs=ASCII))


def test_no_spans_are_no_lines() -> None:
    """A trace without spans has no waterfall."""
    assert waterfall([], width=80) == []


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 us"), (350_000, "350 us"), (12_340_000, "12.3 ms"), (4_560_000_000, "4.56 s")],
)
def test_durations_are_written_for_people(nanoseconds: int, text: str) -> None:
    """A duration has the unit that suits it."""
    assert duration(nanoseconds) == text
