"""`sagatrace dlq skip`: the bytes of a record that no client can read are kept, and the skip is recorded."""

from pathlib import Path
from uuid import uuid4

import pytest

from services.contracts.topics import NOTIFICATION_GROUP, ORDER_EVENTS
from services.messaging.dead_letters import DeadLetterOperator
from services.messaging.storage.database import Database
from services.messaging.storage.migrations import upgrade
from tests.support.broker import Broker
from tests.support.databases import sqlite_url
from tests.support.operator import Operator
from tests.support.unreadable import send_unreadable

GROUP = NOTIFICATION_GROUP


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """The database of the group's service."""
    made = sqlite_url(tmp_path, "notification")
    await upgrade(made, "notification")
    return made


async def test_the_bytes_are_saved_and_the_skip_is_recorded(broker: Broker, url: str, tmp_path: Path) -> None:
    """Without --execute nothing happens; with it the file holds the batch, and the database who did it and why."""
    operator = Operator({"KAFKA_BOOTSTRAP_SERVERS": broker, "DATABASE_URL": url})
    key = uuid4().hex.encode()
    at = await send_unreadable(broker, ORDER_EVENTS, key)
    place, file = f"{ORDER_EVENTS}/{at.partition}@{at.offset}", tmp_path / "bad.batch"
    command = ["dlq", "skip", GROUP, place, "--reason", "bad header", "--save", str(file)]
    code, out, err = operator.run(*command)
    assert (code, err, file.exists()) == (0, "", False)
    assert f"{place} would be passed by" in out
    code, out, err = operator.run(*command, "--execute")
    assert (code, err) == (0, "")
    assert f"{GROUP} passes {place} by" in out
    content = file.read_bytes()
    assert key in content
    assert b"\xff\xfe" in content
    database = Database(url, schema="notification")
    (action,) = await DeadLetterOperator(database, GROUP).actions()
    await database.close()
    assert (action["action"], action["topic"], action["partition"], action["offset"], action["reason"]) == (
        "skip",
        ORDER_EVENTS,
        at.partition,
        at.offset,
        "bad header",
    )
    code, _, err = operator.run(*command, "--execute")
    assert code == 2
    assert "can't be written" in err


@pytest.mark.brokers("embedded")
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("oms.order.events/0", "is not TOPIC/PARTITION@OFFSET"),
        ("oms.payment.commands/0@1", "doesn't read oms.payment.commands"),
        ("oms.order.events/0@99999999", "oms.order.events/0"),
    ],
)
async def test_what_is_no_record_of_the_group_is_refused(
    broker: Broker, url: str, tmp_path: Path, place: str, says: str
) -> None:
    """A place of another form, of another group's topic, or without a record is one line and exit code 2."""
    operator = Operator({"KAFKA_BOOTSTRAP_SERVERS": broker, "DATABASE_URL": url})
    code, out, err = operator.run("dlq", "skip", GROUP, place, "--reason", "r", "--save", str(tmp_path / "b"), "--yes")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
