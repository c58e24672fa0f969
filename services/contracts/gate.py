"""The gate: what a change of the contract breaks, whom, and what to do instead; pure, and without a registry.

Within a version, both must hold, because nobody can tell the two apart: who is deployed with the old schema reads what
the new one writes, and the new one reads what the old one has written. A change that does not keep that is a new
version, or a new type.

Between the versions of a type nothing has to hold by itself. A new program reads the older versions, as they are or by
its upcasters, and a deploy holds its writers at the older version until every reader has the new one (`relations`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.contracts.catalog import Schemas
from services.contracts.compatibility import Kind, Refusal, refusals
from services.contracts.json_schema import Schema
from services.contracts.versions import Identity


class Broken(StrEnum):
    """Whom a change breaks."""

    DEPLOYED = "readers that are deployed"
    HERE = "this program, on records that are written already"
    BOTH = "readers that are deployed, and this program on records that are written already"


@dataclass(frozen=True)
class Break:
    """One thing that a change breaks: where, what, whom, and how to do it instead."""

    identity: Identity
    path: str
    what: str
    broken: Broken
    instead: str

    def __str__(self) -> str:
        """Return the break as one line."""
        where = f"{self.path} " if self.path else ""
        return f"{self.identity}: {where}{self.what}; breaks {self.broken}; instead: {self.instead}"


class Reads(StrEnum):
    """How a program of one version gets on with records of another version of the type."""

    AS_THEY_ARE = "as they are"
    UPCAST = "by an upcaster"
    UNCHECKED = "only if it ignores the version: hold the writer"
    HELD = "not at all: hold the writer"


@dataclass(frozen=True)
class Relation:
    """How records of one version of a type are read by a program whose newest version of it is another."""

    event_type: str
    written: int
    read_by: int
    how: Reads


_NEW_VERSION = "make version {next} with an upcaster"
_INSTEAD = {
    (Kind.ABSENT, Broken.DEPLOYED): "keep writing it; version {next}, with an upcaster, may leave it out",
    (Kind.ABSENT, Broken.HERE): "make it optional, with a default",
    (Kind.OPTIONAL, Broken.DEPLOYED): "keep it required; version {next} may leave it out",
    (Kind.OPTIONAL, Broken.HERE): "keep it optional here, and check it where the message is made",
    (Kind.TYPE, Broken.DEPLOYED): "add an optional field of the other type beside it",
    (Kind.TYPE, Broken.HERE): "keep reading the type, and write it no more",
    (Kind.TYPE, Broken.BOTH): "add an optional field of the other type beside it, or " + _NEW_VERSION,
    (Kind.VALUE, Broken.DEPLOYED): "write the new value in version {next} only",
    (Kind.VALUE, Broken.HERE): "keep reading the value, and write it no more",
    (Kind.BOUND, Broken.DEPLOYED): "write what is beyond the bound in version {next} only",
    (Kind.BOUND, Broken.HERE): "keep the bound here, and check the narrower one where the message is made",
    (Kind.TEXT, Broken.HERE): "check the new rule where the message is made",
}
_NEW_TYPE = "make a new type, and keep this one until nobody reads it"
_TYPE, _VERSION = "event_type", "schema_version"


def breaks(before: Schemas, after: Schemas) -> list[Break]:
    """Return what breaks if schemas are replaced: by each other version of itself, or by nothing."""
    found: list[Break] = []
    for identity, schema in before.items():
        newest = max(version for kind, version in {*before, *after} if kind == identity.event_type)
        if identity in after:
            found += _changes(identity, schema, after[identity], newest + 1)
        else:
            found.append(_lost(identity))
    return found


def relations(schemas: Schemas) -> list[Relation]:
    """Return how each version of a type is read by the programs of each other version of it."""
    pairs = ((written, read_by) for written in schemas for read_by in schemas if written != read_by)
    return [
        Relation(written.event_type, written.version, read_by.version, _how(written, read_by, schemas))
        for written, read_by in pairs
        if written.event_type == read_by.event_type
    ]


def _how(written: Identity, read_by: Identity, schemas: Schemas) -> Reads:
    is_refused = any(one.path != _VERSION for one in refusals(schemas[written], schemas[read_by]))
    if written.version > read_by.version:
        return Reads.HELD if is_refused else Reads.UNCHECKED
    return Reads.UPCAST if is_refused else Reads.AS_THEY_ARE


def _changes(identity: Identity, before: Schema, after: Schema, unused: int) -> Iterator[Break]:
    deployed, here = _by_place(refusals(after, before)), _by_place(refusals(before, after))
    for place in dict.fromkeys([*deployed, *here]):
        refusal = deployed.get(place) or here[place]
        broken = Broken.BOTH if place in deployed and place in here else None
        broken = broken or (Broken.DEPLOYED if place in deployed else Broken.HERE)
        instead = _INSTEAD.get((refusal.kind, broken), _NEW_VERSION).format(next=unused)
        yield Break(identity, refusal.path, refusal.what, broken, _NEW_TYPE if refusal.path == _TYPE else instead)


def _by_place(found: Iterable[Refusal]) -> dict[tuple[str, Kind], Refusal]:
    """Return the first refusal of each kind at each place."""
    first: dict[tuple[str, Kind], Refusal] = {}
    for one in found:
        first.setdefault((one.path, one.kind), one)
    return first


def _lost(identity: Identity) -> Break:
    what = "has a committed schema, and no model reads it any more"
    return Break(identity, "", what, Broken.HERE, "keep its model among the superseded ones, with an upcaster")
