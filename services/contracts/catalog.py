"""The committed schemas: a JSON file for each version of each type, as `schemas/order.created.v2.json`.

They are what other people's consumers are written against, and what a registry is given, under the type as the subject.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from services.contracts.json_schema import Schema, schema_of
from services.contracts.versions import VERSIONS, Identity, Versions

Schemas = Mapping[Identity, Schema]
"""The schema of each version of each type; the versions of a type are in order."""

FOLDER = resources.files("services.contracts") / "schemas"

_NAME = re.compile(r"(?P<event_type>[a-z_.]+)\.v(?P<version>[1-9]\d{0,3})\.json")


class StraySchema(ValueError):
    """A file among the schemas is not one; the text names it."""


def committed(folder: Traversable = FOLDER) -> dict[Identity, Schema]:
    """Read the schemas of a folder; by default the committed ones.

    Raises:
        StraySchema: a file has another name or is not JSON.
        OSError: the folder can't be read.
    """
    files = {_identity(file.name): file for file in folder.iterdir()}
    return {identity: _read(files[identity]) for identity in sorted(files)}


def current(versions: Versions = VERSIONS) -> dict[Identity, Schema]:
    """Return the schema of every model."""
    return {identity: schema_of(versions.models[identity]) for identity in sorted(versions.models)}


def file_name(identity: Identity) -> str:
    """Return the name of a schema's file."""
    return f"{identity}.json"


def text(document: Schema) -> str:
    """Return a document as its file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(schemas: Schemas, folder: Path) -> list[str]:
    """Write the schemas that a folder lacks or has otherwise, and return the names of their files.

    Raises:
        OSError: a file can't be written.
    """
    written = []
    for identity, schema in schemas.items():
        file = folder / file_name(identity)
        if not file.exists() or file.read_text() != text(schema):
            file.write_text(text(schema))
            written.append(file.name)
    return written


def _identity(name: str) -> Identity:
    found = _NAME.fullmatch(name)
    if found is None:
        raise StraySchema(f"{name} is not named after a type and a version, as order.created.v1.json is")
    return Identity(found["event_type"], int(found["version"]))


def _read(file: Traversable) -> Schema:
    try:
        schema: Schema = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise StraySchema(f"{file.name} is not JSON") from None
    return schema
