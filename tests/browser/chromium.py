"""Chromium without a window, and pages in it that are loaded from a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

PHONE, DESKTOP = 390, 1440
"""Widths of screens, in CSS pixels."""

Scheme = Literal["light", "dark"]

_HEIGHT = 900
_TIMEOUT_MS = 300_000


@contextmanager
def chromium(program: Path) -> Iterator[Browser]:
    """Run Chromium for the length of the block; no event loop may run in the thread meanwhile.

    Args:
        program: Its path.
    """
    # It refuses to run as root with its sandbox, as in a container.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments, timeout=_TIMEOUT_MS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Screen:
    """Shows pages that are written to a folder.

    Args:
        browser: The browser.
        folder: An empty folder.
        complaints: What the pages said on the console, requests that left the file, and dialogs.
    """

    browser: Browser
    folder: Path
    complaints: list[str] = field(default_factory=list)

    def show(self, html: str, *, width: int = DESKTOP, scheme: Scheme = "light", **more: Any) -> Page:
        """Load a page; further arguments are those of Playwright's `new_context`."""
        file = self.folder / "page.html"
        file.write_text(html, encoding="utf-8")
        context = self.browser.new_context(viewport={"width": width, "height": _HEIGHT}, color_scheme=scheme, **more)
        context.set_default_timeout(_TIMEOUT_MS)
        page = context.new_page()
        page.on("console", lambda message: self._complain(message.text))
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("dialog", self._dismiss)
        page.on("request", self._hear)
        page.goto(file.as_uri())
        return page

    def _complain(self, text: str) -> None:
        self.complaints.append(text)

    def _dismiss(self, dialog: Dialog) -> None:
        self._complain(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _hear(self, request: Request) -> None:
        if not request.url.startswith("file:"):
            self._complain(f"request: {request.url}")
