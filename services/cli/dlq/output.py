"""What a run did, or would do, for people and for programs."""

from __future__ import annotations

from services.cli.dlq import rendering
from services.cli.dlq.acting import RunResult
from services.cli.rows import document


def told(outcome: RunResult, done: str, *, executed: bool, as_json: bool) -> str:
    """Write a run's outcome; `done` says what is done to a letter."""
    about = outcome.letters.about
    word = done if executed else f"to be {done}"
    letters = [(letter, about[letter.at], word) for letter in outcome.done]
    letters += [(letter, about[letter.at], f"left: {reason}") for letter, reason in outcome.left]
    if as_json:
        return document(
            {
                "executed": executed,
                "run_id": str(outcome.run_id),
                "done": [rendering.fields(*one) for one in letters[: len(outcome.done)]],
                "left": [rendering.fields(*one) for one in letters[len(outcome.done) :]],
            },
        )
    counted = f"{len(outcome.done)} {word}, {len(outcome.left)} left"
    hint = "" if executed or not outcome.done else ". Nothing is changed yet: --execute does it"
    return "\n".join([*([rendering.lines(letters)] if letters else []), counted + hint])


def reasons(outcome: RunResult) -> str:
    """Sum up why letters were left."""
    return "; ".join(dict.fromkeys(str(reason) for _, reason in outcome.left))
