"""A time axis: marks at round times, from a trace's beginning to its end."""

from __future__ import annotations

from dataclasses import dataclass

_MARKS = 5
_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000))


@dataclass(frozen=True, slots=True)
class Axis:
    """The marks of a trace.

    Args:
        whole_ns: The trace's duration.
        step_ns: The time from one mark to the next.
    """

    whole_ns: int
    step_ns: int

    @classmethod
    def of(cls, whole_ns: int) -> Axis:
        """Choose the step: 1, 2 or 5 times a power of ten, so that there are at most five marks after the first."""
        power = 1
        while power * 10 * _MARKS < whole_ns:
            power *= 10
        step_ns = next(step for step in (power, power * 2, power * 5, power * 10) if step * _MARKS >= whole_ns)
        return cls(max(1, whole_ns), step_ns)

    @property
    def step(self) -> float:
        """The step as a fraction of the trace's duration; over 1 for a trace without a duration."""
        return self.step_ns / self.whole_ns

    def marks(self) -> list[tuple[float, str]]:
        """Return each mark: where it is, from 0 to 1, and its time as text, all in one unit."""
        unit, unit_ns = next(((unit, ns) for unit, ns in _UNITS if self.whole_ns >= ns), _UNITS[-1])
        times = range(0, self.whole_ns + 1, self.step_ns)
        return [(time / self.whole_ns, f"{time / unit_ns:g} {unit}" if time else "0") for time in times]

    def html(self) -> str:
        """Return the marks as elements; a screen reader reads the times of the rows instead."""
        marks = "".join(f'<i style="--at:{at:.5f}"><span>{text}</span></i>' for at, text in self.marks())
        return f'<div class="marks" aria-hidden="true">{marks}</div>'
