"""The numbers of a saga's story, counted and measured over its trace.

**What counts as waiting.** The waits of the saga's own line alone: of its commands and of the replies to them. Who
else reads along (audit, notification) holds up no saga. Waits are wall-clock time: where two messages wait at the same
time, as after a command was sent again, the time counts once, and where one waits in Kafka and another in an outbox,
as a wait in Kafka. Only the saga's life counts, and later that of its refund: what is re-driven in between delays
nobody. A message that the inbox absorbed ended no wait. So both waits together are never longer than the saga took.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.cli.traces.course import Course
from services.cli.traces.dead_letters import DeadLetter
from services.cli.traces.marks import retries
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import is_duplicate, message_type, serves_many
from services.cli.traces.waits import Place, wait, waited_ns
from services.oms.saga import COMMANDS, Input

_LINE = {*map(str, COMMANDS), *(str(one) for one in Input if "." in one)}
"""The types of the commands, and of the replies, by which inputs are named."""

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of a story; times are in milliseconds, and None if the saga, or its refund, has not ended.

    Args:
        took_ms: How long it took to its first end.
        refund_ms: How long the later refund took.
        kafka_wait_ms: How long its messages waited in Kafka.
        outbox_wait_ms: How long they waited in outboxes.
        retries: Attempts that failed and were repeated, in all services.
        asked_again: Commands that were sent once more, after a timeout or by an operator.
        dead_letters: Messages among the dead letters that no re-drive has processed.
        redriven: Dead letters that a re-drive has processed.
        duplicates: Messages that came twice and were absorbed.
        interrupted: Spans whose process did not end them.
    """

    took_ms: int | None = None
    refund_ms: int | None = None
    kafka_wait_ms: int = 0
    outbox_wait_ms: int = 0
    retries: int = 0
    asked_again: int = 0
    dead_letters: int = 0
    redriven: int = 0
    duplicates: int = 0
    interrupted: int = 0


def figures(course: Course, dead: tuple[DeadLetter, ...]) -> Figures:
    """Return the numbers of a saga's story."""
    spans = course.saga.spans
    waits = list(_waits(course))
    in_kafka_ns = waited_ns((begin, end) for place, begin, end in waits if place is Place.KAFKA)
    all_ns = waited_ns((begin, end) for _, begin, end in waits)
    return Figures(
        took_ms=_ms(course.end_ns - course.begin_ns) if course.life or course.outcome else None,
        refund_ms=_ms(course.refunding.duration_ns) if course.refunding else None,
        kafka_wait_ms=_ms(in_kafka_ns),
        outbox_wait_ms=_ms(all_ns - in_kafka_ns),
        retries=sum(map(retries, spans)),
        asked_again=sum(move.by in {Input.TIMED_OUT, Input.RETRY} for move in course.moves),
        dead_letters=sum(one.redriven is None for one in dead),
        redriven=sum(one.redriven is not None for one in dead),
        duplicates=sum(map(is_duplicate, spans)),
        interrupted=sum(span.is_interrupted for span in spans if not serves_many(span)),
    )


def _waits(course: Course) -> Iterator[tuple[Place, int, int]]:
    """Yield the waits of the saga's line within its life and within its refund."""
    lives = [(course.begin_ns, course.end_ns)]
    if course.refund:
        refunding = course.refunding or course.refund.span
        end_ns = refunding.end_ns if course.refunding else max(span.end_ns for span in course.saga.spans)
        lives.append((refunding.start_ns, end_ns))
    for span in course.saga.spans:
        before = wait(span, course.saga.by_id.get(span.parent_id or ""))
        if before is not None and _is_of_the_line(span):
            began_ns = span.start_ns - before.length_ns
            yield from ((before.place, max(began_ns, begin), min(span.start_ns, end)) for begin, end in lives)


def _is_of_the_line(span: Span) -> bool:
    return message_type(span) in _LINE and not is_duplicate(span)


def _ms(nanoseconds: int) -> int:
    return round(max(0, nanoseconds) / _NS_PER_MS)
