"""`make picture`: run the demo, and write the README's pictures of its declined order, light and dark, into `docs`.

`make picture ARGS=FOLDER` draws what a demo wrote to that folder before.
"""

# ruff: noqa: T201  a command speaks on standard output

import sys
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from services.cli import demo
from tests.browser.chromium import Scheme, Screen, chromium
from tests.servers.installed import NotInstalled, chromium_program
from tests.support.sources import ROOT

PICTURES: dict[Scheme, Path] = {"light": ROOT / "docs/trace-light.webp", "dark": ROOT / "docs/trace-dark.webp"}
LIMIT_BYTES = 200_000
"""How large both pictures together may be."""

_SECTION = "Payment declined"
# GitHub shows a README some 900 CSS pixels wide; a dense screen has more pixels.
_WIDTH = 1040
_SCALE = 1.5
_QUALITY = 80
_EDGE = 12


def main(arguments: Sequence[str]) -> int:
    """Write both pictures, and return the exit code."""
    try:
        program = chromium_program()
    except NotInstalled as error:
        print(f"make picture: {error}", file=sys.stderr)
        return 2
    if arguments:
        return _write(program, Path(arguments[0]))
    with tempfile.TemporaryDirectory() as folder:
        return _write(program, Path(folder)) if demo.run(Path(folder), None) else 1


def _write(program: Path, output: Path) -> int:
    """Write the pictures of a demo's output, and return 0 if they are small enough, else 1."""
    html = (output / "trace.html").read_text(encoding="utf-8")
    written = _draw(program, html)
    for path in written:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    return 0 if sum(path.stat().st_size for path in written) <= LIMIT_BYTES else 1


def _draw(program: Path, html: str) -> list[Path]:
    with chromium(program) as browser, tempfile.TemporaryDirectory() as folder:
        screen = Screen(browser, Path(folder))
        for scheme, path in PICTURES.items():
            path.write_bytes(_picture(screen.show(html, width=_WIDTH, scheme=scheme)))
    return list(PICTURES.values())


def _picture(page: Page) -> bytes:
    """Return the section of the declined order as WebP, with an edge of the page around it."""
    box = page.get_by_role("region", name=_SECTION).bounding_box()
    if box is None:
        raise LookupError(f"trace.html shows no {_SECTION!r}")
    sizes = {"width": box["width"] + 2 * _EDGE, "height": box["height"] + 2 * _EDGE}
    clip = {"x": box["x"] - _EDGE, "y": box["y"] - _EDGE, **sizes, "scale": _SCALE}
    format_ = {"format": "webp", "quality": _QUALITY, "captureBeyondViewport": True}
    answer = page.context.new_cdp_session(page).send("Page.captureScreenshot", {**format_, "clip": clip})
    return b64decode(answer["data"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
