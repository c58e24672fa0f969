"""The topics on a broker: made if they are not there, left alone if they are.

A dead-letter topic keeps for ever. It and the group's retry topic take 64 KiB more than the source, so that a record
which just fits its topic still fits there with the failure's headers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NotControllerError, TopicAlreadyExistsError, for_code

from services.contracts.topics import PARTITIONS, READERS, dead_letter_topic, retry_topic
from services.messaging.errors import Unavailable
from services.messaging.security import KafkaSecurity

# Kafka's default `max.message.bytes`, and what a dead letter adds at most.
MAX_BYTES = 1_048_588
DEAD_LETTER_BYTES = MAX_BYTES + 65_536
# Between questions to a broker that is not ready for them.
_PAUSE_S = 0.5

Answer = tuple[str, int, str | None]


@dataclass(frozen=True)
class Topic:
    """A topic as it should be: its name and what of its configuration is not the broker's default."""

    name: str
    config: dict[str, str] = field(default_factory=dict)


def all_topics() -> list[Topic]:
    """List every topic of the system: those of the contract, and each group's retry and dead-letter topic."""
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
    """Make the topics that are missing, with four partitions each, and name them.

    Args:
        brokers: `host:port`, or several separated by commas.
        replicas: The replication factor of a new topic.
        timeout_s: The longest wait for the brokers, in seconds.
        security: TLS and SASL; from the environment if not given.

    Raises:
        ConfigurationError: a variable is wrong, or a certificate can't be read.
        Unavailable: no broker answers in time, or it refuses to make a topic.
    """
    secured = (security or KafkaSecurity.read()).client_options()
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, client_id="sagatrace-topics", **secured)
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(admin)
            answers = await _asked(admin, [_new(topic, replicas) for topic in all_topics()])
    except (KafkaError, OSError, TimeoutError) as error:
        where = f"KAFKA_BOOTSTRAP_SERVERS={brokers} ({secured['security_protocol']})"
        reason = f"topics can't be made at {where}: {type(error).__name__}"
        raise Unavailable(reason) from error
    finally:
        await admin.close()
    return _made(answers)


async def _connect(admin: AIOKafkaAdminClient) -> None:
    """Wait for a broker that knows its controller: it may be starting at the same time.

    A cluster without a controller says -1, which aiokafka 0.14 answers with an AttributeError of its own.
    """
    while True:
        try:
            await admin.start()
            if (await admin.describe_cluster())["controller_id"] >= 0:
                return
        except KafkaError:
            pass
        await asyncio.sleep(_PAUSE_S)


async def _asked(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> list[Answer]:
    """Ask for topics until a broker answers that is the controller: the one that was may have passed it on."""
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
