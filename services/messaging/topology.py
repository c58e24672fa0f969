"""The topics on a broker: those that are missing are created, and the others left alone.

A dead-letter topic keeps its records for ever. It and the group's retry topic take 64 KiB more than the source, so that
a record that just fits its topic still fits there with the headers of the failure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NotControllerError, TopicAlreadyExistsError, for_code

from services.contracts.topics import PARTITIONS, READERS, dead_letter_topic, retry_topic
from services.messaging import listener
from services.messaging.errors import Unavailable
from services.messaging.security import KafkaSecurity

# Kafka's default `max.message.bytes`, and what a dead letter adds at most.
MAX_BYTES = 1_048_588
DEAD_LETTER_BYTES = MAX_BYTES + 65_536
# The pause between requests to a broker that is not ready, in seconds.
_PAUSE_S = 0.5

Answer = tuple[str, int, str | None]


@dataclass(frozen=True)
class Topic:
    """A topic as it should be: its name, and where its configuration differs from the broker's defaults."""

    name: str
    config: dict[str, str] = field(default_factory=dict)


def all_topics() -> list[Topic]:
    """Return every topic of the system: those of the contract, and each group's retry and dead-letter topic."""
    groups = sorted({group for groups in READERS.values() for group in groups})
    larger = {"max.message.bytes": str(DEAD_LETTER_BYTES)}
    dead = {"retention.ms": "-1", **larger}
    return [
        *(Topic(name) for name in READERS),
        *(Topic(retry_topic(group), larger) for group in groups),
        *(Topic(dead_letter_topic(group), dead) for group in groups),
    ]


async def create_topics(
    brokers: str,
    *,
    replicas: int = 1,
    timeout_s: float = 60.0,
    security: KafkaSecurity | None = None,
) -> list[str]:
    """Create the topics that are missing, with four partitions each, and return their names.

    Args:
        brokers: `host:port`, or several separated by commas.
        replicas: The replication factor of a new topic.
        timeout_s: The longest wait for the brokers, in seconds.
        security: TLS and SASL; from the environment if not given.

    Raises:
        ConfigurationError: a variable is wrong, or a certificate can't be read.
        Unavailable: no broker answers in time, or it refuses to create a topic.
    """
    secured = (security or KafkaSecurity.read()).client_options()
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, client_id="sagatrace-topics", **secured)
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(admin)
            answers = await _request(admin, [_new(topic, replicas) for topic in all_topics()])
    except (KafkaError, OSError, TimeoutError) as error:
        where = f"KAFKA_BOOTSTRAP_SERVERS={brokers} ({secured['security_protocol']})"
        wrong = await listener.hint(brokers, secured["security_protocol"])
        reason = f"topics can't be made at {where}: {type(error).__name__}{wrong}"
        raise Unavailable(reason) from error
    finally:
        await admin.close()
    return _made(answers)


async def _connect(admin: AIOKafkaAdminClient) -> None:
    """Connect to a broker that knows its controller: the cluster may be starting at the same time.

    A cluster without a controller answers -1, on which aiokafka 0.14 fails with an AttributeError.
    """
    while True:
        try:
            await admin.start()
            if (await admin.describe_cluster())["controller_id"] >= 0:
                return
        except KafkaError:
            pass
        await asyncio.sleep(_PAUSE_S)


async def _request(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> list[Answer]:
    """Request topics until the controller answers: another broker may have become the controller meanwhile."""
    while True:
        answer = await admin.create_topics(topics)
        answers: list[Answer] = answer.topic_errors  # type: ignore[attr-defined]  # aiokafka annotates the base of all
        if all(code != NotControllerError.errno for _, code, *_ in answers):
            return answers
        await asyncio.sleep(_PAUSE_S)


def _new(topic: Topic, replicas: int) -> NewTopic:
    return NewTopic(topic.name, PARTITIONS, replicas, topic_configs=topic.config)


def _made(answers: list[Answer]) -> list[str]:
    made = []
    for name, code, *_ in answers:
        error = for_code(code)
        if code == 0:
            made.append(name)
        elif error is not TopicAlreadyExistsError:
            raise Unavailable(f"the broker refuses to make {name}: {error.__name__}")
    return made
