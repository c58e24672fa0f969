"""Run all services as processes, on a given broker and database: one side of a comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.processes import Failed
from benchmarks.system import cpu
from services.cli.children import Child, Children
from services.cli.errors import CannotRun
from services.cli.run import Service
from services.cli.settings import environment_of
from services.cli.stack import HOST, take_port
from services.messaging.topology import create_topics
from tests.servers.installed import NotInstalled, installed
from tests.servers.kafka import KafkaServer, kafka
from tests.servers.postgres import PostgresServer, postgres
from tests.servers.process import ServerFailed
from tests.support.databases import postgresql_database

#: Seconds for all services to join their groups.
_READY_S: Final = 120.0
#: Milliseconds, as in docker-compose.yml: what a round made is exported before its CPU time is read.
_EXPORT_MS: Final = "1000"


@contextmanager
def broker(folder: Path) -> Iterator[KafkaServer]:
    """Run the Kafka 4 that `make servers` built, with the system's topics.

    Raises:
        Failed: it is not installed, or does not start.
    """
    folder.mkdir()
    try:
        with kafka(installed("kafka"), folder) as server:
            asyncio.run(create_topics(server.bootstrap))
            yield server
    except (NotInstalled, ServerFailed) as error:
        raise Failed(f"kafka: {error}") from error


@contextmanager
def database_server(folder: Path) -> Iterator[PostgresServer]:
    """Run the system's PostgreSQL with a new cluster.

    Raises:
        Failed: it is not installed, or does not start.
    """
    folder.mkdir()
    folder.chmod(0o711)
    try:
        with postgres(installed("postgres"), folder) as server:
            yield server
    except (NotInstalled, ServerFailed) as error:
        raise Failed(f"postgres: {error}") from error


@dataclass(frozen=True)
class Stack:
    """The running services."""

    name: str
    database: str
    ports: tuple[int, ...]
    children: Mapping[Service, tuple[Child, ...]]
    #: Process ids of the servers that the services use, by name.
    servers: Mapping[str, int] = field(default_factory=dict)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time so far of each service, all its instances together, and of each server, in seconds."""
        services = {str(name): sum(self.instances_s(name)) for name in self.children}
        return services | {name: cpu.seconds(pid) for name, pid in self.servers.items()}

    def instances_s(self, service: Service) -> list[float]:
        """Return the CPU time so far of each instance of a service, in seconds."""
        return [cpu.seconds(child.process.pid) for child in self.children[service]]

    def resident_bytes(self) -> dict[str, int]:
        """Return the memory of each service, in bytes."""
        return {
            str(name): sum(cpu.resident_bytes(child.process.pid) for child in children)
            for name, children in self.children.items()
        }

    def check(self) -> None:
        """Check that all services are alive.

        Raises:
            Failed: a service ended; the message names its log.
        """
        for child in (child for children in self.children.values() for child in children):
            if child.process.poll() is not None:
                raise Failed(f"{child.name} of {self.name} ended: {child.last_line()}: see {child.log}")


@contextmanager
def running(  # noqa: PLR0913  the parts of a stack
    name: str,
    folder: Path,
    server: KafkaServer,
    database: str,
    variables: Mapping[str, str],
    *,
    instances: int = 1,
) -> Iterator[Stack]:
    """Run every service, with this number of instances of each.

    Raises:
        Failed: a service does not start; the message names its log.
    """
    folder.mkdir()
    ports = tuple(take_port(None) for _ in range(instances))
    shared = {
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
        "DATABASE_URL": database,
        "OTEL_BSP_SCHEDULE_DELAY": _EXPORT_MS,
        "SAGATRACE_API_HOST": HOST,
        **variables,
    }
    with Children(folder) as children:
        started = {
            service: tuple(_start(children, service, folder, shared, port) for port in ports) for service in Service
        }
        try:
            for child in (child for instances_ in started.values() for child in instances_):
                children.wait_for(child, lambda child=child: child.has_logged("service.ready"), _READY_S)  # type: ignore[misc]
        except CannotRun as error:
            raise Failed(str(error)) from error
        yield Stack(name, database, ports, started)


def _start(children: Children, service: Service, folder: Path, shared: Mapping[str, str], port: int) -> Child:
    data = folder / f"{service}-{port}"
    data.mkdir()
    own = {"SAGATRACE_API_PORT": str(port), "OTEL_SERVICE_NAME": service}
    arguments = ["services.cli.lifeline", str(data), "run", service]
    return children.start(f"{service}-{port}", arguments, environment_of({**shared, **own}))


@contextmanager
def databases(server: PostgresServer, count: int) -> Iterator[list[str]]:
    """Create empty databases and yield their URLs."""
    with ExitStack() as stack:
        yield [stack.enter_context(postgresql_database(server.url)) for _ in range(count)]
