"""The page is one safe file that shows every span, with working links."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from services.cli.traces.model import Event
from services.cli.traces.page import TraceSection, page
from tests.support.saga_traces import changed, declined, doing, refunded

_HOSTILE = "\"'><script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>"
_VOID = {"meta", "br", "img", "input", "link"}


class _Reader(HTMLParser):
    """Reads a page as a browser would, as far as these tests need it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, tag: str, name: str) -> list[str]:
        return [found for each, attributes in self.tags if each == tag and (found := attributes.get(name))]


def _page(*, hostile: bool = False) -> _Reader:
    spans = refunded("saga-1").spans
    if hostile:
        spans = [
            replace(
                span,
                name=_HOSTILE,
                service=_HOSTILE,
                status=_HOSTILE,
                is_error=True,
                attributes=dict(span.attributes) | {_HOSTILE: _HOSTILE, "list": (_HOSTILE,)},
                events=(Event(_HOSTILE, span.start_ns, {_HOSTILE: _HOSTILE}),),
            )
            for span in spans
        ]
    about = {"saga": _HOSTILE if hostile else "saga-1"}
    sections = [
        TraceSection("refunded", about, tuple(spans)),
        TraceSection("declined", {}, tuple(declined("saga-2").spans)),
    ]
    return _Reader(page("Five sagas", sections))


def test_every_span_can_be_opened() -> None:
    """Each span of each trace is an element with an id of its own, and all elements are closed."""
    read = _page()
    ids = read.values("li", "id")
    expected = [span.span_id for trace in (refunded("saga-1"), declined("saga-2")) for span in trace.spans]
    assert sorted(ids) == sorted(expected)
    assert read.open == []


def test_links_lead_to_spans_of_the_page() -> None:
    """Every link of the page leads to an element that is there, and a compensation's to what it undoes."""
    read = _page()
    ids = {str(attributes["id"]) for _, attributes in read.tags if attributes.get("id")}
    targets = {target.removeprefix("#") for target in read.values("a", "href")}
    assert targets <= ids
    assert doing(refunded("saga-1").spans, "process", "payment.charge").span_id in targets


def test_a_link_to_a_span_elsewhere_is_text() -> None:
    """A link to a span that the page does not show names it, and leads nowhere."""
    spans = declined().spans
    process = doing(spans, "process", "payment.charge")
    link = replace(process.links[0], trace_id="b" * 32, span_id="d" * 16)
    text = page("x", [TraceSection("declined", {}, tuple(changed(spans, process, links=(link,))))])
    assert f"in trace {'b' * 32}" in text
    assert "#" + "d" * 16 not in text


def test_nothing_of_a_span_becomes_markup() -> None:
    """Markup in names, services, attributes, status and events is shown, never run."""
    read = _page(hostile=True)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert all(tag != "img" for tag, _ in read.tags)
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]


def test_the_page_needs_no_network() -> None:
    """The page names no address, and its policy forbids every request."""
    spans = tuple(declined().spans)
    text = page("x", [TraceSection("declined", {}, spans)])
    assert re.findall(r"https?:|//[a-z]|@import|url\(|src=", re.sub(r"^//.*$", "", text, flags=re.MULTILINE)) == []
    assert "default-src 'none'" in text


def test_the_page_says_what_it_shows_without_colours() -> None:
    """What colour shows is also labelled for a screen reader, and headings label their sections."""
    read = _page()
    assert "compensates" in read.values("span", "aria-label")
    assert set(read.values("section", "aria-labelledby")) <= {
        str(attributes.get("id")) for tag, attributes in read.tags if tag == "h2"
    }
    assert read.values("html", "lang") == ["en"]
