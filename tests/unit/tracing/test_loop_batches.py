"""Process spans from the loop over a batch, which is a list in every other way."""

import asyncio
import copy
import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import pytest
from opentelemetry import trace

import tracing
from tests.support.fed import fed, traced_record
from tests.support.loops import at_hand, over
from tracing.testing import RecordedSpans


@pytest.fixture
def spans(caplog: pytest.LogCaptureFixture) -> Iterator[RecordedSpans]:
    """Every span of a program whose loops begin their process spans; nothing may be logged."""
    with RecordedSpans(process_spans="loop", poll_spans=False) as recorded:
        yield recorded
    assert caplog.records == []


async def test_a_batch_hands_out_its_records(spans: RecordedSpans) -> None:
    """Each step of the loop is one record's processing, and after the last one nothing is current."""
    ((_, batch),) = (await fed(1, 2, 3).getmany()).items()
    assert at_hand() == 0
    assert [(record.offset, at_hand(), over(spans)) for record in batch] == [(1, 1, []), (2, 2, [1]), (3, 3, [1, 2])]
    assert (at_hand(), over(spans)) == (0, [1, 2, 3])


async def test_a_loop_over_several_batches_hands_out_too(spans: RecordedSpans) -> None:
    """`chain` and `enumerate` stand between a batch and the loop, and change nothing."""
    batches = [batch for n in (1, 2) for batch in (await fed(n, n + 2).getmany()).values()]
    assert [at_hand() for _, _ in enumerate(chain(*batches))] == [1, 3, 2, 4]
    assert over(spans) == [1, 3, 2, 4]


@pytest.mark.parametrize("leave", ["break", "return", "raise"])
async def test_whatever_leaves_the_loop_over_a_batch_ends_it(spans: RecordedSpans, leave: str) -> None:
    """The span ends at once, and nothing is current."""
    ((_, batch),) = (await fed(1, 2, 3).getmany()).items()

    def handle() -> None:
        for _ in batch:
            if leave == "break":
                break
            if leave == "return":
                return
            raise ValueError

    with suppress(ValueError):
        handle()
    assert (at_hand(), over(spans)) == (0, [1])


async def test_a_batch_is_a_list_in_every_other_way(spans: RecordedSpans) -> None:
    """Type, length, index, slice, copy, sort, pickle and JSON are those of a list, and none of them begins a span."""
    ((_, batch),) = (await fed(1, 2, 3).getmany()).items()
    plain = [traced_record(1), traced_record(2), traced_record(3)]
    assert isinstance(batch, list)
    assert (batch, len(batch), batch[1], batch[-1:]) == (plain, 3, plain[1], plain[2:])
    assert type(batch[:2]) is type(batch.copy()) is type(copy.copy(batch)) is type(copy.deepcopy(batch)) is list
    assert list(batch) == [*batch] == sorted(batch, key=lambda one: one.offset) == plain
    assert tuple(chain(batch)) == tuple(plain)
    unpickled = pickle.loads(pickle.dumps(batch))  # noqa: S301 - it has just been written
    assert (type(unpickled), unpickled) == (list, plain)
    first, *_ = batch
    assert first == plain[0]
    assert plain[1] in batch
    assert list(reversed(batch)) == plain[::-1]
    batch.append(plain[0])
    assert json.dumps(batch, default=lambda one: one.offset) == "[1, 2, 3, 1]"
    assert spans.finished == []
    assert repr(batch) == repr(list(batch))


async def test_a_batch_that_is_processed_together_hands_out_nothing(spans: RecordedSpans) -> None:
    """Inside `process(batch)` a loop over it, or over a list made of it, begins no spans of its own."""
    ((_, batch),) = (await fed(1, 2).getmany()).items()
    with tracing.process(batch) as together:
        assert [trace.get_current_span() for _ in batch] == [together, together]
    assert len(spans.one("process orders").links) == 2


async def test_an_explicit_process_takes_over_in_a_batch(spans: RecordedSpans) -> None:
    """One span for each record."""
    ((_, batch),) = (await fed(1, 2).getmany()).items()
    for record in batch:
        with tracing.process(record, group="g"):
            assert at_hand() == record.offset
        assert at_hand() == 0
    assert over(spans) == [1, 2]


async def test_a_batch_may_be_handled_in_a_thread(spans: RecordedSpans) -> None:
    """Where no event loop runs, each step is a record's processing as well."""
    ((_, batch),) = (await fed(1, 2).getmany()).items()
    assert await asyncio.to_thread(lambda: [at_hand() for _ in batch]) == [1, 2]
    assert (at_hand(), over(spans)) == (0, [1, 2])
