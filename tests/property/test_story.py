"""The story: any spans whatever have one, and no wait in it is longer than the saga was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.cli.traces.check import check
from services.cli.traces.model import AttributeValue, Event, Kind, Link, Span
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import tell
from services.cli.traces.waterfall import waterfall
from services.contracts.topics import READERS
from services.oms.saga import Effect, Input, SagaState

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAGA_ID = "saga-1"
_IDS = [f"{number:016x}" for number in range(1, 9)]
_TYPES = sorted({*Effect, *(one for one in Input if "." in one)})
_GROUPS = sorted({group for groups in READERS.values() for group in groups})
_TOPICS = [*READERS, *(f"{group}.{kind}" for group in _GROUPS for kind in ("dlq", "retry"))]
_NAMES = ["POST /orders", "saga order failed: declined", "saga order", "refund order", "request cancel", "timeout x"]

_anything: st.SearchStrategy[AttributeValue] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
)
_likely: dict[str, st.SearchStrategy[str]] = {
    "saga.id": st.sampled_from([SAGA_ID, SAGA_ID, "another"]),
    "saga.input": st.sampled_from(sorted(Input)),
    "saga.state.from": st.sampled_from(sorted(SagaState)),
    "saga.state.to": st.sampled_from(sorted(SagaState)),
    "saga.outcome": st.sampled_from(["completed", "failed", "canceled", "refunded"]),
    "saga.verdict": st.sampled_from(["applied", "stale", "duplicate"]),
    "messaging.operation.name": st.sampled_from(["send", "process", "poll"]),
    "messaging.destination.name": st.sampled_from(_TOPICS),
    "messaging.consumer.group.name": st.sampled_from(_GROUPS),
    "messaging.message.id": st.sampled_from(["m-1", "m-2"]),
    "sagatrace.message.type": st.sampled_from(_TYPES),
    "error.type": st.sampled_from(["Invalid", "ParkedBehind"]),
}
_numbers = ["sagatrace.outbox.wait_ms", "messaging.kafka.queue.time_ms", "sagatrace.outbox.attempt"]
_flags = ["sagatrace.duplicate", "sagatrace.interrupted"]
_attributes: st.SearchStrategy[dict[str, AttributeValue]] = st.fixed_dictionaries(
    {},
    optional={key: values | _anything for key, values in _likely.items()}
    | dict.fromkeys([*_numbers, *_flags], _anything),
)
_spans = st.builds(
    Span,
    trace_id=st.just(TRACE_ID),
    span_id=st.sampled_from(_IDS),
    parent_id=st.none() | st.sampled_from(_IDS),
    service=st.sampled_from(["oms", "payment"]),
    name=st.sampled_from(_NAMES) | st.text(max_size=5),
    kind=st.sampled_from(Kind),
    start_ns=st.integers(0, 2**63),
    end_ns=st.integers(0, 2**63),
    attributes=_attributes,
    links=st.lists(st.builds(Link, st.just(TRACE_ID), st.sampled_from(_IDS)), max_size=2).map(tuple),
    events=st.lists(st.builds(Event, st.sampled_from(["retry", "unavailable", "x"]), st.integers(0)), max_size=2).map(
        tuple
    ),
    is_error=st.booleans(),
    status=st.text(max_size=5),
)


@given(st.lists(_spans, max_size=12), st.none() | st.integers(0, 2**63))
def test_any_spans_have_a_story(spans: list[Span], now_ns: int | None) -> None:
    """Cycles, missing parents, spans twice, wrong values: a story is told of them, and they are drawn."""
    findings = check(spans, saga_id=SAGA_ID, trace_id=TRACE_ID)
    story = tell(SagaTrace(SAGA_ID, tuple(spans)), findings, now_ns=now_ns)
    assert story.headline
    assert all(story.clauses)
    numbers = story.figures
    assert min(value for value in story.numbers.values() if value is not None) >= 0
    if numbers.took_ms is not None and story.outcome != "refunded" and "refund" not in story.text:
        assert numbers.kafka_wait_ms + numbers.outbox_wait_ms <= numbers.took_ms + 2
    assert len(waterfall(spans, width=80)) == len({span.span_id for span in spans})
