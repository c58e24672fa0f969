"""`sagatrace saga`: list and show sagas, and retry or cancel one."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.durations import seconds
from services.cli.exit_codes import exit_on_error, refuse
from services.cli.session import log_to_stderr
from services.oms.records import SagaFilter
from services.oms.saga import ENDS, SagaState, Status

_HELP = """List and show sagas, and retry or cancel one.

The commands work on the orchestrator's database, DATABASE_URL. The running order service sends the messages of a retry
or a cancel. The saga's history records who did it: SAGATRACE_OPERATOR, or the user's name.

Examples:

\b
  sagatrace saga list                             sagas that have not ended, longest unchanged first
  sagatrace saga list --status needs_attention    sagas that wait for an operator
  sagatrace saga list --unmoved 10m --limit 20    sagas that have not moved for ten minutes
  sagatrace saga show SAGA                        its story and history, and its trace's address in Jaeger
  sagatrace saga retry SAGA                       retry a saga that needs attention
"""

_EXITS = "Exit codes: 0 done; 1 the saga's state does not allow it; 2 it could not run (one line says why)."

_Id = Annotated[str, typer.Argument(metavar="SAGA", help="The saga's id, or its order's id.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

app = typer.Typer(name="saga", no_args_is_help=True, rich_markup_mode=None, help=_HELP, epilog=_EXITS)


@app.callback()
def begin() -> None:
    """Set up logging for a command."""
    log_to_stderr()


@app.command("list", epilog="\b\nExamples:\n  sagatrace saga list --unmoved 10m\n  sagatrace saga list --all --json")
def list_(  # noqa: PLR0913  one parameter an option
    status: Annotated[list[Status] | None, typer.Option(help="Only sagas of this status. Repeatable.")] = None,
    state: Annotated[
        list[SagaState] | None, typer.Option(help="Only sagas in this state of the state machine. Repeatable.")
    ] = None,
    unmoved: Annotated[
        str, typer.Option(help="Only sagas that have not moved for this long: 90s, 15m, 1h, 2d.")
    ] = "0s",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Sagas to show, at most.")] = 100,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also list sagas that have ended.")] = False,
    as_json: _Json = False,
) -> None:
    """List sagas, longest unchanged first; without a filter, those that have not ended."""
    from services.cli import saga_actions

    is_filtered = every or status or state
    statuses = tuple(status or ()) if is_filtered else tuple(one for one in Status if one not in ENDS.values())
    with exit_on_error():
        chosen = SagaFilter(statuses, tuple(state or ()), seconds(unmoved, "--unmoved"))
        saga_actions.show_list(chosen, limit, as_json=as_json)


@app.command(epilog="\b\nExamples:\n  sagatrace saga show SAGA\n  sagatrace saga show ORDER --json")
def show(
    saga: _Id,
    jaeger: Annotated[
        str, typer.Option(help="The address of Jaeger, for the story and the link.")
    ] = "http://localhost:16686",
    *,
    as_json: _Json = False,
) -> None:
    """Show a saga: what its trace tells, its state, its history, its trace id, and the trace's address in Jaeger."""
    from services.cli import saga_actions

    with exit_on_error():
        saga_actions.show_one(saga, jaeger, as_json=as_json)


@app.command(epilog="\b\nExample:\n  sagatrace saga retry SAGA")
def retry(saga: _Id) -> None:
    """Retry a saga that needs attention: its command is sent again, and its attempts start over.

    It stays in its trace. A saga that does not need attention is not changed, and the exit code is 1.
    """
    from services.cli import saga_actions

    with exit_on_error():
        try:
            print(saga_actions.retry(saga))
        except saga_actions.ActionRefused as refused:
            raise refuse(str(refused)) from None


@app.command(epilog="\b\nExample:\n  SAGATRACE_OPERATOR=ada sagatrace saga cancel ORDER")
def cancel(saga: _Id) -> None:
    """Cancel a saga that is not paid yet, as the order API does; a repeated cancel gets the same answer.

    It is too late once the reply to the charge is applied; the exit code is then 1.
    """
    from services.cli import saga_actions

    with exit_on_error():
        try:
            print(saga_actions.cancel(saga))
        except saga_actions.ActionRefused as refused:
            raise refuse(str(refused)) from None
