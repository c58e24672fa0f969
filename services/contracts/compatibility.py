"""Which records of a writer a reader refuses, by comparing their schemas; pure.

The writer is closed: it writes no field that its schema does not name. The reader is open: it ignores what its own
does not name. So of a change, this is what matters:

| change | new writer, old reader | old writer, new reader |
|---|---|---|
| an optional field is added | ignored | absent, has its default |
| a required field is added | ignored | refused: `ABSENT` |
| an optional field is taken away | absent, has its default | ignored |
| a required field is taken away | refused: `ABSENT` | ignored |
| a required field becomes optional | refused: `OPTIONAL` | read |
| an optional field becomes required | read | refused: `OPTIONAL` |
| another type | refused: `TYPE` | refused: `TYPE` |
| a type more (also null) | refused: `TYPE` | read |
| a type less | read | refused: `TYPE` |
| a value more of an enum, another constant | refused: `VALUE` | read; another constant is refused |
| a value less of an enum | read | refused: `VALUE` |
| wider bounds of a number, a text or a list | refused: `BOUND` | read |
| narrower bounds | read | refused: `BOUND` |
| another pattern or format | refused: `TEXT` | refused: `TEXT` |
| a pattern or format is added | read | refused: `TEXT` |
| a pattern or format is taken away | refused: `TEXT` | read |
| titles, descriptions, examples, defaults | read | read |
| anything else in the schema | refused: `OTHER` | refused: `OTHER` |

It refuses what it can't tell: whether one pattern allows what another does, for example.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.contracts.json_schema import Part, Schema, inlined


class Kind(StrEnum):
    """Why a reader refuses a record."""

    ABSENT = "absent"
    OPTIONAL = "optional"
    TYPE = "type"
    VALUE = "value"
    BOUND = "bound"
    TEXT = "text"
    OTHER = "other"


@dataclass(frozen=True)
class Refusal:
    """A field that a reader refuses: where it is, as `payload.items[].sku`, and what about it, of what is written."""

    path: str
    kind: Kind
    what: str


_ANNOTATIONS = frozenset({"$schema", "$comment", "title", "description", "examples", "default"})
_LOWER: dict[str, float] = {"minLength": 0, "minItems": 0}
_UPPER: dict[str, float] = {"maxLength": math.inf, "maxItems": math.inf}
_TEXT = ("pattern", "format")
_COMPARED = frozenset(
    {
        *(*_ANNOTATIONS, *_LOWER, *_UPPER, *_TEXT, "anyOf", "type", "const", "enum", "items"),
        *("properties", "required", "additionalProperties"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)


def refusals(writer: Schema, reader: Schema) -> list[Refusal]:
    """Return what a reader refuses of what a writer may write, in the order of the reader's fields."""
    return list(_refusals(inlined(writer), inlined(reader), ""))


def _refusals(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    for one in _alternatives(writer):
        answers = [list(_one(one, other, path)) for other in _alternatives(reader)]
        if all(answers):
            yield from _closest(answers, path, one)


def _closest(answers: list[list[Refusal]], path: str, written: Schema) -> list[Refusal]:
    """Return why the alternative that comes closest refuses what is written; none does if it is of another type."""
    alike = [answer for answer in answers if not any(one.path == path and one.kind is Kind.TYPE for one in answer)]
    if len(answers) == 1 or len(alike) == 1:
        return (alike or answers)[0]
    return [Refusal(path, Kind.TYPE, f"may be {_type(written)}")]


def _one(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    wanted, written = reader.get("type"), writer.get("type")
    if wanted is not None and written != wanted and (written, wanted) != ("integer", "number"):
        yield Refusal(path, Kind.TYPE, f"is {_type(writer)} and was read as {_type(reader)}")
        return
    yield from _values(writer, reader, path)
    yield from _bounds(writer, reader, path)
    for keyword in _TEXT:
        if keyword in reader and writer.get(keyword) != reader[keyword]:
            yield Refusal(path, Kind.TEXT, f"has the {keyword} {_shown(writer, keyword)}, not {reader[keyword]}")
    if "items" in reader:
        yield from _refusals(writer.get("items", {}), reader["items"], f"{path}[]")
    if "properties" in reader:
        yield from _properties(writer, reader, path)
    yield from _others(writer, reader, path)


def _values(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    allowed, written = _constants(reader), _constants(writer)
    if allowed is None:
        return
    if written is None:
        yield Refusal(path, Kind.VALUE, f"may be any {_type(writer)}, not only {_list(allowed)}")
    elif more := [value for value in written if value not in allowed]:
        yield Refusal(path, Kind.VALUE, f"may be {_list(more)}")


def _bounds(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    for keyword, unbounded in _LOWER.items():
        if writer.get(keyword, unbounded) < reader.get(keyword, unbounded):
            yield _bound(writer, reader, path, keyword)
    for keyword, unbounded in _UPPER.items():
        if writer.get(keyword, unbounded) > reader.get(keyword, unbounded):
            yield _bound(writer, reader, path, keyword)
    if _lower(writer) < _lower(reader):
        yield _bound(writer, reader, path, "exclusiveMinimum" if "exclusiveMinimum" in reader else "minimum")
    if _upper(writer) > _upper(reader):
        yield _bound(writer, reader, path, "exclusiveMaximum" if "exclusiveMaximum" in reader else "maximum")


def _properties(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    fields = writer.get("properties", {})
    if writer.get("additionalProperties") is not False:
        yield Refusal(path, Kind.OTHER, "has fields that the schema does not name: it is not closed")
    for name, wanted in reader["properties"].items():
        below = f"{path}.{name}" if path else name
        is_needed = name in reader.get("required", ())
        if name not in fields:
            if is_needed:
                yield Refusal(below, Kind.ABSENT, "is not written")
            continue
        if is_needed and name not in writer.get("required", ()):
            yield Refusal(below, Kind.OPTIONAL, "may be left out")
        yield from _refusals(fields[name], wanted, below)


def _others(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    for keyword in reader:
        if keyword not in _COMPARED and writer.get(keyword) != reader[keyword]:
            yield Refusal(path, Kind.OTHER, f"differs in {keyword}, which the gate does not compare")


def _alternatives(schema: Schema) -> list[Schema]:
    """Return the types that a value may have, each as a schema of its own."""
    if "anyOf" in schema:
        return [one for part in schema["anyOf"] for one in _alternatives(part)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": one} for one in schema["type"]]
    return [schema]


def _constants(schema: Schema) -> list[Part] | None:
    """Return the values that are allowed; None if they are not listed."""
    if "const" in schema:
        return [schema["const"]]
    values: list[Part] | None = schema.get("enum")
    return values


def _lower(schema: Schema) -> tuple[float, bool]:
    """Return the lower bound of a number in an order in which an excluded bound is higher."""
    return max((schema.get("minimum", -math.inf), False), (schema.get("exclusiveMinimum", -math.inf), True))


def _upper(schema: Schema) -> tuple[float, bool]:
    """Return the upper bound of a number in an order in which an excluded bound is lower."""
    return min((schema.get("maximum", math.inf), True), (schema.get("exclusiveMaximum", math.inf), False))


def _bound(writer: Schema, reader: Schema, path: str, keyword: str) -> Refusal:
    return Refusal(path, Kind.BOUND, f"has the {keyword} {_shown(writer, keyword)}, not {reader[keyword]}")


def _shown(schema: Schema, keyword: str) -> str:
    return str(schema.get(keyword, "none"))


def _type(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def _list(values: list[Part]) -> str:
    return ", ".join(map(str, values))
