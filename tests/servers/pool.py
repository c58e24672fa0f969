"""Servers of a test or of the whole run: each is started when it is asked for, and all end with their owner."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.servers.collector import CollectorServer, collector
from tests.servers.installed import NotInstalled, installed
from tests.servers.jaeger import JaegerServer, jaeger
from tests.servers.kafka import KafkaServer, kafka, kafka35
from tests.servers.layers import Layer
from tests.servers.postgres import PostgresServer, postgres, standby
from tests.servers.process import ServerProcess
from tests.servers.prometheus import PrometheusServer, prometheus
from tests.servers.secured import Secured
from tests.servers.server import Server
from tests.support import parts

S = TypeVar("S", bound=Server)

Start = Callable[[Path, Path], AbstractContextManager[S]]
"""Starts a server from the folder of its programs, in an empty folder."""


class Servers:
    """Starts servers; each keeps its log in a folder of its own until the pool closes.

    Every method skips the test if the server is not installed, or fails it if the server is required, and raises
    ServerFailed with the end of the log if it does not start.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._processes: list[ServerProcess] = []
        self._config = config
        self._folder = folder
        self._stack = ExitStack()

    def kafka(self, settings: Mapping[str, str] | None = None, secured: Secured | None = None) -> KafkaServer:
        """Start Kafka 4, with these broker properties, and with listeners for clients that authenticate."""
        return self._start("kafka", lambda programs, folder: kafka(programs, folder, settings, secured))

    def kafka35(self, settings: Mapping[str, str] | None = None) -> KafkaServer:
        """Start Kafka 3.5 with ZooKeeper, with these broker properties."""
        return self._start("kafka35", lambda programs, folder: kafka35(programs, folder, settings))

    def postgres(self) -> PostgresServer:
        """Start PostgreSQL on a new cluster."""
        return self._start("postgres", postgres)

    def standby(self, primary: PostgresServer) -> PostgresServer:
        """Start a streaming replica of a PostgreSQL server."""
        return self._start("postgres", lambda programs, folder: standby(programs, folder, primary))

    def jaeger(self, *configurations: Layer, durable: bool = False) -> JaegerServer:
        """Start Jaeger, with these configurations; without any, its spans survive a restart if durable."""
        return self._start("jaeger", lambda programs, folder: jaeger(programs, folder, configurations, durable=durable))

    def collector(
        self,
        *configurations: Layer,
        environment: Mapping[str, str] | None = None,
    ) -> CollectorServer:
        """Start a collector with these configurations, a later one over an earlier one."""
        return self._start(
            "collector", lambda programs, folder: collector(programs, folder, configurations, environment)
        )

    def prometheus(self, configuration: Path | Mapping[str, Any]) -> PrometheusServer:
        """Start Prometheus."""
        return self._start("prometheus", lambda programs, folder: prometheus(programs, folder, configuration))

    def programs(self, part: str) -> Path:
        """Find the folder of a server's programs."""
        try:
            found: Path | str = installed(part)
        except NotInstalled as error:
            found = str(error)
        return found if isinstance(found, Path) else parts.missing(self._config, part, found)

    def tails(self) -> str:
        """Read the ends of the logs of its servers."""
        return "\n".join(process.tail() for process in self._processes)

    def close(self) -> None:
        """End all servers, the last one first."""
        self._stack.close()

    def _start(self, part: str, start: Start[S]) -> S:
        programs = self.programs(part)
        folder = Path(tempfile.mkdtemp(prefix=f"{part}-", dir=self._folder))
        # A server may run as another user.
        folder.chmod(0o711)
        server = self._stack.enter_context(start(programs, folder))
        self._processes.extend(server.processes)
        return server
