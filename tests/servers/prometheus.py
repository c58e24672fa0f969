"""Prometheus on this machine, and promtool."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.answers import answers_ok
from tests.servers.ports import HOST
from tests.servers.process import ServerProcess
from tests.servers.server import Server, running

_CHECK_S = 300.0


@dataclass(kw_only=True)
class PrometheusServer(Server):
    """A Prometheus that runs.

    Args:
        url: its API: http://host:port.
    """

    url: str

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        return answers_ok(f"{self.url}/-/ready")


@contextmanager
def prometheus(programs: Path, folder: Path, configuration: Path | Mapping[str, Any]) -> Iterator[PrometheusServer]:
    """Run Prometheus for the length of the block.

    Args:
        programs: the folder that `make servers` filled.
        folder: an empty folder for its configuration, log and data.
        configuration: a file, or settings: {} scrapes nothing.

    Raises:
        ServerFailed: it did not start.
    """
    path = configuration if isinstance(configuration, Path) else folder / "prometheus.yml"
    if not isinstance(configuration, Path):
        # JSON is YAML.
        path.write_text(json.dumps(configuration, indent=1))

    def make(ports: list[int]) -> PrometheusServer:
        address = f"{HOST}:{ports[0]}"
        command = [
            str(programs / "prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
            "--web.enable-otlp-receiver",
        ]
        process = ServerProcess("prometheus", command, log=folder / "prometheus.log", data=folder / "data")
        return PrometheusServer(url=f"http://{address}", process=process)

    with running(1, make) as server:
        yield server


def promtool(programs: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run promtool: `check config FILE`, `check rules FILE`, `test rules FILE`; its exit code is the verdict."""
    command = [str(programs / "promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_S, check=False)
