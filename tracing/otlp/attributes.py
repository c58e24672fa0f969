"""OTLP's attributes, which are most of a span: what repeats is remembered, and each set of keys has its own writer.

Spans of a kind have the same keys in the same order, and of each key the same type of value. So a function is made for
each sequence of keys, once, in which the loop, the look-up of the key and the choice by type are gone: of each key it
holds one expression of the table below, by what its value was the first time. Each expression asks `write` about a
value that is not what it expects, so what it expects decides the time and never the bytes.

Remembered are the bytes of strings as a whole, by key, because of most attributes a process says the same again and
again; of numbers what stands before them. A key that has ever new strings, like that of a message, is found out, and of
it no more is remembered than of a number: the memory is bounded. Only strings are looked up by value, because
`True == 1 == 1.0` and `0.0 == -0.0`, and their bytes differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tracing import faults
from tracing.otlp.protobuf import DOUBLE, INT64, any_value, before_value, key_value, varint

#: How much is remembered: keys, functions for sequences of them, strings of a key, and the longest of these in bytes.
_KEYS: Final = 256
_WRITERS: Final = 256
#: How often a sequence of keys is there before it gets a function, which takes the time of some hundred uses to make.
_OFTEN: Final = 64
_VALUES_A_KEY: Final = 64
_LONGEST: Final = 256

#: How a value is written in the function for its sequence of keys; {0} is its number there. A string of which there are
#: few; anything; a string that is ever new, an integer, a float.
_KNOWN: Final = "known{0}.get(value{0}) or write{0}(value{0})"
_OTHER: Final = "write{0}(value{0})"
_BY_TYPE: Final[dict[type, str]] = {
    str: "strings{0}[len(it := value{0}.encode())] + it if type(value{0}) is str else write{0}(value{0})",
    int: "integers{0}[len(it := varint(value{0}))] + it"
    " if type(value{0}) is int and 0 <= value{0} < limit else write{0}(value{0})",
    float: "floats{0} + pack(value{0}) if type(value{0}) is float else write{0}(value{0})",
}

#: Writes the values of one sequence of keys, each under the tag of the field that holds them.
Writer = Callable[[bytes, Iterable[object]], bytes]


class _Heads(dict[int, bytes]):
    """What stands before a value of one key that is of one type, by the value's size in bytes."""

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


class _Key:
    """A key, and what is remembered of its values."""

    __slots__ = ("changes", "floats", "integers", "known", "name", "strings")

    def __init__(self, name: str) -> None:
        self.name = name
        self.strings = _Heads(name, lambda size: b"\x0a" + varint(size))
        self.integers = _Heads(name, lambda _: b"\x18")
        self.floats = before_value(name, b"\x21", DOUBLE.size)
        #: Strings as a whole.
        self.known: dict[str, bytes] = {}
        #: Whether a string of it is expected to be one that was not there before.
        self.changes = False

    def write(self, value: Any) -> bytes:  # noqa: ANN401 - of any type
        """Write any value of this key as a KeyValue without its tag, but with its length.

        Raises:
            ValueError: an integer has more than 64 bits, or a string is no Unicode.
            TypeError: the value is of none of OTLP's types.
        """
        kind = type(value)
        if kind is str:
            return self.known.get(value) or self._learn(value)
        if kind is int and 0 <= value < INT64:
            content = varint(value)
            return self.integers[len(content)] + content
        if kind is float:
            return self.floats + DOUBLE.pack(value)
        content = any_value(value)
        return key_value(self.name, content)

    def _learn(self, value: str) -> bytes:
        """Write a string that is not known, and know it the next time."""
        content = value.encode()
        written = self.strings[len(content)] + content
        if not self.changes and len(content) <= _LONGEST:
            self.known[value] = written
            if len(self.known) >= _VALUES_A_KEY:
                self.changes = True
                self.known.clear()
                _writers.clear()  # those of this key expect to know it
        return written

    def expression(self, value: object) -> str:
        """Return what writes values like this one."""
        return _KNOWN if type(value) is str and not self.changes else _BY_TYPE.get(type(value), _OTHER)


class _Keys(dict[str, _Key]):
    """What is remembered of each key; when there are too many, all of it starts anew."""

    __slots__ = ()

    def __missing__(self, name: str) -> _Key:
        key = _Key(name)
        if len(self) >= _KEYS:
            self.clear()
            _writers.clear()
        self[name] = key
        return key


_keys: Final = _Keys()
_writers: Final[dict[tuple[str, ...], Writer]] = {}
#: How often a sequence of keys without a function was there.
_seen: Final[dict[tuple[str, ...], int]] = {}


def attributes(tag: bytes, held: Mapping[str, Any]) -> bytes:
    """Write attributes, each a KeyValue under the tag of the field that holds them.

    One that cannot be written is left out and reported once; the official encoder leaves it out too.
    """
    try:
        names = tuple(held)
        if (writer := _writers.get(names) or _writer(names, held)) is not None:
            return writer(tag, held.values())
        return tag.join([b"", *[_keys[name].write(value) for name, value in held.items()]])
    except Exception:  # noqa: BLE001 - any object can stand in for a value
        return b"".join([_one(tag, name, value) for name, value in held.items()])


def _writer(names: tuple[str, ...], held: Mapping[str, object]) -> Writer | None:
    """Make the function for these keys, if they come often and there is room for it."""
    if len(_writers) >= _WRITERS:
        return None
    times = _seen.get(names, 0) + 1
    if times >= _OFTEN:
        _seen.pop(names, None)
        writer = _writers[names] = _compile(names, held)
        return writer
    if len(_seen) >= _KEYS:
        _seen.clear()
    _seen[names] = times
    return None


def _compile(names: tuple[str, ...], held: Mapping[str, object]) -> Writer:
    """Compile the function for these keys, and values like these. Of the keys only their numbers are in its source."""
    namespace: dict[str, Any] = {"varint": varint, "limit": INT64, "pack": DOUBLE.pack}
    values, written = "", ""
    for number, name in enumerate(names):
        key = _keys[name]
        values += f"value{number}, "
        written += f"({key.expression(held[name]).format(number)}), "
        for remembered in ("known", "strings", "integers", "floats", "write"):
            namespace[f"{remembered}{number}"] = getattr(key, remembered)
    source = f"def write(tag, values):\n [{values}] = values\n return tag.join((b'', {written}))"
    exec(source, namespace)  # noqa: S102 - see above
    writer: Writer = namespace["write"]
    return writer


def _one(tag: bytes, name: str, value: object) -> bytes:
    """Write one attribute, or nothing."""
    try:
        return tag + _keys[name].write(value)
    except Exception as error:  # noqa: BLE001 - see `attributes`
        faults.report("encoding an attribute", error)
        return b""
