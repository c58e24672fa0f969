"""Where the topics on a broker differ from what the services expect of them.

Topics may have been created by somebody else, or by a broker's defaults, and are used as they are. What the services
rely on is compared when they start, with one line in the log for each difference:

| setting | expected | otherwise |
|---|---|---|
| partitions | as many as `services.contracts.topics` says | fewer members share the work; 0: there is no topic |
| `cleanup.policy` | no compaction | a key is an order: all but its last message would be deleted |
| `max.message.bytes` | Kafka's default, or more | a message that the producer lets pass is refused |
| the same, of dead letters, retries | 64 KiB more than their source | a large record can't become a dead letter |
| `retention.ms`, `retention.bytes` of dead letters | -1 | dead letters are deleted before anybody has seen them |
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from services.contracts.topics import PARTITIONS, READERS, dead_letter_topic, retry_topic
from services.messaging.security import KafkaSecurity
from services.messaging.topology import DEAD_LETTER_BYTES, MAX_BYTES

# What a dead letter adds to its record at most.
_ADDED_BYTES = DEAD_LETTER_BYTES - MAX_BYTES
_UNLIMITED = "-1"


@dataclass(frozen=True)
class FoundTopic:
    """A topic as the broker describes it.

    Args:
        partitions: How many; 0 means that there is no such topic.
        config: Its settings by Kafka's names; empty if the broker does not tell them.
    """

    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """A setting of a topic that is not as the services expect it."""

    topic: str
    setting: str
    expected: str
    found: str


def compare(group: str, found: Mapping[str, FoundTopic]) -> list[Difference]:
    """Return the differences of a group's topics: those that it reads, its retry topic and its dead letters."""
    sources = sources_of(group)
    largest = max((_bytes(found[name], MAX_BYTES) for name in sources), default=MAX_BYTES)
    smallest = {**dict.fromkeys(sources, MAX_BYTES), **dict.fromkeys(_kept(group), largest + _ADDED_BYTES)}
    differences = []
    for name, needed in smallest.items():
        differences += _differences(name, found[name], needed, keeps=name == dead_letter_topic(group))
    return differences


def sources_of(group: str) -> list[str]:
    """Return the topics of the contract that a group reads."""
    return [topic for topic, readers in READERS.items() if group in readers]


async def find_differences(
    brokers: str, groups: Collection[str], security: KafkaSecurity | None = None
) -> list[Difference]:
    """Compare the topics of some groups with what the broker says of them.

    Raises:
        ConfigurationError: a variable is wrong, or a certificate can't be read.
        KafkaError: no broker answers, or it refuses to describe a topic.
    """
    names = sorted({name for group in groups for name in (*sources_of(group), *_kept(group))})
    secured = (security or KafkaSecurity.read()).client_options()
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, client_id="sagatrace-topics", **secured)
    try:
        await admin.start()
        described: Sequence[Any] = await admin.describe_topics(names)
        partitions = {each["topic"]: len(each["partitions"]) for each in described}
        configs = await _configs(admin, [name for name in names if partitions.get(name)])
    finally:
        await admin.close()
    found = {name: FoundTopic(partitions.get(name, 0), configs.get(name, {})) for name in names}
    # Two groups may read the same topic.
    return list(dict.fromkeys(each for group in groups for each in compare(group, found)))


async def log_differences(brokers: str, groups: Collection[str], *, timeout_s: float = 5.0) -> None:
    """Log a warning for each difference; within the time, and without an error whatever the broker answers."""
    log = structlog.get_logger(__name__)
    try:
        async with asyncio.timeout(timeout_s):
            differences = await find_differences(brokers, groups)
    except Exception as error:  # noqa: BLE001  the service works without this knowledge, and says so
        log.info("topics.not_checked", reason=type(error).__name__)
        return
    for each in differences:
        log.warning("topic.differs", topic=each.topic, setting=each.setting, expected=each.expected, found=each.found)


def _kept(group: str) -> tuple[str, str]:
    return retry_topic(group), dead_letter_topic(group)


def _differences(name: str, topic: FoundTopic, needed_bytes: int, *, keeps: bool) -> list[Difference]:
    """Compare one topic; one that is not there is a single difference."""
    expected: list[tuple[str, str, str, bool]] = [
        ("partitions", str(PARTITIONS), str(topic.partitions), topic.partitions == PARTITIONS)
    ]
    if topic.partitions:
        policy, size = topic.config.get("cleanup.policy", "delete"), _bytes(topic, needed_bytes)
        expected.append(("cleanup.policy", "delete", policy, "compact" not in policy))
        expected.append(("max.message.bytes", f"{needed_bytes} or more", str(size), size >= needed_bytes))
        for setting in ("retention.ms", "retention.bytes") if keeps else ():
            limit = topic.config.get(setting, _UNLIMITED)
            expected.append((setting, _UNLIMITED, limit, limit == _UNLIMITED))
    return [Difference(name, setting, wanted, found) for setting, wanted, found, is_so in expected if not is_so]


def _bytes(topic: FoundTopic, unknown: int) -> int:
    return int(topic.config.get("max.message.bytes", unknown))


async def _configs(admin: AIOKafkaAdminClient, names: Collection[str]) -> Mapping[str, Mapping[str, str]]:
    """Read the settings of topics, as far as the broker tells them: it may not know the request, or not allow it."""
    try:
        answers: Sequence[Any] = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        )
    except KafkaError as error:
        structlog.get_logger(__name__).info("topics.not_checked", reason=type(error).__name__)
        return {}
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: {entry[0]: entry[1] for entry in entries} for _, _, _, name, entries in resources}
