"""The servers that a whole run shares, whichever of its processes asks first.

pytest-xdist divides a run among workers, and a worker ends as soon as nothing is left for it to do, so none of them may
own what the others still use. The process that began the run owns the servers (`Owner`). The workers ask it over a
socket (`Asker`), whose path and key they are given when they start.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.servers.collector import forwarding
from tests.servers.installed import PARTS
from tests.servers.jaeger import JaegerAddress
from tests.servers.kafka import LIKE_THE_EMBEDDED_BROKER
from tests.servers.pool import Servers
from tests.servers.process import ServerFailed, tail
from tests.support import parts

_SOCKET = "socket"
_POOL = "shared"


class Shared(Protocol):
    """What a process of a run knows of the servers that all share."""

    @property
    def folder(self) -> Path:
        """The folder that holds those of all servers of the run."""

    def address(self, part: str) -> Any:
        """Return where a part's server is, after its start if nobody has asked before.

        Raises:
            ServerFailed: it did not start.
        """


def tails(folder: Path, among: Iterable[str]) -> str:
    """Read the ends of the logs of the shared servers of these parts, from the folder of a run."""
    return "\n".join(tail(log) for part in sorted(among) for log in sorted((folder / _POOL).glob(f"{part}-*/*.log")))


@dataclass(frozen=True)
class Asker:
    """A worker's view.

    Args:
        folder: Holds the folders of all servers of the run.
        key: What the owner knows its workers by.
    """

    folder: Path
    key: bytes

    def address(self, part: str) -> Any:
        """Ask the owner, who may have to start the server first.

        Raises:
            ServerFailed: it did not start.
        """
        with Client(str(self.folder / _SOCKET), "AF_UNIX", authkey=self.key) as connection:
            connection.send(part)
            found, failure = connection.recv()
        if failure is not None:
            raise ServerFailed(failure)
        return found


class Owner:
    """Starts each server once, when it is first asked for, and ends all with the run.

    Args:
        config: The run's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.key = os.urandom(32)
        self.folder = Path(tempfile.mkdtemp(prefix="sagatrace-servers-"))
        pool = self.folder / _POOL
        pool.mkdir()
        # PostgreSQL may have to run as another user.
        for folder in (self.folder, pool):
            folder.chmod(0o711)
        self._config = config
        self._pool = Servers(config, pool)
        self._addresses: dict[str, Any] = {}
        self._starting = {part: threading.Lock() for part in PARTS}
        self._listener: Listener | None = None

    def address(self, part: str) -> Any:
        """Return where a part's server is, after its start if nobody has asked before.

        Raises:
            ServerFailed: it did not start.
        """
        with self._starting[part]:
            if part not in self._addresses:
                self._addresses[part] = self._starts[part]()
            return self._addresses[part]

    def answer(self) -> None:
        """Answer the workers from now on, each in a thread of its own: a server takes seconds to start."""
        self._listener = Listener(str(self.folder / _SOCKET), "AF_UNIX", authkey=self.key)
        threading.Thread(target=self._accept, args=[self._listener], name="shared servers", daemon=True).start()

    def close(self, *, keep_logs: bool) -> None:
        """End all servers; their logs stay on request, if there are any."""
        if self._listener is not None:
            self._listener.close()
        self._pool.close()
        kept = keep_logs and any(self.folder.rglob("*.log"))
        for done_with in self.folder.rglob("data") if kept else [self.folder]:
            shutil.rmtree(done_with, ignore_errors=True)

    @property
    def _starts(self) -> Mapping[str, Callable[[], Any]]:
        pool = self._pool
        return {
            "kafka": lambda: pool.kafka(LIKE_THE_EMBEDDED_BROKER).bootstrap,
            "kafka35": lambda: pool.kafka35(LIKE_THE_EMBEDDED_BROKER).bootstrap,
            "postgres": lambda: pool.postgres().url,
            "jaeger": lambda: pool.jaeger().address,
            "collector": lambda: pool.collector(forwarding(self._jaeger().otlp_grpc)).address,
            "prometheus": lambda: pool.prometheus({}).url,
        }

    def _jaeger(self) -> JaegerAddress:
        given = self._config.stash[parts.ADDRESSES].get("jaeger")
        address: JaegerAddress = JaegerAddress.beside(given) if given else self.address("jaeger")
        return address

    def _accept(self, listener: Listener) -> None:
        # The listener is closed with the run.
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[listener.accept()], daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                connection.send((self.address(connection.recv()), None))
            except ServerFailed as failure:
                connection.send((None, str(failure)))
