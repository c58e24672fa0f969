"""Kafka record headers as a value: read tolerantly, replaced by copying.

Headers are an ordered sequence of `(name, bytes or None)` in which a name may repeat. They come from other programs, so
nothing here raises on any bytes: a value that is not UTF-8, an entry that is not a pair and a missing sequence all read
as "not there". Nothing changes its argument: a caller may share one list between sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.propagators.textmap import Getter, Setter

Header = tuple[str, bytes | None]
Headers = Sequence[Header]

#: W3C Trace Context level 2, section 3.2.2, as bytes, as Kafka carries it. Version ff is forbidden, version 00 has
#: nothing after the flags, a later version may.
TRACEPARENT: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)

#: W3C Baggage, section 3.3.2: the limits that a propagator has to accept; the API's logs and ignores a longer header.
_BAGGAGE_LIMIT: Final = 8192
_BAGGAGE_MEMBERS: Final = 180
#: W3C Baggage, section 3.3.1: a member is a token, a value, and properties.
_BAGGAGE_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_BAGGAGE_VALUE: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_BAGGAGE_MEMBER: Final = re.compile(
    rf"[ \t]*{_BAGGAGE_NAME}[ \t]*=[ \t]*{_BAGGAGE_VALUE}[ \t]*"
    rf"(?:;[ \t]*{_BAGGAGE_NAME}[ \t]*(?:=[ \t]*{_BAGGAGE_VALUE}[ \t]*)?)*"
)


def pairs(headers: object) -> list[Header]:
    """Return the well-formed entries of anything that claims to be headers, in order."""
    if not isinstance(headers, Iterable) or isinstance(headers, str | bytes | dict):
        return []
    return [
        (entry[0], entry[1])
        for entry in headers
        if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str)  # noqa: PLR2004 - a pair
    ]


def is_header(entry: object) -> bool:
    """Return whether an entry is a header that aiokafka takes: a tuple of a name and bytes or None."""
    match entry:
        case (str(), bytes() | None):
            return type(entry) is tuple
        case _:
            return False


def text(value: object) -> str | None:
    """Decode one header value; None if there is none or it is not UTF-8."""
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return None


def get(headers: Headers, name: str) -> str | None:
    """Return the last valid value of a header, or None.

    The last one is the newest where instrumentations append instead of replacing. A `traceparent` is valid only in the
    form of the W3C recommendation, so garbage after a good value does not hide it.
    """
    for key, value in reversed(headers):
        if key == name and (found := text(value)) is not None and _well_formed(name, found):
            return found
    return None


def _well_formed(name: str, value: str) -> bool:
    """Refuse what a propagator would refuse, so that an older value is used and no header text is logged."""
    if name == "traceparent":
        return TRACEPARENT.fullmatch(value.strip(" \t").encode()) is not None
    return name != "baggage" or _is_baggage(value)


def _is_baggage(value: str) -> bool:
    """Accept a baggage header as a whole or not at all: the API's propagator logs each member that it refuses."""
    members = value.split(",")
    fits = len(value) <= _BAGGAGE_LIMIT and len(members) <= _BAGGAGE_MEMBERS
    return fits and all(map(_BAGGAGE_MEMBER.fullmatch, members))


def drop(headers: Headers, names: Iterable[str]) -> list[Header]:
    """Return a new list without the headers of these names."""
    unwanted = frozenset(names)
    return [header for header in headers if header[0] not in unwanted]


def replace(headers: Headers, name: str, value: bytes | None) -> list[Header]:
    """Return a new list in which the header has this value, once, at the end."""
    replaced = drop(headers, (name,))
    replaced.append((name, value))
    return replaced


class HeaderGetter(Getter[Headers]):
    """Reads Kafka headers for a propagator: the last valid value of a name."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return the value as the one-element list that propagators expect."""
        value = get(carrier, key)
        return None if value is None else [value]

    def keys(self, carrier: Headers) -> list[str]:
        """Return the header names."""
        return [name for name, _ in carrier]


class HeaderSetter(Setter[list[Header]]):
    """Writes Kafka headers for a propagator, into a list of its own, which `wire` then merges."""

    def set(self, carrier: list[Header], key: str, value: str) -> None:
        """Append a header; a value that UTF-8 cannot express (lone surrogates) is left out."""
        try:
            carrier.append((key, value.encode()))
        except UnicodeEncodeError:
            return
