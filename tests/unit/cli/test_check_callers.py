"""The check takes one saga out of a trace that it shares with its caller, other sagas and later requests."""

from dataclasses import replace

from services.cli.traces.check import check
from services.cli.traces.findings import Rule
from services.cli.traces.model import Kind, Span
from tests.support.saga_traces import TRACE_ID, changed, completed, doing


def _found(spans: list[Span], saga_id: str = "saga-1") -> list[Rule]:
    return list(dict.fromkeys(finding.rule for finding in check(spans, saga_id=saga_id, trace_id=TRACE_ID)))


def test_two_sagas_in_one_trace_of_a_caller_are_checked_each() -> None:
    """Sagas that share a caller's trace pass each for itself, and a fault of one is found for that one alone."""
    first = completed("saga-1", caller="c" * 16).spans
    second = completed("saga-2", caller="c" * 16).spans
    assert _found(first + second) == _found(first + second, "saga-2") == []
    broken = changed(second, doing(second, "process", "saga.started"), links=())
    assert _found(first + broken) == []
    assert _found(first + broken, "saga-2") == [Rule.CAUSE]


def test_a_nameless_span_between_two_of_a_saga_is_the_sagas() -> None:
    """In a shared trace a span without saga.id is still found, by where it hangs."""
    first = completed("saga-1", caller="c" * 16).spans
    second = completed("saga-2", caller="c" * 16).spans
    nameless = changed(first, doing(first, "send", "payment.charge"), attributes={"saga.id": None, "order.id": None})
    assert Rule.IDS in _found(nameless + second)
    assert _found(nameless + second, "saga-2") == []


def test_spans_of_a_caller_are_not_the_sagas() -> None:
    """The caller's own spans in the same trace carry no ids of ours, and need none."""
    trace = completed(caller="c" * 16)
    caller = replace(trace.spans[0], span_id="c" * 16, parent_id=None, kind=Kind.CLIENT, service="shop", attributes={})
    beside = replace(caller, span_id="d" * 16, parent_id="c" * 16)
    assert _found([*trace.spans, caller, beside]) == []


def test_a_further_request_in_a_shared_trace_is_no_second_entry() -> None:
    """A caller may look at the order within the trace that it shares."""
    trace = completed(caller="c" * 16)
    look = replace(trace.spans[0], span_id="d" * 16, name="GET /orders/{order_id}")
    assert _found([*trace.spans, look]) == []


def test_a_request_in_a_trace_of_its_own_is_no_stray() -> None:
    """A cancel or refund request keeps its own trace, and carries the saga's id there."""
    trace = completed()
    request = replace(trace.spans[0], trace_id="b" * 32, span_id="d" * 16, name="POST /orders/{order_id}/refund")
    inside = replace(request, span_id="f" * 16, parent_id="d" * 16, kind=Kind.INTERNAL)
    assert _found([*trace.spans, request, inside]) == []
