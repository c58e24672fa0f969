"""Turn a command's options into filters and an attribution, and check them."""

from __future__ import annotations

from services.cli.dlq.filters import DeadLetterFilter, ago, parse_offset
from services.cli.durations import seconds
from services.cli.errors import CannotRun
from services.cli.printable import is_text
from services.cli.session import operator
from services.contracts import new_id
from services.messaging.dead_letters import Attribution


def dead_letter_filter(  # noqa: PLR0913, PLR0917  one parameter a filter
    errors: list[str] | None,
    types: list[str] | None,
    keys: list[str] | None,
    offsets: list[str] | None,
    since: str | None,
    until: str | None,
) -> DeadLetterFilter:
    """Build the filter from the options.

    Raises:
        CannotRun: a value is wrong; the text names its option.
    """
    return DeadLetterFilter(
        errors=_texts(errors, "--error"),
        types=_texts(types, "--type"),
        keys=_texts(keys, "--key"),
        offsets=tuple(parse_offset(text) for text in offsets or ()),
        since=None if since is None else ago(seconds(since, "--since")),
        until=None if until is None else ago(seconds(until, "--until")),
    )


def _texts(values: list[str] | None, option: str) -> tuple[str, ...]:
    """Check the values of a filter: an empty one, perhaps of an unset shell variable, would match everything."""
    for text in values or ():
        if not text:
            raise CannotRun(f"{option} is empty: leave it out to choose all")
        if not is_text(text):
            raise CannotRun(f"{option} is not UTF-8 text: {text!r}")
    return tuple(values or ())


def require_filter(chosen: DeadLetterFilter) -> DeadLetterFilter:
    """Return the filter if at least one option is set.

    Raises:
        CannotRun: it matches everything.
    """
    if chosen.matches_everything:
        raise CannotRun("say which dead letters: --offset, --key, --error, --type, --since or --until")
    return chosen


def require_reason(reason: str) -> str:
    """Return the reason if it is not blank.

    Raises:
        CannotRun: it is blank.
    """
    if not reason.strip():
        raise CannotRun("--reason must say why: it is kept with the action")
    return reason


def attribution(reason: str | None) -> Attribution:
    """Return who acts and why, with the id of a new run.

    Raises:
        CannotRun: the operator has no name.
    """
    return Attribution(operator(), new_id(), reason)
