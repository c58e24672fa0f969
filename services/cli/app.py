"""The commands and their options. Exit codes: 0 done, 1 a broken trace, 2 it could not run, 130 interrupted."""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from services.cli import sagas
from services.cli.dlq import app as dlq
from services.cli.durations import seconds
from services.cli.errors import CannotRun
from services.cli.exits import one_line
from services.cli.run import Service

_ROOT = """Event-driven order sagas on Kafka, each one connected trace.

Examples:

\b
  sagatrace demo                  five sagas on an embedded broker, and their traces
  sagatrace demo --output DIR     and where traces.json, trace.html and report.json go
  sagatrace run oms               one service, on the broker of KAFKA_BOOTSTRAP_SERVERS
  sagatrace saga list             the sagas that have not ended, the one that has not moved for longest first
  sagatrace dlq list              what the consumer groups could not process
"""

_RUN = """Run one service, or all, until SIGTERM or Ctrl-C, which lets it finish what it has begun.

`all` is each service in a process of its own; when one dies, the others end too.

It reads KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, OTEL_* and SAGATRACE_* from the environment.

Examples:

\b
  sagatrace run oms
  SAGATRACE_API_PORT=8080 sagatrace run oms
  sagatrace run all
"""

_ALL = "all"
_JAEGER = "http://localhost:16686"
Runnable = StrEnum("Runnable", {**{service.name: service.value for service in Service}, "ALL": _ALL})  # type: ignore[misc]
"""What `run` takes."""

app = typer.Typer(
    name="sagatrace",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_ROOT,
    epilog=(
        "Exit codes: 0 done; 1 a saga is not one connected trace, or ended otherwise than it should, or what was asked "
        "is refused; 2 it could not run (one line says why); 130 interrupted."
    ),
)


app.add_typer(sagas.app)
app.add_typer(dlq.app)


@app.callback(invoke_without_command=True)
def root(
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Handle the options that stand before a command."""
    if show_version:
        print(f"sagatrace {version('sagatrace')}")
        raise typer.Exit


@app.command(
    epilog="\b\nExamples:\n  sagatrace demo\n  sagatrace demo --output traces\n  sagatrace demo --api http://localhost:8000"
)
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the traces, the report and the logs.")] = Path(
        ".sagatrace/demo",
    ),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Port of the order API; a free one by default."),
    ] = None,
    api: Annotated[str | None, typer.Option(help="Start nothing: place the orders at this order API.")] = None,
    jaeger: Annotated[
        str | None, typer.Option(help="With --api: where Jaeger answers; http://localhost:16686 by default.")
    ] = None,
    page: Annotated[
        list[str] | None,
        typer.Option(help="With --api: NAME=URL to print at the end; Jaeger=URL is where the links go. Repeatable."),
    ] = None,
) -> None:
    """Run five order sagas, and show each as one connected trace.

    Every service is a process of its own, and they talk over a broker that speaks the Kafka protocol.

    KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL and OTEL_EXPORTER_OTLP_ENDPOINT take the place of the embedded broker, of
    SQLite, and get all telemetry as well.

    Exits with 1 if a saga is not exactly one connected trace or ended otherwise than its scenario says.
    """
    from services.cli import demo as demonstration
    from services.cli import remote

    with one_line():
        if api is None and (jaeger or page):
            raise CannotRun("--jaeger and --page go with --api: the demo's own traces are in --output")
        there = jaeger or _JAEGER
        is_whole = remote.run(output, api, there, page or ()) if api else demonstration.run(output, port)
    raise typer.Exit(0 if is_whole else 1)


@app.command(help=_RUN)
def run(service: Runnable) -> None:
    """Run one service, or all."""
    from services.cli import run as running
    from services.cli import run_all

    with one_line():
        if service.value == _ALL:
            run_all.run_all()
        else:
            running.run(Service(service.value))


@app.command(epilog="\b\nExample:\n  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 sagatrace topics --replicas 3")
def topics(
    replicas: Annotated[int, typer.Option(min=1, max=32_767, help="Replication factor of a new topic.")] = 1,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the broker.")] = 60.0,
) -> None:
    """Make the topics that are missing, on the broker of KAFKA_BOOTSTRAP_SERVERS; the others stay as they are.

    The embedded broker of the demo makes topics by itself and can't be asked to.
    """
    from services.cli import prepare

    with one_line():
        print(*prepare.topics(replicas, wait), sep="\n")


@app.command(epilog="\b\nExample:\n  DATABASE_URL=postgresql+asyncpg://oms@db/sagas sagatrace migrate")
def migrate() -> None:
    """Bring every service's tables in DATABASE_URL to the newest revision.

    Each service also does that for its own tables when it starts.
    """
    from services.cli import prepare

    with one_line():
        print(*prepare.migrate(), sep="\n")


@app.command(epilog="\b\nExamples:\n  sagatrace verify --since 15m\n  sagatrace verify --order ORDER --json")
def verify(  # noqa: PLR0913  one parameter an option
    jaeger: Annotated[str, typer.Option(help="Where Jaeger answers.")] = "http://localhost:16686",
    since: Annotated[
        str, typer.Option(help="Sagas that were started this long ago or later: 90s, 15m, 1h, 2d.")
    ] = "1h",
    saga: Annotated[str | None, typer.Option(help="One saga, by its id.")] = None,
    order: Annotated[str | None, typer.Option(help="One saga, by its order's id.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for spans that are still on their way.")] = 30.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check that each saga in the store of DATABASE_URL is exactly one connected trace in Jaeger.

    Exits with 0 if none is broken, 1 if one is, and 2 if that can't be told: Jaeger or the store is away.
    """
    from services.cli import verify as verifying

    with one_line():
        wanted = verifying.SagaSelection(seconds(since, "--since"), saga, order)
        is_whole = verifying.run(wanted, jaeger, wait, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)
