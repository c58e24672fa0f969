"""Kafka on this machine: 4.3 as its own controller (KRaft), and 3.5 with ZooKeeper, one broker each."""

import base64
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.servers.installed import java
from tests.servers.ports import HOST
from tests.servers.process import ServerFailed, ServerProcess
from tests.servers.secured import Secured
from tests.servers.server import Server, running

LIKE_THE_EMBEDDED_BROKER = {"auto.create.topics.enable": "true", "num.partitions": "4"}
"""Settings under which topics appear when they are first used, as they do in the embedded broker."""

_FORMAT_S = 600.0
_FORGET_S = 300.0
_ASK_S = 1.0
# In what ZooKeeper says of its sessions: the beginning, and what a broker owns.
_SESSIONS = b"SessionTracker dump"
_BROKER = b"/brokers/ids/"
_POLL_S = 0.1
_QUORUM_PEER = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# What each of the two prints last at its start.
_READY = ("Kafka Server started", "started (kafka.server.KafkaServer)")
# Quick to start and small, for a broker that serves tests.
_JVM = ("-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_ZOOKEEPER_JVM = ("-Xmx128m", *_JVM[1:])

# One broker alone: every internal topic has one replica, and few partitions, which a start has to load.
_ALONE = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "5",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
}
_RELOAD4J = """\
log4j.rootLogger=INFO, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d{HH:mm:ss.SSS} %p %m (%c)%n
"""


@dataclass(kw_only=True)
class KafkaServer(Server):
    """A running broker, and its ZooKeeper if it has one, which keeps running when the broker is stopped.

    Args:
        bootstrap: its address, `host:port`.
        with_user: its address for clients with TLS and a SCRAM user, where it is secured.
        with_certificate: its address for clients with TLS and a certificate of theirs, where it is secured.
        zookeeper: ZooKeeper's process.
        keeper: ZooKeeper's port.
    """

    bootstrap: str
    with_user: str = ""
    with_certificate: str = ""
    zookeeper: ServerProcess | None = None
    keeper: int = 0

    @property
    def processes(self) -> tuple[ServerProcess, ...]:
        """Both, in the order in which they start."""
        return (self.process,) if self.zookeeper is None else (self.zookeeper, self.process)

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        return any(self.process.has_printed(line) for line in _READY)

    def start(self) -> None:
        """Start it and return once it accepts clients.

        Raises:
            ServerFailed: it did not within 60 seconds.
        """
        if self.zookeeper is not None:
            if not self.zookeeper.is_running:
                self.zookeeper.start(lambda: _SESSIONS in _dump(self.keeper))
            _wait_until_forgotten(self.keeper)
        super().start()

    def discard(self) -> None:
        """End its processes for good: data that is thrown away needs no orderly shutdown."""
        for process in self.processes:
            process.kill()


@contextmanager
def kafka(
    jars: Path,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    secured: Secured | None = None,
) -> Iterator[KafkaServer]:
    """Run Kafka 4 for the length of the block.

    Args:
        jars: the folder that `make servers` filled.
        folder: an empty folder for its data, configuration and log.
        settings: further broker properties; topics are not created by use unless these say so.
        secured: adds listeners for clients that authenticate.

    Raises:
        ServerFailed: it did not start.
    """
    cluster = base64.urlsafe_b64encode(uuid4().bytes).rstrip(b"=").decode()

    def make(ports: list[int]) -> KafkaServer:
        address, controller, with_user, with_certificate = (f"{HOST}:{port}" for port in ports)
        own = _kraft(address, controller, folder)
        if secured is not None:
            own |= secured.properties(address, controller, with_user, with_certificate)
        properties = _write(folder / "kafka.properties", own | dict(settings or {}))
        _format(jars, properties, cluster, *(secured.format_arguments if secured else ()))
        # Log4j's own default configuration writes to standard output, from this level on.
        level = "-Dorg.apache.logging.log4j.level=INFO"
        process = _java("kafka", (*_JVM, level), jars, "kafka.Kafka", properties)
        return KafkaServer(bootstrap=address, with_user=with_user, with_certificate=with_certificate, process=process)

    with running(4, make) as server:
        yield server


@contextmanager
def kafka35(jars: Path, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """Run Kafka 3.5 and its ZooKeeper for the length of the block; see `kafka`."""
    (folder / "log4j.properties").write_text(_RELOAD4J)
    logging = f"-Dlog4j.configuration=file:{folder / 'log4j.properties'}"

    def make(ports: list[int]) -> KafkaServer:
        address, keeper = (f"{HOST}:{port}" for port in ports)
        ensemble = _write(folder / "zookeeper.properties", _zookeeper(ports[1], folder))
        properties = _write(
            folder / "kafka.properties", _with_zookeeper(address, keeper, folder) | dict(settings or {})
        )
        zookeeper = _java("zookeeper", (*_ZOOKEEPER_JVM, logging), jars, _QUORUM_PEER, ensemble)
        broker = _java("kafka35", (*_JVM, logging), jars, "kafka.Kafka", properties)
        return KafkaServer(bootstrap=address, process=broker, zookeeper=zookeeper, keeper=ports[1])

    with running(2, make) as server:
        yield server


def _wait_until_forgotten(keeper: int) -> None:
    """Wait until ZooKeeper has no session of a broker that was killed: a new one would find its id taken, and end."""
    deadline = time.monotonic() + _FORGET_S
    while _BROKER in _dump(keeper):
        if time.monotonic() > deadline:
            raise ServerFailed(f"zookeeper still holds a session of the broker after {_FORGET_S:.0f} s")
        time.sleep(_POLL_S)


def _dump(keeper: int) -> bytes:
    """Ask ZooKeeper for its sessions and what they own (Administrator's Guide, "The Four Letter Words": dump).

    Raises:
        OSError: it is not there, or has opened its port and does not answer yet.
    """
    with socket.create_connection((HOST, keeper), timeout=_ASK_S) as connection:
        connection.sendall(b"dump")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _java(name: str, options: Sequence[str], jars: Path, main: str, properties: Path) -> ServerProcess:
    folder = properties.parent
    command = [java(), *options, "-cp", f"{jars}/*", main, str(properties)]
    return ServerProcess(name, command, log=folder / f"{name}.log", data=folder / "data")


def _kraft(address: str, controller: str, folder: Path) -> dict[str, str]:
    return _ALONE | {
        "process.roles": "broker,controller",
        # After a crash the broker has to wait for its own earlier session's end.
        "broker.session.timeout.ms": "6000",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{address},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
    }


def _with_zookeeper(address: str, keeper: str, folder: Path) -> dict[str, str]:
    return _ALONE | {
        "broker.id": "1",
        "zookeeper.connect": keeper,
        "zookeeper.session.timeout.ms": "6000",
        "listeners": f"PLAINTEXT://{address}",
        "log.dirs": str(folder / "data" / "kafka"),
    }


def _zookeeper(port: int, folder: Path) -> dict[str, str]:
    return {
        "4lw.commands.whitelist": "dump",
        "admin.enableServer": "false",
        "clientPort": str(port),
        "clientPortAddress": HOST,
        # The shortest session is two ticks (milliseconds).
        "tickTime": "2000",
        "dataDir": str(folder / "data" / "zookeeper"),
    }


def _write(path: Path, properties: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return path


def _format(jars: Path, properties: Path, cluster: str, *arguments: str) -> None:
    tool = [java(), *_JVM, "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "--ignore-formatted"]
    # In one word: an id may begin with a hyphen.
    command = [*tool, f"--cluster-id={cluster}", "-c", str(properties), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_S, check=False)
    if result.returncode != 0:
        raise ServerFailed(f"kafka: the data folder could not be formatted\n{result.stdout}{result.stderr}")
