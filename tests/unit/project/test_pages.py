"""The docs: links lead somewhere, the table of options is complete, and no page of docs/tracing is long."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.support.sources import ROOT
from tracing import settings
from tracing.options import Options

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LIBRARY = sorted((ROOT / "docs" / "tracing").glob("*.md"))
OPTIONS = (ROOT / "docs" / "tracing" / "options.md").read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_what_is_there(page: Path) -> None:
    """Every file that a page links to exists, and every heading in it."""
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_option_has_a_row_with_its_default() -> None:
    """The table has every option of `instrument()`; the default of one that is no object is spelled as in Python."""
    rows = dict(re.findall(r"^\| (`.*?) \| (.*?) \|", OPTIONS, re.MULTILINE))
    named = {name: default for names, default in rows.items() for name in re.findall(r"`(\w+)", names)}
    for option in fields(Options):
        if option.init:
            assert option.name in named
            if isinstance(option.default, bool | str):
                assert named[option.name] == f"`{option.default!r}`".replace("'", '"')


def test_each_variable_is_named() -> None:
    """Those that the settings read are in the table, as far as they have a name of their own."""
    source = Path(settings.__file__).read_text(encoding="utf-8")
    variables = set(re.findall(r'"((?:OTEL|SAGATRACE)_[A-Z_]*[A-Z])"', source)) - set(settings.SPAN_LIMITS)
    assert {name for name in variables if f"`{name}`" not in OPTIONS} == set()


@pytest.mark.parametrize("page", LIBRARY, ids=lambda page: page.stem)
def test_a_page_of_the_library_is_short_and_in_the_index(page: Path) -> None:
    """It has at most 150 lines, and docs/tracing.md leads to it."""
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 150
    assert f"](tracing/{page.name})" in (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ROOT / "docs" / "tracing.md", *LIBRARY], ids=lambda page: page.stem)
def test_a_test_that_a_page_names_is_there(page: Path) -> None:
    """What a page says is shown by a test is."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests/[\w/]*)?test_\w+\.py|tests/[\w/]+/)`", text):
        assert list(ROOT.glob(name)) or list((ROOT / "tests").rglob(name)), name


def test_each_row_of_contribs_faults_is_there() -> None:
    """The page on moving names tests by their file and row, and each of them is in that file."""
    folder = ROOT / "tests" / "integration" / "tracing"
    text = (ROOT / "docs" / "tracing" / "contrib.md").read_text(encoding="utf-8")
    named = re.findall(r"`(context|receive|send)`, rows? ([\d, ]*\d)", text)
    for kind, rows in named:
        tests = (folder / f"test_contrib_{kind}.py").read_text(encoding="utf-8")
        assert all(f"def test_row_{row}_" in tests for row in rows.split(", ")), (kind, rows)
    assert len(named) > 15
