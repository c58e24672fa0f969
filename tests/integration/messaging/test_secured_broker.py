"""A broker that lets in only who proves who they are: TLS and SCRAM, and TLS with a certificate of the client's."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.errors import ConfigurationError, Unavailable
from services.messaging.listener import spoken_at
from services.messaging.security import KafkaSecurity
from services.messaging.settings import ConsumerSettings, ProducerSettings
from services.messaging.topology import create_topics
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.servers.secured import MECHANISM, USER, Secured, secured
from tests.support.records import message

PASSWORD = "correct-horse-battery"
TOPIC = "oms.saga.events"
QUICK = ProducerSettings(attempts=1, start_timeout=5)


@dataclass(frozen=True)
class Fortress:
    """The broker and its certificates."""

    kafka: KafkaServer
    secured: Secured

    @property
    def with_user(self) -> dict[str, str]:
        """The environment of a client with a user and a password."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.with_user,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CAFILE": str(self.secured.authority),
        }

    @property
    def with_certificate(self) -> dict[str, str]:
        """The environment of a client with a certificate."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.with_certificate,
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(self.secured.authority),
            "KAFKA_SSL_CERTFILE": str(self.secured.client),
        }


@pytest.fixture(scope="module")
def fortress(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """One broker for all of them."""
    made = secured(tmp_path_factory.mktemp("certificates"), PASSWORD)
    kafka = module_servers.kafka(secured=made)
    yield Fortress(kafka, made)
    kafka.discard()


@pytest.fixture(params=["with_user", "with_certificate"])
def environment(request: pytest.FixtureRequest, fortress: Fortress, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that let a client in, set, for each of the two ways."""
    variables: dict[str, str] = getattr(fortress, request.param)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


async def test_topics_are_made_and_messages_sent_and_received(environment: dict[str, str]) -> None:
    """Admin client, producer and consumer get in by the variables alone, and a message goes through."""
    brokers = environment["KAFKA_BOOTSTRAP_SERVERS"]
    await create_topics(brokers, timeout_s=20)
    got: asyncio.Queue[Message] = asyncio.Queue()
    sent = message(order=f"o-{environment['KAFKA_SECURITY_PROTOCOL']}")
    async with Producer(brokers) as producer, Consumer(brokers, f"group-{sent.order_id}", [TOPIC], got.put):
        await producer.publish_event(TOPIC, sent.order_id, sent)
        async with asyncio.timeout(200):
            while (await got.get()).event_id != sent.event_id:
                pass


def test_the_command_gets_in_by_the_variables(environment: dict[str, str]) -> None:
    """`sagatrace topics` works on a secured broker, and says nothing of what it proved itself with."""
    command = [sys.executable, "-m", "services.cli", "topics"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "oms.saga.events: " in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"KAFKA_SASL_PASSWORD": "incorrect-horse"},
        {"KAFKA_SASL_USERNAME": "stranger"},
        {"KAFKA_SSL_CAFILE": ""},
        {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"},
    ],
    ids=["password", "user", "authority", "protocol"],
)
async def test_who_can_not_prove_it_is_kept_out(
    fortress: Fortress,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, str],
) -> None:
    """A wrong password, user, authority or protocol is an error in bounded time that shows no secret."""
    variables = fortress.with_user | wrong
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    producer = Producer(fortress.kafka.with_user, settings=QUICK)
    with pytest.raises(Unavailable) as refused:
        await producer.start()
    await producer.stop()
    said = caplog.text + repr(refused.value) + repr(producer.__dict__["_settings"])
    assert variables["KAFKA_SECURITY_PROTOCOL"] in str(refused.value)
    assert variables["KAFKA_SASL_PASSWORD"] not in said


async def test_what_a_listener_speaks_is_found_out(fortress: Fortress) -> None:
    """Each listener is known by its answer, without a password or a certificate; where nobody listens, none is."""
    kafka = fortress.kafka
    assert await spoken_at(kafka.bootstrap) == "PLAINTEXT"
    assert await spoken_at(kafka.with_user) == "SASL_SSL"
    assert await spoken_at(kafka.with_certificate) == "SSL"
    assert await spoken_at("127.0.0.1:9") is None


@pytest.mark.parametrize(
    ("address", "configured", "spoken"),
    [
        ("bootstrap", "SASL_PLAINTEXT", "PLAINTEXT"),
        ("bootstrap", "SASL_SSL", "PLAINTEXT"),
        ("with_user", "PLAINTEXT", "SASL_SSL"),
        ("with_user", "SASL_PLAINTEXT", "SASL_SSL"),
        ("with_certificate", "PLAINTEXT", "SSL"),
    ],
)
async def test_a_protocol_that_the_listener_does_not_speak_is_named(
    fortress: Fortress, address: str, configured: str, spoken: str
) -> None:
    """Producer, consumer and admin client say in one line which protocol the listener speaks, and the variable."""
    brokers = getattr(fortress.kafka, address)
    security = KafkaSecurity.model_validate(
        {
            "security_protocol": configured,
            "sasl_username": USER,
            "sasl_password": PASSWORD,
            "ssl_cafile": fortress.secured.authority,
        }
    )
    consumer = Consumer(
        brokers, "a-group", [TOPIC], _ignore, settings=ConsumerSettings(join_timeout=5), security=security
    )
    for attempt in (
        Producer(brokers, settings=QUICK, security=security).start(),
        consumer.start(),
        create_topics(brokers, timeout_s=5, security=security),
    ):
        with pytest.raises(Unavailable) as refused:
            await attempt
        assert str(refused.value).endswith(f"; {brokers} speaks {spoken}: KAFKA_SECURITY_PROTOCOL={spoken}")
        assert "\n" not in str(refused.value)


async def _ignore(_: Message) -> None:
    """Do nothing about a message."""


async def test_a_broker_of_another_name_is_not_believed(fortress: Fortress) -> None:
    """The broker's name has to be in its certificate: an address that is not gets no password."""
    address = fortress.kafka.with_user.replace("127.0.0.1", "localhost")
    security = KafkaSecurity(
        security_protocol="SASL_SSL",
        sasl_username=USER,
        sasl_password=PASSWORD,  # type: ignore[arg-type]  # as from the environment
        ssl_cafile=fortress.secured.authority,
    )
    producer = Producer(address, settings=QUICK, security=security)
    with pytest.raises(Unavailable):
        await producer.start()
    await producer.stop()


def test_a_certificate_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """A file that is not there, or is no certificate, is an error that names the variables."""
    nothing = tmp_path / "none.pem"
    for file in (nothing, tmp_path / "empty.pem"):
        with pytest.raises(ConfigurationError, match="KAFKA_SSL_CAFILE"):
            KafkaSecurity(security_protocol="SSL", ssl_cafile=file).client_options()
        (tmp_path / "empty.pem").write_text("no certificate")
