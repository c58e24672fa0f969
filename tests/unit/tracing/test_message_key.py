"""The message key as an attribute."""

from typing import Any
from uuid import UUID

import pytest

from tracing import message_key

ORDER = UUID(int=7)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"order-1", "order-1"),
        ("bestellung-ü", "bestellung-ü"),
        (bytearray(b"k"), "k"),
        pytest.param(memoryview(b"k"), "k", id="a view of bytes"),
        (17, "17"),
        (ORDER, str(ORDER)),
        (b"\xff\x01", None),
        ("\ud800", None),
        (True, None),
        ({"id": 1}, None),
        (1.5, None),
    ],
    ids=repr,
)
def test_a_key_without_one_string_form_is_left_out(key: Any, expected: str | None) -> None:
    """Text, bytes of text, integers and UUIDs have one; what has none is not made up."""
    assert message_key.plain(key) == expected


def test_a_long_key_is_cut() -> None:
    """A key has at most 256 characters on a span, and shows that it went on."""
    assert message_key.plain(b"k" * 256) == "k" * 256
    assert message_key.plain(b"k" * 257) == "k" * 255 + "…"


def test_a_hash_is_stable_and_the_same_for_equal_keys() -> None:
    """A pseudonym depends on the key's bytes alone, also for bytes that are no text, and never shows them."""
    assert message_key.hashed(b"jane@example.org") == "13d855ce931073d4"
    assert message_key.hashed("jane@example.org") == "13d855ce931073d4"
    assert message_key.hashed(b"\xff") != message_key.hashed(b"\xfe")
    assert message_key.hashed({"id": 1}) is None


def test_off_is_off() -> None:
    """No key at all."""
    assert message_key.RENDERERS["off"](b"k") is None
