"""Up to which moment everything in a partition has been processed, as a pure value without a broker.

An answer of the broker says where the partition ends, and when it came. It was asked for after the answer before it
had come, so whatever was in the partition at that earlier moment lies below the end that it names. Once that end is
reached, everything up to the earlier moment is processed; of the time between the two nothing is known.
"""

from __future__ import annotations


class Progress:
    """What was heard of one partition, and the moment up to which it is processed; in milliseconds since the epoch."""

    def __init__(self) -> None:
        #: When the broker last answered.
        self.answered: int | None = None
        self._before: int | None = None
        #: Up to when everything is processed; None if that is not known.
        self.moment: int | None = None

    def answer(self, moment: int | None) -> None:
        """Take note of the broker's last answer; the same one may be told again."""
        if moment is not None and moment != self.answered:
            self._before, self.answered = self.answered, moment

    def reach_end(self) -> None:
        """Take note that the end which the last answer named is reached."""
        if self._before is not None:
            self.moment = max(self._before, self.moment or 0)
