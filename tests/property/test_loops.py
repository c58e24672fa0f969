"""Random programs that loop over consumers, against a model of what must be current in them.

A program is a tree of statements: receives from one of two consumers, stops, spans of its own, explicit `process`
blocks, loops over batches, tasks that are waited for, and errors. The model is a chain of what is attached. A link of
it that is taken away where it can't be unhooked is skipped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace

import tracing
from tests.support.fed import FedConsumer, traced_record
from tests.support.loops import at_hand
from tracing.testing import RecordedSpans

Way = Literal["plain", "wait_for", "timeout"]


@dataclass(frozen=True)
class Receive:
    """One record of a consumer."""

    consumer: int
    way: Way


@dataclass(frozen=True)
class Stop:
    """A consumer stops, and another takes its place."""

    consumer: int


@dataclass(frozen=True)
class Raise:
    """An error, which the innermost block that catches one, or the program, catches."""


@dataclass(frozen=True)
class Batch:
    """A loop over a batch, left after so many records."""

    consumer: int
    size: int
    leave_after: int
    body: Sequence[Statement]


@dataclass(frozen=True)
class Block:
    """A span of the program, an explicit `process`, a task that is waited for, or what catches an error."""

    kind: Literal["span", "process", "task", "catch"]
    body: Sequence[Statement]


Statement = Receive | Stop | Raise | Batch | Block

_CONSUMERS: Final = st.integers(0, 1)
_WAYS: Final[st.SearchStrategy[Way]] = st.sampled_from(["plain", "wait_for", "timeout"])
_SIMPLE: Final = st.one_of(st.builds(Receive, _CONSUMERS, _WAYS), st.builds(Stop, _CONSUMERS), st.just(Raise()))


def _nested(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
    body = st.lists(inner, max_size=4)
    kinds = st.sampled_from(["span", "process", "task", "catch"])
    return st.one_of(
        st.builds(Batch, _CONSUMERS, st.integers(1, 3), st.integers(1, 3), body), st.builds(Block, kinds, body)
    )


PROGRAMS: Final = st.lists(st.recursive(_SIMPLE, _nested, max_leaves=12), min_size=1, max_size=8)


@dataclass(eq=False)
class Link:
    """What was attached: a record's number, or a span of the program, on what was current before."""

    value: int | trace.Span
    below: Link | None
    #: Taken away in place: what is below shows.
    is_gone: bool = False
    #: Unhooked by an explicit `process`, so that nothing is left to take away.
    is_left: bool = False


@dataclass(eq=False)
class Delivered(Link):
    """A record that was handed out, and the task that has it."""

    task: Task | None = None
    consumer: FedConsumer | None = None
    is_finished: bool = False


@dataclass(eq=False)
class Task:
    """What is current in a task, and what it has at hand of each consumer."""

    current: Link | None = None
    has: dict[FedConsumer, Delivered] = field(default_factory=dict)

    def expected(self) -> int | trace.Span | None:
        """Return what must be current."""
        link = self.current
        while link is not None and link.is_gone:
            link = link.below
        return None if link is None else link.value

    def deliver(self, number: int, consumer: FedConsumer) -> Delivered:
        """Attach a record."""
        self.current = delivered = Delivered(number, self.current, task=self, consumer=consumer)
        return delivered

    def end(self, delivered: Delivered | None) -> None:
        """Take a record away."""
        if delivered is None or delivered.is_left:
            return
        delivered.is_finished = delivered.is_left = True
        if self.current is delivered:
            self.current = delivered.below
        else:
            delivered.is_gone = True


class Run:
    """A run of one program, checked after every step."""

    def __init__(self, spans: RecordedSpans) -> None:
        self._tracer = spans.tracer_provider.get_tracer("program")
        self._consumers: list[FedConsumer] = []
        self._delivered: list[Delivered] = []
        self._records: dict[int, Any] = {}
        self.task = Task()

    async def run(self, program: Sequence[Statement]) -> None:
        """Run a program to its end, and stop its consumers."""
        self._consumers = [FedConsumer(), FedConsumer()]
        with suppress(EOFError):
            await self._all(program, self.task)
        for consumer in (0, 1):
            await self._stop(consumer, self.task)
        self._check(self.task)

    async def _all(self, body: Sequence[Statement], task: Task) -> None:
        for statement in body:
            await self._one(statement, task)
            self._check(task)

    async def _one(self, statement: Statement, task: Task) -> None:
        match statement:
            case Receive(consumer, way):
                await self._receive(self._consumers[consumer], way, task)
            case Stop(consumer):
                await self._stop(consumer, task)
            case Batch():
                await self._batch(statement, self._consumers[statement.consumer], task)
            case Block("span", body):
                await self._span(body, task)
            case Block("process", body):
                await self._process(body, task)
            case Block("task", body):
                await asyncio.create_task(self._child(body, task))
            case Block(_, body):
                with suppress(EOFError):
                    await self._all(body, task)
            case Raise():
                raise EOFError

    def _feed(self, consumer: FedConsumer, count: int) -> None:
        for number in range(len(self._records) + 1, len(self._records) + 1 + count):
            self._records[number] = traced_record(number)
            consumer.source.feed(self._records[number])

    def _deliver(self, record: Any, consumer: FedConsumer, task: Task) -> Delivered:
        delivered = task.deliver(record.offset, consumer)
        self._delivered.append(delivered)
        self._check(task)
        return delivered

    async def _receive(self, consumer: FedConsumer, way: Way, task: Task) -> None:
        self._feed(consumer, 1)
        if way == "wait_for":
            record = await asyncio.wait_for(consumer.getone(), 600)
        else:
            async with asyncio.timeout(600 if way == "timeout" else None):
                record = await consumer.getone()
        task.end(task.has.get(consumer))
        task.has[consumer] = self._deliver(record, consumer, task)

    async def _batch(self, batch: Batch, consumer: FedConsumer, task: Task) -> None:
        self._feed(consumer, batch.size)
        ((_, records),) = (await consumer.getmany()).items()
        task.end(task.has.get(consumer))
        self._check(task)
        last = records[min(batch.size, batch.leave_after) - 1].offset
        for record in records:
            delivered = self._deliver(record, consumer, task)
            try:
                await self._all(batch.body, task)
            finally:  # the next step of the loop, or its end, comes right after this
                task.end(delivered)
            if delivered.value == last:
                break

    async def _stop(self, consumer: int, task: Task) -> None:
        stopped, self._consumers[consumer] = self._consumers[consumer], FedConsumer()
        await stopped.stop()
        task.end(task.has.pop(stopped, None))
        for delivered in self._delivered:
            delivered.is_finished |= delivered.consumer is stopped

    async def _span(self, body: Sequence[Statement], task: Task) -> None:
        below = task.current
        try:
            with self._tracer.start_as_current_span("work") as span:
                task.current = Link(span, below)
                self._check(task)
                await self._all(body, task)
        finally:
            task.current = below

    async def _process(self, body: Sequence[Statement], task: Task) -> None:
        """Process the record that was handed out last, if its span has not ended."""
        delivered = next((one for one in reversed(self._delivered) if not one.is_finished), None)
        if delivered is None:
            return
        delivered.is_finished = True
        if task is delivered.task and task.current is delivered:
            task.current, delivered.is_left = delivered.below, True
        below = task.current
        number: Any = delivered.value
        try:
            with tracing.process(self._records[number]):
                task.current = Link(number, below)
                self._check(task)
                await self._all(body, task)
        finally:
            task.current = below

    async def _child(self, body: Sequence[Statement], parent: Task) -> None:
        task = Task(parent.current)
        try:
            await self._all(body, task)
        finally:
            for delivered in task.has.values():
                delivered.is_finished = True

    def _check(self, task: Task) -> None:
        found: Any = trace.get_current_span()
        expected = task.expected()
        if isinstance(expected, trace.Span):
            assert found is expected
        else:
            assert at_hand() == (expected or 0)
        assert getattr(found, "end_time", None) is None, "a span that is over is current"

    def numbers(self) -> list[int]:
        """Return the numbers of the records that were handed out."""
        return [delivered.value for delivered in self._delivered if isinstance(delivered.value, int)]


@given(program=PROGRAMS)
# What is current may be a context that was changed into the one that is taken away.
@example(
    program=[
        Batch(
            0,
            1,
            1,
            [Batch(0, 1, 1, [Receive(0, "plain"), Block("span", [Receive(0, "plain")])]), Receive(0, "plain")],
        )
    ]
)
# A context that was changed into that of a record fades with it.
@example(program=[Batch(1, 1, 1, [Receive(0, "plain"), Batch(1, 1, 1, [Stop(0)]), Stop(1)])])
def test_what_is_current_is_what_the_model_says(program: list[Statement]) -> None:
    """After every step; in the end each record has one process span, and nothing was logged."""
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign, assignment]
    logging.getLogger().addHandler(handler)
    try:
        with RecordedSpans(process_spans="loop", poll_spans=False) as spans:
            run = Run(spans)
            asyncio.run(run.run(program))
    finally:
        logging.getLogger().removeHandler(handler)
    processed = Counter((span.attributes or {})["messaging.kafka.offset"] for span in spans.named("process orders"))
    assert processed == Counter(run.numbers())
    assert not logged
