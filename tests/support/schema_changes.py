"""A schema, and the kinds of changes that it can go through."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from services.contracts.compatibility import Kind
from services.contracts.json_schema import Schema

BASE: Schema = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "parcel.sent",
    "type": "object",
    "properties": {
        "event_type": {"type": "string", "const": "parcel.sent"},
        "weight": {"type": "integer", "minimum": 1, "maximum": 50},
        "carrier": {"enum": ["air", "road"], "type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "lines": {"type": "array", "items": {"$ref": "#/definitions/Line"}, "maxItems": 9},
        "label": {"type": "string"},
    },
    "required": ["event_type", "weight", "carrier", "code", "lines"],
    "additionalProperties": False,
    "definitions": {
        "Line": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["sku", "count"],
            "additionalProperties": False,
        },
    },
}
Change = Callable[[dict[str, Any]], object]


def _put(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["properties"].update({name: schema["properties"].get(name, {}) | keywords})


def _require(name: str, **keywords: Any) -> Change:
    return lambda schema: (_put(name, **keywords)(schema), schema["required"].append(name))


def _drop(name: str) -> Change:
    return lambda schema: (
        schema["properties"].pop(name),
        schema.update(required=[one for one in schema["required"] if one != name]),
    )


def _line(**fields: Any) -> Change:
    return lambda schema: schema["definitions"]["Line"].update(fields)


def _relax(name: str) -> Change:
    return lambda schema: schema["required"].remove(name)


# change -> (how, what an old reader refuses of a new writer, what a new reader refuses of an old writer)
CHANGES: dict[str, tuple[Change, list[tuple[str, Kind]], list[tuple[str, Kind]]]] = {
    "nothing": (lambda _: None, [], []),
    "another description": (_put("weight", description="In kg."), [], []),
    "an optional field more": (_put("colour", type="string"), [], []),
    "a required field more": (_require("colour", type="string"), [], [("colour", Kind.ABSENT)]),
    "an optional field less": (_drop("label"), [], []),
    "a required field less": (_drop("code"), [("code", Kind.ABSENT)], []),
    "an optional field is required": (_require("label"), [], [("label", Kind.OPTIONAL)]),
    "a required field is optional": (_relax("code"), [("code", Kind.OPTIONAL)], []),
    "another type": (_put("label", type="boolean"), [("label", Kind.TYPE)], [("label", Kind.TYPE)]),
    "a wider type": (_put("weight", type="number"), [("weight", Kind.TYPE)], []),
    "null as well": (
        _put("label", anyOf=[{"type": "string"}, {"type": "null"}], type=None), [("label", Kind.TYPE)], [],
    ),
    "never null": (
        lambda schema: schema["properties"].update(note={"type": "string"}), [], [("note", Kind.TYPE)],
    ),
    "another constant": (
        _put("event_type", const="parcel.left"), [("event_type", Kind.VALUE)], [("event_type", Kind.VALUE)],
    ),
    "a value more": (_put("carrier", enum=["air", "road", "rail"]), [("carrier", Kind.VALUE)], []),
    "a value less": (_put("carrier", enum=["road"]), [], [("carrier", Kind.VALUE)]),
    "any value": (lambda schema: schema["properties"]["carrier"].pop("enum"), [("carrier", Kind.VALUE)], []),
    "a higher maximum": (_put("weight", maximum=60), [("weight", Kind.BOUND)], []),
    "a lower maximum": (_put("weight", maximum=40), [], [("weight", Kind.BOUND)]),
    "no minimum": (lambda schema: schema["properties"]["weight"].pop("minimum"), [("weight", Kind.BOUND)], []),
    "an excluded minimum": (_put("weight", exclusiveMinimum=1), [], [("weight", Kind.BOUND)]),
    "longer lists": (_put("lines", maxItems=10), [("lines", Kind.BOUND)], []),
    "a longest text": (_put("label", maxLength=5), [], [("label", Kind.BOUND)]),
    "another pattern": (_put("code", pattern="^[A-Z]{3}$"), [("code", Kind.TEXT)], [("code", Kind.TEXT)]),
    "a format": (_put("label", format="uuid"), [], [("label", Kind.TEXT)]),
    "a nested required field less": (
        _line(properties={"sku": {"type": "string"}}, required=["sku"]), [("lines[].count", Kind.ABSENT)], [],
    ),
    "a nested type": (
        _line(properties={"sku": {"type": "string"}, "count": {"type": "string"}}),
        [("lines[].count", Kind.TYPE)],
        [("lines[].count", Kind.TYPE)],
    ),
    "a keyword that is not compared": (_put("weight", multipleOf=2), [], [("weight", Kind.OTHER)]),
    "not closed": (lambda schema: schema.pop("additionalProperties"), [("", Kind.OTHER)], []),
}  # fmt: skip


def changed(change: Change, before: Schema = BASE) -> Schema:
    """Return a schema, by default the base, after a change."""
    schema = deepcopy(before)
    change(schema)
    for field in schema["properties"].values():
        if field.get("type", "") is None:
            del field["type"]
    return schema
