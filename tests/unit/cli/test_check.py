"""The check finds what is broken in a trace, and nothing in one that is whole."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.cli.traces.check import check
from services.cli.traces.findings import Finding, Rule
from services.cli.traces.model import AttributeValue, Kind, Link, Span, once
from tests.support.saga_traces import (
    MS,
    TRACE_ID,
    TraceBuilder,
    changed,
    completed,
    dead_lettered,
    declined,
    doing,
    redriven,
    refunded,
    which,
)

Break = Callable[[list[Span]], list[Span]]


def _found(spans: list[Span]) -> list[Rule]:
    return list(dict.fromkeys(finding.rule for finding in check(spans, saga_id="saga-1", trace_id=TRACE_ID)))


def _checked(spans: list[Span], outcome: str) -> list[Finding]:
    return check(spans, saga_id="saga-1", trace_id=TRACE_ID, outcome=outcome)


@pytest.mark.parametrize("build", [completed, refunded, declined])
def test_a_whole_trace_passes(build: Callable[[], TraceBuilder]) -> None:
    """A saga that is one connected trace has no findings, whichever way it went."""
    assert check(build().spans, saga_id="saga-1", trace_id=TRACE_ID) == []


def _without(pick: Callable[[list[Span]], Span]) -> Break:
    def broken(spans: list[Span]) -> list[Span]:
        gone = pick(spans)
        return [span for span in spans if span is not gone]

    return broken


def _with(pick: Callable[[list[Span]], Span], **changes: object) -> Break:
    return lambda spans: changed(spans, pick(spans), **changes)


def _twice(pick: Callable[[list[Span]], Span]) -> Break:
    return lambda spans: [*spans, replace(pick(spans), span_id="f" * 16)]


def _entry(spans: list[Span]) -> Span:
    return spans[0]


def _id(span: Span) -> str:
    return span.span_id


def _send(kind: str) -> Callable[[list[Span]], Span]:
    return lambda spans: doing(spans, "send", kind)


def _process(kind: str) -> Callable[[list[Span]], Span]:
    return lambda spans: doing(spans, "process", kind)


def _named(name: str) -> Callable[[list[Span]], Span]:
    return lambda spans: which(spans, lambda span: span.name == name)


_life, _refund = _named("saga order completed"), _named("refund order completed")


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        pytest.param(_with(_entry, kind=Kind.INTERNAL), Rule.ENTRY, id="no entry"),
        pytest.param(_with(_send("payment.charge"), kind=Kind.SERVER, parent_id=None), Rule.ENTRY, id="two entries"),
        pytest.param(_with(_send("payment.charge"), parent_id=None), Rule.PARENT, id="a second root"),
        pytest.param(_with(_send("payment.charge"), parent_id="e" * 16), Rule.PARENT, id="an orphan"),
        pytest.param(_without(_process("inventory.reserve")), Rule.PARENT, id="a lost process span"),
        pytest.param(_with(_process("payment.refund"), trace_id="b" * 32), Rule.ONE_TRACE, id="a trace of its own"),
        pytest.param(_with(_process("saga.started"), attributes={"saga.id": None}), Rule.IDS, id="no saga id"),
        pytest.param(_with(_entry, attributes={"saga.id": None}), Rule.IDS, id="no saga id on the entry"),
        pytest.param(_with(_process("saga.started"), attributes={"order.id": None}), Rule.IDS, id="no order id"),
        pytest.param(_with(_process("saga.started"), attributes={"order.id": "o-2"}), Rule.IDS, id="another order id"),
        pytest.param(_twice(_send("payment.charge")), Rule.SEND, id="sent twice"),
        pytest.param(_without(_send("saga.started")), Rule.SEND, id="never sent"),
        pytest.param(_with(_send("saga.started"), is_error=True), Rule.SEND, id="never acknowledged"),
        pytest.param(
            _with(_send("saga.started"), attributes={"messaging.message.id": None}), Rule.SEND, id="sent without an id"
        ),
        pytest.param(_without(_process("saga.started")), Rule.EFFECT, id="not processed"),
        pytest.param(_with(_process("saga.started"), is_error=True), Rule.EFFECT, id="only failed"),
        pytest.param(
            _with(_process("saga.started"), attributes={"sagatrace.duplicate": True}), Rule.EFFECT, id="only duplicates"
        ),
        pytest.param(_twice(_process("saga.started")), Rule.EFFECT, id="two effects"),
        pytest.param(
            lambda spans: changed(spans, _process("saga.started")(spans), parent_id=spans[0].span_id),
            Rule.CAUSE,
            id="not the child of its send",
        ),
        pytest.param(_with(_process("saga.started"), links=()), Rule.CAUSE, id="not linked to its send"),
        pytest.param(
            lambda spans: changed(
                spans, _send("payment.charge")(spans), parent_id=_id(_process("inventory.reserved")(spans))
            ),
            Rule.STEP,
            id="a step below its cause",
        ),
        pytest.param(
            lambda spans: changed(spans, _send("saga.refunded")(spans), parent_id=_id(_refund(spans))),
            Rule.STEP,
            id="a step below a life",
        ),
        pytest.param(_with(_send("payment.charge"), links=()), Rule.STEP, id="a step without its cause"),
        pytest.param(_with(_send("inventory.release"), links=()), Rule.STEP, id="a second step without its cause"),
        pytest.param(_with(_send("saga.refunded"), links=()), Rule.STEP, id="an event without its cause"),
        pytest.param(
            lambda spans: changed(spans, _send("saga.refunded")(spans), links=(Link(TRACE_ID, spans[0].span_id),)),
            Rule.STEP,
            id="an event caused by the entry",
        ),
        pytest.param(
            lambda spans: changed(
                spans,
                _send("payment.charge")(spans),
                links=(Link(TRACE_ID, _id(_process("inventory.reserve")(spans))),),
            ),
            Rule.STEP,
            id="a step caused by a command",
        ),
        pytest.param(
            lambda spans: changed(
                spans, _send("inventory.released")(spans), parent_id=_id(_process("payment.refunded")(spans))
            ),
            Rule.DEPTH,
            id="a reply below another",
        ),
        pytest.param(
            lambda spans: changed(
                spans, _process("payment.refund")(spans), links=_process("payment.refund")(spans).links[:1]
            ),
            Rule.COMPENSATION,
            id="a compensation without its link",
        ),
        pytest.param(_without(_life), Rule.LIFE, id="no life"),
        pytest.param(_twice(_life), Rule.LIFE, id="two lives"),
        pytest.param(_without(_refund), Rule.LIFE, id="no life of the refund"),
        pytest.param(
            lambda spans: changed(
                spans,
                _process("payment.charged")(spans),
                start_ns=_process("payment.charged")(spans).start_ns + 60_000 * MS,
                end_ns=_process("payment.charged")(spans).end_ns + 60_000 * MS,
            ),
            Rule.LIFE,
            id="a move outside of the life",
        ),
        pytest.param(
            lambda spans: changed(spans, _life(spans), start_ns=spans[0].start_ns - 60_000 * MS),
            Rule.LIFE,
            id="a life that begins too early",
        ),
        pytest.param(
            lambda spans: [span for span in spans if span.attributes.get("sagatrace.message.type") != "saga.refunded"],
            Rule.END,
            id="an end without its event",
        ),
        pytest.param(_with(_life, attributes={"saga.outcome": "fine"}), Rule.END, id="no known outcome"),
    ],
)
def test_each_broken_rule_is_found(break_it: Break, rule: Rule) -> None:
    """A trace that breaks a rule has a finding that names it."""
    assert rule in _found(break_it(refunded().spans))


def test_a_trace_has_to_show_the_end_that_is_known() -> None:
    """A refund whose last spans are still to come leaves the trace of a completed order: not that of a refunded one."""
    spans = refunded().spans
    assert _checked(spans, "refunded") == []
    asked = which(spans, lambda span: span.name == "request refund")
    early = spans[: spans.index(asked) + 1]
    assert _checked(early, "completed") == []
    (finding,) = _checked(early, "refunded")
    assert (finding.rule, finding.text) == (Rule.LIFE, "no span shows that it was refunded")
    assert _checked(spans, "running") == []


def test_a_finding_names_the_span() -> None:
    """A finding says which rule is broken and at which span."""
    spans = completed().spans
    send = doing(spans, "send", "payment.charge")
    (finding,) = check(changed(spans, send, parent_id="e" * 16), saga_id="saga-1", trace_id=TRACE_ID)
    assert finding.span is not None
    assert finding.span.span_id == send.span_id
    line = str(finding)
    assert "every parent is in the trace: oms `send payment.charge`" in line
    assert "e" * 16 in line


@pytest.mark.parametrize("command", ["payment.charge", "inventory.release", "payment.refund"])
def test_a_step_that_is_missing_as_a_whole_is_found(command: str) -> None:
    """Without a command and all below it nothing is an orphan; what the step caused says that it was there."""
    spans = refunded().spans
    parents = {span.span_id: span.parent_id for span in spans}
    missing = {doing(spans, "send", command).span_id}
    while more := {one for one, parent in parents.items() if parent in missing} - missing:
        missing |= more
    found = _found([span for span in spans if span.span_id not in missing])
    assert Rule.STEP in found


def test_what_a_participant_writes_inside_a_step_makes_it_no_deeper() -> None:
    """The decision that a participant makes later is a span between a command and its reply, and no fault."""
    trace = refunded()
    reply, command = (
        doing(trace.spans, "send", "inventory.released"),
        doing(trace.spans, "process", "inventory.release"),
    )
    decision = trace.span("reserve stock", command, "inventory")
    assert _found(changed(trace.spans, reply, parent_id=decision.span_id)) == []


def test_failed_attempts_and_duplicates_may_stand_beside() -> None:
    """An attempt to send that failed, a failed process span and an absorbed duplicate do not break a trace."""
    spans = completed().spans
    send, process = doing(spans, "send", "payment.charge"), doing(spans, "process", "payment.charge")
    beside = [
        replace(send, span_id="a" * 16, is_error=True),
        replace(process, span_id="b" * 16, is_error=True),
        replace(process, span_id="c" * 16, attributes=dict(process.attributes) | {"sagatrace.duplicate": True}),
    ]
    assert _found(spans + beside) == []


def _sent_again(spans: list[Span], kind: str, **changes: AttributeValue) -> list[Span]:
    """Send a message once more by another claim of its row, and let every group absorb it."""
    send = doing(spans, "send", kind)
    again = replace(send, span_id="a" * 16, attributes=dict(send.attributes) | {"sagatrace.outbox.attempt": 2})
    absorbed = [
        replace(
            process,
            span_id=f"{number:016x}",
            parent_id=again.span_id,
            links=(replace(process.links[0], span_id=again.span_id),),
            attributes=dict(process.attributes) | {"sagatrace.duplicate": True} | changes,
        )
        for number, process in enumerate((one for one in spans if one.parent_id == send.span_id), 1)
    ]
    return [*spans, again, *absorbed]


def test_a_row_that_was_left_by_a_dead_relay_may_be_sent_by_another_claim() -> None:
    """A message that was acknowledged twice is whole if the second claim says so and every group absorbed it."""
    assert _found(_sent_again(completed().spans, "saga.started")) == []
    interrupted = changed(
        completed().spans, doing(completed().spans, "send", "saga.started"), attributes={"sagatrace.interrupted": True}
    )
    assert _found(_sent_again(interrupted, "saga.started")) == []


def test_a_message_among_the_dead_letters_is_missed_by_nobody() -> None:
    """A group that could not process a message has no effect of it, if it says where the message is."""
    spans = dead_lettered().spans
    assert check(spans, saga_id="saga-1", trace_id=TRACE_ID) == []
    assert _found(spans[:-1]) == [Rule.EFFECT]


def test_a_redriven_message_has_its_effect_and_links_to_what_failed() -> None:
    """A message that was re-driven is in the same trace, and its new process span links to the failed one."""
    spans = redriven().spans
    assert check(spans, saga_id="saga-1", trace_id=TRACE_ID) == []
    assert _found(changed(spans, spans[-1], links=spans[-1].links[:1])) == [Rule.RETRY]
    assert _found([*spans, replace(spans[-1], span_id="f" * 16)]) == [Rule.EFFECT]


def test_a_command_that_an_operator_without_telemetry_asked_for_is_whole() -> None:
    """A retry or a cancel by a program without spans of its own is caused by the entry, and that is no fault."""
    spans = refunded().spans
    asked = doing(spans, "send", "inventory.release")
    entry = spans[0].span_id
    assert _found(changed(spans, asked, parent_id=entry, links=(Link(TRACE_ID, entry),))) == []


def test_a_redrive_without_telemetry_is_whole() -> None:
    """Where the operator's send was not recorded, the re-driven process span is the child of the first send."""
    spans = redriven().spans
    again, send = spans[-1], spans[-2]
    first = which(spans, lambda span: span.span_id == send.parent_id)
    links = (Link(TRACE_ID, first.span_id), *again.links[1:])
    kept = [span for span in changed(spans, again, parent_id=first.span_id, links=links) if span is not send]
    assert check(kept, saga_id="saga-1", trace_id=TRACE_ID) == []
    other = doing(spans, "send", "saga.started")
    assert _found(changed(kept, kept[-1], parent_id=other.span_id)) == [Rule.CAUSE]


def test_what_was_sent_again_has_no_second_effect() -> None:
    """A message that two claims sent, and that a group did not absorb, had its effect twice."""
    spans = _sent_again(completed().spans, "saga.started", **{"sagatrace.duplicate": False})
    assert _found(spans) == [Rule.EFFECT]


@pytest.mark.parametrize("attempt", [None, 1, 2, "second"])
def test_one_claim_sends_once(attempt: object) -> None:
    """Two acknowledged sends of the same claim are a fault, whichever claim that is."""
    spans = _sent_again(completed().spans, "saga.started")
    again = which(spans, lambda span: span.span_id == "a" * 16)
    if attempt == 2:
        spans = [*spans, replace(again, span_id="b" * 16)]
    else:
        spans = changed(spans, again, attributes={"sagatrace.outbox.attempt": attempt})
    assert _found(spans) == [Rule.SEND]


@pytest.mark.parametrize("finished_first", [True, False])
def test_of_two_copies_of_a_span_the_finished_one_counts(finished_first: bool) -> None:  # noqa: FBT001  a parameter
    """A span that was exported by its process and shipped again by the next one is one span, and not interrupted."""
    spans = completed().spans
    process = doing(spans, "process", "inventory.reserve")
    copy = replace(
        process, end_ns=process.start_ns, attributes=dict(process.attributes) | {"sagatrace.interrupted": True}
    )
    copies = [*spans, copy] if finished_first else [copy, *spans]
    assert _found(copies) == []
    assert process in once(copies)
    assert copy not in once(copies)


def test_of_several_interrupted_spans_any_may_be_the_one_that_is_undone() -> None:
    """A step, and its compensation, whose processes died twice are linked if one of the spans links to one of them."""
    spans = refunded().spans
    for kind in ("payment.charge", "payment.refund"):
        process = doing(spans, "process", kind)
        dead = replace(
            process,
            span_id="a" * 16 if kind == "payment.charge" else "b" * 16,
            start_ns=process.start_ns - 1,
            links=process.links[:1],
            attributes=dict(process.attributes) | {"sagatrace.interrupted": True},
        )
        spans = [*changed(spans, process, attributes={"sagatrace.interrupted": True}), dead]
    assert _found(spans) == []
    unlinked = changed(spans, _process("payment.refund")(spans), links=_process("payment.refund")(spans).links[:1])
    assert _found(unlinked) == [Rule.COMPENSATION]


def test_an_interrupted_span_counts_if_no_other_did() -> None:
    """A process span that its process did not live to end is an effect, unless a later one is."""
    spans = completed().spans
    process = doing(spans, "process", "saga.completed")
    interrupted = changed(spans, process, attributes={"sagatrace.interrupted": True})
    assert _found(interrupted) == []
    assert _found([*interrupted, replace(process, span_id="a" * 16)]) == []


def test_a_message_that_was_delivered_by_a_timed_out_send_may_be_its_child() -> None:
    """A process span may be the child of an attempt that seemed to fail: the broker may have taken it."""
    spans = completed().spans
    send, process = doing(spans, "send", "saga.completed"), doing(spans, "process", "saga.completed")
    attempt = replace(send, span_id="a" * 16, is_error=True)
    link = replace(process.links[0], span_id=attempt.span_id)
    assert _found([*changed(spans, process, parent_id=attempt.span_id, links=(link,)), attempt]) == []


def test_polls_and_commits_need_no_ids() -> None:
    """Spans that serve many orders carry no ids, also where one is in the trace."""
    trace = completed()
    parent = doing(trace.spans, "process", "saga.started")
    attributes = {"messaging.operation.name": "commit"}
    commit = replace(parent, span_id="d" * 16, parent_id=parent.span_id, attributes=attributes, kind=Kind.CLIENT)
    assert _found([*trace.spans, commit]) == []


def test_a_trace_without_spans_is_not_whole() -> None:
    """Nothing recorded is a broken trace, not a good one."""
    assert _found([]) == [Rule.ENTRY, Rule.LIFE]


def test_a_cycle_of_parents_ends_the_check() -> None:
    """Spans that are each other's parents are found, and the check comes to an end."""
    spans = completed("saga-1", caller="c" * 16).spans
    one, two = doing(spans, "send", "saga.completed"), doing(spans, "process", "saga.completed")
    assert Rule.PARENT in _found(changed(changed(spans, one, parent_id=two.span_id), two, parent_id=one.span_id))
