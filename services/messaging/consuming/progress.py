"""Up to which moment everything in a partition has been processed, as a pure value without a broker.

An answer of the broker says where the partition ends, and when it came. It was asked for after the answer before it
had come, so whatever was in the partition at that earlier moment lies below the end that it names: end and earlier
moment make a mark. Once all below the mark is processed, everything up to its moment is. Only then the next answer
makes a new mark, so a partition that is never at its end makes progress too.
"""

from __future__ import annotations


class PartitionProgress:
    """The broker's last answer about one partition, and up to which moment it is processed, in ms since the epoch."""

    def __init__(self) -> None:
        #: When the broker last answered.
        self.answered_ms: int | None = None
        #: The moment before which everything is processed; None if that is not known.
        self.moment_ms: int | None = None
        self._mark: tuple[int, int] | None = None

    def answer(self, end: int, moment_ms: int) -> None:
        """Record the broker's last answer; the same one may be recorded again."""
        if moment_ms == self.answered_ms:
            return
        before_ms, self.answered_ms = self.answered_ms, moment_ms
        if before_ms is not None and self._mark is None:
            self._mark = end, before_ms

    def process(self, below: int) -> None:
        """Record that everything below an offset is processed."""
        if self._mark is not None and below >= self._mark[0]:
            self.moment_ms = self._mark[1]
            self._mark = None
