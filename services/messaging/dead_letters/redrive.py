"""Re-drive: dead letters are sent once more, to the group that failed alone, in the order of their keys.

`plan` is the whole decision, pure: which letters go, and why the others of those chosen don't. What holds:

- A dead letter is known by its origin. Of several letters of one origin the last one counts, at the place of the first:
  a record that failed again still comes before what came after it.
- Letters of a key go in that order, and none goes past one that stays: it would only be parked behind it again.
- What is closed (processed after all, or discarded) or already under way is not sent again: a second run adds nothing.
- What was re-driven too often is parked, and goes only by force.

What is sent carries the same bytes, so it has the same event id, and the trace goes on: the send is a child of the send
to the dead letters, and the next process span links to the one that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import tracing
from services.contracts import ContractError, parse_message
from services.contracts.topics import retry_topic
from services.messaging import semconv
from services.messaging.dead_letters.headers import (
    FAILED_SPAN,
    ORIGINAL,
    OWN,
    REDRIVE_COUNT,
    REDRIVE_ID,
    TRACE_HEADERS,
    DeadLetter,
    DeadLetterState,
    Header,
    Place,
)
from services.messaging.dead_letters.operator import DeadLetterRow
from services.messaging.dead_letters.topic import DeadLetterPublisher
from services.messaging.trace_context import bind_saga, restore
from tracing.binding import use_context
from tracing.semconv import MESSAGING_MESSAGE_CONVERSATION_ID, MESSAGING_MESSAGE_ID


class SkipReason(StrEnum):
    """Why a letter that was chosen is not sent."""

    CLOSED = "closed"
    UNDER_WAY = "under way"
    PARKED = "parked"
    BEHIND = "behind another one of its key, which stays"
    OMITTED = "parts of it were too large to be kept"
    NO_ORIGIN = "it does not say where it came from"


@dataclass(frozen=True)
class RedrivePlan:
    """What a run sends, in order, and what it leaves and why."""

    send: tuple[DeadLetter, ...]
    left: tuple[tuple[DeadLetter, SkipReason], ...]


def newest_by_origin(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Give one letter for each origin: the last one, at the place of the first; those without an origin as they are.

    Args:
        letters: Of one topic, those of a partition in its order.
    """
    found: dict[Place, DeadLetter] = {}
    for letter in letters:
        found[letter.origin or letter.at] = letter
    return list(found.values())


def plan_redrive(
    letters: Iterable[DeadLetter],
    entries: Mapping[Place, DeadLetterRow],
    *,
    chosen: Callable[[DeadLetter], bool] = lambda _: True,
    force: bool = False,
) -> RedrivePlan:
    """Decide what is sent.

    Args:
        letters: All letters of a group's topic, those of a partition in its order.
        entries: The group's rows by origin; a letter without one counts as open.
        chosen: What the operator means.
        force: Send also what is parked, or already under way.
    """
    send, left, stays = [], [], set()
    for letter in newest_by_origin(letters):
        reason = _reason(letter, entries.get(letter.origin or letter.at), force=force)
        if reason is None and letter.key is not None and letter.key in stays:
            reason = SkipReason.BEHIND
        if not chosen(letter):
            reason = reason or SkipReason.BEHIND
        elif reason is None:
            send.append(letter)
        else:
            left.append((letter, reason))
        if letter.key is not None and reason not in {None, SkipReason.CLOSED, SkipReason.UNDER_WAY}:
            stays.add(letter.key)
    return RedrivePlan(tuple(send), tuple(left))


def _reason(letter: DeadLetter, entry: DeadLetterRow | None, *, force: bool) -> SkipReason | None:
    if entry is not None and entry.closed_at is not None:
        return SkipReason.CLOSED
    if letter.origin is None:
        return SkipReason.NO_ORIGIN
    if letter.omitted is not None:
        return SkipReason.OMITTED
    if force:
        return None
    if entry is not None and entry.redriven_at is not None:
        return SkipReason.UNDER_WAY
    state = letter.state if entry is None else entry.state
    return SkipReason.PARKED if state is DeadLetterState.PARKED else None


async def send_redrive(producer: DeadLetterPublisher, group: str, letter: DeadLetter, run_id: UUID) -> None:
    """Send a dead letter to its group's retry topic, in its own trace, and wait for the acknowledgement.

    Raises:
        SendFailed: it is not certain that it was sent.
        Unavailable: no broker answers.
    """
    context = {
        name: value.decode(errors="replace") for name, value in letter.headers if name in TRACE_HEADERS and value
    }
    with use_context(restore(context)), _about(letter):
        headers = retried_headers(letter, run_id)
        await producer.publish(retry_topic(group), key=letter.key, value=letter.value, headers=headers)


def retried_headers(letter: DeadLetter, run_id: UUID) -> list[Header]:
    """Give the headers of a re-driven record: its own, its origin, and the count; not the story of the failure."""
    kept = [
        (name, value)
        for name, value in letter.headers
        if name.lower() not in TRACE_HEADERS and (name.startswith(ORIGINAL) or not name.startswith(OWN))
    ]
    failed = [] if letter.failed_span is None else [(FAILED_SPAN, letter.failed_span.encode())]
    count = (REDRIVE_COUNT, str(letter.redrive_count + 1).encode())
    return [*kept, *failed, count, (REDRIVE_ID, str(run_id).encode())]


def _about(dead_letter: DeadLetter) -> AbstractContextManager[object]:
    """Bind what the send span is about: of a dead letter that can't be read, only the number of its re-drives."""
    redrives = {semconv.SAGATRACE_REDRIVES: dead_letter.redrive_count + 1}
    try:
        message = parse_message(dead_letter.value)
    except ContractError:
        return tracing.bind(**redrives)
    known = {
        MESSAGING_MESSAGE_ID: str(message.event_id),
        MESSAGING_MESSAGE_CONVERSATION_ID: message.saga_id,
        semconv.SAGATRACE_MESSAGE_TYPE: message.event_type,
    }
    return bind_saga(message.saga_id, message.order_id, **redrives, **known)
