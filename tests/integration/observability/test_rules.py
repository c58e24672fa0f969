"""The alert rules and the collector's configurations, checked by the programs that read them."""

import subprocess
from collections.abc import Sequence

import pytest

from tests.servers.pool import Servers
from tests.servers.prometheus import promtool
from tests.support.sources import ROOT

_RULES = ROOT / "deploy/prometheus"
_VARIANTS = [["otel-collector.yaml"], ["otel-collector.yaml", "deploy/otel-collector.sampling.yaml"]]


def test_prometheus_takes_its_configuration(servers: Servers) -> None:
    """The configuration and the rules that it names are valid."""
    checked = promtool(servers.programs("prometheus"), "check", "config", str(_RULES / "prometheus.yml"))
    assert checked.returncode == 0, checked.stderr


def test_each_alert_fires_where_it_has_to(servers: Servers) -> None:
    """The rules' own tests pass: each alert fires on its trouble, and not on what only looks like it."""
    tested = promtool(servers.programs("prometheus"), "test", "rules", str(_RULES / "rules.test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("paths", _VARIANTS, ids=["shipped", "sampled"])
def test_the_collector_takes_its_configuration(servers: Servers, paths: Sequence[str]) -> None:
    """The collector knows every part and every setting of both variants."""
    command = [
        str(servers.programs("collector") / "otelcol"),
        "validate",
        *(f"--config={ROOT / path}" for path in paths),
    ]
    validated = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert validated.returncode == 0, validated.stderr
