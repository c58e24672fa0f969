"""The page: its head with the security policy, the filter, and a section for each trace.

Everything that comes from a span is escaped. The policy forbids every request, and every script but the page's own,
which it names by its hash.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.resources import files

from services.cli.traces.page.references import References
from services.cli.traces.page.section import TraceSection, anchor, section_html
from services.cli.traces.page.shown import shown

# Degrees on the colour wheel, for the services in the order of their names; none is near the red of an error.
_HUES = (275, 150, 185, 215, 40, 95, 240, 310)


def page(title: str, sections: Iterable[TraceSection]) -> str:
    """Return the page."""
    known = list(sections)
    script = _asset("page.js")
    references = References(span for section in known for span in section.spans)
    services = sorted({span.service for section in known for span in section.spans})
    hues = {service: _HUES[number % len(_HUES)] for number, service in enumerate(services)}
    index = "".join(f'<li><a href="#{anchor(section)}">{shown(section.title)}</a></li>' for section in known)
    body = "\n".join(section_html(section, hues, references) for section in known)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<title>{shown(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header class="top">
<h1>{shown(title)}</h1>
<p>Each line is a span; open it for its attributes and for the spans that it belongs with.
<span class="keys" hidden>Keys: <kbd>↑</kbd> <kbd>↓</kbd> <kbd>Home</kbd> <kbd>End</kbd> to move,
<kbd>←</kbd> <kbd>→</kbd> to fold, <kbd>Enter</kbd> to open.</span></p>
<nav aria-label="Traces"><ul>{index}</ul></nav>
{_filter(known, services)}
</header>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _policy(script: str) -> str:
    digest = b64encode(sha256(script.encode()).digest()).decode()
    own = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _filter(sections: Sequence[TraceSection], services: Sequence[str]) -> str:
    """Return the form that the script shows: without it nothing would filter."""
    kinds = sorted({span.kind for section in sections for span in section.spans})
    return f"""<form class="filter" aria-label="Filter" hidden>
<label>Service <select name="service">{_options(services)}</select></label>
<label>Kind <select name="kind">{_options(kind.name.lower() for kind in kinds)}</select></label>
<label><input type="checkbox" name="errors"> Errors only</label>
<button type="reset">Show all</button>
<output aria-live="polite"></output>
</form>"""


def _options(values: Iterable[str]) -> str:
    return '<option value="">all</option>' + "".join(f"<option>{shown(value)}</option>" for value in values)


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
