"""Attributes that follow a unit of work."""

import asyncio
from collections.abc import Iterator
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import get_tracer

import tracing
from tracing.binding import bind_below, bound, clean
from tracing.testing import RecordedSpans


class Colour(str, Enum):  # noqa: UP042  what a StrEnum is not
    """An enumeration of strings as it was before Python 3.11."""

    RED = "red"


SAGA = {"saga.id": "s-1", "order.id": "o-1"}


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span of the test."""
    with RecordedSpans() as recorded:
        yield recorded


def test_the_current_span_and_all_below_have_them(spans: RecordedSpans) -> None:
    """Bound attributes are on the span that is open and on every span started in the block, and on no other."""
    tracer = get_tracer("program")
    with tracer.start_as_current_span("open"):
        with tracing.bind(**SAGA), tracer.start_as_current_span("below"), tracer.start_as_current_span("deeper"):
            pass
        with tracer.start_as_current_span("after"):
            pass
    found = {span.name: dict(span.attributes or {}) for span in spans.finished}
    assert found == {"open": SAGA, "below": SAGA, "deeper": SAGA, "after": {}}


def test_inner_bindings_add_to_outer_ones_and_win() -> None:
    """The inner block sees both, the outer one its own again."""
    with tracing.bind(a="1", b="1"):
        with tracing.bind(b="2", c="3"):
            assert bound() == {"a": "1", "b": "2", "c": "3"}
        assert bound() == {"a": "1", "b": "1"}
    assert bound() == {}


def test_an_exception_unbinds() -> None:
    """What was bound is gone after an exception has left the block."""
    with pytest.raises(KeyError), tracing.bind(a="1"):
        raise KeyError
    assert bound() == {}


async def test_tasks_inherit_and_do_not_disturb_each_other() -> None:
    """Two handlers that run at the same time keep their own attributes, and a task started inside has its parent's."""
    first_in, second_in = asyncio.Event(), asyncio.Event()

    async def child() -> dict[str, Any]:
        return dict(bound())

    async def handler(name: str, arrived: asyncio.Event, other: asyncio.Event) -> dict[str, Any]:
        with tracing.bind(order=name):
            arrived.set()
            await other.wait()
            return await asyncio.create_task(child())

    found = await asyncio.gather(handler("a", first_in, second_in), handler("b", second_in, first_in))
    assert list(found) == [{"order": "a"}, {"order": "b"}]
    assert bound() == {}


def test_nothing_bound_travels() -> None:
    """Bound attributes are neither baggage nor headers."""
    with tracing.bind(**SAGA):
        assert tracing.inject(None) == []
        assert baggage.get_all() == {}


def test_a_span_of_a_message_has_the_conversation(spans: RecordedSpans) -> None:
    """Our own spans repeat the attribute that is the conversation, bound before or inside; others do not."""
    record = RecordStub()
    with tracing.process(record), tracing.bind("saga.id", **SAGA):
        pass
    with (
        tracing.bind("saga.id", **SAGA),
        tracing.process(record),
        get_tracer("program").start_as_current_span("query"),
    ):
        pass
    conversation = [
        (span.name, (span.attributes or {}).get("messaging.message.conversation_id")) for span in spans.finished
    ]
    assert conversation == [("process t", "s-1"), ("process t", "s-1"), ("query", None)]


def test_inner_bindings_keep_the_conversation(spans: RecordedSpans) -> None:
    """The conversation stays the attribute that an outer binding named, with its inner value; an absent one is none."""
    record = RecordStub()
    with tracing.bind("saga.id", **SAGA), tracing.bind(**{"saga.id": "s-2"}), tracing.process(record):
        pass
    with tracing.bind("order.id", **{"order.id": None, "saga.id": "s-3"}), tracing.process(record):
        pass
    conversation = [(span.attributes or {}).get("messaging.message.conversation_id") for span in spans.finished]
    assert conversation == ["s-2", None]


class RecordStub:
    """A record without headers."""

    topic, partition, offset, timestamp, key, value = "t", 0, 1, 0, None, b"v"
    headers: tuple[tuple[str, bytes | None], ...] = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (1.5, 1.5),
        (7, 7),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        ("\ud800", "?"),
        (b"\xffx", "�x"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([1, 2], [1, 2]),
        ((1, "a", 2**64), ["1", "a", str(2**64)]),
        ([[1], [2]], ["[1]", "[2]"]),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_values_are_made_exportable(value: object, expected: object) -> None:
    """One value that an exporter cannot encode would cost the whole batch of spans, so none gets there."""
    assert clean(value) == expected


def test_a_value_that_has_no_string_is_its_type() -> None:
    """An object whose string conversion raises does not fail the unit of work."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError

    assert clean(Broken()) == Broken.__qualname__


def test_none_is_left_out() -> None:
    """A value that is not known yet can be passed on."""
    with tracing.bind(a=None, b="1"):
        assert bound() == {"b": "1"}


def test_a_span_that_is_not_recorded_is_left_alone() -> None:
    """Binding under a remote or absent span does nothing but bind."""
    with tracing.bind(a="1"):
        assert not trace.get_current_span().is_recording()


def test_one_binding_may_be_entered_within_itself() -> None:
    """A binding that is entered again, also within itself, leaves nothing bound behind it."""
    one = tracing.bind(**SAGA)
    with one:
        with one:
            assert bound() == SAGA
        assert bound() == SAGA
    assert bound() == {}


def test_a_list_that_holds_itself_is_written_as_text() -> None:
    """A value that has no end costs no exception."""
    endless: list[object] = []
    endless.append(endless)
    with tracing.bind(endless=endless):
        assert bound() == {"endless": ["[[...]]"]}


def test_an_enumerations_member_is_its_value() -> None:
    """A member of an enumeration of strings is bound as `set_attribute` keeps it: by its value."""
    assert clean(Colour.RED) == "red"


def test_what_is_bound_below_leaves_the_current_span_alone(spans: RecordedSpans) -> None:
    """`bind_below` is for the spans that are started in the block, and not for the one around it."""
    tracer = get_tracer("test")
    with tracer.start_as_current_span("around"), bind_below(**{"message.type": "order.placed"}):
        tracer.start_span("below").end()
    assert dict(spans.one("below").attributes or {}) == {"message.type": "order.placed"}
    assert not spans.one("around").attributes
