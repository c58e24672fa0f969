"""Fixtures of the tests of the traces' page: a browser, and a screen in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import Screen
from tests.browser.chromium import chromium as running


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium, for the tests of a file."""
    with running(chromium) as started:
        yield started


@pytest.fixture(scope="module")
def screen(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Screen:
    """A screen, for the tests of a file."""
    return Screen(browser, tmp_path_factory.mktemp("pages"))


@pytest.fixture(autouse=True)
def _no_complaints(screen: Screen) -> Iterator[None]:
    """Hold that no page writes to the console, asks for anything outside its file, or opens a dialog."""
    screen.complaints.clear()
    yield
    assert screen.complaints == []
