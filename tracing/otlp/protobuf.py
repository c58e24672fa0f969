"""Write Protocol Buffers by hand: the wire format, and the values of OTLP's attributes in it; read the answers in it.

A message is a sequence of fields, each a tag (number and wire type, one varint) and its content. A field with its
default value is not written, unless it is a message or part of a `oneof`. Source: protobuf.dev, "Encoding";
opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final

#: The most entries that a table remembers.
_REMEMBERED: Final = 4096
INT64: Final = 1 << 63
DOUBLE: Final = Struct("<d")
#: The bytes of a field by its wire type, where they have no length before them.
_FIXED: Final = {1: 8, 5: 4}
#: Seven bits that are not the last, and the varints of usual lengths.
_FOLLOWED: Final = tuple(bytes((bits | 0x80,)) for bits in range(0x80))
_VARINTS: Final = tuple(_FOLLOWED[n & 0x7F] + bytes((n >> 7,)) if n > 0x7F else bytes((n,)) for n in range(1024))  # noqa: PLR2004
_TABLED: Final = len(_VARINTS)


def varint(number: int) -> bytes:
    """Write an unsigned integer: seven bits a byte, the lowest first, the top bit set on all but the last one."""
    if number < _TABLED:
        return _VARINTS[number]
    if number < _TABLED << 7:
        return _FOLLOWED[number & 0x7F] + _VARINTS[number >> 7]
    if number < _TABLED << 14:
        return _FOLLOWED[number & 0x7F] + _FOLLOWED[number >> 7 & 0x7F] + _VARINTS[number >> 14]
    return _FOLLOWED[number & 0x7F] + varint(number >> 7)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message, each with its number: a varint as a number, any other as its bytes.

    Raises:
        LookupError: it is not a message.
        ValueError: it is not a message.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _number(message, position)
        kind = tag & 7
        if kind == 0:
            number, position = _number(message, position)
            yield tag >> 3, number
            continue
        size, position = _number(message, position) if kind == 2 else (_FIXED[kind], position)  # noqa: PLR2004 - a wire type
        if position + size > end:
            raise ValueError("a field that is cut off")
        yield tag >> 3, message[position : position + size]
        position += size


def _number(message: bytes, position: int) -> tuple[int, int]:
    """Read a varint; return it and the position behind it."""
    number = shift = 0
    while shift < 64:  # noqa: PLR2004 - the bits of the longest varint
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
            return number, position
    raise ValueError("a varint of more than 64 bits")


def sized(content: bytes) -> bytes:
    """Write a string or a message without its tag: the length, then the content."""
    size = len(content)
    return (_VARINTS[size] if size < _TABLED else varint(size)) + content


def text(tag: bytes, value: str | None) -> bytes:
    """Write a string field; nothing if it is empty or missing."""
    return tag + sized(value.encode()) if value else b""


class BeforeField(dict[int, bytes]):
    """The bytes before a string or a message in a field, its tag and length, by its size in bytes."""

    __slots__ = ("_tag",)

    def __init__(self, tag: bytes) -> None:
        super().__init__()
        self._tag = tag

    def __missing__(self, size: int) -> bytes:
        before = self._tag + varint(size)
        if size < _REMEMBERED:
            self[size] = before
        return before


class Remembered(dict[Any, bytes]):
    """Bytes by what they encode; when there are too many, all are forgotten."""

    __slots__ = ()

    def add(self, key: object, written: bytes) -> bytes:
        """Remember bytes and return them."""
        if len(self) >= _REMEMBERED:
            self.clear()
        self[key] = written
        return written


def before_value(key: str, head: bytes, size: int) -> bytes:
    """Write the beginning of a KeyValue, up to its value's own head; `size` bytes of the value follow."""
    beginning = text(b"\x0a", key) + b"\x12" + varint(len(head) + size) + head
    return varint(len(beginning) + size) + beginning


def key_value(key: str, value: bytes) -> bytes:
    """Write a KeyValue with its length and without its tag."""
    return before_value(key, b"", len(value)) + value


def any_value(value: object) -> bytes:
    """Write an AnyValue, in which zero, empty and false are written too; None is an AnyValue without a value.

    Raises:
        ValueError: an integer has more than 64 bits, or a string cannot be encoded as UTF-8.
        TypeError: OTLP has no type for the value.
    """
    return (_BY_TYPE.get(type(value)) or _by_inheritance(value))(value)


def _by_inheritance(value: object) -> Callable[[Any], bytes]:
    for kind, write in _BY_TYPE.items():
        if isinstance(value, kind):
            return write
    raise TypeError(f"{type(value).__qualname__} is not a type of an attribute")


def _integer(value: int) -> bytes:
    if not -INT64 <= value < INT64:
        raise ValueError("an integer of more than 64 bits")
    return b"\x18" + varint(value if value >= 0 else value + 2 * INT64)  # two's complement


def _array(values: Sequence[object]) -> bytes:
    return b"\x2a" + sized(b"".join([b"\x0a" + sized(any_value(value)) for value in values]))


def _map(values: Mapping[object, object]) -> bytes:
    return b"\x32" + sized(b"".join([b"\x0a" + key_value(str(key), any_value(value)) for key, value in values.items()]))


#: How each type is written. A subclass takes the first of these types that it inherits from, in the official encoder's
#: order: a boolean is also an integer, a string also a sequence.
_BY_TYPE: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"",
    bool: lambda value: b"\x10\x01" if value else b"\x10\x00",
    str: lambda value: b"\x0a" + sized(value.encode()),
    int: _integer,
    float: lambda value: b"\x21" + DOUBLE.pack(value),
    bytes: lambda value: b"\x3a" + sized(value),
    Sequence: _array,
    Mapping: _map,
}
