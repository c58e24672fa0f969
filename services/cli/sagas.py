"""`sagatrace saga`: which sagas there are and how they stand, and what an operator may ask of one."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.durations import seconds
from services.cli.exits import one_line, refuse
from services.cli.session import log_to_stderr
from services.oms.records import SagaFilter
from services.oms.saga import ENDS, SagaState, Status

_HELP = """Find sagas, and help those that can't help themselves.

The commands work on the orchestrator's database, DATABASE_URL. What a retry or a cancel sends is sent by the running
order service. Who did it stands in the saga's history: SAGATRACE_OPERATOR, or the name of the user.

Examples:

\b
  sagatrace saga list                             what has not ended, stalest first
  sagatrace saga list --status needs_attention    what waits for an operator
  sagatrace saga list --unmoved 10m --limit 20    what has not moved for ten minutes
  sagatrace saga show SAGA                        its history, its trace, where Jaeger shows it
  sagatrace saga retry SAGA                       take on a saga that needs attention
"""

_EXITS = "Exit codes: 0 done; 1 the saga is where this can't be asked of it; 2 it could not run (one line says why)."

_Id = Annotated[str, typer.Argument(metavar="SAGA", help="The saga's id, or its order's.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

app = typer.Typer(name="saga", no_args_is_help=True, rich_markup_mode=None, help=_HELP, epilog=_EXITS)


@app.callback()
def begin() -> None:
    """Begin a command."""
    log_to_stderr()


@app.command("list", epilog="\b\nExamples:\n  sagatrace saga list --unmoved 10m\n  sagatrace saga list --all --json")
def list_(  # noqa: PLR0913  one parameter an option
    status: Annotated[list[Status] | None, typer.Option(help="Of this status. Repeatable.")] = None,
    state: Annotated[
        list[SagaState] | None, typer.Option(help="In this state of the saga's table. Repeatable.")
    ] = None,
    unmoved: Annotated[str, typer.Option(help="That have not moved for this long: 90s, 15m, 1h, 2d.")] = "0s",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The most to show.")] = 100,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: _Json = False,
) -> None:
    """List sagas, the one that has not moved for longest first; without a filter, those that have not ended."""
    from services.cli import saga_actions

    is_any = every or status or state
    statuses = tuple(status or ()) if is_any else tuple(one for one in Status if one not in ENDS.values())
    with one_line():
        wanted = SagaFilter(statuses, tuple(state or ()), seconds(unmoved, "--unmoved"))
        saga_actions.show_list(wanted, limit, as_json=as_json)


@app.command(epilog="\b\nExamples:\n  sagatrace saga show SAGA\n  sagatrace saga show ORDER --json")
def show(
    saga: _Id,
    jaeger: Annotated[str, typer.Option(help="Where Jaeger answers, for the link.")] = "http://localhost:16686",
    *,
    as_json: _Json = False,
) -> None:
    """Show a saga: how it stands, its history, its trace id, and the page where Jaeger shows that."""
    from services.cli import saga_actions

    with one_line():
        saga_actions.show_one(saga, jaeger, as_json=as_json)


@app.command(epilog="\b\nExample:\n  sagatrace saga retry SAGA")
def retry(saga: _Id) -> None:
    """Take a saga on that needs attention: it asks once more, and its attempts begin anew.

    It stays in its trace. A saga that does not need attention is left alone, and the exit code is 1.
    """
    from services.cli import saga_actions

    with one_line():
        try:
            print(saga_actions.retry(saga))
        except saga_actions.ActionRefused as refused:
            raise refuse(str(refused)) from None


@app.command(epilog="\b\nExample:\n  SAGATRACE_OPERATOR=ada sagatrace saga cancel ORDER")
def cancel(saga: _Id) -> None:
    """Turn a saga back that is not paid yet, as the order API does; asked again, it gets the first answer.

    Once the charge's answer is applied it is too late, and the exit code is 1.
    """
    from services.cli import saga_actions

    with one_line():
        try:
            print(saga_actions.cancel(saga))
        except saga_actions.ActionRefused as refused:
            raise refuse(str(refused)) from None
