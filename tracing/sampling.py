"""Find out, once for each tracer, what the SDK's samplers are certain to decide, instead of asking for each span.

This covers the SDK's always-on and always-off samplers, and its ParentBased with such delegates. Of any other sampler
nothing is certain, and it is asked each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_MODULE: Final = "opentelemetry.sdk.trace.sampling"


@dataclass(frozen=True, slots=True)
class Certain:
    """What a sampler decides without looking at the span: for a root, and for the child of a remote or local parent."""

    #: Every root is sampled.
    root: bool = False
    #: Every child of a sampled parent is sampled.
    keeps_remote: bool = False
    keeps_local: bool = False
    #: No child of a parent that is not sampled is recorded.
    drops_remote: bool = False
    drops_local: bool = False


def certain(sampler: object) -> Certain:
    """Return what a sampler is certain to decide."""
    if _is_static(sampler, "RECORD_AND_SAMPLE"):
        return Certain(root=True, keeps_remote=True, keeps_local=True)
    if _rule(sampler) != "ParentBased.should_sample":
        return Certain()
    delegate: dict[str, object] = {
        name: getattr(sampler, f"_{name}", None)
        for name in (
            "root",
            "remote_parent_sampled",
            "local_parent_sampled",
            "remote_parent_not_sampled",
            "local_parent_not_sampled",
        )
    }
    return Certain(
        root=_is_static(delegate["root"], "RECORD_AND_SAMPLE"),
        keeps_remote=_is_static(delegate["remote_parent_sampled"], "RECORD_AND_SAMPLE"),
        keeps_local=_is_static(delegate["local_parent_sampled"], "RECORD_AND_SAMPLE"),
        drops_remote=_is_static(delegate["remote_parent_not_sampled"], "DROP"),
        drops_local=_is_static(delegate["local_parent_not_sampled"], "DROP"),
    )


def _is_static(sampler: Any, decision: str) -> bool:  # noqa: ANN401 - the SDK's samplers are not imported here
    decided = getattr(sampler, "_decision", None)
    # Not by its description: a sampler that only records also calls itself always-on.
    return _rule(sampler) == "StaticSampler.should_sample" and getattr(decided, "name", "") == decision


def _rule(sampler: object) -> str:
    """Return the name of the SDK's method that decides for a sampler; empty if the method is not the SDK's."""
    rule: Any = getattr(type(sampler), "should_sample", None)
    return str(rule.__qualname__) if rule is not None and rule.__module__ == _MODULE else ""
