"""From the options of a command to what they mean."""

from __future__ import annotations

from services.cli.dlq.choice import Choice, ago, offset
from services.cli.durations import seconds
from services.cli.errors import CannotRun
from services.cli.printable import is_text
from services.cli.session import operator
from services.contracts import new_id
from services.messaging.dead_letters import Attribution


def choice(  # noqa: PLR0913, PLR0917  one parameter a filter
    errors: list[str] | None,
    types: list[str] | None,
    keys: list[str] | None,
    offsets: list[str] | None,
    since: str | None,
    until: str | None,
) -> Choice:
    """Read the filters.

    Raises:
        CannotRun: one is wrong; the text names it.
    """
    return Choice(
        errors=_texts(errors, "--error"),
        types=_texts(types, "--type"),
        keys=_texts(keys, "--key"),
        offsets=tuple(offset(text) for text in offsets or ()),
        since=None if since is None else ago(seconds(since, "--since")),
        until=None if until is None else ago(seconds(until, "--until")),
    )


def _texts(given: list[str] | None, option: str) -> tuple[str, ...]:
    """Give the values of a filter; an empty one, maybe of a shell's variable that is not set, would choose all."""
    for text in given or ():
        if not text:
            raise CannotRun(f"{option} is empty: leave it out to choose all")
        if not is_text(text):
            raise CannotRun(f"{option} is no text in UTF-8: {text!r}")
    return tuple(given or ())


def narrowed(chosen: Choice) -> Choice:
    """Give a choice that leaves something out.

    Raises:
        CannotRun: it leaves out nothing.
    """
    if chosen.is_everything:
        raise CannotRun("say which letters: --offset, --key, --error, --type, --since or --until")
    return chosen


def given(reason: str) -> str:
    """Give a reason that says something.

    Raises:
        CannotRun: it is empty.
    """
    if not reason.strip():
        raise CannotRun("--reason says why: it is kept with the act")
    return reason


def act(reason: str | None) -> Attribution:
    """Begin an act of this operator.

    Raises:
        CannotRun: nobody is named.
    """
    return Attribution(operator(), new_id(), reason)
