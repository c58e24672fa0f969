"""Queue encoded spans until their export, bounded in bytes and in number; the oldest give way to the newest.

A queue of bytes has a known size, which a number of spans has not, and the garbage collector does not walk it, as it
walks a queue of spans.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracing.otlp.encoding import EncodedSpan

Origin = tuple[Resource, InstrumentationScope | None]

#: Bytes that a waiting span takes in addition to its own.
OVERHEAD: Final = 64
#: Pairs of resource and scope whose spans may wait at the same time.
_ORIGINS: Final = 4096


class SpanQueue:
    """A first-in, first-out queue that counts the spans that leave without an export.

    It holds bytes, and beside them the number of the resource and scope that they belong under: a tuple for each span
    would be walked by the garbage collector for as long as it waits.
    """

    __slots__ = ("_bodies", "_bytes", "_lock", "_most", "_most_bytes", "_numbers", "_of", "_origins", "lost")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bodies: deque[bytes] = deque()
        self._of: deque[int] = deque()
        self._origins: list[Origin] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._bytes = 0
        self._lock = Lock()
        #: Spans that left without having been exported.
        self.lost = 0

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def size(self) -> int:
        """Memory in use, in bytes."""
        return self._bytes

    def put(self, resource: Resource, scope: InstrumentationScope | None, body: bytes) -> int:
        """Add a span at the end and return the number of spans that wait."""
        with self._lock:
            number = self._numbers.get((id(resource), id(scope)))
            self._of.append(self._number(resource, scope) if number is None else number)
            self._bodies.append(body)
            self._bytes += len(body) + OVERHEAD
            waiting = len(self._bodies)
            if self._bytes > self._most_bytes or waiting > self._most:
                self._make_room()
            return waiting

    def _number(self, resource: Resource, scope: InstrumentationScope | None) -> int:
        """Number a pair of resource and scope, and keep the objects, so that no other object gets their id."""
        if len(self._origins) >= _ORIGINS:
            self.lost += len(self._bodies)
            self._empty()
        number = self._numbers[id(resource), id(scope)] = len(self._origins)
        self._origins.append((resource, scope))
        return number

    def take(self, most: int, most_bytes: int) -> list[EncodedSpan]:
        """Remove and return the first spans: at most `most`, of at most `most_bytes`, but one even if it has more."""
        taken: list[EncodedSpan] = []
        size = 0
        with self._lock:
            while self._bodies and len(taken) < most:
                with_next = size + len(self._bodies[0]) + OVERHEAD
                if taken and with_next > most_bytes:
                    break
                taken.append((*self._origins[self._of.popleft()], self._bodies.popleft()))
                size = with_next
            self._bytes -= size
        return taken

    def put_back(self, spans: list[EncodedSpan]) -> None:
        """Put spans that were taken back at the front; the oldest leave if there is no longer room."""
        with self._lock:
            for resource, scope, body in reversed(spans):
                number = self._numbers.get((id(resource), id(scope)))
                self._of.appendleft(self._number(resource, scope) if number is None else number)
                self._bodies.appendleft(body)
                self._bytes += len(body) + OVERHEAD
            self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes or len(self._bodies) > self._most:
            self._bytes -= len(self._bodies.popleft()) + OVERHEAD
            self._of.popleft()
            self.lost += 1

    def lose(self, count: int) -> None:
        """Count spans that were lost elsewhere."""
        with self._lock:
            self.lost += count

    def forget(self) -> None:
        """Start empty in the child of a fork: the waiting spans, and perhaps the lock, belong to its parent."""
        self._lock = Lock()
        self.lost = 0
        self._empty()

    def _empty(self) -> None:
        self._bodies.clear()
        self._of.clear()
        self._origins.clear()
        self._numbers.clear()
        self._bytes = 0
