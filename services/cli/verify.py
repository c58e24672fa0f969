"""Check whether each saga in the store is exactly one connected trace in Jaeger.

The store says which sagas there are and in which trace each began; Jaeger has what was recorded. A saga whose entry
was not sampled is "not recorded", which is not a fault; one that has not ended yet is "open", and not checked. Missing
spans may still be in the collector's queue, so a broken trace is read again until the wait is over.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry.trace import format_trace_id

from services.cli.errors import CannotRun
from services.cli.jaeger import Jaeger
from services.cli.printable import printable
from services.cli.traces.check import check
from services.cli.traces.findings import Finding
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import Story, tell
from services.messaging.errors import MessagingError
from services.messaging.settings import DatabaseSettings
from services.messaging.storage import Database
from services.messaging.trace_context import span_context
from services.oms import store
from services.oms.records import Saga
from services.oms.saga import ENDS

_INTERVAL_S = 1.0
_MAX_FINDINGS = 20


class Verdict(StrEnum):
    """The result for a saga's trace."""

    WHOLE = "one trace"
    BROKEN = "broken"
    NOT_RECORDED = "not recorded"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Verified:
    """A saga, its trace, and what is wrong with it."""

    saga: Saga
    trace_id: str | None
    verdict: Verdict
    spans: int = 0
    findings: Sequence[Finding] = ()
    story: Story | None = None


@dataclass(frozen=True, slots=True)
class SagaSelection:
    """Which sagas to check: those started in the last `since_s` seconds, or one by its id or its order's id."""

    since_s: float = 3600.0
    saga_id: str | None = None
    order_id: str | None = None


def run(selection: SagaSelection, jaeger: str, wait_s: float, *, as_json: bool) -> bool:
    """Verify sagas, print the results, and return whether no trace is broken.

    Args:
        selection: Which sagas.
        jaeger: Jaeger's query address.
        wait_s: How long to wait for spans that are still in transit, in seconds.
        as_json: Print one JSON document instead of lines.

    Raises:
        CannotRun: the store or Jaeger does not answer, or there is no saga of the given id.
    """
    traces = Jaeger(jaeger)
    deadline = time.monotonic() + wait_s
    verified = [_verify(saga, traces, deadline) for saga in asyncio.run(_sagas(selection))]
    print(json.dumps(_document(verified), indent=1) if as_json else "\n".join(_lines(verified)))
    return not any(one.verdict is Verdict.BROKEN for one in verified)


async def _sagas(selection: SagaSelection) -> list[Saga]:
    database = Database(DatabaseSettings.read().url_of("oms"), schema="oms")
    try:
        async with database.reading() as connection:
            if selection.saga_id:
                return [_require(await store.read_saga(connection, selection.saga_id), f"saga {selection.saga_id}")]
            if selection.order_id:
                return [
                    _require(await store.read_saga_of(connection, selection.order_id), f"order {selection.order_id}")
                ]
            return await store.sagas_started_within(connection, selection.since_s)
    except MessagingError as error:
        raise CannotRun(f"the store can't be read: {error}: see DATABASE_URL") from error
    finally:
        await database.close()


def _require(saga: Saga | None, what: str) -> Saga:
    if saga is None:
        raise CannotRun(f"there is no {what} in the store that DATABASE_URL names")
    return saga


def _verify(saga: Saga, traces: Jaeger, deadline: float) -> Verified:
    entry = span_context(saga.trace_context)
    trace_id = format_trace_id(entry.trace_id) if entry else None
    if entry is None or trace_id is None or not entry.trace_flags.sampled:
        return Verified(saga, trace_id, Verdict.NOT_RECORDED)
    if saga.state not in ENDS:
        return Verified(saga, trace_id, Verdict.OPEN)
    while True:
        spans = traces.spans(trace_id)
        findings = check(spans, saga_id=saga.saga_id, trace_id=trace_id, outcome=saga.status)
        verdict = Verdict.BROKEN if findings else Verdict.WHOLE
        if not findings or time.monotonic() > deadline:
            story = tell(SagaTrace(saga.saga_id, spans), findings)
            return Verified(saga, trace_id, verdict, len(spans), findings, story)
        time.sleep(_INTERVAL_S)


def _lines(verified: Sequence[Verified]) -> list[str]:
    lines = []
    for one in verified:
        lines.append(
            f"{one.saga.saga_id}  {one.saga.status:<15}  {one.verdict:<12}  {one.spans:>4} spans  {one.trace_id}"
        )
        if one.story and (one.findings or len(verified) == 1):
            lines.append(f"    {printable(one.story.text)}")
        lines += [f"    {printable(str(finding))}" for finding in one.findings[:_MAX_FINDINGS]]
        if len(one.findings) > _MAX_FINDINGS:
            lines.append(f"    and {len(one.findings) - _MAX_FINDINGS} more findings")
    counted = ", ".join(f"{count} {verdict}" for verdict, count in _count(verified).items())
    return [*lines, f"{len(verified)} sagas: {counted}" if verified else "no sagas"]


def _document(verified: Sequence[Verified]) -> dict[str, object]:
    sagas = [
        {
            "saga_id": one.saga.saga_id,
            "order_id": one.saga.order_id,
            "status": one.saga.status,
            "trace_id": one.trace_id,
            "verdict": one.verdict,
            "spans": one.spans,
            "findings": [str(finding) for finding in one.findings],
            "story": one.story and one.story.text,
            "numbers": one.story and one.story.numbers,
        }
        for one in verified
    ]
    return {"sagas": sagas, "counts": _count(verified)}


def _count(verified: Sequence[Verified]) -> dict[str, int]:
    verdicts = [one.verdict for one in verified]
    return {str(verdict): verdicts.count(verdict) for verdict in Verdict if verdict in verdicts}
