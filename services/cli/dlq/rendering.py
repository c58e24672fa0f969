"""Dead letters for people and for programs. Everything foreign goes through `printable`, or through JSON in ASCII."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.cli.dlq.reader import About
from services.cli.printable import printable
from services.cli.rows import cell, table
from services.messaging.dead_letters import ORIGINAL, DeadLetter, DeadLetterRow
from services.messaging.trace_context import span_context

_COLUMNS = ("AT", "STATUS", "TYPE", "KEY", "ERROR", "ORIGIN", "FAILED AT", "REDRIVES", "BYTES")
_KEY_LENGTH = 64
_INDENT = "    "


def status_of(letter: DeadLetter, entry: DeadLetterRow | None) -> str:
    """Tell where a letter stands: processed, discarded, under way, parked, behind or failed."""
    if entry is not None and entry.closed_at is not None:
        return entry.outcome or "closed"
    if entry is not None and entry.redriven_at is not None:
        return "under way"
    state = letter.state if entry is None else entry.state
    return str(state or "unknown")


def where(letter: DeadLetter) -> str:
    """Write where a letter is in its topic, as the filter takes it."""
    return f"{letter.at.partition}:{letter.at.offset}"


def trace_id_of(letter: DeadLetter) -> str | None:
    """Tell the trace that a letter is part of: that of its send, or what the record came with."""
    headers = {name: value.decode(errors="replace") for name, value in letter.headers if value is not None}
    for name in ("traceparent", f"{ORIGINAL}traceparent"):
        found = span_context({"traceparent": headers.get(name, "")})
        if found is not None:
            return f"{found.trace_id:032x}"
    return None


def lines(letters: Iterable[tuple[DeadLetter, About, str]]) -> str:
    """Write letters as a table, each with a word on where it stands."""
    rows = [
        (
            where(letter),
            word,
            about.event_type,
            None if letter.key is None else printable(letter.key, _KEY_LENGTH),
            (letter.error_type or "").rpartition(".")[2],
            letter.origin,
            letter.failed_at,
            letter.redrive_count,
            about.size,
        )
        for letter, about, word in letters
    ]
    return table(_COLUMNS, rows)


def fields(letter: DeadLetter, about: About, word: str) -> dict[str, Any]:
    """Give a letter as a JSON value, without its payload."""
    return {
        "at": where(letter),
        "status": word,
        "group": letter.group,
        "event_type": about.event_type,
        "event_id": about.event_id,
        "order_id": about.order_id,
        "key": _text(letter.key),
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "attempts": letter.attempts,
        "failed_at": letter.failed_at and letter.failed_at.isoformat(),
        "origin": letter.origin and str(letter.origin),
        "behind": letter.behind and str(letter.behind),
        "redrives": letter.redrive_count,
        "omitted": letter.omitted,
        "bytes": about.size,
        "trace_id": trace_id_of(letter),
    }


def details(letter: DeadLetter, acts: Sequence[Mapping[str, Any]], *, value: bool) -> dict[str, Any]:
    """Give what only the view of one letter shows: stack, headers, what was done about it, and the payload if asked."""
    shown: dict[str, Any] = {
        "stacktrace": letter.stacktrace,
        "headers": [[name, _text(content)] for name, content in letter.headers],
        "acts": [
            {
                "action": act["action"],
                "by": act["actor"],
                "at": act["at"].isoformat(),
                "reason": act["reason"],
                "run_id": str(act["run_id"]),
            }
            for act in acts
        ],
    }
    if value:
        encoded = None if letter.value is None else base64.b64encode(letter.value).decode()
        shown |= {"value": _text(letter.value), "value_base64": encoded}
    return shown


def page(told: Mapping[str, Any], shown: Mapping[str, Any], link: str | None) -> str:
    """Write one letter as a page."""
    written = [f"{name:<14} {cell(content)}" for name, content in told.items()]
    written.append(f"{'jaeger':<14} {cell(link)}")
    written += ["", "headers", *(f"{_INDENT}{cell(name)}: {cell(content)}" for name, content in shown["headers"])]
    if shown["stacktrace"]:
        written += ["", "stack", _block(shown["stacktrace"])]
    if shown["acts"]:
        rows = [(act["at"], act["action"], act["by"], act["reason"], act["run_id"]) for act in shown["acts"]]
        written += ["", table(("DONE AT", "WHAT", "BY", "WHY", "RUN"), rows)]
    if "value" in shown:
        written += ["", "value", _block(shown["value"]) if shown["value"] is not None else f"{_INDENT}-"]
    return "\n".join(written)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _block(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}" for line in printable(text, lines=True).split("\n"))
