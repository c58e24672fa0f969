"""How far the demo is: live rows on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Rows
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Progress:
    """Tells what each subject is doing; any thread may tell.

    Args:
        console: Where to; rows are drawn live if it is a terminal, and are gone at the end.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self._tasks: dict[str, TaskID] = {}
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<18}"),
            TextColumn("{task.fields[does]}"),
        )
        self._rows = Rows(*columns, TimeElapsedColumn(), console=console, transient=True)

    def tell(self, subject: str, does: str, *, done: bool = False) -> None:
        """Say what a subject does now; saying the same again says nothing."""
        with self._lock:
            if self._last.get(subject) == does:
                return
            self._last[subject] = does
            if self._console.is_terminal:
                self._draw(subject, does, done=done)
            else:
                self._console.print(f"{subject}: {does}", highlight=False, markup=False, soft_wrap=True)

    def _draw(self, subject: str, does: str, *, done: bool) -> None:
        if subject not in self._tasks:
            self._tasks[subject] = self._rows.add_task(subject, total=1, does=does)
        self._rows.update(self._tasks[subject], does=does, completed=1 if done else 0)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._rows.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._rows.stop()
