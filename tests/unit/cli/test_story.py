"""The story says what came of a saga, who said no, what was undone, and where the time went: each row of its table."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.cli.traces.check import check
from services.cli.traces.model import Event, Span
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import Story, tell
from services.contracts.topics import NOTIFICATION_GROUP, ORDER_EVENTS
from tests.support import saga_traces
from tests.support.timed_traces import (
    SAGA_ID,
    TRACE_ID,
    TimedTrace,
    charged,
    completed,
    declined,
    ns,
    reserved,
    retried,
    undo,
)

DAY = 86_400.0


def told(trace: TimedTrace, now: float | None = None) -> Story:
    """Tell a trace whose check found nothing."""
    return tell(trace.saga, now_ns=None if now is None else ns(now))


def canceled() -> TimedTrace:
    """A cancel request while the charge is asked for; both steps are undone."""
    trace = reserved()
    trace.message("payment.charge", (0.5, 0.5, 0.6), trace.spans[0])
    request = trace.asked("request cancel", 0.6)
    undo(trace, "payment.refund", 0.7, request)
    undo(trace, "inventory.release", 0.9)
    trace.ended("canceled", 1.1)
    return trace


def refunded() -> TimedTrace:
    """A refund three days after completion."""
    trace = completed()
    request = trace.asked("request refund", 3 * DAY + 0.9)
    undo(trace, "payment.refund", 3 * DAY + 1, request)
    undo(trace, "inventory.release", 3 * DAY + 1.2)
    trace.ended("refunded", 3 * DAY + 1.4, begin=3 * DAY + 0.9)
    return trace


def rejected() -> TimedTrace:
    """An order for what is out of stock."""
    trace = TimedTrace()
    reserve = trace.message("inventory.reserve", (0.1, 0.1, 0.4), trace.entry())
    trace.message("inventory.rejected", (0.4, 0.4, 0.6), reserve)
    trace.ended("failed", 0.6, "out_of_stock")
    return trace


def timed_out() -> TimedTrace:
    """A charge that payment never answers, with two attempts; the refund finds that nothing was charged."""
    trace = reserved()
    first = trace.asked("timeout charging", 15, **{"saga.input": "timed_out"})
    trace.message("payment.charge", (15, 15, 15), first, is_error=True)
    last = trace.asked("timeout charging", 30, **{"saga.input": "gave_up"})
    undo(trace, "payment.refund", 31, last)
    undo(trace, "inventory.release", 32)
    trace.ended("failed", 32.2, "no_answer")
    return trace


def dead_command() -> TimedTrace:
    """A charge that payment can't read."""
    trace = reserved()
    charge = trace.message("payment.charge", (0.5, 0.5, 0.6), trace.spans[0])
    failed = trace.dead_letter(charge, "Invalid payload.total")
    trace.message("command.dead_lettered", (0.6, 0.6, 0.7), failed, topic="oms.saga.replies")
    undo(trace, "payment.refund", 0.8)
    undo(trace, "inventory.release", 1.0)
    trace.ended("failed", 1.2, "dead_lettered")
    return trace


def redriven_command() -> TimedTrace:
    """The same, and an operator re-drives it two hours later, when the saga has given it up."""
    trace = dead_command()
    again = trace.redrive(next(span for span in trace.spans if span.is_error), 7200)
    stale = {"saga.verdict": "stale"}
    trace.message("payment.declined", (7200.1, 7200.1, 7200.2), again, attributes=stale)
    return trace


def dead_event(*redrives: bool) -> TimedTrace:
    """A completed order whose confirmation notification can't send; re-drives of it work or not."""
    trace = charged()
    reads = {"topic": ORDER_EVENTS, "reader": NOTIFICATION_GROUP}
    failed = trace.message("order.confirmed", (0.9, 0.9, 1.0), trace.spans[0], **reads)
    failed = trace.dead_letter(failed, "Invalid payload.items")
    trace.ended("completed", 0.9)
    for number, works in enumerate(redrives):
        again = trace.redrive(failed, 7200 * (number + 1))
        if not works:
            trace.dead_letter(again, "Invalid payload.items")
    return trace


def parked_event() -> TimedTrace:
    """A second event of the order waits behind the first."""
    trace = dead_event()
    reads = {"topic": ORDER_EVENTS, "reader": NOTIFICATION_GROUP}
    behind = trace.message("order.refunded", (1.1, 1.1, 1.2), trace.spans[0], **reads)
    trace.dead_letter(behind, "ParkedBehind", "ParkedBehind")
    return trace


def stuck(by: str) -> TimedTrace:
    """A declined order whose release nobody answers, or makes a dead letter."""
    trace = charged("payment.declined")
    release = trace.message("inventory.release", (1, 1, 1.1), trace.spans[0])
    if by == "gave_up":
        trace.asked("timeout failing_release", 60, **{"saga.input": "gave_up"})
        return trace
    failed = trace.dead_letter(release, "Fatal")
    trace.message("command.dead_lettered", (1.1, 1.1, 1.2), failed, topic="oms.saga.replies")
    return trace


def retried_by_an_operator() -> TimedTrace:
    """The same, until an operator has it asked once more."""
    trace = stuck("gave_up")
    undo(trace, "inventory.release", 3600, trace.asked("request retry", 3600))
    trace.ended("failed", 3600.2, "declined")
    return trace


def killed() -> TimedTrace:
    """Payment is killed after it charged; its reply comes when the charge was asked for again."""
    trace = reserved()
    charge = trace.message("payment.charge", (0.5, 0.5, 0.6), trace.spans[0], message_id="charge-1")
    charge = trace.change(charge, attributes={"sagatrace.interrupted": True})
    twice = {"sagatrace.duplicate": True}
    trace.message("payment.charge", (0.5, 20, 20), trace.spans[0], message_id="charge-1", attributes=twice)
    trace.message("payment.charged", (20, 20, 20.1), charge, attributes={"saga.verdict": "stale"})
    again = trace.message("payment.charge", (15, 20, 20.2), trace.asked("timeout charging", 15))
    trace.message("payment.charged", (20.2, 20.2, 20.4), again)
    trace.ended("completed", 20.4)
    return trace


def without_replies(trace: TimedTrace) -> TimedTrace:
    """A trace that lacks what moved the saga, and thus why it turned back."""
    lost = {"saga.input", "payment.declined", "request cancel"}
    return TimedTrace([span for span in trace.spans if not any(one in span.name for one in lost)])


TABLE: dict[str, tuple[Callable[[], TimedTrace], float | None, str]] = {
    "completed": (completed, None, "completed in 0.9 s"),
    "declined": (declined, None, "declined by payment after 0.9 s; stock released after 1.3 s"),
    "rejected": (rejected, None, "rejected by inventory (out of stock) after 0.6 s"),
    "canceled": (canceled, None, "canceled by request after 0.6 s; charge refunded, stock released after 1.1 s"),
    "refunded": (refunded, None, "completed in 0.9 s, refunded 3 days later; charge refunded, stock released"),
    "timed out": (
        timed_out,
        None,
        (
            "payment did not answer: timeout charging after 30 s; nothing was charged, stock released after 32 s; "
            "payment asked again (timeout charging)"
        ),
    ),
    "a dead command": (
        dead_command,
        None,
        (
            "payment.charge is a dead letter of oms-payment: Invalid payload.total; "
            "nothing was charged, stock released after 1.2 s"
        ),
    ),
    "a dead command, re-driven too late": (
        redriven_command,
        None,
        (
            "payment.charge became a dead letter of oms-payment: Invalid payload.total; "
            "nothing was charged, stock released after 1.2 s; payment.charge was re-driven after 2 h; "
            "1 late reply ignored"
        ),
    ),
    "a dead event": (
        dead_event,
        None,
        "completed in 0.9 s; order.confirmed is a dead letter of oms-notification: Invalid payload.items",
    ),
    "a re-driven event": (
        lambda: dead_event(True),  # noqa: FBT003  whether the re-drive works
        None,
        (
            "completed in 0.9 s; "
            "order.confirmed was a dead letter of oms-notification (Invalid payload.items), re-driven after 2 h"
        ),
    ),
    "an event re-driven in vain": (
        lambda: dead_event(False),  # noqa: FBT003  whether the re-drive works
        None,
        (
            "completed in 0.9 s; "
            "order.confirmed is a dead letter of oms-notification: Invalid payload.items, re-driven in vain"
        ),
    ),
    "a parked event": (
        parked_event,
        None,
        (
            "completed in 0.9 s; order.confirmed is a dead letter of oms-notification: Invalid payload.items; "
            "order.refunded is parked behind a dead letter of oms-notification"
        ),
    ),
    "open": (reserved, 12.5, "waiting for payment for 12 s"),
    "open, and nobody says what time it is": (reserved, None, "waiting for payment"),
    "open and turned back": (
        lambda: charged("payment.declined"),
        60.9,
        "waiting for inventory for 60 s; declined by payment after 0.9 s",
    ),
    "a refund that is open": (
        lambda: TimedTrace(refunded().spans[:11]),
        3 * DAY + 12.91,
        "waiting for payment for 12 s; completed in 0.9 s, refund requested 3 days later",
    ),
    "no answer on the way back": (
        lambda: stuck("gave_up"),
        7260.0,
        (
            "needs attention for 2 h: inventory did not answer (inventory.release); "
            "declined by payment after 0.9 s; stock released"
        ),
    ),
    "a dead letter on the way back": (
        lambda: stuck("dead letter"),
        61.2,
        (
            "needs attention for 60 s: inventory.release is a dead letter of oms-inventory: Fatal; "
            "declined by payment after 0.9 s"
        ),
    ),
    "asked again by an operator": (
        retried_by_an_operator,
        None,
        "declined by payment after 0.9 s; stock released after 60 min; inventory asked again by an operator",
    ),
    "killed": (
        killed,
        None,
        (
            "completed in 20 s; payment asked again (timeout charging); 5.0 s waiting in Kafka; "
            "payment was interrupted at payment.charge; 1 duplicate absorbed; 1 late reply ignored"
        ),
    ),
    "failed, and nothing of why": (
        lambda: without_replies(declined()),
        None,
        "failed (declined) after 1.3 s; stock released",
    ),
    "canceled without telemetry": (
        lambda: without_replies(canceled()),
        None,
        "canceled by request after 1.1 s; charge refunded, stock released",
    ),
    "nothing": (TimedTrace, None, "nothing of the saga was recorded"),
}


@pytest.mark.parametrize("row", TABLE)
def test_each_row_of_the_table_is_told(row: str) -> None:
    """What can happen to a saga has words of its own."""
    build, now, text = TABLE[row]
    assert told(build(), now).text == text


def clauses(trace: TimedTrace) -> tuple[str, ...]:
    """Return what is told besides the headline."""
    return told(trace).clauses


def test_waits_are_those_of_the_sagas_own_line_and_count_once() -> None:
    """Waits that overlap count once, those of side readers not at all, and in Kafka wins over in an outbox."""
    trace = TimedTrace()
    entry = trace.entry()
    waited = {"messaging.kafka.queue.time_ms": 200.0}
    trace.message("inventory.reserve", (0.3, 0.5, 0.6), entry, outbox_ms=200, attributes=waited)
    # Sent once more, it waits 0.2 s in the outbox and 0.2 s in Kafka, half of both beside the first.
    trace.message("inventory.reserve", (0.4, 0.6, 0.7), entry, outbox_ms=200, attributes=waited)
    side = {"messaging.kafka.queue.time_ms": 500.0}
    trace.message(
        "order.created", (0.1, 0.6, 0.7), entry, topic=ORDER_EVENTS, reader=NOTIFICATION_GROUP, attributes=side
    )
    trace.ended("completed", 0.7)
    story = told(trace)
    assert (story.figures.kafka_wait_ms, story.figures.outbox_wait_ms) == (300, 200)
    assert "0.3 s waiting in Kafka, 0.2 s in the outbox" in story.clauses


def test_a_wait_in_one_place_is_told_alone() -> None:
    """Where nothing waited nothing is told; a wait in the outbox alone says that it is a wait."""
    trace = TimedTrace()
    trace.message("inventory.reserve", (0.3, 0.3, 0.4), trace.entry(), outbox_ms=250)
    trace.ended("completed", 0.4)
    assert clauses(trace) == ("0.2 s waiting in the outbox",)
    assert clauses(completed()) == ()


def test_what_waits_outside_of_the_sagas_life_delays_nobody() -> None:
    """A message that waited past the end of the saga counts up to that end, and a duplicate not at all."""
    trace = completed()
    late = {"messaging.kafka.queue.time_ms": 5_000.0}
    trace.message("payment.charge", (0.7, 5.7, 5.8), trace.spans[0], attributes=late)
    twice = {"sagatrace.duplicate": True} | late
    trace.message("payment.charge", (0.1, 0.9, 0.9), trace.spans[0], attributes=twice)
    assert told(trace).figures.kafka_wait_ms == 200


def test_retries_are_told_with_their_message() -> None:
    """Attempts that failed are counted in all services; of one type of message they name it."""
    trace = completed()
    charge = next(span for span in trace.spans if span.name == "process payment.charge")
    charge = trace.change(charge, events=retried(2))
    assert clauses(trace) == ("2 retries of payment.charge",)
    trace.change(next(span for span in trace.spans if span.name == "process inventory.reserve"), events=retried(1))
    assert clauses(trace) == ("3 retries",)
    assert told(trace).figures.retries == 3
    trace.change(charge, events=(Event("unavailable", charge.start_ns),))
    assert clauses(trace) == (
        "1 retry of inventory.reserve",
        "payment waited for a database or broker that was away",
    )


def test_interrupted_spans_and_duplicates_are_told() -> None:
    """What a killed process left open, and the second copy that was absorbed, are told with their number."""
    trace = completed()
    charge = next(span for span in trace.spans if span.name == "process payment.charge")
    trace.change(charge, attributes={"sagatrace.interrupted": True})
    again = trace.message("payment.charge", (0.5, 0.7, 0.7), trace.spans[0], message_id="message-7")
    again = trace.change(again, attributes={"sagatrace.duplicate": True})
    assert clauses(trace) == ("payment was interrupted at payment.charge", "1 duplicate absorbed")
    trace.change(again, attributes={"sagatrace.interrupted": True})
    assert clauses(trace) == ("2 spans were interrupted", "1 duplicate absorbed")


def test_a_refused_charge_that_is_paid_back_was_none() -> None:
    """A participant's no leaves nothing behind: undoing that step is not told as an effect."""
    trace = canceled()
    charge = next(span for span in trace.spans if span.name == "process payment.charge")
    trace.change(charge, attributes={"sagatrace.reply.type": "payment.declined"})
    assert clauses(trace)[0] == "nothing was charged, stock released after 1.1 s"


def test_the_story_knows_the_numbers_and_the_outcome() -> None:
    """A program reads the parts: outcome, times in milliseconds, and counts."""
    story = told(refunded())
    assert (story.outcome, story.headline) == ("refunded", "completed in 0.9 s, refunded 3 days later")
    assert story.numbers == {
        "took_ms": 900,
        "refund_ms": 500,
        "kafka_wait_ms": 0,
        "outbox_wait_ms": 0,
        "retries": 0,
        "asked_again": 0,
        "dead_letters": 0,
        "redriven": 0,
        "duplicates": 0,
        "interrupted": 0,
    }
    numbers = told(redriven_command()).numbers
    assert (numbers["dead_letters"], numbers["redriven"]) == (0, 1)
    assert (told(reserved()).outcome, told(reserved()).numbers["took_ms"]) == (None, None)


def without(spans: list[Span], gone: Callable[[Span], bool]) -> Story:
    """Tell and check a good trace of a declined order without some of its spans."""
    left = [span for span in spans if not gone(span)]
    return tell(SagaTrace(SAGA_ID, tuple(left)), check(left, saga_id=SAGA_ID, trace_id=TRACE_ID))


def _sends(kind: str) -> Callable[[Span], bool]:
    return lambda span: span.attributes.get("sagatrace.message.type") == kind and span.kind.name == "PRODUCER"


def test_what_is_missing_is_named_once() -> None:
    """A trace that is not whole says what was not recorded, in the words of the saga and each once."""
    spans = saga_traces.declined(SAGA_ID).spans
    assert "not whole" not in without(spans, lambda _: False).text
    assert without(spans, _sends("inventory.release")).clauses[-1] == (
        "not whole: the send of inventory.release was not recorded"
    )
    assert without(spans, lambda span: span.service == "notification").clauses[-1] == (
        "not whole: the processing of order.created by oms-notification was not recorded, "
        "the processing of order.canceled by oms-notification was not recorded"
    )
    assert without(spans, lambda span: span.name.startswith("saga order")).clauses[-1] == (
        "not whole: the span of its life was not recorded"
    )
    assert "the entry was not recorded" in without(spans, lambda span: span.parent_id is None).text
    more = without(spans, lambda span: span.kind.name == "PRODUCER").text
    assert more.count("was not recorded") == 3
    assert " more" in more


def test_an_open_saga_lacks_nothing_that_only_an_end_has() -> None:
    """What is in transit is not missing; a parent that was not recorded is, and may still come."""
    spans = saga_traces.declined(SAGA_ID).spans
    spans = spans[: spans.index(saga_traces.doing(spans, "process", "payment.charge")) + 1]
    assert "not whole" not in without(spans, lambda _: False).text
    assert without(spans, _sends("payment.charge")).clauses[-1] == (
        "not whole yet: the send of payment.charge was not recorded"
    )


def test_traces_of_older_services_are_told_too() -> None:
    """Without the newer attributes, and with the convention's names, the story is the same."""
    for trace in (saga_traces.declined(SAGA_ID), saga_traces.completed(SAGA_ID), saga_traces.refunded(SAGA_ID)):
        spans = [replace(span, name=f"{span.name} more") if "order" in span.name else span for span in trace.spans]
        one, other = (tell(SagaTrace(SAGA_ID, tuple(each))) for each in (trace.spans, spans))
        assert one == other
    text = tell(SagaTrace(SAGA_ID, tuple(saga_traces.declined(SAGA_ID).spans))).text
    assert text.startswith("declined by payment ")
    assert "stock released" in text


def test_a_saga_is_not_turned_back_after_its_end() -> None:
    """The span that took the last reply may outlive the saga: what it did is told with the time of the end."""
    trace = rejected()
    last = next(span for span in trace.spans if span.name == "process inventory.rejected")
    trace.change(last, end_ns=ns(0.74))
    assert told(trace).text == "rejected by inventory (out of stock) after 0.6 s"


def test_a_reason_of_its_own_is_told() -> None:
    """A participant's reason stands beside its no if it says more than that."""
    trace = charged("payment.declined")
    trace.ended("failed", 0.9, "expired_card")
    assert told(trace).headline == "declined by payment (expired card) after 0.9 s"
