"""`sagatrace dlq skip`: pass a record by that the client can't read, and keep its bytes.

A record whose header has a name that is not UTF-8, or whose batch is damaged, never reaches a handler, so it can't
become a dead letter: its partition is held before it. The broker still has its bytes, and the batch is saved as it is
in the log. The skip is recorded with who, when and why, and the member that is held there finds it in the database.
"""

from __future__ import annotations

import asyncio
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest

from services.cli.dlq.groups import Group
from services.cli.errors import CannotRun
from services.cli.stores import open_store
from services.contracts.topics import READERS, retry_topic
from services.messaging.dead_letters import Attribution, DeadLetterOperator, Place
from services.messaging.security import KafkaSecurity
from services.messaging.settings import KafkaSettings

_PLACE = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>\d{1,9})@(?P<offset>\d{1,18})")
_FETCH_BYTES = 2**24
_TIMEOUT_S = 20.0
_WAIT_MS = 500
_READ_UNCOMMITTED = 0
# A record batch (magic 2): base offset, length of what follows; later the offset of its last record after the base.
_BASE_AND_LENGTH = struct.Struct(">qi")
_LAST_OFFSET_DELTA = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT = 23


@dataclass(frozen=True)
class Batch:
    """A record batch as it is in the broker's log."""

    first: int
    last: int
    content: bytes


def parse_place(text: str, group: Group) -> Place:
    """Read TOPIC/PARTITION@OFFSET, as the log line `consumer.held` and `/readyz` name it.

    Raises:
        CannotRun: it is not of this form, or the group doesn't read this topic.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise CannotRun(f"{text!r} is not TOPIC/PARTITION@OFFSET")
    topics = [*(topic for topic, readers in READERS.items() if group in readers), retry_topic(group)]
    if found["topic"] not in topics:
        raise CannotRun(f"{group} doesn't read {found['topic']}, but {', '.join(topics)}")
    return Place(found["topic"], int(found["partition"]), int(found["offset"]))


def skip(group: Group, place: Place, attribution: Attribution, file: Path, *, execute: bool) -> Batch:
    """Save the batch of a record, and let the group pass the record by; without `execute`, only read the batch.

    Raises:
        CannotRun: the broker or the database is unavailable, the record isn't there, or the file can't be written.
    """
    batch = asyncio.run(_read_batch(place))
    if execute:
        try:
            with file.open("xb") as saved:
                saved.write(batch.content)
        except OSError as error:
            raise CannotRun(f"{file} can't be written: {error.strerror}") from error
        asyncio.run(_record(group, place, attribution))
    return batch


async def _record(group: Group, place: Place, attribution: Attribution) -> None:
    async with open_store(group.service) as database:
        await DeadLetterOperator(database, group).skip(place, attribution)


async def _read_batch(place: Place) -> Batch:
    """Fetch the batch that holds a record, unparsed."""
    brokers = KafkaSettings.read().bootstrap_servers
    client = AIOKafkaClient(
        bootstrap_servers=brokers, client_id="sagatrace-dlq", **KafkaSecurity.read().client_options()
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await client.bootstrap()
            await client.set_topics([place.topic])
            content = await _fetch(client, place)
    except (KafkaError, OSError, TimeoutError) as error:
        reason = f"{place} can't be read at KAFKA_BOOTSTRAP_SERVERS={brokers}: {type(error).__name__}"
        raise CannotRun(reason) from error
    finally:
        await client.close()
    return _batch_of(place, content)


async def _fetch(client: AIOKafkaClient, place: Place) -> bytes:
    leader = client.cluster.leader_for_partition(TopicPartition(place.topic, place.partition))
    if leader is None or leader < 0:
        raise CannotRun(f"the broker knows no leader of {place.topic}/{place.partition}")
    wanted = [(place.topic, [(place.partition, place.offset, _FETCH_BYTES)])]
    response = await client.send(leader, FetchRequest(_WAIT_MS, 1, _FETCH_BYTES, _READ_UNCOMMITTED, wanted))
    ((_, ((_, code, *_, content),)),) = response.topics
    if code:
        raise for_code(code)(str(place))
    return bytes(content or b"")


def _batch_of(place: Place, content: bytes) -> Batch:
    """Cut the first batch out of what was fetched: a fetch begins with the batch that holds its offset."""
    if len(content) > _LAST_OFFSET_DELTA_AT + _LAST_OFFSET_DELTA.size:
        first, length = _BASE_AND_LENGTH.unpack_from(content)
        last = first + _LAST_OFFSET_DELTA.unpack_from(content, _LAST_OFFSET_DELTA_AT)[0]
        size = _BASE_AND_LENGTH.size + length
        if first <= place.offset <= last and size <= len(content):
            return Batch(first, last, content[:size])
    raise CannotRun(f"the broker has no record at {place}")
