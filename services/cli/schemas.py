"""`sagatrace schemas` and `sagatrace asyncapi`: the contract as documents, and the gate before a change of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import CannotRun
from services.cli.exit_codes import exit_on_error, refuse
from services.cli.formatting import document, table
from services.contracts import catalog, gate
from services.contracts.catalog import Schemas, StraySchema
from services.messaging import asyncapi

_HELP = """Write and check the schemas of all messages; needs no broker, no database and no registry.

`services/contracts/schemas` has a JSON Schema (draft-07) for each version of each type, generated from the models.

Examples:

\b
  sagatrace schemas check                    is every schema committed, and what does a change break
  sagatrace schemas check --against v1.4     as well, what breaks the schemas in that folder
  sagatrace schemas write                    write what has changed, if it breaks nothing
"""

_EXITS = (
    "Exit codes: 0 done, nothing breaks; 1 a schema is not written, or a change breaks somebody; 2 it could not run."
)

_WRITE = "sagatrace schemas write"

app = typer.Typer(name="schemas", no_args_is_help=True, rich_markup_mode=None, help=_HELP, epilog=_EXITS)


@dataclass(frozen=True)
class Findings:
    """What the gate found: files that differ from the models, and what a change breaks."""

    drift: list[str]
    breaks: list[gate.Break]
    relations: list[gate.Relation]


@app.command(epilog="\b\nExamples:\n  sagatrace schemas check\n  sagatrace schemas check --against ../released --json")
def check(
    against: Annotated[
        Path | None, typer.Option(help="A folder of older schemas, such as those of the last release.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check that every schema is committed as its model has it, and that no change breaks a reader or a writer.

    Models and committed schemas are compared version by version, both ways: what is deployed must read what this
    program writes, and this program what was written. Each break is a line that says what to do instead.
    """
    with exit_on_error():
        found = _findings(catalog.current(), against)
    if as_json:
        print(document(asdict(found)))
    elif found.breaks:
        print(*found.breaks, sep="\n")
    else:
        print(_relations(found.relations))
    if found.breaks or found.drift:
        raise refuse(_reason(found))


@app.command(epilog="\b\nExample:\n  sagatrace schemas write && git diff services/contracts/schemas")
def write() -> None:
    """Write the schemas that have changed, and the AsyncAPI document, if the change breaks nobody.

    A version that nobody has read yet may change in any way: delete its file first.
    """
    schemas = catalog.current()
    with exit_on_error():
        found = _findings(schemas, None)
        if found.breaks:
            print(*found.breaks, sep="\n")
            raise refuse(f"nothing is written: {_counted(found.breaks)}")
        written = _write(schemas)
    print(*(f"{name}: written" for name in written) if written else ["nothing has changed"], sep="\n")


def show_asyncapi() -> None:
    """Print the AsyncAPI 3.0 document: every topic, its messages and headers, who writes and who reads it.

    The order API serves the same document at /asyncapi.json.
    """
    print(catalog.text(asyncapi.document(catalog.current())), end="")


def _findings(current: Schemas, against: Path | None) -> Findings:
    try:
        committed = catalog.committed()
        older = [committed] if against is None else [committed, catalog.committed(against)]
    except (OSError, StraySchema) as error:
        raise CannotRun(f"the schemas can't be read: {error}") from error
    breaks = dict.fromkeys(one for schemas in older for one in gate.breaks(schemas, current))
    return Findings(_drift(committed, current), list(breaks), gate.relations(current))


def _drift(committed: Schemas, current: Schemas) -> list[str]:
    """Return the files that are not as the models have them; one that no model has is a break, not a drift."""
    drift = [catalog.file_name(one) for one, schema in current.items() if committed.get(one) != schema]
    return drift if _is_described(current) else [*drift, asyncapi.COMMITTED.name]


def _is_described(schemas: Schemas) -> bool:
    """Return whether the committed AsyncAPI document is that of these schemas."""
    file = asyncapi.COMMITTED
    return file.is_file() and file.read_text(encoding="utf-8") == catalog.text(asyncapi.document(schemas))


def _write(schemas: Schemas) -> list[str]:
    try:
        written = catalog.write(schemas, Path(str(catalog.FOLDER)))
        if not _is_described(schemas):
            Path(str(asyncapi.COMMITTED)).write_text(catalog.text(asyncapi.document(schemas)), encoding="utf-8")
            written.append(asyncapi.COMMITTED.name)
    except OSError as error:
        raise CannotRun(f"the schemas can't be written: {error}") from error
    return written


def _relations(relations: list[gate.Relation]) -> str:
    rows = [(one.event_type, one.written, one.read_by, one.how) for one in relations]
    return table(("TYPE", "WRITTEN", "READ BY", "HOW"), rows)


def _reason(found: Findings) -> str:
    drift = f"not as the models have it: {', '.join(found.drift)}; run `{_WRITE}`" if found.drift else ""
    return "; ".join(part for part in (_counted(found.breaks), drift) if part)


def _counted(breaks: list[gate.Break]) -> str:
    return f"{len(breaks)} {'break' if len(breaks) == 1 else 'breaks'}" if breaks else ""
