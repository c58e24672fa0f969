"""The traces after the chaos: each saga's in Jaeger, and what it says about deliveries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.cli.jaeger import Jaeger
from services.cli.traces.check import check
from services.cli.traces.findings import Finding
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import group, is_duplicate, operation
from tracing.semconv import MESSAGING_MESSAGE_ID, PROCESS

_INTERVAL_S = 0.5


@dataclass
class Traces:
    """What all traces say.

    Attributes:
        broken: What is wrong, by saga.
        redeliveries: How often a group processed a message that it had received before.
        duplicates: How many of these the inbox absorbed.
        spans: How many spans there are.
    """

    broken: dict[str, Sequence[Finding]] = field(default_factory=dict)
    redeliveries: int = 0
    duplicates: int = 0
    spans: int = 0


def read(jaeger: Jaeger, trace_ids: Mapping[str, str], wait_s: float) -> Traces:
    """Check the trace of every saga, repeatedly until it is whole or the time is up.

    Args:
        jaeger: Where the traces are.
        trace_ids: The trace of each saga, by the saga's id; empty if it has none, which counts as broken.
        wait_s: How long spans may still be in transit, in seconds.

    Raises:
        CannotRun: Jaeger does not answer.
    """
    deadline = time.monotonic() + wait_s
    traces = Traces()
    for saga_id, trace_id in trace_ids.items():
        while True:
            spans = jaeger.spans(trace_id) if trace_id else []
            findings = check(spans, saga_id=saga_id, trace_id=trace_id)
            if not findings or time.monotonic() > deadline:
                break
            time.sleep(_INTERVAL_S)
        if findings:
            traces.broken[saga_id] = findings
        traces.spans += len(spans)
        traces.redeliveries += _redeliveries(spans)
        traces.duplicates += sum(is_duplicate(span) for span in spans)
    return traces


def _redeliveries(spans: Iterable[Span]) -> int:
    """Count the process spans of a group beyond the first one of each message."""
    times = Counter((span.text(MESSAGING_MESSAGE_ID), group(span)) for span in spans if operation(span) == PROCESS)
    return sum(times.values()) - len(times)
