"""axe-core finds nothing on the page, in either colour scheme, on a phone and on a desk, closed and open."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import pages
from tests.browser.chromium import DESKTOP, PHONE, Scheme, Screen


def _violations(page: Page) -> list[str]:
    """Return what axe-core finds with all of its rules, best practices too: the rule and the elements."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in found]


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_there_is_no_violation(screen: Screen, scheme: Scheme, width: int) -> None:
    """The page as it is loaded, and with a compensation, a failed span and one with an event open, has none."""
    page = screen.show(pages.two_traces(), width=width, scheme=scheme)
    assert _violations(page) == []
    page.evaluate("for (const one of document.querySelectorAll('.error details, .undo details')) one.open = true")
    assert _violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_there_is_none_with_a_filter(screen: Screen, scheme: Scheme) -> None:
    """Rows that only show where a failed span is can be read too."""
    page = screen.show(pages.two_traces(), scheme=scheme)
    page.get_by_label("Errors only").check()
    assert _violations(page) == []


def test_there_is_none_without_the_script(screen: Screen) -> None:
    """What is read without the script is as accessible; axe-core itself still runs."""
    without = pages.two_traces().partition("<script>")[0]
    assert _violations(screen.show(without)) == []
