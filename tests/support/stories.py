"""What can happen to a saga, as traces with given times: each is a row of the story's table, or a part of one."""

from services.contracts.topics import NOTIFICATION_GROUP, ORDER_EVENTS
from tests.support.timed_traces import TimedTrace, charged, completed, reserved, undo

DAY = 86_400.0


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
