"""Re-drive: dead letters are sent again, only to the group that failed, in the order of their keys.

`plan_redrive` is the whole decision, pure: which dead letters are sent, and why the others that were chosen are not:

- A dead letter is known by its origin. Of several with one origin the last one counts, at the place of the first: a
  record that failed again still comes before what came after it.
- Dead letters of a key are sent in that order, and none overtakes one that stays: it would only be parked behind it.
- What is closed (processed after all, or discarded) or already under way is not sent again: a second run adds nothing.
- What was re-driven too often is parked, and is sent only by force.

What is sent carries the same bytes, so it has the same event id, and the trace goes on: the send is a child of the send
with which the record first came, so that each attempt stands beside the one before it and none below, and the next
process span links to the one that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import tracing
from services.contracts import ContractError, Invalid, UnknownVersion, parse_message
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
from services.messaging.trace_context import about, bind_saga, restore, span_context
from tracing.binding import use_context


class SkipReason(StrEnum):
    """Why a dead letter that was chosen is not sent."""

    CLOSED = "closed"
    UNDER_WAY = "under way"
    PARKED = "parked"
    BEHIND = "behind another one of its key, which stays"
    OMITTED = "parts of it were too large to be kept"
    NO_ORIGIN = "it does not say where it came from"


@dataclass(frozen=True)
class RedrivePlan:
    """What a run sends, in order, and what it leaves, with the reason."""

    send: tuple[DeadLetter, ...]
    left: tuple[tuple[DeadLetter, SkipReason], ...]


def newest_by_origin(dead_letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return one dead letter per origin, the last at the place of the first; those without an origin as they are.

    Args:
        dead_letters: Those of one topic, in the order of each partition.
    """
    found: dict[Place, DeadLetter] = {}
    for dead_letter in dead_letters:
        found[dead_letter.origin or dead_letter.at] = dead_letter
    return list(found.values())


def plan_redrive(
    dead_letters: Iterable[DeadLetter],
    rows: Mapping[Place, DeadLetterRow],
    *,
    chosen: Callable[[DeadLetter], bool] = lambda _: True,
    force: bool = False,
) -> RedrivePlan:
    """Return what is sent, and what is left and why.

    Args:
        dead_letters: All dead letters of a group's topic, in the order of each partition.
        rows: The group's rows by origin; a dead letter without one counts as open.
        chosen: Which of them the operator means.
        force: Also send what is parked or already under way.
    """
    send, left, stays = [], [], set()
    for dead_letter in newest_by_origin(dead_letters):
        reason = _reason(dead_letter, rows.get(dead_letter.origin or dead_letter.at), force=force)
        if reason is None and dead_letter.key is not None and dead_letter.key in stays:
            reason = SkipReason.BEHIND
        if not chosen(dead_letter):
            reason = reason or SkipReason.BEHIND
        elif reason is None:
            send.append(dead_letter)
        else:
            left.append((dead_letter, reason))
        if dead_letter.key is not None and reason not in {None, SkipReason.CLOSED, SkipReason.UNDER_WAY}:
            stays.add(dead_letter.key)
    return RedrivePlan(tuple(send), tuple(left))


def _reason(dead_letter: DeadLetter, row: DeadLetterRow | None, *, force: bool) -> SkipReason | None:
    if row is not None and row.closed_at is not None:
        return SkipReason.CLOSED
    if dead_letter.origin is None:
        return SkipReason.NO_ORIGIN
    if dead_letter.omitted is not None:
        return SkipReason.OMITTED
    if force:
        return None
    if row is not None and row.redriven_at is not None:
        return SkipReason.UNDER_WAY
    state = dead_letter.state if row is None else row.state
    return SkipReason.PARKED if state is DeadLetterState.PARKED else None


async def send_redrive(producer: DeadLetterPublisher, group: str, dead_letter: DeadLetter, run_id: UUID) -> None:
    """Send a dead letter to its group's retry topic, in its own trace, and wait for the acknowledgement.

    Raises:
        SendFailed: it is not certain that it was sent.
        Unavailable: no broker answers.
    """
    with use_context(restore(_first_sent_in(dead_letter))), _about(dead_letter):
        headers = retried_headers(dead_letter, run_id)
        await producer.publish(retry_topic(group), key=dead_letter.key, value=dead_letter.value, headers=headers)


def _first_sent_in(dead_letter: DeadLetter) -> dict[str, str]:
    """Return the context with which the record first came; if that is unknown, that of the send to the dead letters."""
    headers = {name: value.decode(errors="replace") for name, value in dead_letter.headers if value}
    first = {name: headers[f"{ORIGINAL}{name}"] for name in TRACE_HEADERS if f"{ORIGINAL}{name}" in headers}
    if span_context(first) is not None:
        return first
    return {name: headers[name] for name in TRACE_HEADERS if name in headers}


def retried_headers(dead_letter: DeadLetter, run_id: UUID) -> list[Header]:
    """Return the headers of a re-driven record: its own, its origin, and the count; not those of the failure."""
    kept = [
        (name, value)
        for name, value in dead_letter.headers
        if name.lower() not in TRACE_HEADERS and (name.startswith(ORIGINAL) or not name.startswith(OWN))
    ]
    failed = [] if dead_letter.failed_span is None else [(FAILED_SPAN, dead_letter.failed_span.encode())]
    count = (REDRIVE_COUNT, str(dead_letter.redrive_count + 1).encode())
    return [*kept, *failed, count, (REDRIVE_ID, str(run_id).encode())]


def _about(dead_letter: DeadLetter) -> AbstractContextManager[object]:
    """Bind what the send span is about: of a dead letter that can't be read, its re-drives and its type."""
    redrives = {semconv.SAGATRACE_REDRIVES: dead_letter.redrive_count + 1}
    try:
        message = parse_message(dead_letter.value)
    except (Invalid, UnknownVersion) as error:
        return tracing.bind(**redrives, **{semconv.SAGATRACE_MESSAGE_TYPE: error.event_type})
    except ContractError:
        return tracing.bind(**redrives)
    known = about(message.event_type, message.event_id, message.saga_id)
    return bind_saga(message.saga_id, message.order_id, **redrives, **known)
