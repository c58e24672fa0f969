"""How much of a partition is done: the watermark that may be committed, as a pure value without a broker.

Records of one partition may end in any order, but a commit says "everything below". So the watermark is the lowest
offset that was received and is not done, and where the client stands if all are.

Only offsets that were received count: compaction, transaction markers and aborted transactions leave gaps, and a
tracker that waited for offset n+1 would wait for ever. Only the client knows of a gap at the end of what it fetched:
its position is past it, and then the watermark is too (`reach`). Otherwise a group would seem to lag for ever.

Each assignment of a partition is an epoch of its own: work that began before a rebalance ends in a tracker that nobody
commits any more.
"""

from __future__ import annotations

from collections import deque


class OffsetsWentBack(ValueError):
    """A record's offset is not above the one before: the topic was created again, or lost its end."""


class OffsetTracker:
    """The offsets of one partition during one assignment."""

    def __init__(self) -> None:
        self._received: deque[int] = deque()
        self._open: set[int] = set()
        self._last: int | None = None

    @property
    def watermark(self) -> int | None:
        """The offset to commit: everything below it is done. None before the first record or position."""
        if self._received:
            return self._received[0]
        return None if self._last is None else self._last + 1

    @property
    def in_flight(self) -> int:
        """How many records were received and are not done."""
        return len(self._open)

    def receive(self, offset: int) -> None:
        """Record that a record was received, in the order of the partition.

        Raises:
            OffsetsWentBack: the offset is not above the last one, or below a position that was reached.
        """
        if self._last is not None and offset <= self._last:
            raise OffsetsWentBack(f"offset {offset} comes after {self._last}")
        self._last = offset
        self._received.append(offset)
        self._open.add(offset)

    def reach(self, position: int) -> None:
        """Record that every record below a position was received; a position below that changes nothing."""
        self._last = position - 1 if self._last is None else max(self._last, position - 1)

    def done(self, offset: int) -> None:
        """Record that a record is done.

        Raises:
            KeyError: the offset is not in flight.
        """
        self._open.remove(offset)
        while self._received and self._received[0] not in self._open:
            self._received.popleft()
