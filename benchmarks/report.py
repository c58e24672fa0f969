"""The report of a run: a table to read, and JSON to compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.figures import Rows, Taxes
from benchmarks.imports import Imports, ratios
from benchmarks.modes import MODES, UNTRACED, WORKLOADS, Workload
from benchmarks.rounds import Plan
from benchmarks.worker import REPEATS

_TITLE_WIDTH: Final = max(len(mode.title) for mode in MODES)
_CELL: Final = "{:>22}"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one run."""

    plan: Plan
    machine: Mapping[str, Any]
    rows: Rows
    tax: Taxes
    #: The official encoder's CPU time over ours.
    encoder: float
    #: Milliseconds, by what is imported.
    imports: Imports

    def json(self) -> str:
        """Return the rows, `{ROW: {WORKLOAD: {"min", "median"}}}`, the `tax`, `{ROW: {WORKLOAD: ratio}}`, and the rest.

        The rows are in microseconds of CPU a message. A tax is null if the run was too short to tell.
        """
        rows = {
            name: {load: {"min": figure.minimum, "median": figure.median} for load, figure in loads.items()}
            for name, loads in self.rows.items()
        }
        return json.dumps(
            {
                "rows": rows,
                "tax": self.tax,
                "encoder": self.encoder,
                "imports": self.imports,
                "machine": self.machine,
                **asdict(self.plan),
            },
            indent=2,
        )

    def text(self) -> str:
        """Return the tables."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        versions = ", ".join(f"{package} {version}" for package, version in self.machine["versions"].items())
        pinned = "the worker on a core of its own" if self.machine["pinned"] else "nothing pinned"
        yield f"{self.machine['cpu']}, {self.machine['cores']} cores, {self.machine['system']}; {pinned}"
        yield versions
        yield f"{self.plan.rounds} rounds of {REPEATS} measurements of {self.plan.messages} messages"
        yield ""
        yield "CPU a message in µs: minimum / median, and the minimum over the untraced one"
        yield _line("", WORKLOADS)
        for mode in MODES:
            yield _line(mode.title, (self._cell(mode.name, load) for load in WORKLOADS))
        yield ""
        yield "tax = (row - untraced) / (contrib - untraced), by the minimum"
        for mode in MODES:
            if mode.name in self.tax:
                yield _line(mode.title, (_ratio(self.tax[mode.name][load]) for load in WORKLOADS))
        yield ""
        yield f"the official encoder takes {self.encoder:.1f} times the CPU of ours"
        alone, instrumented = ratios(self.imports)
        yield (
            f"import tracing takes {self.imports['tracing']:.0f} ms, {alone:.2f} of contrib's"
            f" {self.imports['contrib']:.0f} ms; with instrument() {instrumented:.2f}"
        )

    def _cell(self, name: str, load: Workload) -> str:
        figure = self.rows[name][load]
        ratio = figure.minimum / self.rows[UNTRACED][load].minimum
        return f"{figure.minimum:.1f} / {figure.median:.1f} {ratio:5.1f}x"


def _line(title: str, cells: Iterable[str]) -> str:
    return title.ljust(_TITLE_WIDTH) + "".join(_CELL.format(cell) for cell in cells)


def _ratio(value: float | None) -> str:
    return "too short to tell" if value is None else f"{value:.2f}"
