"""Every service as a process of its own, on a broker and a back end that a test chooses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.cli.children import Children
from services.cli.order_api import OrderApi
from services.cli.run import Service
from services.cli.settings import environment_of
from services.cli.stack import HOST, take_port

_READY_S = 90.0
# How soon what a service measures and records is exported, in milliseconds.
_EXPORT_MS = "500"


@contextmanager
def running_services(
    folder: Path,
    brokers: str,
    endpoint: str,
    *,
    services: Sequence[Service] = tuple(Service),
    variables: Mapping[str, str] | None = None,
) -> Iterator[OrderApi]:
    """Run services, each with a SQLite file of its own, for the length of the block; give the order API.

    Args:
        folder: Where their databases and logs go.
        brokers: The broker's address.
        endpoint: `OTEL_EXPORTER_OTLP_ENDPOINT` of all.
        services: Which ones.
        variables: Further variables of all.

    Raises:
        CannotRun: one does not come up within 90 seconds; the text names its log.
    """
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
        started = []
        for service in services:
            data = folder / service
            data.mkdir()
            own = {"DATABASE_URL": f"sqlite+aiosqlite:///{data / 'service.sqlite'}"}
            arguments = ["services.cli.lifeline", str(data), "run", service]
            started.append(children.start(service, arguments, environment_of(own | shared)))
        for child in started:
            children.wait_for(child, lambda child=child: child.said("service.ready"), _READY_S)  # type: ignore[misc]
        yield OrderApi(HOST, port)
