"""The JSON Schema of a message: draft-07, closed, from its model and the model's docstring.

Draft-07 because it is what registries compare: they refuse a later draft, or compare without one declared and then miss
a changed constant. The schema says what a writer writes: every field of the envelope, and no field that it does not
name. `schema_version` may be any version up to the schema's own, so that a registry takes a newer version as one that
reads the older ones. A reader validates with the opened schema (`opened`): it ignores what it does not know.

A docstring gives the description, and under `Example:` the payload of the example.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from services.contracts.envelope import DESCRIPTIONS, Message
from services.contracts.versions import identity

DIALECT = "http://json-schema.org/draft-07/schema#"
Schema = dict[str, Any]
#: Any part of a schema.
Part = Any

_DEFINITIONS = "definitions"
_EXAMPLE = re.compile(r"\n+Example:\n")
# A superseded model's name ends so; the schema of its version had the plain name when it was written.
_SUPERSEDED = re.compile(r"V\d+$")
_ENVELOPE = {
    "event_id": "0195f2c0-7b1a-7c00-8000-00000000000a",
    "saga_id": "0195f2c0-7b1a-7c00-8000-00000000000b",
    "order_id": "0195f2c0-7b1a-7c00-8000-00000000000c",
    "sequence": 1,
    "occurred_at": "2026-03-01T12:00:00Z",
}


class _Draft07(GenerateJsonSchema):
    """Generates without a title for each field, which would repeat the field's name."""

    def field_title_should_be_set(self, schema: Part) -> bool:  # noqa: ARG002  pydantic calls it so
        """Return False."""
        return False


def schema_of(model: type[Message]) -> Schema:
    """Return the schema of a model's messages, titled with their type."""
    event_type, version = identity(model)
    description, payload = _docstring(model)
    generated = _renamed(model.model_json_schema(ref_template=f"#/{_DEFINITIONS}/{{model}}", schema_generator=_Draft07))
    properties = {name: _property(name, part, version) for name, part in generated["properties"].items()}
    return {
        "$schema": DIALECT,
        "title": event_type,
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        _DEFINITIONS: {name: _described(part) for name, part in generated["$defs"].items()},
        "examples": [{**_ENVELOPE, "event_type": event_type, "schema_version": version, "payload": payload}],
    }


def opened(schema: Part) -> Part:
    """Return a schema as a reader takes it: fields that it does not name are allowed, at every level."""
    if isinstance(schema, list):
        return [opened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: opened(part) for key, part in schema.items() if (key, part) != ("additionalProperties", False)}


def inlined(schema: Schema) -> Schema:
    """Return a schema without references, for a document in which they would point elsewhere."""
    definitions = schema.get(_DEFINITIONS, {})

    def resolve(part: Part) -> Part:
        if isinstance(part, list):
            return [resolve(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolve(definitions[part["$ref"].rpartition("/")[2]])
        return {key: resolve(one) for key, one in part.items()}

    resolved: Schema = resolve({key: part for key, part in schema.items() if key != _DEFINITIONS})
    return resolved


def _docstring(model: type[Message]) -> tuple[str, Any]:
    """Return a docstring's description, and the payload of its example."""
    description, *example = _EXAMPLE.split(inspect.cleandoc(model.__doc__ or ""))
    return description, json.loads("".join(example))


def _property(name: str, part: Schema, version: int) -> Schema:
    """Return a field of the envelope: it is always written, so its default says nothing."""
    described = {"description": DESCRIPTIONS[name]} if name in DESCRIPTIONS else {}
    plain = {key: value for key, value in part.items() if key != "default"}
    if name == "schema_version":
        plain |= {"minimum": 1, "maximum": version}
    return described | plain


def _described(part: Schema) -> Schema:
    """Return a definition with its title and description first; a docstring's line breaks are none of the text's."""
    first = {key: " ".join(part[key].split()) for key in ("title", "description") if key in part}
    return first | {key: value for key, value in part.items() if key not in first}


def _renamed(part: Part) -> Part:
    """Return a schema whose definitions have the names that they had when their version was the newest."""
    if isinstance(part, list):
        return [_renamed(one) for one in part]
    if not isinstance(part, dict):
        return part
    named = {_SUPERSEDED.sub("", key): _renamed(value) for key, value in part.items()}
    return named | {
        key: _SUPERSEDED.sub("", named[key]) for key in ("$ref", "title") if isinstance(named.get(key), str)
    }
