"""Protocol Buffers by hand: the wire format, and OTLP's attributes in it.

A message is a sequence of fields, each a tag (number and wire type, one varint) and its content; a field that has its
default value is not written, unless it is a message or one of a `oneof`. Source: protobuf.dev, "Encoding";
opentelemetry/proto/common/v1/common.proto.

Most attributes of a process say the same again and again, so their bytes are remembered: those of strings as a whole,
of anything else the key's alone, because `True == 1 == 1.0` and `0.0 == -0.0`, and their bytes differ. An attribute
that has ever new values, like the key of a message, is found out and no longer remembered: the memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from tracing import faults

#: How much is remembered: names and beginnings; keys, the values of each, and the longest value in bytes.
_REMEMBERED: Final = 4096
_KEYS: Final = 256
_VALUES_A_KEY: Final = 64
_LONGEST: Final = 256
_INT64: Final = 1 << 63
_DOUBLE: Final = Struct("<d")


def _varint(number: int) -> bytes:
    """Write seven bits a byte, the lowest first, the top bit set on all but the last one."""
    if number < 0x20_0000:  # noqa: PLR2004 - offsets, mostly; the loop would take three times as long
        if number < 0x80:  # noqa: PLR2004
            return bytes((number,))
        if number < 0x4000:  # noqa: PLR2004
            return bytes((number & 0x7F | 0x80, number >> 7))
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


#: The varints that lengths usually are.
_VARINTS: Final = tuple(map(_varint, range(1024)))
_TABLED: Final = len(_VARINTS)


def varint(number: int) -> bytes:
    """Write an unsigned integer."""
    return _VARINTS[number] if number < _TABLED else _varint(number)


def sized(content: bytes) -> bytes:
    """Write a string or a message without its tag: the length, then the content."""
    size = len(content)
    return (_VARINTS[size] if size < _TABLED else _varint(size)) + content


def text(tag: bytes, value: str | None) -> bytes:
    """Write a string field; nothing if it is empty or missing."""
    return tag + sized(value.encode()) if value else b""


class Remembered(dict[Any, bytes]):
    """Bytes by what they say; when it is full it starts anew."""

    __slots__ = ()

    def add(self, key: object, written: bytes) -> bytes:
        """Remember bytes and return them."""
        if len(self) >= _REMEMBERED:
            self.clear()
        self[key] = written
        return written


#: Attributes that are strings, by key and value. A key with too many values has this mapping, which stays empty.
_strings: Final[dict[str, dict[str, bytes]]] = {}
_ANYTHING: Final[dict[str, bytes]] = {}
#: What stands before the value of an attribute, by its key and the value's size; for strings the size is negative.
_beginnings: Final = Remembered()


def attributes(tag: bytes, items: Iterable[tuple[str, object]]) -> bytes:
    """Write attributes, each a KeyValue under the tag of the field that holds them.

    One that cannot be written is left out and reported once; the official encoder leaves it out too.
    """
    written = [b""]  # so that the tag stands before each
    known = _strings.get
    for key, value in items:
        try:
            if type(value) is str:
                values = known(key, _ANYTHING)
                written.append(values.get(value) or _string(key, value, values))
            else:
                written.append(_attribute(key, (_BY_TYPE.get(type(value)) or any_value)(value)))
        except Exception as error:  # noqa: BLE001 - any object can stand in for a value
            faults.report("encoding an attribute", error)
    return tag.join(written)


def _string(key: str, value: str, values: dict[str, bytes]) -> bytes:
    content = value.encode()
    size = len(content)
    written = (_beginnings.get((key, -1 - size)) or _begin_string(key, size)) + content
    if size <= _LONGEST and (values is not _ANYTHING or key not in _strings):
        _remember(key, value, written)
    return written


def _begin_string(key: str, size: int) -> bytes:
    head = b"\x0a" + varint(size)
    return _beginnings.add((key, -1 - size), _begin(key, len(head) + size) + head)


def _remember(key: str, value: str, written: bytes) -> None:
    if len(_strings) >= _KEYS:
        _strings.clear()
    values = _strings.setdefault(key, {})
    if values is not _ANYTHING:
        values[value] = written
        if len(values) >= _VALUES_A_KEY:
            _strings[key] = _ANYTHING


def _attribute(key: str, value: bytes) -> bytes:
    """Write a KeyValue without its tag, but with its length."""
    size = len(value)
    return (_beginnings.get((key, size)) or _beginnings.add((key, size), _begin(key, size))) + value


def _begin(key: str, size: int) -> bytes:
    beginning = text(b"\x0a", key) + b"\x12" + varint(size)
    return varint(len(beginning) + size) + beginning


def any_value(value: object) -> bytes:
    """Write an AnyValue: in it a value is there also when it is zero, empty or false; None is none.

    Raises:
        ValueError: an integer has more than 64 bits, or a string is no Unicode.
        TypeError: the value is of none of OTLP's types.
    """
    return (_BY_TYPE.get(type(value)) or _by_inheritance(value))(value)


def _by_inheritance(value: object) -> Callable[[Any], bytes]:
    for kind, write in _BY_TYPE.items():
        if isinstance(value, kind):
            return write
    raise TypeError(f"{type(value).__qualname__} is no type of an attribute")


def _integer(value: int) -> bytes:
    if not -_INT64 <= value < _INT64:
        raise ValueError("an integer past 64 bits")
    return b"\x18" + varint(value if value >= 0 else value + 2 * _INT64)  # two's complement


def _array(values: Sequence[object]) -> bytes:
    return b"\x2a" + sized(b"".join([b"\x0a" + sized(any_value(value)) for value in values]))


def _map(values: Mapping[object, object]) -> bytes:
    return b"\x32" + sized(
        b"".join([b"\x0a" + _attribute(str(key), any_value(value)) for key, value in values.items()])
    )


#: How each type is written. The order is that in which the official encoder asks for what is of a type by inheritance:
#: a boolean is an integer too, a string a sequence.
_BY_TYPE: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"",
    bool: lambda value: b"\x10\x01" if value else b"\x10\x00",
    str: lambda value: b"\x0a" + sized(value.encode()),
    int: _integer,
    float: lambda value: b"\x21" + _DOUBLE.pack(value),
    bytes: lambda value: b"\x3a" + sized(value),
    Sequence: _array,
    Mapping: _map,
}
