"""What a run did, or would do, as text or JSON."""

from __future__ import annotations

from services.cli.dlq import rendering
from services.cli.dlq.actions import RunResult
from services.cli.formatting import document


def run_summary(result: RunResult, done: str, *, executed: bool, as_json: bool) -> str:
    """Return a run's result as a table or JSON; `done` is the word for what is done to a dead letter."""
    summaries = result.topic.summaries
    status = done if executed else f"to be {done}"
    shown = [(one, summaries[one.at], status) for one in result.done]
    shown += [(one, summaries[one.at], f"left: {reason}") for one, reason in result.left]
    if as_json:
        return document(
            {
                "executed": executed,
                "run_id": str(result.run_id),
                "done": [rendering.fields(*one) for one in shown[: len(result.done)]],
                "left": [rendering.fields(*one) for one in shown[len(result.done) :]],
            },
        )
    counts = f"{len(result.done)} {status}, {len(result.left)} left"
    hint = "" if executed or not result.done else ". Nothing is changed yet: --execute does it"
    return "\n".join([*([rendering.lines(shown)] if shown else []), counts + hint])


def skip_reasons(result: RunResult) -> str:
    """Return the distinct reasons why dead letters were left."""
    return "; ".join(dict.fromkeys(str(reason) for _, reason in result.left))
