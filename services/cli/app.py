"""The commands and their options. Exit codes: 0 done, 1 broken trace or refused, 2 could not run, 130 interrupted."""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from services.cli import sagas, schemas
from services.cli.dlq import app as dlq
from services.cli.durations import seconds
from services.cli.errors import CannotRun
from services.cli.exit_codes import exit_on_error
from services.cli.run import Service

_ROOT = """Event-driven order sagas on Kafka, each one connected trace.

Examples:

\b
  sagatrace demo                  run five sagas on an embedded broker, and show their traces
  sagatrace demo --output DIR     write traces.json, trace.html and report.json to DIR
  sagatrace run oms               run one service, on the broker of KAFKA_BOOTSTRAP_SERVERS
  sagatrace saga list             list the sagas that have not ended, longest unchanged first
  sagatrace dlq list              list what the consumer groups could not process
  sagatrace schemas check         check that a change of the messages breaks nobody
"""

_RUN = """Run one service, or all, until SIGTERM or Ctrl-C; it finishes what it has begun.

`all` runs each service in a process of its own; when one dies, the others end too.

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
"""What `run` accepts."""

app = typer.Typer(
    name="sagatrace",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_ROOT,
    epilog=(
        "Exit codes: 0 done; 1 a saga is not one connected trace, or did not end as it should, or the request was "
        "refused; 2 it could not run (one line says why); 130 interrupted."
    ),
)


app.add_typer(sagas.app)
app.add_typer(dlq.app)
app.add_typer(schemas.app)
app.command("asyncapi", epilog="\b\nExample:\n  sagatrace asyncapi > asyncapi.json")(schemas.show_asyncapi)


@app.callback(invoke_without_command=True)
def root(
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Handle the options that come before a command."""
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
        typer.Option(min=1, max=65_535, help="Port of the order API; by default a free one."),
    ] = None,
    api: Annotated[str | None, typer.Option(help="Start nothing: place the orders at this order API.")] = None,
    jaeger: Annotated[
        str | None, typer.Option(help="With --api: the address of Jaeger; by default http://localhost:16686.")
    ] = None,
    page: Annotated[
        list[str] | None,
        typer.Option(help="With --api: NAME=URL to print at the end; the links lead to Jaeger=URL. Repeatable."),
    ] = None,
) -> None:
    """Run five order sagas, and show each as one connected trace.

    Each service is a process of its own; they talk over a broker that speaks the Kafka protocol.

    KAFKA_BOOTSTRAP_SERVERS replaces the embedded broker, and DATABASE_URL replaces SQLite. All telemetry also goes to
    OTEL_EXPORTER_OTLP_ENDPOINT, if it is set.

    Exits with 1 if a saga is not exactly one connected trace, or does not end as its scenario says.
    """
    from services.cli import demo as demonstration
    from services.cli import remote

    with exit_on_error():
        if api is None and (jaeger or page):
            raise CannotRun("--jaeger and --page go with --api: the demo's own traces are in --output")
        address = jaeger or _JAEGER
        passed = remote.run(output, api, address, page or ()) if api else demonstration.run(output, port)
    raise typer.Exit(0 if passed else 1)


@app.command(help=_RUN)
def run(service: Runnable) -> None:
    """Run one service, or all."""
    from services.cli import run as running
    from services.cli import run_all

    with exit_on_error():
        if service.value == _ALL:
            run_all.run_all()
        else:
            running.run(Service(service.value))


@app.command(epilog="\b\nExample:\n  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 sagatrace topics --replicas 3")
def topics(
    replicas: Annotated[int, typer.Option(min=1, max=32_767, help="Replication factor of a new topic.")] = 1,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the broker.")] = 60.0,
) -> None:
    """Create the missing topics on the broker of KAFKA_BOOTSTRAP_SERVERS; existing ones stay as they are.

    The demo's embedded broker creates topics by itself, and does not support this command.
    """
    from services.cli import provision

    with exit_on_error():
        print(*provision.topics(replicas, wait), sep="\n")


@app.command(epilog="\b\nExample:\n  DATABASE_URL=postgresql+asyncpg://oms@db/sagas sagatrace migrate")
def migrate() -> None:
    """Upgrade every service's tables in DATABASE_URL to the newest revision.

    Each service also does this for its own tables when it starts.
    """
    from services.cli import provision

    with exit_on_error():
        print(*provision.migrate(), sep="\n")


@app.command(epilog="\b\nExamples:\n  sagatrace verify --since 15m\n  sagatrace verify --order ORDER --json")
def verify(  # noqa: PLR0913  one parameter an option
    jaeger: Annotated[str, typer.Option(help="The address of Jaeger.")] = "http://localhost:16686",
    since: Annotated[str, typer.Option(help="Sagas started within this time: 90s, 15m, 1h, 2d.")] = "1h",
    saga: Annotated[str | None, typer.Option(help="One saga, by its id.")] = None,
    order: Annotated[str | None, typer.Option(help="One saga, by its order id.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for spans that are still in transit.")] = 30.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check that each saga in the store of DATABASE_URL is exactly one connected trace in Jaeger.

    Exits with 0 if none is broken, 1 if one is, and 2 if Jaeger or the store is unavailable.
    """
    from services.cli import verify as verifying

    with exit_on_error():
        selection = verifying.SagaSelection(seconds(since, "--since"), saga, order)
        none_broken = verifying.run(selection, jaeger, wait, as_json=as_json)
    raise typer.Exit(0 if none_broken else 1)
