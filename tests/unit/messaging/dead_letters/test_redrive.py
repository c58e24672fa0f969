"""Where a re-drive stands in its record's trace."""

from collections.abc import Sequence
from uuid import UUID

from opentelemetry import trace

from services.contracts import Undecodable
from services.messaging.dead_letters import read_dead_letter, send_redrive
from services.messaging.dead_letters.topic import DeadLetters, Failure
from services.messaging.trace_context import restore
from tests.support.records import DeadLetterTopic, Header, record
from tracing.binding import use_context
from tracing.testing import RecordedSpans

GROUP = "billing"
TRACE = "0af7651916cd43dd8448eb211c80319c"
FIRST, ASIDE, AGAIN = (f"00-{TRACE}-{number:016x}-01" for number in (1, 2, 3))


class RetryTopic(DeadLetterTopic):
    """A retry topic that keeps the parents of what is sent to it."""

    def __init__(self) -> None:
        super().__init__()
        self.parents: list[int] = []

    async def publish(self, *args: object, **kwargs: object) -> object:
        """Take one record."""
        self.parents.append(trace.get_current_span().get_span_context().span_id)
        return await super().publish(*args, **kwargs)  # type: ignore[arg-type]


async def failed(headers: Sequence[Header], sent_in: str) -> list[Header]:
    """Return the headers of a record that became a dead letter, whose send has this context."""
    topic = DeadLetterTopic()
    with RecordedSpans(instrumented=False), use_context(restore({"traceparent": sent_in})):
        await DeadLetters(GROUP, topic).add(record(b"{", headers=headers), Failure(Undecodable("no JSON"), 1))
    (dead_letter,) = topic.kept
    return [*dead_letter.headers, ("traceparent", sent_in.encode())]


async def redriven(headers: Sequence[Header]) -> tuple[int, list[Header]]:
    """Re-drive a dead letter, and return the span that its send is below, and its headers."""
    topic = RetryTopic()
    await send_redrive(topic, GROUP, read_dead_letter(record(b"{", headers=headers)), UUID(int=1))
    return topic.parents[0], topic.kept[0].headers


async def test_each_redrive_stands_beside_the_attempt_before_it() -> None:
    """A re-drive is below the first send of its record, also the second time, so that a trace does not get deeper."""
    dead_letter = await failed([("traceparent", FIRST.encode())], ASIDE)
    below, headers = await redriven(dead_letter)
    assert below == 1
    again = await failed([*headers, ("traceparent", AGAIN.encode())], ASIDE)
    assert (await redriven(again))[0] == 1


async def test_a_record_that_came_without_a_trace_goes_on_in_that_of_its_failure() -> None:
    """Where nothing valid is known of the first send, a re-drive is below the send to the dead letters."""
    assert (await redriven(await failed([], ASIDE)))[0] == 2
    assert (await redriven(await failed([("traceparent", b"garbage")], ASIDE)))[0] == 2


async def test_a_record_without_any_trace_is_redriven_all_the_same() -> None:
    """A dead letter that another tool wrote has no context, and its re-drive begins a trace."""
    assert (await redriven([]))[0] == 0
