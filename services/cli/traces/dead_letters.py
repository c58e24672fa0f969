"""The dead letters of a saga, as its trace shows them.

A dead letter is a process span that failed, with the send to its group's dead-letter topic as its child. A re-drive
adds another process span of the same message for the same group, which may fail again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.cli.durations import spoken
from services.cli.traces.marks import reason
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import SagaTrace, group, is_duplicate, message_type, operation
from services.contracts.topics import dead_letter_topic
from services.messaging.errors import ParkedBehind
from tracing.semconv import ERROR_TYPE, MESSAGING_DESTINATION_NAME, MESSAGING_MESSAGE_ID, PROCESS, SEND


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that a group could not process.

    Args:
        failed: The process spans that failed, first to last: more than one if re-drives failed too.
        kind: The message's type, or else the topic.
        group: The consumer group.
        redriven: The process span of the re-drive that worked; None if the dead letter is still open.
    """

    failed: tuple[Span, ...]
    kind: str
    group: str
    redriven: Span | None

    @property
    def reason(self) -> str:
        """Why it failed at first."""
        return reason(self.failed[0])

    @property
    def is_behind(self) -> bool:
        """Whether it is there only because an earlier message of its order is."""
        return self.failed[0].text(ERROR_TYPE) == ParkedBehind.__qualname__

    @property
    def text(self) -> str:
        """What became of the message, as a clause."""
        if self.redriven:
            return f"{self.kind} was a dead letter of {self.group} ({self.reason}), {self.again}"
        if self.is_behind:
            return f"{self.kind} is parked behind a dead letter of {self.group}"
        return ", ".join([f"{self.kind} is a dead letter of {self.group}: {self.reason}", *filter(None, [self.again])])

    @property
    def again(self) -> str:
        """What came of its re-drives; empty if there were none."""
        if self.redriven:
            return f"re-driven after {spoken(self.redriven.start_ns - self.failed[0].end_ns)}"
        return "re-driven in vain" if len(self.failed) > 1 else ""


def dead_letters(saga: SagaTrace) -> tuple[DeadLetter, ...]:
    """Return a saga's dead letters, in the order in which they failed."""
    found: dict[tuple[str, str], list[Span]] = {}
    known: dict[str, tuple[str, str]] = {}
    for failed in _failed(saga):
        before = next((known[link.span_id] for link in failed.links if link.span_id in known), None)
        key = known[failed.span_id] = before or (_message_id(failed, saga), group(failed) or "")
        found.setdefault(key, []).append(failed)
    return tuple(
        DeadLetter(tuple(failed), _kind(failed[0], saga), reader, _redriven(message_id, reader, failed, saga))
        for (message_id, reader), failed in found.items()
    )


def _failed(saga: SagaTrace) -> Iterator[Span]:
    """Yield the process spans whose record was sent to the dead letters, each once."""
    aside = {
        (span.parent_id, span.text(MESSAGING_DESTINATION_NAME))
        for span in saga.spans
        if operation(span) == SEND and not span.is_error
    }
    for span in saga.spans:
        if operation(span) == PROCESS and (span.span_id, dead_letter_topic(group(span) or "")) in aside:
            yield span


def _redriven(message_id: str, reader: str, failed: list[Span], saga: SagaTrace) -> Span | None:
    ids = {span.span_id for span in failed}
    for span in saga.spans:
        if operation(span) != PROCESS or group(span) != reader or span.start_ns < failed[-1].start_ns:
            continue
        is_again = _message_id(span, saga) == message_id or not ids.isdisjoint(link.span_id for link in span.links)
        is_done = span.span_id not in ids and not span.is_interrupted and not is_duplicate(span)
        if is_again and is_done:
            return span
    return None


def _message_id(span: Span, saga: SagaTrace) -> str:
    """Return the message's id, also of one that could not be read; without any, the span's own."""
    send = saga.by_id.get(span.parent_id or "")
    return span.text(MESSAGING_MESSAGE_ID) or (send and send.text(MESSAGING_MESSAGE_ID)) or span.span_id


def _kind(span: Span, saga: SagaTrace) -> str:
    send = saga.by_id.get(span.parent_id or "")
    topic = span.text(MESSAGING_DESTINATION_NAME) or "a topic"
    return message_type(span) or (message_type(send) if send else None) or f"a message of {topic}"
