"""The queue of encoded spans: its bounds, and what it counts."""

from opentelemetry.sdk.resources import Resource

from tracing.otlp.queue import OVERHEAD, SpanQueue

RESOURCE = Resource({})


def filled(queue: SpanQueue, *bodies: bytes) -> SpanQueue:
    """Put these in."""
    for body in bodies:
        queue.put(RESOURCE, None, body)
    return queue


def bodies(queue: SpanQueue) -> list[bytes]:
    """Take all."""
    return [body for _, _, body in queue.take(1000, 1 << 30)]


def test_first_in_is_first_out_and_takes_its_bytes_along() -> None:
    """What is taken is no longer counted."""
    queue = filled(SpanQueue(10, 10_000), b"aaa", b"b", b"c")
    assert queue.size == 5 + 3 * OVERHEAD
    assert [body for _, _, body in queue.take(2, 1 << 30)] == [b"aaa", b"b"]
    assert (len(queue), queue.size, queue.lost) == (1, 1 + OVERHEAD, 0)


def test_the_oldest_leave_when_the_bytes_are_too_many() -> None:
    """The bound is one of memory: a large span pushes out as many as it needs."""
    queue = filled(SpanQueue(100, 10 * (OVERHEAD + 10)), *(b"%010d" % number for number in range(10)))
    filled(queue, b"x" * 50)
    assert queue.lost == 2
    filled(queue, b"y" * (2 * OVERHEAD))
    assert queue.size <= 10 * (OVERHEAD + 10)
    assert bodies(queue)[-2:] == [b"x" * 50, b"y" * 2 * OVERHEAD]


def test_the_oldest_leave_when_the_spans_are_too_many() -> None:
    """OTEL_BSP_MAX_QUEUE_SIZE is a bound as well."""
    queue = filled(SpanQueue(3, 1 << 20), b"1", b"2", b"3", b"4", b"5")
    assert queue.lost == 2
    assert bodies(queue) == [b"3", b"4", b"5"]


def test_what_was_taken_in_vain_goes_back_to_the_front() -> None:
    """The order stays, and the bound holds: what came in the meantime is newer, so the oldest leave."""
    queue = filled(SpanQueue(3, 1 << 20), b"1", b"2", b"3")
    batch = queue.take(2, 1 << 20)
    filled(queue, b"4")
    queue.put_back(batch)
    assert queue.lost == 1
    assert bodies(queue) == [b"2", b"3", b"4"]
    assert queue.size == 0


def test_a_batch_ends_when_it_has_the_bytes() -> None:
    """A receiver limits a request, so a batch of large spans is smaller."""
    queue = filled(SpanQueue(100, 1 << 20), *[b"x" * 1000] * 5)
    assert len(queue.take(100, 2 * (1000 + OVERHEAD))) == 2
