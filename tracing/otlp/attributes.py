"""Write the attributes of a span, which are most of its bytes; what repeats is remembered.

For each key this remembers the bytes of whole attributes with string values, because a process uses the same few
strings again and again, and for numbers the bytes that stand before the number. When a key turns out to have ever new
strings, such as a message key, its strings are no longer remembered, so memory is bounded. Only strings are looked up
by value, because `True == 1 == 1.0` and `0.0 == -0.0`, and their bytes differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tracing import faults
from tracing.otlp.protobuf import DOUBLE, INT64, any_value, before_value, key_value, varint

#: The most keys that are remembered, the most strings of one key, and the longest such string in bytes.
_KEYS: Final = 256
_STRINGS: Final = 64
_LONGEST: Final = 256


class _Heads(dict[int, bytes]):
    """The bytes before a value of one key and one type, by the value's size in bytes."""

    __slots__ = ("_key", "_tag")

    def __init__(self, key: str, tag: Callable[[int], bytes]) -> None:
        super().__init__()
        self._key = key
        self._tag = tag

    def __missing__(self, size: int) -> bytes:
        head = before_value(self._key, self._tag(size), size)
        if size <= _LONGEST:
            self[size] = head
        return head


class _Strings(dict[str, bytes]):
    """The strings of one key, each as a KeyValue; once there were too many, nothing is kept any more."""

    __slots__ = ("_heads", "_repeat")

    def __init__(self, key: str) -> None:
        super().__init__()
        self._heads = _Heads(key, lambda size: b"\x0a" + varint(size))
        self._repeat = True

    def __missing__(self, value: str) -> bytes:
        content = value.encode()
        written = self._heads[len(content)] + content
        if self._repeat and len(content) <= _LONGEST:
            self[value] = written
            if len(self) >= _STRINGS:
                self._repeat = False
                self.clear()
        return written


class _Key:
    """What is remembered of one key, to write a KeyValue with its length and without its tag."""

    __slots__ = ("floats", "integers", "name", "strings")

    def __init__(self, name: str) -> None:
        self.name = name
        self.strings = _Strings(name)
        self.integers = _Heads(name, lambda _: b"\x18")
        self.floats = before_value(name, b"\x21", DOUBLE.size)


class _Keys(dict[str, _Key]):
    """The keys by name; when there are too many, all are forgotten."""

    __slots__ = ()

    def __missing__(self, name: str) -> _Key:
        if len(self) >= _KEYS:
            self.clear()
        key = self[name] = _Key(name)
        return key


_keys: Final = _Keys()


def attributes(tag: bytes, held: Mapping[str, Any]) -> bytes:
    """Write attributes, each as a KeyValue under the tag of the field that holds them.

    An attribute that cannot be written is left out and reported once; the official encoder leaves it out too.
    """
    written = [b""]
    for name, value in held.items():
        try:
            key = _keys[name]
            kind = type(value)
            if kind is str:
                written.append(key.strings[value])
            elif kind is int and 0 <= value < INT64:
                number = varint(value)
                written.append(key.integers[len(number)] + number)
            elif kind is float:
                written.append(key.floats + DOUBLE.pack(value))
            else:
                written.append(key_value(name, any_value(value)))
        except Exception as error:  # noqa: BLE001 - a value may be any object
            faults.report("encoding an attribute", error)
    return tag.join(written)
