"""A saga's trace, told in one line: what came of it, what was undone, where it waited, and what went wrong on the way.

    declined by payment after 0.9 s; stock released after 1.3 s; 0.4 s waiting in Kafka, 0.1 s in the outbox; 2 retries

`headline.py` has the table of how it begins. Then, as far as there is anything to say:

| the trace has | clause |
|---|---|
| a way back that is done | charge refunded, stock released after 1.3 s |
| a way back with nothing to undo | nothing was charged, no stock was reserved |
| commands that were sent again | payment asked again (timeout charging); payment asked again by an operator |
| another dead letter | order.created is a dead letter of oms-notification: Invalid payload.items |
| one that was re-driven | order.created was a dead letter of oms-notification (Invalid), re-driven after 2 h |
| re-drives that failed too | order.created is a dead letter of oms-notification: Invalid, re-driven in vain |
| a message behind it | order.confirmed is parked behind a dead letter of oms-notification |
| waits, as `figures.py` counts them | 0.4 s waiting in Kafka, 0.1 s in the outbox |
| attempts that failed | 2 retries of payment.charge; of messages of several types: 3 retries |
| a database or broker that was away | payment waited for a database or broker that was away |
| interrupted spans | payment was interrupted at payment.charge; several: 2 spans were interrupted |
| absorbed duplicates | 1 duplicate absorbed |
| replies that came too late | 1 late reply ignored |
| findings of the check | not whole: the send of inventory.release was not recorded |
| such findings of an open saga | not whole yet: the send of payment.charge was not recorded |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from services.cli.durations import spoken
from services.cli.traces.course import Course
from services.cli.traces.dead_letters import DeadLetter, dead_letters
from services.cli.traces.figures import Figures, figures
from services.cli.traces.findings import Finding
from services.cli.traces.headline import decisive, headlines, participant
from services.cli.traces.marks import retries, was_away
from services.cli.traces.missing import missing
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import SagaTrace, is_refusal, message_type, serves_many
from services.contracts.commands import UNDOES
from services.messaging import semconv
from services.oms.saga import Input

_MOST_MISSING = 3
_NS_PER_MS = 1_000_000
_UNDONE = {
    "payment.refund": ("nothing was charged", "charge refunded"),
    "inventory.release": ("no stock was reserved", "stock released"),
}
"""What a compensation means if there was nothing to undo, and if there was."""


@dataclass(frozen=True, slots=True)
class Story:
    """A saga in words and in numbers.

    Args:
        headline: How it ended, or where it stands.
        clauses: What else there is to say, the most important first.
        outcome: `completed`, `failed`, `canceled`, `refunded`; None if it has not ended.
        figures: Its numbers.
    """

    headline: str
    clauses: tuple[str, ...] = ()
    outcome: str | None = None
    figures: Figures = field(default_factory=Figures)

    @property
    def text(self) -> str:
        """The whole story as one line."""
        return "; ".join((self.headline, *self.clauses))

    @property
    def numbers(self) -> dict[str, int | None]:
        """The numbers by name, as JSON documents have them."""
        return asdict(self.figures)


def tell(saga: SagaTrace, findings: Sequence[Finding] = (), *, now_ns: int | None = None) -> Story:
    """Return the story of a saga.

    Args:
        saga: Its trace, whole or not.
        findings: What the check of the trace found.
        now_ns: The time, in nanoseconds since the epoch, for how long an open saga has been waiting.
    """
    if not saga.spans:
        return Story("nothing of the saga was recorded")
    course, dead = Course(saga), dead_letters(saga)
    numbers = figures(course, dead)
    headline, *clauses = headlines(course, dead, now_ns)
    clauses += [*_undone(course), *_asked_again(course), *_dead(course, dead), *_waits(numbers)]
    clauses += [*_trouble(saga), *_absorbed(saga, numbers), *_gaps(saga, findings, is_open=not course.outcome)]
    return Story(headline, tuple(clauses), course.outcome, numbers)


def _undone(course: Course) -> Iterator[str]:
    """Yield what the way back undid, in its order: the payment first."""
    done = sorted((spans[0].start_ns, kind) for kind in UNDOES if (spans := course.saga.effects_of(kind)))
    words = [_UNDONE[kind][_had_effect(UNDOES[kind], start_ns, course.saga)] for start_ns, kind in done]
    if words:
        yield ", ".join(words) + _by_then(course)


_DONE = {"inventory.reserve": "inventory.reserved", "payment.charge": "payment.charged"}
"""The reply that says that a step was carried out."""


def _had_effect(step: str, before_ns: int, saga: SagaTrace) -> bool:
    """Return whether a step was carried out before it was undone, by its span or its reply; a refused one was not."""
    if _DONE[step] in saga.sent_types():
        return True
    return any(span.start_ns < before_ns and not is_refusal(span) for span in saga.effects_of(step))


def _by_then(course: Course) -> str:
    """Return when the way back was done, unless the headline says so already."""
    if not course.turn or not course.outcome:
        return ""
    turned, ended = spoken(course.turned_ns), spoken(course.end_ns - course.begin_ns)
    return f" after {ended}" if ended != turned else ""


def _asked_again(course: Course) -> Iterator[str]:
    again = [
        (participant(move.awaited), "by an operator" if move.by is Input.RETRY else f"({move.span.name})")
        for move in course.moves
        if move.by in {Input.TIMED_OUT, Input.RETRY}
    ]
    for who, why in dict.fromkeys(again):
        times = again.count((who, why))
        yield f"{who} asked again{f' {times} times' if times > 1 else ''} {why}"


def _dead(course: Course, dead: Sequence[DeadLetter]) -> Iterator[str]:
    """Yield the dead letters; of the one that the headline tells only its re-drive."""
    told = decisive(course, dead)
    yield from (one.text for one in dead if one is not told)
    if told and told.again:
        yield f"{told.kind} was {told.again}"


def _waits(numbers: Figures) -> Iterator[str]:
    places = {"in Kafka": numbers.kafka_wait_ms, "in the outbox": numbers.outbox_wait_ms}
    first, *rest = [f"{spoken(ms * _NS_PER_MS)} {where}" for where, ms in places.items() if ms] or [""]
    if first:
        yield ", ".join([first.replace(" in ", " waiting in ", 1), *rest])


def _trouble(saga: SagaTrace) -> Iterator[str]:
    """Yield what went wrong on the way and did not stop the saga."""
    tried = [span for span in saga.spans if retries(span)]
    if tried:
        count, kinds = sum(map(retries, tried)), {_about(span) for span in tried}
        yield _many(count, "retry", "retries") + (f" of {kinds.pop()}" if len(kinds) == 1 else "")
    for service in dict.fromkeys(span.service for span in saga.spans if was_away(span)):
        yield f"{service} waited for a database or broker that was away"
    interrupted = [span for span in saga.spans if span.is_interrupted and not serves_many(span)]
    if len(interrupted) == 1:
        yield f"{interrupted[0].service} was interrupted at {_about(interrupted[0])}"
    elif interrupted:
        yield f"{len(interrupted)} spans were interrupted"


def _absorbed(saga: SagaTrace, numbers: Figures) -> Iterator[str]:
    if numbers.duplicates:
        yield _many(numbers.duplicates, "duplicate", "duplicates") + " absorbed"
    if late := sum(span.text(semconv.SAGA_VERDICT) == "stale" for span in saga.spans):
        yield _many(late, "late reply", "late replies") + " ignored"


def _gaps(saga: SagaTrace, findings: Sequence[Finding], *, is_open: bool) -> Iterator[str]:
    gaps = missing(saga, findings, is_open=is_open)
    if gaps:
        more = f" and {len(gaps) - _MOST_MISSING} more" if len(gaps) > _MOST_MISSING else ""
        yield f"not whole{' yet' if is_open else ''}: {', '.join(gaps[:_MOST_MISSING])}{more}"


def _about(span: Span) -> str:
    return message_type(span) or span.name


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
