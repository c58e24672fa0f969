"""How many statements a database executes: the counters that bound the cost of a message."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from services.messaging.storage.database import Database


@dataclass
class Statements:
    """What was executed, without the beginnings of transactions; a list of parameters is one statement."""

    texts: list[str]
    commits: int = 0

    @property
    def counted(self) -> tuple[int, int]:
        """Return the number of statements and of commits."""
        return len(self.texts), self.commits


@contextmanager
def counting(*databases: Database) -> Iterator[Statements]:
    """Count what some databases execute inside the block."""
    found = Statements([])

    def execute(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.texts.append(statement)

    def commit(_connection: object) -> None:
        found.commits += 1

    engines = [database._engine.sync_engine for database in databases]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", execute)
        event.listen(engine, "commit", commit)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", execute)
            event.remove(engine, "commit", commit)
