"""`sagatrace dlq`: the dead letters of the consumer groups, and what an operator may do about them."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.dlq.groups import Group
from services.cli.exits import one_line, refuse
from services.cli.session import log_to_stderr

_HELP = """Read, re-drive and discard dead letters: what a consumer group could not process.

The commands read the group's topic GROUP.dlq at KAFKA_BOOTSTRAP_SERVERS, and how each letter stands in DATABASE_URL.
Every act is kept there with who (SAGATRACE_OPERATOR, or the name of the user), when and why; `show` tells it.
Filters narrow a choice further, and `--offset` names a letter as `list` shows it, PARTITION:OFFSET.

Examples:

\b
  sagatrace dlq list                                       the open letters of every group
  sagatrace dlq list oms-payment --error GatewayBusy --since 1h
  sagatrace dlq show oms-payment 0:17                      one letter, without its payload
  sagatrace dlq redrive oms-payment                        what would be sent; nothing is
  sagatrace dlq redrive oms-payment --execute --rate 5 --reason "gateway is back"
  sagatrace dlq discard oms-payment --offset 0:17 --reason "no JSON" --execute
  sagatrace dlq resume oms-payment                         let a group go on that its breaker has stopped
"""

_EXITS = (
    "Exit codes: 0 done, or nothing left to do; 1 refused; 2 it could not run (one line says why); 130 interrupted."
)

_Group = Annotated[Group, typer.Argument(help="The consumer group.")]
_Error = Annotated[list[str] | None, typer.Option(help="Part of the error's class. Repeatable.")]
_Type = Annotated[list[str] | None, typer.Option("--type", help="The event type. Repeatable.")]
_Key = Annotated[list[str] | None, typer.Option(help="The record's key: the order. Repeatable.")]
_Offset = Annotated[list[str] | None, typer.Option(help="PARTITION:OFFSET in the dead-letter topic. Repeatable.")]
_Since = Annotated[str | None, typer.Option(help="Failed within this time: 90s, 15m, 1h, 2d.")]
_Until = Annotated[str | None, typer.Option(help="Failed longer ago than this: 90s, 15m, 1h, 2d.")]
_Execute = Annotated[bool, typer.Option("--execute", "--yes", help="Do it; otherwise it is only told.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

app = typer.Typer(name="dlq", no_args_is_help=True, rich_markup_mode=None, help=_HELP, epilog=_EXITS)


@app.callback()
def begin() -> None:
    """Begin a command."""
    log_to_stderr()


@app.command(
    "list",
    epilog="\b\nExamples:\n  sagatrace dlq list\n  sagatrace dlq list oms-payment --error GatewayBusy --since 1h",
)
def list_(  # noqa: PLR0913  one parameter an option
    group: Annotated[Group | None, typer.Argument(help="The consumer group; all by default.")] = None,
    *,
    error: _Error = None,
    kind: _Type = None,
    key: _Key = None,
    offset: _Offset = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to show of a group.")] = 100,
    every: Annotated[bool, typer.Option("--all", help="Those that were processed or discarded, too.")] = False,
    as_json: _Json = False,
) -> None:
    """List the open dead letters, those of a key in the order of the key."""
    from services.cli.dlq import viewing
    from services.cli.dlq.options import choice

    with one_line():
        chosen = choice(error, kind, key, offset, since, until)
        viewing.show_list([group] if group else list(Group), chosen, limit, every=every, as_json=as_json)


@app.command(epilog="\b\nExample:\n  sagatrace dlq show oms-payment 0:17 --value")
def show(
    group: _Group,
    at: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Where it is in the dead-letter topic.")],
    jaeger: Annotated[str, typer.Option(help="Where Jaeger answers, for the link.")] = "http://localhost:16686",
    *,
    value: Annotated[bool, typer.Option("--value", help="Its payload, too: it may hold personal data.")] = False,
    as_json: _Json = False,
) -> None:
    """Show one dead letter: its failure, its headers, what was done about it, and its trace."""
    from services.cli.dlq import viewing
    from services.cli.dlq.choice import offset

    with one_line():
        viewing.show_one(group, offset(at), jaeger, value=value, as_json=as_json)


@app.command(
    epilog="\b\nExamples:\n  sagatrace dlq redrive oms-payment\n  sagatrace dlq redrive oms-payment --rate 5 --execute"
)
def redrive(  # noqa: PLR0913  one parameter an option
    group: _Group,
    *,
    error: _Error = None,
    kind: _Type = None,
    key: _Key = None,
    offset: _Offset = None,
    since: _Since = None,
    until: _Until = None,
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="The most to send a second.")] = 10.0,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    execute: _Execute = False,
    force: Annotated[bool, typer.Option(help="Also what is parked after its last re-drive, or under way.")] = False,
    as_json: _Json = False,
) -> None:
    """Send dead letters once more, to the group that failed alone; without --execute, tell what would be sent.

    Key, value, event id and headers stay, and the trace goes on. The letters of a key are sent in their order; none
    goes past one that stays. What was processed, was discarded or is under way is left: a second run sends nothing.
    """
    from services.cli.dlq import acting, options, output

    with one_line():
        chosen = options.choice(error, kind, key, offset, since, until)
        outcome = acting.redrive(acting.Run(group, options.act(reason), execute, rate, force), chosen)
        print(output.told(outcome, "re-driven", executed=execute, as_json=as_json))
    if outcome.is_refused:
        raise refuse(f"nothing of {group} can be re-driven: {output.reasons(outcome)}")


@app.command(epilog='\b\nExample:\n  sagatrace dlq discard oms-payment --offset 0:17 --reason "no JSON" --execute')
def discard(  # noqa: PLR0913  one parameter an option
    group: _Group,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    error: _Error = None,
    kind: _Type = None,
    key: _Key = None,
    offset: _Offset = None,
    since: _Since = None,
    until: _Until = None,
    execute: _Execute = False,
    as_json: _Json = False,
) -> None:
    """Close dead letters for good: they are not re-driven any more, and hold back their keys no longer.

    Their records stay in the topic. At least one filter says what is meant; without --execute it is only told.
    """
    from services.cli.dlq import acting, options, output

    with one_line():
        chosen = options.narrowed(options.choice(error, kind, key, offset, since, until))
        outcome = acting.discard(group, chosen, options.act(options.given(reason)), execute=execute)
        print(output.told(outcome, "discarded", executed=execute, as_json=as_json))


@app.command(epilog='\b\nExample:\n  sagatrace dlq resume oms-payment --reason "gateway is back"')
def resume(
    group: _Group,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
) -> None:
    """Let a group go on that stopped because of too many dead letters; its members notice within a second."""
    from services.cli.dlq import acting, options

    with one_line():
        is_resumed = acting.resume(group, options.act(reason))
        print(f"{group} goes on" if is_resumed else f"{group} has not stopped: there is nothing to resume")
