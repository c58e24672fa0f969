"""`sagatrace schemas` and `sagatrace asyncapi`: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.contracts import catalog
from services.contracts.versions import Identity
from services.messaging import asyncapi

CHARGE = Identity("payment.charge", 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the committed documents, in which a test can change them."""
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    catalog.write(catalog.current(), schemas)
    committed = tmp_path / "asyncapi.json"
    committed.write_text(asyncapi.COMMITTED.read_text())
    read = catalog.committed
    monkeypatch.setattr(catalog, "FOLDER", schemas)
    monkeypatch.setattr(catalog, "committed", lambda folder=schemas: read(folder))
    monkeypatch.setattr(asyncapi, "COMMITTED", committed)
    return schemas


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, list(arguments))


def change(folder: Path, identity: Identity, **payload: Any) -> None:
    """Change a definition of a committed schema: then the model differs from it the other way round."""
    file = folder / f"{identity}.json"
    schema = json.loads(file.read_text())
    schema["definitions"]["Charge"].update(payload)
    file.write_text(catalog.text(schema))


def test_nothing_to_say_is_exit_code_0(folder: Path) -> None:
    """With all schemas committed and no change, the versions of each type are listed, and nothing is written."""
    done = run("schemas", "check")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "TYPE           WRITTEN  READ BY  HOW",
        "order.created  1        2        as they are",
        "order.created  2        1        only if it ignores the version: hold the writer",
    ]
    assert run("schemas", "write").stdout == "nothing has changed\n"
    assert run("schemas", "check", "--against", str(folder)).exit_code == 0


def test_a_schema_that_is_not_committed_names_the_command(folder: Path) -> None:
    """A drift is exit code 1 and a line with the file and what to run; after it, there is none."""
    (folder / f"{CHARGE}.json").unlink()
    asyncapi.COMMITTED.write_text("{}")  # type: ignore[attr-defined]  # here it is a path
    done = run("schemas", "check")
    assert done.exit_code == 1
    assert done.stderr == (
        "sagatrace: not as the models have it: payment.charge.v1.json, asyncapi.json; run `sagatrace schemas write`\n"
    )
    assert run("schemas", "write").stdout == "payment.charge.v1.json: written\nasyncapi.json: written\n"
    assert run("schemas", "check").exit_code == 0


def test_a_break_is_a_line_and_is_not_written(folder: Path) -> None:
    """What was optional and is required now breaks those who left it out: exit code 1, and the file stays."""
    change(folder, CHARGE, required=["command_id", "step"])
    before = (folder / f"{CHARGE}.json").read_text()
    line = (
        "payment.charge.v1: payload.total may be left out; breaks this program, on records that are written already; "
        "instead: keep it optional here, and check it where the message is made"
    )
    for command, reason in (("check", "2 breaks; not as the"), ("write", "nothing is written: 2 breaks")):
        done = run("schemas", command)
        assert (done.exit_code, done.stdout.splitlines()[0]) == (1, line)
        assert done.stderr.startswith(f"sagatrace: {reason}")
    assert (folder / f"{CHARGE}.json").read_text() == before


def test_an_older_folder_is_compared_too(folder: Path, tmp_path: Path) -> None:
    """What the last release had is compared by `--against`, though what is committed is up to date."""
    released = tmp_path / "released"
    released.mkdir()
    (released / "order.paid.v1.json").write_text((folder / "order.confirmed.v1.json").read_text())
    done = run("schemas", "check", "--against", str(released), "--json")
    assert done.exit_code == 1
    (lost,) = json.loads(done.stdout)["breaks"]
    assert (lost["identity"], lost["path"]) == (["order.paid", 1], "")


@pytest.mark.parametrize("content", [None, "{"])
def test_a_folder_that_cannot_be_read_is_exit_code_2(folder: Path, tmp_path: Path, content: str | None) -> None:
    """A folder that is not there, and a file that is no schema, are one line."""
    if content is not None:
        (folder / "order.paid.v1.json").write_text(content)
    done = run("schemas", "check", "--against", str(folder if content else tmp_path / "none"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("sagatrace: the schemas can't be read: ")


def test_the_asyncapi_document_is_printed() -> None:
    """It is the committed document, byte for byte."""
    assert run("asyncapi").stdout == asyncapi.COMMITTED.read_text()
