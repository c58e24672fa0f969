"""Jaeger on this machine: OTLP in, the query API out, spans in memory or in a folder (Badger)."""

from collections.abc import Iterator, Sequence
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

_MOST_TRACES = 100_000


@dataclass(frozen=True)
class JaegerAddress:
    """The addresses of a Jaeger.

    Args:
        url: the query API and the page: http://host:port.
        otlp_grpc: where spans are sent over gRPC, `host:port`.
        otlp_http: where spans are sent over HTTP: http://host:port.
    """

    url: str
    otlp_grpc: str
    otlp_http: str

    @classmethod
    def beside(cls, url: str) -> Self:
        """Assume Jaeger's usual ports for OTLP on the host of its query API."""
        host = urlsplit(url).hostname
        return cls(url.rstrip("/"), otlp_grpc=f"{host}:4317", otlp_http=f"http://{host}:4318")


@dataclass(kw_only=True)
class JaegerServer(Server):
    """A Jaeger that runs.

    Args:
        address: where.
    """

    address: JaegerAddress

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        return answers_ok(f"{self.address.url}/api/v3/services") and answers_ok(self.address.otlp_http, expected=404)


@contextmanager
def jaeger(
    programs: Path, folder: Path, configurations: Sequence[Layer] = (), *, durable: bool = False
) -> Iterator[JaegerServer]:
    """Run Jaeger for the length of the block.

    Args:
        programs: the folder that `make servers` filled.
        folder: an empty folder for its configuration, log and data.
        configurations: files or settings, a later one over an earlier one, map by map; the query API and the receiver
            `otlp` get free ports. Without any, one that keeps spans in memory.
        durable: without configurations, keep spans in the folder, where they survive a restart.

    Raises:
        ServerFailed: it did not start.
    """
    storage = _badger(folder / "data") if durable else {"memory": {"max_traces": _MOST_TRACES}}

    def make(ports: list[int]) -> JaegerServer:
        query, query_grpc, grpc, http = (f"{HOST}:{port}" for port in ports)
        layers = [*(configurations or [_configuration(storage)]), _addresses(query, query_grpc, grpc, http)]
        command = [str(programs / "jaeger"), *arguments(folder, layers)]
        process = ServerProcess(
            "jaeger",
            command,
            log=folder / "jaeger.log",
            data=folder / "data",
            # It traces its own queries, and would wait at its end for somebody to take those spans.
            environment={"OTEL_TRACES_SAMPLER": "always_off"},
        )
        return JaegerServer(address=JaegerAddress(f"http://{query}", grpc, f"http://{http}"), process=process)

    with running(4, make) as server:
        yield server


def _configuration(storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {"storage": {"traces": "spans"}},
            "jaeger_storage": {"backends": {"spans": storage}},
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
    }


def _addresses(query: str, query_grpc: str, grpc: str, http: str) -> dict[str, Any]:
    return {
        "extensions": {"jaeger_query": {"http": {"endpoint": query}, "grpc": {"endpoint": query_grpc}}},
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}},
    }


def _badger(folder: Path) -> dict[str, Any]:
    directories = {"keys": str(folder / "keys"), "values": str(folder / "values")}
    return {"badger": {"directories": directories, "ephemeral": False, "consistency": True}}
