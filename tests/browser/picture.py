"""`make picture`: run the demo, and write the README's pictures of its declined order, light and dark, into `docs`."""

# ruff: noqa: T201  a command speaks on standard output

import sys
import tempfile
from base64 import b64decode
from pathlib import Path

from playwright.sync_api import Page

from services.cli import demo
from tests.browser.chromium import Scheme, Screen, chromium
from tests.servers.installed import NotInstalled, chromium_program
from tests.support.sources import ROOT

PICTURES: dict[Scheme, Path] = {"light": ROOT / "docs/trace-light.webp", "dark": ROOT / "docs/trace-dark.webp"}
LIMIT_BYTES = 200_000
"""How large a picture may be."""

_SECTION = "Payment declined"
# GitHub shows a README some 900 CSS pixels wide; the pixels of a dense screen are twice as many.
_WIDTH = 1040
_SCALE = 2
_QUALITY = 85
_EDGE = 12


def main() -> int:
    """Write both pictures, and return the exit code."""
    try:
        program = chromium_program()
    except NotInstalled as error:
        print(f"make picture: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        if not demo.run(Path(folder), None):
            return 1
        written = _draw(program, Path(folder))
    for path in written:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    return 0 if all(path.stat().st_size <= LIMIT_BYTES for path in written) else 1


def _draw(program: Path, folder: Path) -> list[Path]:
    html = (folder / "trace.html").read_text(encoding="utf-8")
    with chromium(program) as browser:
        for scheme, path in PICTURES.items():
            path.write_bytes(_picture(Screen(browser, folder).show(html, width=_WIDTH, scheme=scheme)))
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
    sys.exit(main())
