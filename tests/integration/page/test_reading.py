"""The page is read without its script and on paper, whatever a span holds, and however many there are."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser import pages
from tests.browser.chromium import Scheme, Screen
from tests.runs.slowness import is_within
from tests.support.saga_traces import declined, doing

# A4 on its side, less its margins, in CSS pixels.
_PAPER = 1047


def test_without_the_script_rows_open(screen: Screen) -> None:
    """Each row opens by itself, and what needs the script is not there."""
    page = screen.show(pages.five_traces(), java_script_enabled=False)
    assert not page.locator("form").is_visible()
    assert not page.locator(".keys").is_visible()
    row = page.locator(f"[id='{doing(declined('saga-2').spans, 'process', 'payment.charge').span_id}']")
    assert not row.locator(".about").is_visible()
    row.locator("summary").click()
    assert row.locator(".about").is_visible()
    assert "Parent, and sent by" in row.locator(".related").inner_text()


def test_a_failed_span_says_why_in_its_row(screen: Screen) -> None:
    """The row of the charge that was declined says so while it is closed."""
    page = screen.show(pages.of("Declined", pages.declined_trace()))
    row = page.locator(".row.error", has_text="payment.charge")
    assert row.locator("summary .why").inner_text() == "payment.declined"


def test_attributes_are_in_the_order_of_questions(screen: Screen) -> None:
    """Order and saga, message, error and wait come before what is technical, and a wait has its unit."""
    page = screen.show(pages.five_traces())
    row = page.locator(f"[id='{doing(declined('saga-2').spans, 'process', 'payment.charge').span_id}']")
    row.locator("summary").click()
    groups = row.locator("th[scope=rowgroup]").all_inner_texts()
    assert groups == ["Order and saga", "Message", "Error", "Wait", "Technical"]
    wait = row.locator("tr", has_text="messaging.kafka.queue.time_ms")
    assert wait.locator("td").inner_text() == "12.5 ms"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper(screen: Screen, scheme: Scheme) -> None:
    """Printed, the page is dark on light with its colours, has what is open, and leaves out what can't be used."""
    page = screen.show(pages.five_traces(), width=_PAPER, scheme=scheme)
    page.locator("summary").nth(3).click()
    page.emulate_media(media="print")
    assert not page.locator("form").is_visible()
    assert page.locator(".about:visible").count() == 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".work").first.evaluate("one => getComputedStyle(one).printColorAdjust") == "exact"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert len(page.pdf(prefer_css_page_size=True)) > 10_000


def test_a_picture_of_the_page_has_every_row(screen: Screen) -> None:
    """Rows below the screen are drawn, so that a picture of a trace has no gaps; only those of hundreds are not."""
    is_drawn = "found => found.map(one => one.checkVisibility({ contentVisibilityAuto: true }))"
    page = screen.show(pages.five_traces())
    assert all(page.locator(".text").evaluate_all(is_drawn))
    page = screen.show(pages.long_trace())
    assert not all(page.locator(".text").evaluate_all(is_drawn))


def test_nothing_of_a_span_runs(screen: Screen) -> None:
    """Markup and control characters in every place of a span are shown as they are, and ask for nothing."""
    page = screen.show(pages.hostile())
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.locator("img, iframe, main script").count() == 0
    assert pages.MARKUP in page.locator("main").inner_text()
    assert "\\u202e" in page.locator("main").inner_text()


def test_the_policy_refuses_another_script(screen: Screen) -> None:
    """Even if markup got into the page, its script would not run."""
    page = screen.show(pages.five_traces().replace("</main>", "<script>window.ran = true</script></main>"))
    assert page.evaluate("window.ran === undefined")
    assert all("Content Security Policy" in text for text in screen.complaints)
    screen.complaints.clear()


@pytest.mark.parametrize("make", [pages.five_traces, pages.long_trace])
def test_it_comes_without_a_pause(screen: Screen, make: Callable[[], str]) -> None:
    """Five traces, and one of 500 spans, take the script less than 0.2 s and the browser less than 1.5 s of work."""
    took = _work_s(screen, make())
    assert is_within(took["ScriptDuration"], 0.2)
    assert is_within(took["TaskDuration"], 1.5)


def _work_s(screen: Screen, html: str) -> dict[str, float]:
    """Return what the page cost the processor until it was painted, in seconds; others on the machine don't count."""
    page: Page = screen.show("")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _metrics(session.send("Performance.getMetrics"))
    (screen.folder / "page.html").write_text(html, encoding="utf-8")
    page.reload()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    after = _metrics(session.send("Performance.getMetrics"))
    return {name: after[name] - before[name] for name in ("ScriptDuration", "TaskDuration")}


def _metrics(answer: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    return {str(one["name"]): one["value"] for one in answer["metrics"]}
