"""Each trace is one tab stop; its keys are those of a tree (WAI-ARIA Authoring Practices, "Tree View Pattern")."""

import pytest
from playwright.sync_api import Page

from tests.browser import pages
from tests.browser.chromium import Screen
from tests.support.saga_traces import completed, declined, doing, refunded

_SPANS = len(completed("saga-1").spans)
_SPAN = doing(declined("saga-2").spans, "process", "payment.charge")


@pytest.fixture
def page(screen: Screen) -> Page:
    """A page with five traces."""
    return screen.show(pages.five_traces())


def _focused(page: Page) -> str:
    """Return the name of the span that has the focus; empty if no row has it."""
    text: str = page.evaluate("document.activeElement.matches('.row') ? document.activeElement.ariaLabel : ''")
    return text


def _press(page: Page, *keys: str) -> str:
    for key in keys:
        page.keyboard.press(key)
    return _focused(page)


def _focus_first(page: Page) -> None:
    page.locator(".row").first.focus()


def test_each_trace_is_one_tab_stop(page: Page) -> None:
    """With everything closed, Tab goes from a trace's link to its rows and from there to the next trace."""
    stops = "[...list.querySelectorAll('*')].filter(one => one.tabIndex >= 0 && !one.closest('details:not([open])'))"
    counts = page.locator(".rows").evaluate_all(f"found => found.map(list => {stops}.length)")
    assert counts == [1] * 5
    page.locator(".trace a").first.focus()
    assert _press(page, "Tab").startswith("oms, POST /orders")
    assert _press(page, "Tab") == ""
    assert page.evaluate("document.activeElement.textContent") == "Open in Jaeger"


def test_up_down_home_and_end_move(page: Page) -> None:
    """The arrows move by a row and stop at the ends; Home and End go there."""
    _focus_first(page)
    assert _press(page, "ArrowUp").startswith("oms, POST /orders")
    assert "order.created" in _press(page, "ArrowDown", "ArrowDown")
    last = _press(page, "End")
    assert _press(page, "ArrowDown") == last
    assert _press(page, "Home").startswith("oms, POST /orders")


def test_left_and_right_fold_and_walk(page: Page) -> None:
    """Left folds a row and then goes to its parent; Right unfolds it and then goes to its first child."""
    _focus_first(page)
    row = page.locator(".row").first
    shown = page.locator(".rows").first.locator(".row:visible")
    assert row.get_attribute("aria-expanded") == "true"
    _press(page, "ArrowLeft")
    assert (row.get_attribute("aria-expanded"), shown.count()) == ("false", 1)
    _press(page, "ArrowRight")
    assert (row.get_attribute("aria-expanded"), shown.count()) == ("true", _SPANS)
    assert _press(page, "ArrowRight") == page.locator(".row").nth(1).get_attribute("aria-label")
    leaf = _press(page, "End")
    assert _press(page, "ArrowRight") == leaf
    assert _press(page, "ArrowLeft").startswith("oms, send saga.completed")


def test_enter_opens_and_escape_leaves(page: Page) -> None:
    """Enter and the space bar open and close a row; Tab goes into what is open, and Escape back to the row."""
    _focus_first(page)
    row, details = page.locator(".row").nth(2), page.locator("details").nth(2)
    name = _press(page, "ArrowDown", "ArrowDown", "Enter")
    assert details.evaluate("one => one.open")
    assert _press(page, "Tab") == ""
    assert row.evaluate("one => one.contains(document.activeElement)")
    assert _press(page, "Escape") == name
    assert not details.evaluate("one => one.open")
    assert _press(page, " ") == name
    assert details.evaluate("one => one.open")
    assert _press(page, "Enter") == name
    assert not details.evaluate("one => one.open")


def test_the_tab_stop_moves_with_the_focus(page: Page) -> None:
    """Whoever comes back to a trace finds the row that was left, also after a click."""
    page.locator("summary").nth(4).click()
    clicked = _focused(page)
    assert clicked == page.locator(".row").nth(4).get_attribute("aria-label")
    page.locator(".trace a").nth(1).focus()
    page.locator(".trace a").first.focus()
    assert _press(page, "Tab") == clicked


def test_a_row_says_what_it_shows(page: Page) -> None:
    """A screen reader hears the service, the failure or compensation, the name, the reason and the duration."""
    labels: list[str] = page.locator(".row").evaluate_all("found => found.map(row => row.ariaLabel)")
    assert any(label.startswith("oms, failed saga order failed: declined, ") for label in labels)
    assert any(label.startswith("payment, failed process payment.charge payment.declined, ") for label in labels)
    assert any("compensates" in label and "undoes inventory.reserve" in label for label in labels)


def test_levels_and_positions_are_told(page: Page) -> None:
    """Each row has its level, its place among its siblings and their number."""
    first, second = page.locator(".row").nth(0), page.locator(".row").nth(1)
    assert first.evaluate("one => [one.ariaLevel, one.ariaPosInSet, one.ariaSetSize]") == ["1", "1", "1"]
    assert second.evaluate("one => [one.ariaLevel, one.ariaPosInSet]") == ["2", "1"]


@pytest.mark.parametrize("is_new", [False, True], ids=["followed", "loaded"])
def test_a_link_opens_its_span(page: Page, is_new: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A span's address, and a link to it, unfold what is above it, open it and move the focus there."""
    row = page.locator(f"[id='{_SPAN.span_id}']")
    page.locator(".rows").nth(1).locator(".row").first.focus()
    _press(page, "ArrowLeft")
    assert not row.is_visible()
    page.evaluate(f"location.hash = '#{_SPAN.span_id}'")
    if is_new:
        page.reload()
    row.locator(".about").wait_for()
    assert _focused(page) == row.get_attribute("aria-label")


def test_related_spans_lead_to_each_other(page: Page) -> None:
    """A compensation names what it undoes, and that leads back to it."""
    spans = refunded("saga-3").spans
    undone, undoing = doing(spans, "process", "payment.charge"), doing(spans, "process", "payment.refund")
    page.evaluate(f"location.hash = '#{undoing.span_id}'")
    link = page.locator(f"[id='{undoing.span_id}'] .related div", has_text="Undoes").locator("a")
    assert link.text_content() == undone.name
    link.click()
    back = page.locator(f"[id='{undone.span_id}'] .related div", has_text="Undone by")
    assert back.text_content() == f"Undone by{undoing.name}, payment"


def test_folding_with_the_pointer_does_not_open(page: Page) -> None:
    """A click on the fold mark folds, and leaves the row closed."""
    page.locator(".parent .fold").first.click()
    assert page.locator(".rows").first.locator(".row:visible").count() == 1
    assert not page.locator("details").first.evaluate("one => one.open")
