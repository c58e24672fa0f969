"""The files that deploy the system, as tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from tests.support.sources import ROOT

MAIN = "docker-compose.yml"
OVERLAY = "docker-compose.zookeeper.yml"


class _Override(dict[str, Any]):
    """A map that takes the place of the one below instead of being merged into it."""


class _OverrideList(list[Any]):
    """A list that does the same."""


class _Constructor(SafeConstructor):
    """Knows Compose's `!override`."""


def _override(constructor: _Constructor, node: Node) -> Iterator[Any]:
    if isinstance(node, SequenceNode):
        items = _OverrideList()
        yield items
        items.extend(constructor.construct_object(item, deep=True) for item in node.value)
    elif isinstance(node, MappingNode):
        made = _Override()
        yield made
        made.update(constructor.construct_mapping(node, deep=True))


_Constructor.add_constructor("!override", _override)


def load(path: str) -> dict[str, Any]:
    """Read a YAML file of the repository, its tags resolved."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    loaded: dict[str, Any] = yaml.load((ROOT / path).read_text())
    return loaded


def composed(*paths: str) -> dict[str, Any]:
    """Read Compose files, a later one over an earlier one."""
    result: dict[str, Any] = {}
    for path in paths:
        result = merged(result, load(path))
    return result


def merged(below: Any, above: Any) -> Any:
    """Merge one value over another: maps are merged, lists of a service are joined, everything else is replaced."""
    if isinstance(above, _Override) or not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


@dataclass(frozen=True)
class Query:
    """A PromQL expression and where it was found."""

    where: str
    expression: str


def panel_queries() -> list[Query]:
    """Return every query of every panel of every dashboard."""
    return [
        Query(f"{path.stem}: {panel['title']} {target['refId']}", target["expr"])
        for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def rules() -> list[dict[str, Any]]:
    """Return every alert rule."""
    return [rule for group in load("deploy/prometheus/rules.yml")["groups"] for rule in group["rules"]]


_FAMILIES = ("kafka", "messaging", "sagatrace", "otelcol", "otel_sdk", "traces", "http_server")
_METRIC = re.compile(rf"\b(?:{'|'.join(_FAMILIES)})_[a-z_]+\b")
_SELECTOR = re.compile(rf"((?:{'|'.join(_FAMILIES)})_[a-z_]+)(\{{(?:[^{{}}\"]|\"[^\"]*\")*\}})?")
_GROUPING = re.compile(r"\b(?:by|without) \([^)]*\)")


def selectors(expression: str) -> set[str]:
    """Return the instant vector selectors of an expression: each metric with its matchers."""
    text = _GROUPING.sub("", expression)
    found = {name + (matchers or "") for name, matchers in _SELECTOR.findall(text)}
    # What stands inside of a matcher is the name of a label.
    return {one for one in found if not re.search(r"[{,]\s*" + re.escape(one) + r"\s*(=|!)", text)}


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    return {selector.partition("{")[0] for selector in selectors(expression)}


def documented() -> dict[str, str]:
    """Read docs/metrics.md: the name in Prometheus of each metric, and its kind."""
    found: dict[str, str] = {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = [name for cell in cells[:3] for name in re.findall(r"^`(\w+)`$", cell) if _METRIC.fullmatch(name)]
        if line.startswith("|") and names:
            found[names[0]] = cells[1]
    return found


def base_name(metric: str) -> str:
    """Return a metric's name without what a histogram's series append."""
    return re.sub(r"_(bucket|count|sum)$", "", metric)
