"""Encoded spans that wait for their export: bounded by bytes and by number, the oldest leave for the newest.

A queue of bytes is what keeps a program's memory: it says how much there can be, which a number of spans does not, and
the garbage collector does not walk it, as it does a queue of spans.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

from tracing.encoding import EncodedSpan

#: Bytes that a waiting span takes besides its own.
OVERHEAD: Final = 200


class SpanQueue:
    """Who is first in is first out; what had to leave without an export is counted."""

    __slots__ = ("_bytes", "_lock", "_most", "_most_bytes", "_waiting", "lost")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[EncodedSpan] = deque()
        self._bytes = 0
        self._lock = Lock()
        #: Spans that left without having been exported.
        self.lost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """The memory that is taken, in bytes."""
        return self._bytes

    def put(self, span: EncodedSpan) -> int:
        """Add a span at the end and return how many wait."""
        with self._lock:
            self._waiting.append(span)
            self._bytes += len(span[2]) + OVERHEAD
            if self._bytes > self._most_bytes or len(self._waiting) > self._most:
                self._make_room()
            return len(self._waiting)

    def take(self, most: int, most_bytes: int) -> list[EncodedSpan]:
        """Remove the first spans, at most so many, and no more once they have so many bytes."""
        taken: list[EncodedSpan] = []
        size = 0
        with self._lock:
            while self._waiting and len(taken) < most and size < most_bytes:
                span = self._waiting.popleft()
                taken.append(span)
                size += len(span[2]) + OVERHEAD
            self._bytes -= size
        return taken

    def put_back(self, spans: list[EncodedSpan]) -> None:
        """Return what was taken to its place at the front; the oldest leave if there is no room any more."""
        with self._lock:
            self._waiting.extendleft(reversed(spans))
            self._bytes += sum(len(span[2]) + OVERHEAD for span in spans)
            self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes or len(self._waiting) > self._most:
            self._bytes -= len(self._waiting.popleft()[2]) + OVERHEAD
            self.lost += 1

    def lose(self, count: int) -> None:
        """Count spans that were lost elsewhere."""
        with self._lock:
            self.lost += count

    def forget(self) -> None:
        """Begin anew in the child of a fork: what waits is its parent's, and so may be the lock."""
        self._lock = Lock()
        self._waiting.clear()
        self._bytes = self.lost = 0
