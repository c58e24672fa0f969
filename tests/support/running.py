"""Every service as a separate process, on a broker and a back end that a test chooses."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.children import Child, Children
from services.cli.errors import CannotRun
from services.cli.order_api import OrderApi
from services.cli.run import Service
from services.cli.settings import environment_of
from services.cli.stack import HOST, take_port
from tests.runs.slowness import is_within

_READY_S = 90.0
_POLL_S = 0.05
# How soon what a service measures and records is exported, in milliseconds.
_EXPORT_MS = "500"


@dataclass(frozen=True)
class Runner:
    """Starts services that share a broker, a back end and variables.

    Args:
        children: Ends the processes.
        folder: Where their databases and logs go.
        port: Where the order API listens.
        shared: The variables of all.
    """

    children: Children
    folder: Path
    port: int
    shared: Mapping[str, str]

    @property
    def orders(self) -> OrderApi:
        """The order API, once its service runs."""
        return OrderApi(HOST, self.port)

    def start(self, service: Service, name: str | None = None, variables: Mapping[str, str] | None = None) -> Child:
        """Start a service under a name, by default its own; its own database is a SQLite file.

        It finds the data of an earlier process of that name, for example one that was killed.
        """
        data = self.folder / (name or service)
        data.mkdir(exist_ok=True)
        own = {
            "DATABASE_URL": f"sqlite+aiosqlite:///{data / 'service.sqlite'}",
            "SAGATRACE_JOURNAL_DIR": str(data / "journal"),
        }
        arguments = ["services.cli.lifeline", str(data), "run", service]
        return self.children.start(
            name or service, arguments, environment_of({**own, **self.shared, **(variables or {})})
        )

    def wait_until_ready(self, *started: Child) -> None:
        """Wait until services are ready; others may have ended.

        Raises:
            CannotRun: one is not ready within 90 seconds, or ends; the text names its log.
        """
        began = time.monotonic()
        for child in started:
            while not child.has_logged("service.ready"):
                if child.process.poll() is not None or not is_within(time.monotonic() - began, _READY_S):
                    raise CannotRun(f"{child.name} is not ready: {child.last_line()}: see {child.log}")
                time.sleep(_POLL_S)


@contextmanager
def runner(
    folder: Path, brokers: str, endpoint: str, *, variables: Mapping[str, str] | None = None
) -> Iterator[Runner]:
    """Yield a runner of services for the length of the block; see `running_services`."""
    port = take_port(None)
    shared = {
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": _EXPORT_MS,
        "OTEL_METRIC_EXPORT_INTERVAL": _EXPORT_MS,
        "SAGATRACE_API_HOST": HOST,
        "SAGATRACE_API_PORT": str(port),
        **(variables or {}),
    }
    with Children(folder) as children:
        yield Runner(children, folder, port, shared)


@contextmanager
def running_services(
    folder: Path,
    brokers: str,
    endpoint: str,
    *,
    services: Sequence[Service] = tuple(Service),
    variables: Mapping[str, str] | None = None,
) -> Iterator[OrderApi]:
    """Run services, each with a SQLite file of its own, for the length of the block; yield the order API.

    Args:
        folder: Where their databases and logs go.
        brokers: The broker's address.
        endpoint: `OTEL_EXPORTER_OTLP_ENDPOINT` of all.
        services: Which ones.
        variables: Further variables of all.

    Raises:
        CannotRun: one is not ready within 90 seconds; the text names its log.
    """
    with runner(folder, brokers, endpoint, variables=variables) as starts:
        starts.wait_until_ready(*[starts.start(service) for service in services])
        yield starts.orders
