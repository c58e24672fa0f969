"""`sagatrace dlq redrive`, `discard` and `resume`: what an operator does about dead letters.

Each action is recorded in the database of the group's service, with who, when and why, in the transaction that changes
the dead letter's row. So no action goes unrecorded, and a second run sees what the first one did and skips it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.cli.dlq.contents import read_contents
from services.cli.dlq.filters import DeadLetterFilter
from services.cli.dlq.groups import Group
from services.cli.dlq.reader import TopicContents
from services.cli.errors import CannotRun
from services.cli.session import session
from services.cli.stores import open_store
from services.messaging.breaker import BreakerRow
from services.messaging.dead_letters import (
    Attribution,
    DeadLetter,
    DeadLetterOperator,
    RedrivePlan,
    SkipReason,
    newest_by_origin,
    plan_redrive,
    send_redrive,
)
from services.messaging.errors import Fatal, SendFailed, Unavailable
from services.messaging.producer import Producer
from services.messaging.settings import KafkaSettings

_PROGRESS_S = 2.0


@dataclass
class RunResult:
    """What a run did, or would do."""

    run_id: UUID
    topic: TopicContents
    done: list[DeadLetter] = field(default_factory=list)
    left: list[tuple[DeadLetter, str]] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether nothing was done, and something was left that another run would leave too."""
        settled = {SkipReason.CLOSED, SkipReason.UNDER_WAY}
        return not self.done and any(reason not in settled for _, reason in self.left)


@dataclass(frozen=True)
class RedriveRun:
    """One re-drive of a group's dead letters.

    Args:
        group: The consumer group.
        attribution: Who does it and why.
        execute: Send; otherwise only plan.
        rate: Records to send a second, at most.
        force: Send parked dead letters, and those under way, too.
    """

    group: Group
    attribution: Attribution
    execute: bool
    rate: float
    force: bool


def redrive(run: RedriveRun, chosen: DeadLetterFilter) -> RunResult:
    """Send the chosen dead letters to their group's retry topic, in the order of their keys.

    Raises:
        CannotRun: the broker or the database is unavailable; what was sent until then is recorded.
    """
    return asyncio.run(_redrive(run, chosen))


def discard(group: Group, chosen: DeadLetterFilter, attribution: Attribution, *, execute: bool) -> RunResult:
    """Close the chosen dead letters for good; their records stay in the topic.

    Raises:
        CannotRun: the broker or the database is unavailable.
    """
    return asyncio.run(_discard(group, chosen, attribution, execute=execute))


def resume(group: Group, attribution: Attribution) -> bool:
    """Close a group's breaker; return False if it is not open.

    Raises:
        CannotRun: the database is unavailable.
    """

    async def close() -> bool:
        async with open_store(group.service) as database:
            return await DeadLetterOperator(database, group).resume(attribution)

    return asyncio.run(close())


async def _redrive(run: RedriveRun, chosen: DeadLetterFilter) -> RunResult:
    async with open_store(run.group.service) as database:
        operator = DeadLetterOperator(database, run.group)
        contents = await read_contents(
            run.group,
            operator,
            closed=bool(chosen.offsets),  # what is named is answered for, even if it is closed
            keep_value=chosen if run.execute else lambda *_: False,
        )
        topic = contents.topic
        result = RunResult(run.attribution.run_id, topic)
        plan = plan_redrive(
            topic.dead_letters,
            contents.rows,
            chosen=lambda dead_letter: chosen(dead_letter, topic.summaries[dead_letter.at]),
            force=run.force,
        )
        result.left.extend(plan.left)
        if run.execute:
            if plan.send and (trip := await BreakerRow(database, run.group).read()) is not None:
                waits = f"what is sent waits for `sagatrace dlq resume {run.group}`"
                print(f"sagatrace: {run.group} has stopped ({trip.reason}): {waits}", file=sys.stderr)
            await _send(operator, plan, run, result)
        else:
            result.done.extend(plan.send)
    return result


async def _send(operator: DeadLetterOperator, plan: RedrivePlan, run: RedriveRun, result: RunResult) -> None:
    brokers, pause_s = KafkaSettings.read().bootstrap_servers, 0.0
    reported_at = time.monotonic()
    try:
        with session():
            async with Producer(brokers, client_id="sagatrace-dlq") as producer:
                for dead_letter in plan.send:
                    # A pause after each record, not a schedule: a delay is not made up for in a burst.
                    await asyncio.sleep(pause_s)
                    if not await operator.begin_redrive(dead_letter, run.attribution, force=run.force):
                        result.left.append((dead_letter, SkipReason.UNDER_WAY))
                        continue
                    await _send_one(operator, producer, dead_letter, run)
                    result.done.append(dead_letter)
                    pause_s = 1 / run.rate
                    if time.monotonic() - reported_at > _PROGRESS_S:
                        reported_at = time.monotonic()
                        print(f"sagatrace: {_so_far(result, plan)}", file=sys.stderr)
    except (SendFailed, Unavailable, Fatal) as error:
        raise CannotRun(f"{run.group}: {error}; {_so_far(result, plan)}: run it again") from error
    except asyncio.CancelledError:  # Ctrl-C
        print(f"sagatrace: {_so_far(result, plan)}; what was just being sent is under way", file=sys.stderr)
        raise


def _so_far(result: RunResult, plan: RedrivePlan) -> str:
    return f"{len(result.done)} of {len(plan.send)} are re-driven"


async def _send_one(operator: DeadLetterOperator, producer: Producer, dead_letter: DeadLetter, run: RedriveRun) -> None:
    """Send a dead letter that is recorded as sent; take that back if the send fails."""
    try:
        await send_redrive(producer, run.group, dead_letter, run.attribution.run_id)
    except (SendFailed, Unavailable, Fatal):
        await operator.take_back(dead_letter, run.attribution)
        raise


async def _discard(group: Group, chosen: DeadLetterFilter, attribution: Attribution, *, execute: bool) -> RunResult:
    async with open_store(group.service) as database:
        operator = DeadLetterOperator(database, group)
        contents = await read_contents(group, operator, closed=bool(chosen.offsets))
        result = RunResult(attribution.run_id, contents.topic)
        for dead_letter in _chosen(contents.topic, chosen):
            row = contents.rows.get(dead_letter.origin or dead_letter.at)
            is_open = row is None or row.closed_at is None
            if is_open and (not execute or await operator.discard(dead_letter, attribution)):
                result.done.append(dead_letter)
            else:
                result.left.append((dead_letter, SkipReason.CLOSED))
    return result


def _chosen(topic: TopicContents, chosen: DeadLetterFilter) -> Sequence[DeadLetter]:
    return [one for one in newest_by_origin(topic.dead_letters) if chosen(one, topic.summaries[one.at])]
