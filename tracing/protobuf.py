"""Protocol Buffers by hand: the wire format, and OTLP's attributes in it.

A message is a sequence of fields, each a tag (number and wire type, one varint) and its content; a field that has its
default value is not written, unless it is a message or one of a `oneof`. Source: protobuf.dev, "Encoding";
opentelemetry/proto/common/v1/common.proto.

Most attributes of a process say the same again and again, so their bytes are remembered: those of strings as a whole,
of numbers what stands before them, by key and type, because `True == 1 == 1.0` and `0.0 == -0.0`, and their bytes
differ. An attribute that has ever new values, like the key of a message, is found out, and of it no more is remembered
than of a number: the memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final, TypeVar

from tracing import faults

#: How much is remembered: names and beginnings; keys, the values of each, and the longest value in bytes.
_REMEMBERED: Final = 4096
_KEYS: Final = 256
_VALUES_A_KEY: Final = 64
_LONGEST: Final = 256
_INT64: Final = 1 << 63
_DOUBLE: Final = Struct("<d")
#: Seven bits that more follow, and the varints that lengths usually are.
_FOLLOWED: Final = tuple(bytes((bits | 0x80,)) for bits in range(0x80))
_VARINTS: Final = tuple(_FOLLOWED[n & 0x7F] + bytes((n >> 7,)) if n > 0x7F else bytes((n,)) for n in range(1024))  # noqa: PLR2004
_TABLED: Final = len(_VARINTS)


def varint(number: int) -> bytes:
    """Write an unsigned integer: seven bits a byte, the lowest first, the top bit set on all but the last one."""
    return _VARINTS[number] if number < _TABLED else _FOLLOWED[number & 0x7F] + varint(number >> 7)


def sized(content: bytes) -> bytes:
    """Write a string or a message without its tag: the length, then the content."""
    size = len(content)
    return (_VARINTS[size] if size < _TABLED else varint(size)) + content


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


class _Heads(dict[int, bytes]):
    """What stands before the value of an attribute of one key that is of one type, by the value's size in bytes."""

    __slots__ = ("_key", "_tag")

    def __init__(self, key: str, tag: Callable[[int], bytes]) -> None:
        super().__init__()
        self._key = key
        self._tag = tag

    def __missing__(self, size: int) -> bytes:
        head = _begin(self._key, self._tag(size), size)
        if size <= _LONGEST:
            self[size] = head
        return head


class _Strings:
    """Attributes of one key that are strings, by value until they turn out to be ever new; what stands before any."""

    __slots__ = ("heads", "known")

    def __init__(self, key: str) -> None:
        self.heads = _Heads(key, lambda size: b"\x0a" + varint(size))
        self.known: dict[str, bytes] | None = {}

    def learn(self, value: str) -> bytes:
        """Write a string that is not known, and know it the next time."""
        content = value.encode()
        written = self.heads[len(content)] + content
        known = self.known
        if known is not None and len(content) <= _LONGEST:
            known[value] = written
            if len(known) >= _VALUES_A_KEY:
                self.known = None
        return written


_Held = TypeVar("_Held")


class _ByKey(dict[str, _Held]):
    """What is remembered of each key; when there are too many, it starts anew."""

    __slots__ = ("_new",)

    def __init__(self, new: Callable[[str], _Held]) -> None:
        super().__init__()
        self._new = new

    def __missing__(self, key: str) -> _Held:
        held = self._new(key)
        if len(self) >= _KEYS:
            self.clear()
        self[key] = held
        return held


_strings: Final = _ByKey(_Strings)
_integers: Final = _ByKey(lambda key: _Heads(key, lambda _: b"\x18"))
_doubles: Final = _ByKey(lambda key: _begin(key, b"\x21", _DOUBLE.size))
_pack_double: Final = _DOUBLE.pack


def attributes(tag: bytes, items: Iterable[tuple[str, Any]]) -> bytes:
    """Write attributes, each a KeyValue under the tag of the field that holds them.

    One that cannot be written is left out and reported once; the official encoder leaves it out too.
    """
    written = [b""]  # so that the tag stands before each
    for key, value in items:
        try:
            kind = type(value)
            if kind is str:
                strings = _strings[key]
                if (known := strings.known) is None:
                    content = value.encode()  # as `learn` does, without a call for what is never learnt
                    written.append(strings.heads[len(content)] + content)
                else:
                    written.append(known.get(value) or strings.learn(value))
            elif kind is int and 0 <= value < _INT64:
                number = varint(value)
                written.append(_integers[key][len(number)] + number)
            elif kind is float:
                written.append(_doubles[key] + _pack_double(value))
            else:
                written.append(_attribute(key, any_value(value)))
        except Exception as error:  # noqa: BLE001 - any object can stand in for a value
            faults.report("encoding an attribute", error)
    return tag.join(written)


def _attribute(key: str, value: bytes) -> bytes:
    """Write a KeyValue without its tag, but with its length."""
    return _begin(key, b"", len(value)) + value


def _begin(key: str, head: bytes, size: int) -> bytes:
    """Write what stands before the last bytes of a KeyValue, so many, and its value's own head."""
    beginning = text(b"\x0a", key) + b"\x12" + varint(len(head) + size) + head
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
