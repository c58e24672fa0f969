"""A group's trip on a real database: every member obeys it, and an operator ends it."""

import pytest

from services.contracts import new_id
from services.messaging.breaker.row import BreakerRow
from services.messaging.breaker.tally import Cooldown
from services.messaging.dead_letters.operator import Attribution, DeadLetterOperator
from services.messaging.storage.database import Database

COOLDOWN = Cooldown(30, 100, 3)


@pytest.fixture
def row(database: Database) -> BreakerRow:
    """The row of a group."""
    return BreakerRow(database, "billing")


async def test_a_trip_is_there_for_everybody_until_it_is_closed(database: Database, row: BreakerRow) -> None:
    """Another member reads the same trip, another group none."""
    kept = await row.trip("10 dead letters in a row", COOLDOWN)
    read = await BreakerRow(database, "billing").read()
    assert read is not None
    assert read.reason == kept.reason == "10 dead letters in a row"
    assert 0 < read.probe_in_s <= 30
    assert await BreakerRow(database, "shipping").read() is None
    await row.close()
    assert await row.read() is None


async def test_members_that_trip_at_once_are_one_trip(row: BreakerRow) -> None:
    """A second trip before the probe is due changes nothing: the group failed once."""
    await row.trip("first", COOLDOWN)
    again = await row.trip("second", COOLDOWN)
    assert again.reason == "first"
    assert again.probe_in_s <= 30


async def test_a_probe_that_fails_makes_the_cooldown_longer(row: BreakerRow) -> None:
    """A trip after the probe was due is another one, and lasts longer."""
    await row.trip("first", Cooldown(0, 0, 3))
    again = await row.trip("second", COOLDOWN)
    assert again.reason == "second"
    assert 50 < again.probe_in_s <= 60


async def test_an_operator_resumes_the_group(database: Database, row: BreakerRow) -> None:
    """To resume deletes the trip, once, and keeps who did it and why."""
    operator, attribution = DeadLetterOperator(database, "billing"), Attribution("ada", new_id(), "rolled back")
    assert not await operator.resume(attribution)
    await row.trip("first", COOLDOWN)
    assert await operator.resume(attribution)
    assert await row.read() is None
    assert [(done["action"], done["actor"], done["topic"]) for done in await operator.actions()] == [
        ("resume", "ada", None)
    ]
