"""The collector's configuration, as shipped and with sampling: the order of its parts."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.oms.saga import DEFINITIONS, ENDS, SagaState, is_back
from tests.support.deployment import composed, load
from tests.support.sources import ROOT

_SHIPPED = "otel-collector.yaml"
_SAMPLED = "deploy/otel-collector.sampling.yaml"
_VARIANTS = [(_SHIPPED,), (_SHIPPED, _SAMPLED)]


@pytest.fixture(params=_VARIANTS, ids=["shipped", "sampled"])
def configuration(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration as the collector puts it together."""
    return composed(*request.param)


def _named(configuration: dict[str, Any], kind: str) -> set[str]:
    return {name for pipeline in configuration["service"]["pipelines"].values() for name in pipeline.get(kind, [])}


def test_each_part_is_defined_and_used(configuration: dict[str, Any]) -> None:
    """What the pipelines name is defined, and what is defined is in a pipeline."""
    connectors = configuration["connectors"].keys()
    assert _named(configuration, "receivers") == configuration["receivers"].keys() | connectors
    assert _named(configuration, "exporters") == configuration["exporters"].keys() | connectors
    assert _named(configuration, "processors") == configuration["processors"].keys()
    assert set(configuration["service"]["extensions"]) == configuration["extensions"].keys()


def test_the_memory_limit_is_first_and_redaction_next(configuration: dict[str, Any]) -> None:
    """No span is worked on before there is memory for it, nor counted or kept before it is redacted."""
    pipelines = configuration["service"]["pipelines"]
    assert pipelines["traces/in"]["processors"] == ["memory_limiter", "redaction"]
    assert pipelines["metrics"]["processors"][0] == "memory_limiter"


def test_spans_are_counted_before_they_are_sampled(configuration: dict[str, Any]) -> None:
    """The metrics of spans come from the first pipeline, and what samples is in the second alone."""
    pipelines = configuration["service"]["pipelines"]
    assert {"spanmetrics", "servicegraph", "forward/kept"} == set(pipelines["traces/in"]["exporters"])
    assert pipelines["traces/out"]["receivers"] == ["forward/kept"]
    assert pipelines["traces/out"]["exporters"] == ["otlp_grpc/jaeger"]


def test_the_queue_to_jaeger_outlives_both(configuration: dict[str, Any]) -> None:
    """Spans for Jaeger are on disk and retried forever, and a sender of more than fits has to wait."""
    exporter = configuration["exporters"]["otlp_grpc/jaeger"]
    storage = exporter["sending_queue"]["storage"]
    assert storage in configuration["service"]["extensions"]
    assert configuration["extensions"][storage]["directory"].startswith("/var/lib/otelcol")
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["sending_queue"]["block_on_overflow"] is True


def test_everything_is_kept_by_default() -> None:
    """The shipped configuration samples nothing, and the variant changes nothing but that."""
    assert "processors" not in load(_SHIPPED)["service"]["pipelines"]["traces/out"]
    assert load(_SAMPLED).keys() == {"processors", "service"}
    assert load(_SAMPLED)["service"] == {"pipelines": {"traces/out": {"processors": ["tail_sampling"]}}}


def test_the_policies_name_what_the_orchestrator_writes() -> None:
    """Every end but `completed` is kept, and every state on the way back is recognised, and no other."""
    policies = {policy["name"]: policy for policy in load(_SAMPLED)["processors"]["tail_sampling"]["policies"]}
    ends = policies["ends-otherwise"]["string_attribute"]
    assert (ends["key"], set(ends["values"])) == ("saga.outcome", {*map(str, ENDS.values())} - {"completed"})
    compensates = policies["compensates"]["string_attribute"]
    assert compensates["key"] == "saga.state.to"
    [pattern] = compensates["values"]
    back = {state for definition in DEFINITIONS for state in SagaState if is_back(definition, state)}
    assert {state for state in SagaState if _matches(pattern, state)} == back


def test_the_files_are_where_compose_mounts_them() -> None:
    """Both configurations are in the collector's folder, and a variable chooses the second."""
    collector = load("docker-compose.yml")["services"]["otel-collector"]
    mounted = {mount.split(":")[1] for mount in collector["volumes"] if mount.startswith("./")}
    assert mounted == {f"/etc/otelcol/{Path(path).name}" for path in (_SHIPPED, _SAMPLED)}
    assert collector["command"] == [
        "--config=/etc/otelcol/otel-collector.yaml",
        "--config=/etc/otelcol/${COLLECTOR_VARIANT:-otel-collector.yaml}",
    ]
    assert all((ROOT / path).is_file() for path in (_SHIPPED, _SAMPLED))


def _matches(pattern: str, state: SagaState) -> bool:
    return re.search(pattern, state) is not None
