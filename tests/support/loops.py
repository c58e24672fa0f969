"""Programs that loop over a consumer: what is current in them, and which of their process spans have ended."""

import asyncio

from opentelemetry import trace

from tracing.testing import RecordedSpans


def at_hand() -> int:
    """Return the trace that is current, which is the number of the record; 0 for none."""
    return trace.get_current_span().get_span_context().trace_id


def over(spans: RecordedSpans) -> list[int]:
    """Return the numbers of the records whose process spans have ended, in the order of their start."""
    return [span.context.trace_id for span in spans.named("process orders") if span.context]


async def settle() -> None:
    """Let what is scheduled run."""
    for _ in range(5):
        await asyncio.sleep(0)
