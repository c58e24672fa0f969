"""The OpenTelemetry Collector on this machine, with a test's configuration or the shipped one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.servers.answers import answers_ok
from tests.servers.layers import Layer, arguments
from tests.servers.ports import HOST
from tests.servers.process import ServerProcess
from tests.servers.server import Server, running


@dataclass(frozen=True)
class CollectorAddress:
    """Where a collector is.

    Args:
        otlp_grpc: where telemetry is sent over gRPC, `host:port`.
        otlp_http: where it is sent over HTTP: http://host:port.
        health: the URL of its health check.
    """

    otlp_grpc: str
    otlp_http: str
    health: str

    @classmethod
    def beside(cls, otlp_http: str) -> Self:
        """Assume the usual ports for gRPC and the health check on the host that takes OTLP over HTTP."""
        host = urlsplit(otlp_http).hostname
        return cls(f"{host}:4317", otlp_http.rstrip("/"), f"http://{host}:13133")


@dataclass(kw_only=True)
class CollectorServer(Server):
    """A collector that runs.

    Args:
        address: where.
    """

    address: CollectorAddress

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        return answers_ok(self.address.health)


@contextmanager
def collector(
    programs: Path,
    folder: Path,
    configurations: Sequence[Layer],
    environment: Mapping[str, str] | None = None,
) -> Iterator[CollectorServer]:
    """Run the collector for the length of the block.

    Args:
        programs: the folder that `make servers` filled.
        folder: an empty folder for its configuration, log and data.
        configurations: files or settings, a later one over an earlier one, map by map. A receiver
            `otlp` and an extension `health_check` on free ports are added; naming these two in the pipelines and in
            `service.extensions` is up to them. The collector's own metrics are off, unless they configure them.
        environment: what `${env:...}` in them reads.

    Raises:
        ServerFailed: it did not start.
    """

    def make(ports: list[int]) -> CollectorServer:
        grpc, http, health = (f"{HOST}:{port}" for port in ports)
        layers = [_OWN_METRICS_OFF, *configurations, _addresses(grpc, http, health)]
        command = [str(programs / "otelcol"), *arguments(folder, layers)]
        process = ServerProcess(
            "collector",
            command,
            log=folder / "collector.log",
            data=folder / "data",
            environment=environment or {},
        )
        return CollectorServer(address=CollectorAddress(grpc, f"http://{http}", f"http://{health}"), process=process)

    with running(3, make) as server:
        yield server


def forwarding(otlp_grpc: str) -> dict[str, Any]:
    """Configure one pipeline that forwards all spans to a receiver (`host:port`), without TLS."""
    return {
        "exporters": {"otlp_grpc": {"endpoint": otlp_grpc, "tls": {"insecure": True}}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}},
        },
    }


# Two collectors, or one and a Jaeger, would want the same port for them.
_OWN_METRICS_OFF = {"service": {"telemetry": {"metrics": {"level": "none"}}}}


def _addresses(grpc: str, http: str, health: str) -> dict[str, Any]:
    return {
        "extensions": {"health_check": {"endpoint": health}},
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}},
    }
