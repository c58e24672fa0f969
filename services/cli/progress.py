"""The demo's progress: live rows on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Rows
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Progress:
    """Shows what each subject is doing; safe for threads.

    Args:
        console: The output; if it is a terminal, rows are drawn live and removed at the end.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self._tasks: dict[str, TaskID] = {}
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<18}"),
            TextColumn("{task.fields[activity]}"),
        )
        self._rows = Rows(*columns, TimeElapsedColumn(), console=console, transient=True)

    def update(self, subject: str, activity: str, *, done: bool = False) -> None:
        """Show what a subject is doing now; a repeated activity is not shown again."""
        with self._lock:
            if self._last.get(subject) == activity:
                return
            self._last[subject] = activity
            if self._console.is_terminal:
                self._draw(subject, activity, done=done)
            else:
                self._console.print(f"{subject}: {activity}", highlight=False, markup=False, soft_wrap=True)

    def _draw(self, subject: str, activity: str, *, done: bool) -> None:
        if subject not in self._tasks:
            self._tasks[subject] = self._rows.add_task(subject, total=1, activity=activity)
        self._rows.update(self._tasks[subject], activity=activity, completed=1 if done else 0)

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
