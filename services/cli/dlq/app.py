"""`sagatrace dlq`: the consumer groups' dead letters, and what an operator can do about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.dlq.groups import Group
from services.cli.exit_codes import exit_on_error, refuse
from services.cli.session import log_to_stderr

_HELP = """Read, re-drive and discard dead letters: what a consumer group could not process.

The commands read the group's topic GROUP.dlq at KAFKA_BOOTSTRAP_SERVERS, and the status of each dead letter in
DATABASE_URL. Every action is recorded there with who (SAGATRACE_OPERATOR, or the user's name), when and why; `show`
prints it. A dead letter must match all filters; `--offset` takes its place as `list` shows it, PARTITION:OFFSET.

Examples:

\b
  sagatrace dlq list                                       the open dead letters of every group
  sagatrace dlq list oms-payment --error GatewayBusy --since 1h
  sagatrace dlq show oms-payment 0:17                      one dead letter, without its payload
  sagatrace dlq redrive oms-payment                        what would be sent; sends nothing
  sagatrace dlq redrive oms-payment --execute --rate 5 --reason "gateway is back"
  sagatrace dlq discard oms-payment --offset 0:17 --reason "not JSON" --execute
  sagatrace dlq skip oms-payment oms.payment.commands/2@41 --reason "bad header" --execute
  sagatrace dlq resume oms-payment                         let a group continue that its breaker has stopped
"""

_EXITS = (
    "Exit codes: 0 done, or nothing left to do; 1 refused; 2 it could not run (one line says why); 130 interrupted."
)

_Group = Annotated[Group, typer.Argument(help="The consumer group.")]
_Error = Annotated[list[str] | None, typer.Option(help="Part of the error's class name. Repeatable.")]
_Type = Annotated[list[str] | None, typer.Option("--type", help="The event type. Repeatable.")]
_Key = Annotated[list[str] | None, typer.Option(help="The record's key, which is the order id. Repeatable.")]
_Offset = Annotated[list[str] | None, typer.Option(help="PARTITION:OFFSET in the dead-letter topic. Repeatable.")]
_Since = Annotated[str | None, typer.Option(help="Failed within this time: 90s, 15m, 1h, 2d.")]
_Until = Annotated[str | None, typer.Option(help="Failed longer ago than this: 90s, 15m, 1h, 2d.")]
_Execute = Annotated[bool, typer.Option("--execute", "--yes", help="Do it; otherwise only show what would be done.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

app = typer.Typer(name="dlq", no_args_is_help=True, rich_markup_mode=None, help=_HELP, epilog=_EXITS)


@app.callback()
def begin() -> None:
    """Set up logging for a command."""
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
    limit: Annotated[int, typer.Option(min=1, help="Dead letters to show of each group, at most.")] = 100,
    every: Annotated[bool, typer.Option("--all", help="Also list those that were processed or discarded.")] = False,
    as_json: _Json = False,
) -> None:
    """List the open dead letters; those of one key are in their order."""
    from services.cli.dlq import options, views

    with exit_on_error():
        chosen = options.dead_letter_filter(error, kind, key, offset, since, until)
        views.show_list([group] if group else list(Group), chosen, limit, every=every, as_json=as_json)


@app.command(epilog="\b\nExample:\n  sagatrace dlq show oms-payment 0:17 --value")
def show(
    group: _Group,
    at: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Its place in the dead-letter topic.")],
    jaeger: Annotated[str, typer.Option(help="The address of Jaeger, for the link.")] = "http://localhost:16686",
    *,
    value: Annotated[
        bool, typer.Option("--value", help="Also show the payload, which may hold personal data.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show one dead letter: its failure, its headers, what was done about it, and its trace."""
    from services.cli.dlq import views
    from services.cli.dlq.filters import parse_offset

    with exit_on_error():
        views.show_one(group, parse_offset(at), jaeger, value=value, as_json=as_json)


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
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="Records to send a second, at most.")] = 10.0,
    reason: Annotated[str | None, typer.Option(help="Why; it is recorded.")] = None,
    execute: _Execute = False,
    force: Annotated[
        bool, typer.Option(help="Also send what is parked after its last re-drive, or under way.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Send dead letters again, only to the group that failed; without --execute, show what would be sent.

    Key, value, event id and headers stay the same, and the trace continues. Dead letters of one key are sent in their
    order, and none overtakes one that stays. What is processed, discarded or under way is left: a second run sends
    nothing.
    """
    from services.cli.dlq import actions, options, output

    with exit_on_error():
        chosen = options.dead_letter_filter(error, kind, key, offset, since, until)
        run = actions.RedriveRun(group, options.attribution(reason), execute, rate, force)
        result = actions.redrive(run, chosen)
        print(output.run_summary(result, "re-driven", executed=execute, as_json=as_json))
    if result.is_refused:
        raise refuse(f"nothing of {group} can be re-driven: {output.skip_reasons(result)}")


@app.command(epilog='\b\nExample:\n  sagatrace dlq discard oms-payment --offset 0:17 --reason "not JSON" --execute')
def discard(  # noqa: PLR0913  one parameter an option
    group: _Group,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    error: _Error = None,
    kind: _Type = None,
    key: _Key = None,
    offset: _Offset = None,
    since: _Since = None,
    until: _Until = None,
    execute: _Execute = False,
    as_json: _Json = False,
) -> None:
    """Close dead letters for good: they can't be re-driven, and no longer hold back their keys.

    Their records stay in the topic. At least one filter is required; without --execute, show what would be discarded.
    """
    from services.cli.dlq import actions, options, output

    with exit_on_error():
        chosen = options.require_filter(options.dead_letter_filter(error, kind, key, offset, since, until))
        attribution = options.attribution(options.require_reason(reason))
        result = actions.discard(group, chosen, attribution, execute=execute)
        print(output.run_summary(result, "discarded", executed=execute, as_json=as_json))


@app.command(
    epilog='\b\nExample:\n  sagatrace dlq skip oms-payment oms.payment.commands/2@41 --reason "bad header" --execute'
)
def skip(
    group: _Group,
    at: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION@OFFSET", help="The record, as the log names it.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    save: Annotated[Path | None, typer.Option(help="A new file for its bytes; TOPIC-PARTITION-OFFSET.batch.")] = None,
    execute: _Execute = False,
) -> None:
    """Let a group pass a record by that it can't read and that holds its partition (`consumer.held` in the log).

    Its record batch is saved byte for byte before. The group notices within a second, and nothing else is passed by.
    """
    from services.cli.dlq import options
    from services.cli.dlq import skip as skipping

    with exit_on_error():
        place = skipping.parse_place(at, group)
        attribution = options.attribution(options.require_reason(reason))
        file = save or Path(f"{place.topic}-{place.partition}-{place.offset}.batch")
        batch = skipping.skip(group, place, attribution, file, execute=execute)
        size = f"{len(batch.content)} bytes with the offsets {batch.first} to {batch.last}"
        print(f"{group} passes {at} by; {size} are in {file}" if execute else f"{at} would be passed by: {size}")


@app.command(epilog='\b\nExample:\n  sagatrace dlq resume oms-payment --reason "gateway is back"')
def resume(
    group: _Group,
    reason: Annotated[str | None, typer.Option(help="Why; it is recorded.")] = None,
) -> None:
    """Let a group continue that stopped after too many dead letters; its members notice within a second."""
    from services.cli.dlq import actions, options

    with exit_on_error():
        is_resumed = actions.resume(group, options.attribution(reason))
        print(f"{group} goes on" if is_resumed else f"{group} has not stopped: there is nothing to resume")
