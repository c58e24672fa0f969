"""The first words about a saga: where it stands if it is open, how it ended, and who or what turned it back.

A time after "after" is counted from the saga's begin.

| the trace has | headline |
|---|---|
| the end `completed` | completed in 1.3 s |
| and a refund | completed in 1.3 s, refunded 3 days later |
| `payment.declined`, with a reason of its own | declined by payment (expired card) after 0.9 s |
| `inventory.rejected` | rejected by inventory (out of stock) after 0.6 s |
| a cancel request | canceled by request after 0.3 s |
| no answer after all attempts | payment did not answer: timeout charging after 30 s |
| a command among the dead letters | payment.charge is a dead letter of oms-payment: Invalid payload.total |
| the end `failed` or `canceled`, and nothing of why | failed (declined) after 1.3 s; canceled by request after 1.3 s |
| no end: a command is awaited | waiting for payment for 12 s |
| no end: the way back is stuck | needs attention for 2 h: payment did not answer (payment.refund) |

What an open saga waits for comes first, and then what turned it back, or that it was completed and is to be refunded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.cli.durations import spoken
from services.cli.traces.course import Course, SagaMove
from services.cli.traces.dead_letters import DeadLetter
from services.cli.traces.marks import reason
from services.oms.saga import Input

# The ends of a saga that turned back, and how they are told where the span that turned it was not recorded.
_BACK = {"failed": "failed", "canceled": "canceled by request"}
# The replies that say no, and how.
_REFUSALS = {Input.DECLINED: "declined", Input.REJECTED: "rejected"}


def headlines(course: Course, dead: Sequence[DeadLetter], now_ns: int | None) -> Iterator[str]:
    """Yield where an open saga stands, and then how it ended or what turned it back."""
    if course.outcome is None:
        yield _standing(course, dead, now_ns)
    if course.turn:
        yield _cause(course, course.turn, dead)
    elif course.first_outcome in _BACK:
        yield _turned(course, course.first_outcome)
    elif course.first_outcome or course.refund:
        yield _completed(course)


def decisive(course: Course, dead: Sequence[DeadLetter]) -> DeadLetter | None:
    """Return the dead letter that a headline tells: it turned the saga back, or keeps it from getting there."""
    commands = [move.awaited for move in (course.turn, course.attention) if move and move.by is Input.DEAD_LETTERED]
    return next((one for one in dead if one.kind in commands), None)


def participant(message: str | None) -> str:
    """Return who gets a command, or sends a reply."""
    return message.partition(".")[0] if message else "a participant"


def _standing(course: Course, dead: Sequence[DeadLetter], now_ns: int | None) -> str:
    last_ns = course.moves[-1].span.end_ns if course.moves else course.begin_ns
    since = f" for {spoken(now_ns - last_ns)}" if now_ns is not None else ""
    if course.attention:
        return f"needs attention{since}: {_unanswered(course, course.attention, dead)}"
    return f"waiting for {participant(course.awaited)}{since}" if course.awaited else f"not ended{since}"


def _unanswered(course: Course, move: SagaMove, dead: Sequence[DeadLetter]) -> str:
    if move.by is Input.DEAD_LETTERED:
        return _dead_command(course, move, dead)
    return f"{participant(move.awaited)} did not answer" + (f" ({move.awaited})" if move.awaited else "")


def _cause(course: Course, turn: SagaMove, dead: Sequence[DeadLetter]) -> str:
    after = f"after {spoken(course.turned_ns)}"
    if turn.by is Input.CANCEL:
        return f"canceled by request {after}"
    if turn.by is Input.DEAD_LETTERED:
        return _dead_command(course, turn, dead)
    if verb := _REFUSALS.get(turn.by):
        return f"{verb} by {participant(turn.by)}{_why(course, verb)} {after}"
    return f"{participant(turn.awaited)} did not answer: {turn.span.name} {after}"


def _turned(course: Course, outcome: str) -> str:
    told = _BACK[outcome]
    return f"{told}{_why(course, outcome)} after {spoken(course.end_ns - course.begin_ns)}"


def _why(course: Course, verb: str) -> str:
    """Return the reason in parentheses, if it says more than the verb does."""
    why = (reason(course.life) if course.life else "").replace("_", " ")
    return "" if why in {"", verb} else f" ({why})"


def _dead_command(course: Course, move: SagaMove, dead: Sequence[DeadLetter]) -> str:
    told = decisive(course, dead)
    if told is None:
        return f"{move.awaited or 'a command'} is a dead letter"
    return f"{told.kind} {'became' if told.redriven else 'is'} a dead letter of {told.group}: {told.reason}"


def _completed(course: Course) -> str:
    said = f"completed in {spoken(course.end_ns - course.begin_ns)}"
    if course.refund is None:
        return said
    if course.outcome:
        last = course.refunding or course.refund.span
        return f"{said}, refunded {spoken(last.end_ns - course.end_ns)} later"
    return f"{said}, refund requested {spoken(course.refund.span.start_ns - course.end_ns)} later"
