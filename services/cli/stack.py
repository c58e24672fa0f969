"""Start what the demo runs on: a broker, unless the environment names one, and the five services."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.children import Child, Children
from services.cli.errors import CannotRun
from services.cli.extras import missing
from services.cli.order_api import OrderApi
from services.cli.progress import Progress
from services.cli.run import Service
from services.cli.settings import DemoSettings, environment_of
from services.oms.settings import ApiSettings

HOST = "127.0.0.1"
READY_S = 180.0
"""How long the services may take to start and to join their groups, in seconds; a busy machine needs more than 5."""

_BROKER_S = 60.0
_BROKER = "embedded-broker"
_ADDRESS = re.compile(r"[^\s:]+:\d+")
_READY = "service.ready"


@dataclass(frozen=True)
class Stack:
    """Starts the broker and the services.

    Args:
        settings: Which real parts to use.
        children: Starts and ends the processes.
        scratch: A folder for the databases; each service removes its own part.
        endpoint: Where the services send their telemetry.
        progress: Shows what is being started.
    """

    settings: DemoSettings
    children: Children
    scratch: Path
    endpoint: str
    progress: Progress

    def start(self, port: int) -> OrderApi:
        """Start everything, and return when it is ready.

        Raises:
            CannotRun: a part is missing or does not start.
        """
        brokers = self.settings.kafka_bootstrap_servers or self._start_broker()
        self.progress.update("broker", brokers, done=True)
        self.progress.update("services", "starting, and joining their consumer groups")
        # All at once: most of the time goes into imports.
        started = [self._start_service(service, brokers, port) for service in Service]
        api = OrderApi(HOST, port, ApiSettings.read().token)
        for child in started:
            self.children.wait_for(child, lambda child=child: child.has_logged(_READY), READY_S)  # type: ignore[misc]
        self.children.wait_for(started[0], api.is_ready, READY_S)
        self.progress.update("services", f"ready, the order API is on http://{HOST}:{port}", done=True)
        return api

    def _start_broker(self) -> str:
        if message := missing("demo"):
            raise CannotRun(message.removeprefix("sagatrace: "))
        self.progress.update("broker", "starting")
        child = self.children.start(_BROKER, ["services.cli.embedded_broker"], environment_of({}))
        try:
            self.children.wait_for(child, lambda: bool(_addresses(child)), _BROKER_S)
        except CannotRun as error:
            raise CannotRun(f"{error}; or name a running broker in KAFKA_BOOTSTRAP_SERVERS") from error
        return _addresses(child)[0]

    def _start_service(self, service: Service, brokers: str, port: int) -> Child:
        folder = self.scratch / service
        folder.mkdir()
        arguments = ["services.cli.lifeline", str(folder), "run", service]
        return self.children.start(service, arguments, environment_of(self._variables(service, brokers, port)))

    def _variables(self, service: Service, brokers: str, port: int) -> Mapping[str, str]:
        # The embedded broker has neither TLS nor SASL, whatever the shell sets for another one.
        plain = {} if self.settings.kafka_bootstrap_servers else {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
        file = self.scratch / service / f"{service}.sqlite"
        return plain | {
            "KAFKA_BOOTSTRAP_SERVERS": brokers,
            "DATABASE_URL": self.settings.database_url or f"sqlite+aiosqlite:///{file}",
            "SAGATRACE_API_HOST": HOST,
            "SAGATRACE_API_PORT": str(port),
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            # Milliseconds: the demo waits for the last spans.
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "SAGATRACE_JOURNAL_DIR": str(self.scratch / service / "journal"),
            # The demo shows no metrics: they are exported only if they are forwarded.
            "OTEL_METRICS_EXPORTER": "otlp" if self.settings.otlp_endpoint else "none",
        }


def take_port(port: int | None) -> int:
    """Return a port for the order API: the given one if it is free, or any free one for None.

    Raises:
        CannotRun: the given port is in use.
    """
    try:
        with socket.create_server((HOST, port or 0)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise CannotRun(
            f"port {port} can't be used ({error.strerror}): end what has it, or choose another with --port",
        ) from error


def _addresses(broker: Child) -> list[str]:
    return [line for line in broker.lines() if _ADDRESS.fullmatch(line)]
