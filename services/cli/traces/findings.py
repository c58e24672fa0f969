"""What the check of a trace may find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.cli.traces.model import Span


class Rule(StrEnum):
    """The rules that a trace can break."""

    ENTRY = "one entry"
    PARENT = "every parent is in the trace"
    ONE_TRACE = "no span of the saga is in another trace"
    IDS = "every span carries the order's ids"
    SEND = "every message is sent once a claim"
    EFFECT = "every group has one effect a message"
    CAUSE = "a process span is the child of its send, and linked to it"
    STEP = "a step is below the entry, and linked to its cause"
    DEPTH = "a step is one line"
    RETRY = "a re-driven message links to the attempt that failed"
    COMPENSATION = "a compensation links to what it undoes"
    LIFE = "one span covers the life"
    END = "a saga that ended has said so"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, what is wrong, and at which span; no span if one is missing."""

    rule: Rule
    text: str
    span: Span | None = None

    def __str__(self) -> str:
        """Return the finding as a line: the rule, the span, and what is wrong with it."""
        where = f"{self.span.service} `{self.span.name}` ({self.span.span_id}) " if self.span else ""
        return f"{self.rule}: {where}{self.text}"
