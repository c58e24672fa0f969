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
from tests.support.stories import (
    DAY,
    canceled,
    dead_command,
    dead_event,
    killed,
    parked_event,
    redriven_command,
    refunded,
    rejected,
    retried_by_an_operator,
    stuck,
    timed_out,
    without_replies,
)
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
)


def told(trace: TimedTrace, now: float | None = None) -> Story:
    """Return the story of a trace whose check found nothing."""
    return tell(trace.saga, now_ns=None if now is None else ns(now))


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
    """Return the story of a declined order's trace without some of its spans, checked."""
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
