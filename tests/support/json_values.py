"""Values that a JSON Schema allows, for properties: of the part of draft-07 that the contract's schemas use."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from services.contracts.json_schema import Schema, inlined

_MOST = 2**63 - 1
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def values(schema: Schema) -> SearchStrategy[Any]:
    """Return a strategy for the values of a schema."""
    return _values(inlined(schema))


def _values(schema: Schema) -> SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([_values(part) for part in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = {"object": _objects, "array": _arrays, "integer": _integers, "number": _numbers, "string": _texts}
    simple: dict[str, SearchStrategy[Any]] = {"boolean": st.booleans(), "null": st.none()}
    return simple[schema["type"]] if schema["type"] in simple else kinds[schema["type"]](schema)


def _objects(schema: Schema) -> SearchStrategy[Any]:
    fields = {name: _values(part) for name, part in schema.get("properties", {}).items()}
    needed = {name: values for name, values in fields.items() if name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional={name: fields[name] for name in fields if name not in needed})


def _arrays(schema: Schema) -> SearchStrategy[Any]:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems", schema.get("minItems", 0) + 3)
    return st.lists(_values(schema.get("items", {"type": "null"})), min_size=fewest, max_size=most)


def _integers(schema: Schema) -> SearchStrategy[Any]:
    lowest = max(schema.get("minimum", -_MOST), schema.get("exclusiveMinimum", -_MOST - 1) + 1)
    return st.integers(lowest, min(schema.get("maximum", _MOST), schema.get("exclusiveMaximum", _MOST + 1) - 1))


def _numbers(schema: Schema) -> SearchStrategy[Any]:
    return st.one_of(_integers(schema), _integers(schema).map(float)) if "minimum" in schema else st.floats(-9, 9)


def _texts(schema: Schema) -> SearchStrategy[Any]:
    if schema.get("format") == "uuid":
        return st.uuids().map(str)
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=_ZONES).map(lambda moment: moment.isoformat())
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 9))
