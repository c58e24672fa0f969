"""Kafka headers as a value."""

import pytest

from tracing import headers

GOOD = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEWER = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"


def test_the_last_value_of_a_name_wins() -> None:
    """Where an instrumentation appends, the newest value is the one at the end."""
    assert headers.get([("a", b"1"), ("b", b"2"), ("a", b"3")], "a") == "3"


@pytest.mark.parametrize("value", [None, b"\xff\xfe", "text", 7])
def test_a_value_that_is_no_text_is_not_there(value: object) -> None:
    """A value that is missing, not UTF-8 or of another type is passed over, and an older one found."""
    assert headers.get([("a", b"1"), ("a", value)], "a") == "1"  # type: ignore[list-item]  # as other programs send it


@pytest.mark.parametrize("garbage", [b"", b"nonsense", b"00-0-0-0", b"\xff\xfe", GOOD.upper(), b"ff" + GOOD[2:]])
def test_a_malformed_traceparent_does_not_hide_a_good_one(garbage: bytes) -> None:
    """Only a traceparent in the form of the W3C recommendation counts as a value."""
    assert headers.get([("traceparent", GOOD), ("traceparent", garbage)], "traceparent") == GOOD.decode()


@pytest.mark.parametrize("junk", [b"no pair", b"k=v,=x", b'k="v"', b"k=v;", b"k=v,,k=v", b",".join([b"k=v"] * 181)])
def test_a_malformed_baggage_is_not_there(junk: bytes) -> None:
    """A baggage header with a member that is none is as good as no header, and none of it is logged."""
    assert headers.get([("baggage", junk)], "baggage") is None


@pytest.mark.parametrize("good", [b"k=v", b"k = v , l=%20;p=1 ; q", b"a.b=", b"user=al=ice"])
def test_a_baggage_is_read_as_it_stands(good: bytes) -> None:
    """A well-formed baggage header is read."""
    assert headers.get([("baggage", good)], "baggage") == good.decode()


def test_a_baggage_beyond_the_limit_is_not_there() -> None:
    """Baggage of more than 8192 bytes is passed over: a propagator would log it whole."""
    assert headers.get([("baggage", b"k=" + b"v" * 8192)], "baggage") is None


def test_replace_leaves_one_value_and_the_argument_as_it_was() -> None:
    """Replacing drops every value of the name, keeps the order of the rest, and returns a new list."""
    given = [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert headers.replace(given, "a", b"4") == [("b", b"2"), ("a", b"4")]
    assert given == [("a", b"1"), ("b", b"2"), ("a", b"3")]


def test_drop_takes_several_names() -> None:
    """Every header of the names is left out."""
    assert headers.drop([("a", b"1"), ("b", None), ("c", b"3")], ("a", "b")) == [("c", b"3")]


@pytest.mark.parametrize("nothing", [None, 7, "headers", b"bytes", {"a": b"1"}, [1, ("a",), (1, b"x"), ("a", b"", 3)]])
def test_what_is_no_header_is_left_out(nothing: object) -> None:
    """Anything else than pairs that begin with a name reads as no headers."""
    assert headers.pairs(nothing) == []


def test_lists_in_place_of_pairs_are_understood() -> None:
    """A pair may be a list, as JSON has it."""
    assert headers.pairs([["a", b"1"]]) == [("a", b"1")]


def test_a_value_that_cannot_be_encoded_is_not_written() -> None:
    """A propagator that writes a lone surrogate does not fail the message."""
    written: list[headers.Header] = []
    headers.HeaderSetter().set(written, "a", "\ud800")
    headers.HeaderSetter().set(written, "b", "ok")
    assert written == [("b", b"ok")]


def test_the_getter_lists_names() -> None:
    """Propagators that search by prefix see every name."""
    assert headers.HeaderGetter().keys([("a", b"1"), ("b", None)]) == ["a", "b"]
