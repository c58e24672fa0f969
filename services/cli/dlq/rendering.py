"""Dead letters as text and as JSON. What comes from a record goes through `printable`, or through ASCII JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.cli.dlq.reader import MessageSummary
from services.cli.formatting import cell, table
from services.cli.printable import printable
from services.messaging.dead_letters import ORIGINAL, DeadLetter, DeadLetterRow
from services.messaging.trace_context import span_context

_COLUMNS = ("AT", "STATUS", "TYPE", "KEY", "ERROR", "ORIGIN", "FAILED AT", "REDRIVES", "BYTES")
_KEY_LENGTH = 64
_INDENT = "    "


def status_of(dead_letter: DeadLetter, row: DeadLetterRow | None) -> str:
    """Return the status of a dead letter: processed, discarded, under way, parked, behind or failed."""
    if row is not None and row.closed_at is not None:
        return row.outcome or "closed"
    if row is not None and row.redriven_at is not None:
        return "under way"
    state = dead_letter.state if row is None else row.state
    return str(state or "unknown")


def where(dead_letter: DeadLetter) -> str:
    """Return the place of a dead letter in its topic, in the form that `--offset` takes."""
    return f"{dead_letter.at.partition}:{dead_letter.at.offset}"


def trace_id_of(dead_letter: DeadLetter) -> str | None:
    """Return the id of a dead letter's trace: that of its own send, or else of the original record."""
    headers = {name: value.decode(errors="replace") for name, value in dead_letter.headers if value is not None}
    for name in ("traceparent", f"{ORIGINAL}traceparent"):
        found = span_context({"traceparent": headers.get(name, "")})
        if found is not None:
            return f"{found.trace_id:032x}"
    return None


def lines(dead_letters: Iterable[tuple[DeadLetter, MessageSummary, str]]) -> str:
    """Return dead letters as a table, each with its status."""
    rows = [
        (
            where(dead_letter),
            status,
            summary.event_type,
            None if dead_letter.key is None else printable(dead_letter.key, _KEY_LENGTH),
            (dead_letter.error_type or "").rpartition(".")[2],
            dead_letter.origin,
            dead_letter.failed_at,
            dead_letter.redrive_count,
            summary.size,
        )
        for dead_letter, summary, status in dead_letters
    ]
    return table(_COLUMNS, rows)


def fields(dead_letter: DeadLetter, summary: MessageSummary, status: str) -> dict[str, Any]:
    """Return a dead letter as a JSON value, without its payload."""
    return {
        "at": where(dead_letter),
        "status": status,
        "group": dead_letter.group,
        "event_type": summary.event_type,
        "event_id": summary.event_id,
        "order_id": summary.order_id,
        "key": _text(dead_letter.key),
        "error_type": dead_letter.error_type,
        "error_message": dead_letter.error_message,
        "attempts": dead_letter.attempts,
        "failed_at": dead_letter.failed_at and dead_letter.failed_at.isoformat(),
        "origin": dead_letter.origin and str(dead_letter.origin),
        "behind": dead_letter.behind and str(dead_letter.behind),
        "redrives": dead_letter.redrive_count,
        "omitted": dead_letter.omitted,
        "bytes": summary.size,
        "trace_id": trace_id_of(dead_letter),
    }


def details(dead_letter: DeadLetter, actions: Sequence[Mapping[str, Any]], *, value: bool) -> dict[str, Any]:
    """Return what only `show` prints: the stack trace, headers, actions, and the payload if asked for."""
    shown: dict[str, Any] = {
        "stacktrace": dead_letter.stacktrace,
        "headers": [[name, _text(content)] for name, content in dead_letter.headers],
        "acts": [
            {
                "action": action["action"],
                "by": action["actor"],
                "at": action["at"].isoformat(),
                "reason": action["reason"],
                "run_id": str(action["run_id"]),
            }
            for action in actions
        ],
    }
    if value:
        encoded = None if dead_letter.value is None else base64.b64encode(dead_letter.value).decode()
        shown |= {"value": _text(dead_letter.value), "value_base64": encoded}
    return shown


def page(fields: Mapping[str, Any], details: Mapping[str, Any], link: str | None) -> str:
    """Return one dead letter as text, from `fields` and `details`."""
    parts = [f"{name:<14} {cell(content)}" for name, content in fields.items()]
    parts.append(f"{'jaeger':<14} {cell(link)}")
    parts += ["", "headers", *(f"{_INDENT}{cell(name)}: {cell(content)}" for name, content in details["headers"])]
    if details["stacktrace"]:
        parts += ["", "stack", _block(details["stacktrace"])]
    if details["acts"]:
        rows = [(one["at"], one["action"], one["by"], one["reason"], one["run_id"]) for one in details["acts"]]
        parts += ["", table(("DONE AT", "WHAT", "BY", "WHY", "RUN"), rows)]
    if "value" in details:
        parts += ["", "value", _block(details["value"]) if details["value"] is not None else f"{_INDENT}-"]
    return "\n".join(parts)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _block(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}" for line in printable(text, lines=True).split("\n"))
