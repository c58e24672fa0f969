"""Send a batch so that a span which the receiver does not take costs nobody but itself.

What is too large is halved until it fits, and a span that is too large alone is given up. So one span too many bytes
long costs some ten requests, and the other spans of its batch arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tracing import faults
from tracing.otlp.answers import REFUSED, TOO_LARGE, Answer, ExportOutcome
from tracing.otlp.encoding import EncodedSpan, encode_request
from tracing.otlp.queue import OVERHEAD
from tracing.otlp.transport import Transport


@dataclass(slots=True)
class Delivery:
    """What became of the spans of a batch."""

    #: Spans that need not be kept any more: they arrived, or were refused for good.
    settled: list[EncodedSpan] = field(default_factory=list)
    #: How many of these the receiver does not have.
    lost: int = 0
    #: Spans that are still to be sent, in their order.
    left: list[EncodedSpan] = field(default_factory=list)
    #: Seconds after which the receiver wants them.
    after_s: float = 0.0


def deliver(transport: Transport, batch: list[EncodedSpan], is_over: Callable[[], bool] = lambda: False) -> Delivery:
    """Send a batch, in as many requests as it takes, until the receiver asks for a pause or the time is over.

    Args:
        transport: the way to the receiver.
        batch: spans, in the order in which they are sent.
        is_over: asked after each request; what is left by then is returned as such.
    """
    delivery = Delivery()
    parts = [batch]
    while parts:
        part = parts.pop()
        answer = _send(transport, part)
        if answer.outcome is ExportOutcome.TOO_LARGE and len(part) > 1:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
        elif answer.outcome is ExportOutcome.AGAIN:
            parts.append(part)
            delivery.after_s = answer.after_s
            break
        else:
            delivery.settled += part
            delivery.lost += answer.rejected if answer.outcome is ExportOutcome.ACCEPTED else len(part)
        if is_over():
            break
    delivery.left = [span for part in reversed(parts) for span in part]
    return delivery


def _send(transport: Transport, part: list[EncodedSpan]) -> Answer:
    if len(part) > 1 and sum(len(body) + OVERHEAD for _, _, body in part) > transport.most_bytes:
        return TOO_LARGE
    try:
        return transport.send(encode_request(part), len(part))
    except Exception as error:  # noqa: BLE001 - the thread that exports has to live on
        faults.report("exporting spans", error)
        return REFUSED
