"""The page fits its screen, by its own geometry: nothing is wider, nothing is cut, rows are low, bars are there."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import pages
from tests.browser.chromium import DESKTOP, PHONE, Screen

_PAGES: dict[str, Callable[[], str]] = {
    "five": pages.five_traces,
    "deep": pages.deep_trace,
    "hostile": pages.hostile,
}
# A line of text, in CSS pixels.
_LINE = 20.3
# The one in the middle is the narrowest with the columns of a desk.
_each_width = pytest.mark.parametrize("width", [PHONE, 961, DESKTOP])


@pytest.fixture(scope="module", params=_PAGES)
def loaded(screen: Screen, request: pytest.FixtureRequest) -> Page:
    """Each page in turn, loaded once."""
    return screen.show(_PAGES[request.param]())


@pytest.fixture(scope="module")
def five(screen: Screen) -> Page:
    """The page with five traces."""
    return screen.show(pages.five_traces())


@pytest.fixture(scope="module")
def deep(screen: Screen) -> Page:
    """The page with a deep trace."""
    return screen.show(pages.deep_trace())


def _at(page: Page, width: int) -> Page:
    """Return a page with a screen of this width."""
    page.set_viewport_size({"width": width, "height": 900})
    return page


def _boxes(page: Page, selector: str) -> list[dict[str, float]]:
    """Return where the elements are, in CSS pixels."""
    script = """found => found.map(one => {
        const { top, left, right, width, height } = one.getBoundingClientRect();
        return { top, left, right, width, height };
    })"""
    boxes: list[dict[str, float]] = page.locator(selector).evaluate_all(script)
    return boxes


def _open_all(page: Page, is_open: bool) -> None:  # noqa: FBT001  what `open` is set to
    page.evaluate("is => { for (const one of document.querySelectorAll('details')) one.open = is; }", is_open)


@_each_width
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_nothing_is_wider_than_the_screen(
    loaded: Page,
    width: int,
    is_open: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    """No page scrolls sideways, however its spans are named and nested, and whatever is open."""
    page = _at(loaded, width)
    _open_all(page, is_open)
    root = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    scrolled, visible = page.evaluate(root)
    assert scrolled <= visible
    right = "found => Math.max(...found.map(one => one.getBoundingClientRect().right))"
    widest = page.locator("section *:not(.about *)").evaluate_all(right)
    _open_all(page, False)  # noqa: FBT003
    assert widest <= width + 1


@_each_width
def test_what_is_cut_has_its_whole_as_a_title(loaded: Page, width: int) -> None:
    """A service or a name that does not fit is shown whole by the pointer."""
    page = _at(loaded, width)
    cut = """found => found.filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 2)
        .filter(one => !one.title).map(one => one.textContent)"""
    assert page.locator(".service, .text, .time, h2, .story, dd").evaluate_all(cut) == []


@pytest.mark.parametrize(("width", "lines"), [(PHONE, 3), (DESKTOP, 1)])
def test_rows_are_low(five: Page, width: int, lines: int) -> None:
    """At 1440 px a row is one line; on a phone it is a name of at most two lines above its bar."""
    page = _at(five, width)
    heights = [box["height"] for box in _boxes(page, "summary")]
    assert max(heights) <= lines * _LINE + 12
    texts = [box["height"] for box in _boxes(page, ".text")]
    assert max(texts) <= max(1, lines - 1) * _LINE + 1


def test_a_hostile_name_takes_three_lines_at_most(screen: Screen) -> None:
    """A name of 3000 characters does not push other rows away."""
    page = screen.show(pages.hostile(), width=PHONE)
    assert max(box["height"] for box in _boxes(page, ".text")) <= 3 * _LINE + 1


@_each_width
def test_every_span_has_a_bar_within_its_column(loaded: Page, width: int) -> None:
    """The columns of a page's bars are one, it is wide enough to read, and every bar can be seen in it."""
    page = _at(loaded, width)
    columns, bars = _boxes(page, ".bar"), _boxes(page, ".bar .work")
    assert len({(round(box["left"]), round(box["width"])) for box in columns}) == 1
    assert columns[0]["width"] >= 0.25 * width
    assert min(box["width"] for box in bars) >= 2
    assert all(
        column["left"] - 1 <= bar["left"] and bar["right"] <= column["right"] + 1
        for column, bar in zip(columns, bars, strict=True)
    )


@_each_width
def test_the_indent_is_capped(deep: Page, width: int) -> None:
    """A trace of 120 levels leaves the names half of their column at least."""
    page = _at(deep, width)
    columns, texts = _boxes(page, ".what"), _boxes(page, ".text")
    widest = columns[0]["width"]
    assert all(box["left"] - columns[0]["left"] <= widest / 2 for box in texts)


@_each_width
def test_a_wait_ends_where_its_span_starts(five: Page, width: int) -> None:
    """What waited is shaded from the time it was ready until the span that it waited for."""
    page = _at(five, width)
    rows: list[dict[str, Any]] = page.locator(".row:has(.bar .wait)").evaluate_all(
        """found => found.map(row => ({
            wait: row.querySelector(".bar .wait").getBoundingClientRect().toJSON(),
            work: row.querySelector(".work").getBoundingClientRect().toJSON(),
            shade: row.querySelector(".bar .wait").className}))"""
    )
    assert {row["shade"] for row in rows} == {"wait kafka", "wait outbox"}
    assert all(row["wait"]["width"] > 1 for row in rows if row["work"]["left"] - row["wait"]["left"] > 1)
    assert all(abs(row["wait"]["right"] - row["work"]["left"]) < 4 for row in rows)


@_each_width
def test_the_axis_has_marks_above_the_bars(loaded: Page, width: int) -> None:
    """Marks begin at zero, stand apart, and lie within the column of the bars."""
    page = _at(loaded, width)
    column = _boxes(page, ".bar")[0]
    marks = _boxes(page, ".trace:first-of-type .marks i:visible span")
    assert page.locator(".marks i").first.text_content() == "0"
    assert 2 <= len(marks) <= 6
    assert all(column["left"] - 1 <= mark["left"] and mark["right"] <= column["right"] + 1 for mark in marks)
    assert all(before["right"] <= after["left"] for before, after in pairwise(marks))


def test_the_axis_stays_in_sight(screen: Screen) -> None:
    """The axis of a long trace stays at the top of the screen while its rows pass below it."""
    page = screen.show(pages.long_trace())
    page.locator(".row").nth(300).scroll_into_view_if_needed()
    assert abs(_boxes(page, ".axis")[0]["top"]) < 1
