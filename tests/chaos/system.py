"""The system under chaos: the real servers, and instances of all services on them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.cli.run import Service
from services.cli.stack import HOST, take_port
from services.messaging.storage.migrations import upgrade
from services.messaging.topology import create_topics
from tests.chaos.processes import READY, READY_S, Instance, Start
from tests.servers.installed import installed
from tests.servers.jaeger import jaeger
from tests.servers.kafka import kafka
from tests.servers.postgres import postgres
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually

BROKER = {"group.min.session.timeout.ms": "1000"}
"""How the broker differs: a member that was killed is missed after a second, where Kafka's own least is six."""

_END_S = 30.0
_FOLDER_MODE = 0o711

_VARIABLES = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRICS_EXPORTER": "none",
    # Milliseconds; all others are in seconds.
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "SAGATRACE_CONSUMER_SESSION_TIMEOUT": "1.5",
    "SAGATRACE_CONSUMER_COMMIT_INTERVAL": "0.2",
    "SAGATRACE_RELAY_LEASE": "1",
    "SAGATRACE_RELAY_POLL_INTERVAL": "0.2",
    "SAGATRACE_STEP_TIMEOUT": "4",
    "SAGATRACE_SWEEP_INTERVAL": "0.2",
    "SAGATRACE_RESERVATION_DELAY": "0.5",
    "SAGATRACE_GATEWAY_SLOW": "0.3",
    "SAGATRACE_RETENTION_INTERVAL": "0.5",
    "SAGATRACE_RETENTION_SENT": "5",
}


@dataclass(frozen=True)
class Parts:
    """The addresses of the real servers."""

    brokers: str
    database: str
    jaeger: str
    otlp: str


@contextmanager
def real_parts(folder: Path) -> Iterator[Parts]:
    """Start Kafka, PostgreSQL and Jaeger for the length of the block.

    Raises:
        NotInstalled: one of them is not on this machine.
        ServerFailed: one of them did not start.
    """
    folder.chmod(_FOLDER_MODE)
    for part in ("kafka", "postgres", "jaeger"):
        (folder / part).mkdir(mode=_FOLDER_MODE)
    with (
        kafka(installed("kafka"), folder / "kafka", BROKER) as broker,
        postgres(installed("postgres"), folder / "postgres") as server,
        postgresql_database(server.url) as database,
        jaeger(installed("jaeger"), folder / "jaeger") as traces,
    ):
        yield Parts(broker.bootstrap, database, traces.address.url, traces.address.otlp_http)


@dataclass
class System:
    """The services on the real servers.

    Args:
        parts: The servers' addresses.
        instances: All instances of all services.
        ports: Where the order API's instances listen.
    """

    parts: Parts
    instances: list[Instance]
    ports: list[int]

    def of(self, service: Service) -> Instance:
        """Return the first instance of a service."""
        return next(instance for instance in self.instances if instance.service is service)

    async def prepare(self) -> None:
        """Make the topics and the tables, before there are customers.

        Raises:
            Unavailable: the broker or the database is away.
        """
        await create_topics(self.parts.brokers)
        for service in Service:
            await upgrade(self.parts.database, service.value)

    async def start(self) -> None:
        """Start every instance that is not running, and wait until all are ready.

        Raises:
            AssertionError: one is not ready in time.
        """
        for instance in self.instances:
            if instance.has_ended():
                instance.start()
        for instance in self.instances:
            await eventually(partial(instance.has_said, READY), READY_S)

    async def stop(self) -> None:
        """Ask all to end, and wait until they have.

        Raises:
            AssertionError: one has not ended in time.
        """
        for instance in self.instances:
            instance.send(signal.SIGTERM)
        for instance in self.instances:
            await eventually(instance.has_ended, _END_S)

    def kill(self) -> None:
        """Kill what is left."""
        for instance in self.instances:
            instance.send(signal.SIGKILL)
            instance.let_go()


@contextmanager
def system(
    folder: Path, parts: Parts, start: Start, *, instances: int = 1, variables: Mapping[str, str] | None = None
) -> Iterator[System]:
    """Yield the services, none of them started yet, and kill what is left of them at the end.

    Args:
        folder: Where their logs and journals go.
        parts: The real servers.
        start: How a process is started.
        instances: How many of each service.
        variables: Further variables of all.
    """
    ports = [take_port(None) for _ in range(instances)]
    made = [
        Instance(
            service,
            number,
            _variables(service, folder / f"{service}-{number}.journal", parts, port) | dict(variables or {}),
            folder / f"{service}-{number}.log",
            start,
        )
        for service in Service
        for number, port in enumerate(ports, 1)
    ]
    whole = System(parts, made, ports)
    try:
        yield whole
    finally:
        whole.kill()


def _variables(service: Service, journal: Path, parts: Parts, port: int) -> dict[str, str]:
    return _VARIABLES | {
        "KAFKA_BOOTSTRAP_SERVERS": parts.brokers,
        "DATABASE_URL": parts.database,
        "OTEL_EXPORTER_OTLP_ENDPOINT": parts.otlp,
        "OTEL_SERVICE_NAME": service,
        "SAGATRACE_API_HOST": HOST,
        "SAGATRACE_API_PORT": str(port),
        "SAGATRACE_JOURNAL_DIR": str(journal),
    }
