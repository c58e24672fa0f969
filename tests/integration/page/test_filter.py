"""The form filters all traces by service, kind and errors."""

import pytest
from playwright.sync_api import Page

from tests.browser import pages
from tests.browser.chromium import Screen


@pytest.fixture
def page(screen: Screen) -> Page:
    """A page with five traces."""
    return screen.show(pages.five_traces())


def _shown(page: Page) -> list[tuple[str, str]]:
    """Return the service and the kind of each span that passes; those that only show where it is are left out."""
    script = "found => found.map(one => [one.dataset.service, one.dataset.kind])"
    rows = page.locator(".row:not(.context):not([hidden])").evaluate_all(script)
    return [(service, kind) for service, kind in rows]


def test_a_service_and_a_kind(page: Page) -> None:
    """Both together leave the spans that have both, and the form says how many those are."""
    whole = len(_shown(page))
    page.get_by_label("Service").select_option("payment")
    page.get_by_label("Kind").select_option("consumer")
    shown = _shown(page)
    assert set(shown) == {("payment", "consumer")}
    assert page.locator("output").text_content() == f"{len(shown)} of {whole} spans"


def test_errors_only(page: Page) -> None:
    """Errors only leaves the failed spans, with those above them; a trace without one says so."""
    page.get_by_label("Errors only").check()
    names = page.locator(".row.error:visible .text").all_text_contents()
    declined, failed = ["process payment.charge", "saga order failed"], ["process order.created"]
    assert len(_shown(page)) == 5
    assert all(any(what in name for name in names) for what in declined + failed)
    assert page.locator(".row.context:visible .text").first.text_content() == "POST /orders"
    assert page.locator(".none:visible").count() == 2


def test_all_again(page: Page) -> None:
    """The button brings back every span, and what was folded stays folded."""
    whole = len(_shown(page))
    page.locator(".row").first.focus()
    page.keyboard.press("ArrowLeft")
    folded = len(_shown(page))
    assert folded < whole
    page.get_by_label("Errors only").check()
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('output').value === ''")
    assert len(_shown(page)) == folded


def test_each_trace_keeps_a_tab_stop_that_can_be_seen(page: Page) -> None:
    """Where the filter hides the current row, the first visible one takes its place."""
    page.get_by_label("Service").select_option("payment")
    stops = page.locator(".row[tabindex='0']")
    assert stops.count() == 5
    assert all(stops.nth(index).is_visible() for index in range(5))


def test_a_link_to_a_hidden_span_ends_the_filter(page: Page) -> None:
    """Whoever follows a link to a span sees it."""
    page.get_by_label("Service").select_option("payment")
    hidden = page.locator(".row[data-service='audit']").first
    page.evaluate(f"location.hash = '#{hidden.get_attribute('id')}'")
    hidden.locator(".about").wait_for()
    assert page.get_by_label("Service").input_value() == ""
