"""`sagatrace dlq redrive`, `discard` and `resume`: what an operator does about dead letters.

Each act is noted in the database of the group's service, with who, when and why, in the transaction that it is about.
So no act is without its note, and a second run finds what the first one did, and leaves it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.cli.dlq.choice import Choice
from services.cli.dlq.groups import Group
from services.cli.dlq.reader import Letters, read_letters
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
    letters: Letters
    done: list[DeadLetter] = field(default_factory=list)
    left: list[tuple[DeadLetter, str]] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether something was left that another run would leave again, and nothing was done."""
        settled = {SkipReason.CLOSED, SkipReason.UNDER_WAY}
        return not self.done and any(reason not in settled for _, reason in self.left)


@dataclass(frozen=True)
class Run:
    """A re-drive: whose letters, who does it, whether at all, how many a second, and whether parked letters go too."""

    group: Group
    act: Attribution
    execute: bool
    rate: float
    force: bool


def redrive(run: Run, choice: Choice) -> RunResult:
    """Send the chosen letters once more, to their group alone, in the order of their keys.

    Raises:
        CannotRun: the broker or the database is away; what was sent until then is noted.
    """
    return asyncio.run(_redrive(run, choice))


def discard(group: Group, choice: Choice, act: Attribution, *, execute: bool) -> RunResult:
    """Close the chosen letters for good; their records stay in the topic.

    Raises:
        CannotRun: the broker or the database is away.
    """
    return asyncio.run(_discard(group, choice, act, execute=execute))


def resume(group: Group, act: Attribution) -> bool:
    """Close a group's breaker; False if it is not open.

    Raises:
        CannotRun: the database is away.
    """

    async def close() -> bool:
        async with open_store(group.service) as database:
            return await DeadLetterOperator(database, group).resume(act)

    return asyncio.run(close())


async def _redrive(run: Run, choice: Choice) -> RunResult:
    letters = await read_letters(run.group, keeps_value=choice if run.execute else lambda *_: False)
    outcome = RunResult(run.act.run_id, letters)
    async with open_store(run.group.service) as database:
        desk = DeadLetterOperator(database, run.group)
        planned = plan_redrive(
            letters.letters,
            await desk.entries(),
            chosen=lambda letter: choice(letter, letters.about[letter.at]),
            force=run.force,
        )
        outcome.left.extend(planned.left)
        if run.execute:
            if planned.send and (trip := await BreakerRow(database, run.group).read()) is not None:
                waits = f"what is sent waits for `sagatrace dlq resume {run.group}`"
                print(f"sagatrace: {run.group} has stopped ({trip.reason}): {waits}", file=sys.stderr)
            await _send(desk, planned, run, outcome)
        else:
            outcome.done.extend(planned.send)
    return outcome


async def _send(desk: DeadLetterOperator, planned: RedrivePlan, run: Run, outcome: RunResult) -> None:
    brokers, pause_s = KafkaSettings.read().bootstrap_servers, 0.0
    told_at = time.monotonic()
    try:
        with session():
            async with Producer(brokers, client_id="sagatrace-dlq") as producer:
                for letter in planned.send:
                    # After each, not by a schedule: what was held up is not made up for in a burst.
                    await asyncio.sleep(pause_s)
                    if not await desk.begin_redrive(letter, run.act, force=run.force):
                        outcome.left.append((letter, SkipReason.UNDER_WAY))
                        continue
                    await _send_one(desk, producer, letter, run)
                    outcome.done.append(letter)
                    pause_s = 1 / run.rate
                    if time.monotonic() - told_at > _PROGRESS_S:
                        told_at = time.monotonic()
                        print(f"sagatrace: {_so_far(outcome, planned)}", file=sys.stderr)
    except (SendFailed, Unavailable, Fatal) as error:
        raise CannotRun(f"{run.group}: {error}; {_so_far(outcome, planned)}: run it again") from error
    except asyncio.CancelledError:  # Ctrl-C
        print(f"sagatrace: {_so_far(outcome, planned)}; what was just being sent is under way", file=sys.stderr)
        raise


def _so_far(outcome: RunResult, planned: RedrivePlan) -> str:
    return f"{len(outcome.done)} of {len(planned.send)} are re-driven"


async def _send_one(desk: DeadLetterOperator, producer: Producer, letter: DeadLetter, run: Run) -> None:
    """Send a letter that is noted as sent; take the note back if it was not."""
    try:
        await send_redrive(producer, run.group, letter, run.act.run_id)
    except (SendFailed, Unavailable, Fatal):
        await desk.take_back(letter, run.act)
        raise


async def _discard(group: Group, choice: Choice, act: Attribution, *, execute: bool) -> RunResult:
    letters = await read_letters(group)
    outcome = RunResult(act.run_id, letters)
    async with open_store(group.service) as database:
        desk = DeadLetterOperator(database, group)
        entries = await desk.entries()
        for letter in _chosen(letters, choice):
            entry = entries.get(letter.origin or letter.at)
            is_open = entry is None or entry.closed_at is None
            if is_open and (not execute or await desk.discard(letter, act)):
                outcome.done.append(letter)
            else:
                outcome.left.append((letter, SkipReason.CLOSED))
    return outcome


def _chosen(letters: Letters, choice: Choice) -> Sequence[DeadLetter]:
    return [letter for letter in newest_by_origin(letters.letters) if choice(letter, letters.about[letter.at])]
