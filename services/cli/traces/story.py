"""One saga's part of a trace, with its spans found by what they are.

A trace may hold more than one saga, and spans of a caller outside this system. A span belongs to a saga

- if it carries its `saga.id`,
- if it carries none, and the way from it up to a span of the saga, or from a span of the saga up to it, leads through
  such spans only; the way up ends at a SERVER span, because above it is the caller,
- if it carries none and the trace has one saga and no caller: then nobody else can have made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from services.cli.traces.model import Kind, Span
from services.contracts.topics import dead_letter_topic
from services.messaging import semconv
from tracing.semconv import (
    COMMIT,
    MESSAGING_CONSUMER_GROUP_NAME,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_MESSAGE_ID,
    MESSAGING_OPERATION_NAME,
    POLL,
    PROCESS,
    SEND,
)

MessageKey = tuple[str, str]
"""A topic and a message id."""

_SERVES_MANY = {POLL, COMMIT}


def operation(span: Span) -> str | None:
    """Name the messaging operation of a span, if it is one."""
    return span.text(MESSAGING_OPERATION_NAME)


def serves_many(span: Span) -> bool:
    """Tell whether a span serves many orders by its nature, and so carries no ids."""
    return operation(span) in _SERVES_MANY


def message_type(span: Span) -> str | None:
    """Name the type of the message that a span sends or processes."""
    return span.text(semconv.SAGATRACE_MESSAGE_TYPE)


def group(span: Span) -> str | None:
    """Name the consumer group that a span processes for."""
    return span.text(MESSAGING_CONSUMER_GROUP_NAME)


def claim(span: Span) -> int:
    """Tell the how many-th claim of its outbox row a send belongs to."""
    value = span.attributes.get(semconv.SAGATRACE_OUTBOX_ATTEMPT)
    return value if isinstance(value, int) else 1


def is_duplicate(span: Span) -> bool:
    """Tell whether the inbox absorbed the message that a span processes."""
    return bool(span.attributes.get(semconv.SAGATRACE_DUPLICATE))


@dataclass(frozen=True)
class Story:
    """What a trace tells of one saga.

    Args:
        saga_id: The saga.
        trace: All spans of its trace.
    """

    saga_id: str
    trace: tuple[Span, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The saga's spans, in the order in which they started."""
        members = self._members()
        return tuple(sorted((self.by_id[one] for one in members), key=lambda span: (span.start_ns, span.end_ns)))

    @cached_property
    def by_id(self) -> Mapping[str, Span]:
        """All spans of the trace by their ids."""
        return {span.span_id: span for span in self.trace}

    @cached_property
    def entries(self) -> tuple[Span, ...]:
        """The requests that started the saga: one, if all is well.

        A caller may put further requests about the order into the trace that it shares: those cause no span here.
        """
        own = {span.span_id for span in self.spans}
        doors = [span for span in self.spans if span.kind is Kind.SERVER and span.parent_id not in own]
        parents = {span.parent_id for span in self.spans}
        return tuple(door for door in doors if door.span_id in parents) or tuple(doors)

    @cached_property
    def sends(self) -> Mapping[MessageKey, Sequence[Span]]:
        """The send spans by topic and message id; a span that names no message is under an empty id."""
        return self._by_message(SEND)

    @cached_property
    def processes(self) -> Mapping[MessageKey, Sequence[Span]]:
        """The process spans by topic and message id."""
        return self._by_message(PROCESS)

    @cached_property
    def effects(self) -> Mapping[tuple[str, str], Sequence[Span]]:
        """The process spans that had an effect, by message id and group, from whatever topic the message came.

        An interrupted one may have had it: it counts if no other did.
        """
        return {key: _prefer_finished(spans) for key, spans in self.tries.items()}

    @cached_property
    def tries(self) -> Mapping[tuple[str, str], Sequence[Span]]:
        """The process spans that may have had an effect, by message id and group.

        A failed attempt, and a duplicate that the inbox absorbed, have none. Of several interrupted ones nobody knows
        which one had it.
        """
        tries: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for (_, message_id), spans in self.processes.items():
            for span in spans:
                if not span.is_error and not is_duplicate(span):
                    tries[message_id, group(span) or ""].append(span)
        return dict(tries)

    def tried(self, kind: str) -> list[list[Span]]:
        """Give the process spans that may have had an effect of one type of message, message by message."""
        return [list(spans) for spans in self.tries.values() if message_type(spans[0]) == kind]

    @cached_property
    def buried(self) -> frozenset[tuple[str, str]]:
        """The messages, by id and group, that the group has written to its dead letters."""
        return frozenset(
            (failed.text(MESSAGING_MESSAGE_ID) or "", group(failed) or "")
            for (topic, _), spans in self.sends.items()
            for span in spans
            if not span.is_error and (failed := self.by_id.get(span.parent_id or "")) is not None
            if topic == dead_letter_topic(group(failed) or "")
        )

    def failures(self, message_id: str, reader: str) -> Iterator[Span]:
        """Give the process spans of a message that failed for a group, from whatever topic it came."""
        for (_, one), spans in self.processes.items():
            if one == message_id:
                yield from (span for span in spans if span.is_error and group(span) == reader)

    def processed(self, kind: str) -> list[Span]:
        """Give the process spans with an effect of one type of message, in the order in which they started."""
        found = [span for spans in self.effects.values() for span in spans if message_type(span) == kind]
        return sorted(found, key=lambda span: span.start_ns)

    def sent_types(self) -> set[str]:
        """Name the types of all messages that were sent."""
        return {kind for spans in self.sends.values() for span in spans if (kind := message_type(span))}

    def named(self, name: str) -> list[Span]:
        """Give the saga's spans of one name."""
        return [span for span in self.spans if span.name == name]

    def _by_message(self, wanted: str) -> dict[MessageKey, list[Span]]:
        found: dict[MessageKey, list[Span]] = defaultdict(list)
        for span in self.spans:
            if operation(span) == wanted:
                topic = span.text(MESSAGING_DESTINATION_NAME) or ""
                found[topic, span.text(MESSAGING_MESSAGE_ID) or ""].append(span)
        return dict(found)

    def _members(self) -> set[str]:
        members = {span.span_id for span in self.trace if _saga(span) == self.saga_id}
        if self._is_alone(members):
            return set(self.by_id)
        for one in list(members):
            members.update(self._nameless_above(self.by_id[one]))
        for span in self.trace:
            way = self._nameless_up(span, members)
            if way and way[-1].parent_id in members:
                members.update(one.span_id for one in way)
        return members

    def _is_alone(self, members: Iterable[str]) -> bool:
        """Tell whether the trace has one saga and no caller."""
        doors = [self.by_id[one] for one in members if self.by_id[one].kind is Kind.SERVER]
        others = {_saga(span) for span in self.trace} - {self.saga_id, None}
        return not others and all(door.parent_id is None for door in doors)

    def _nameless_above(self, span: Span) -> list[str]:
        """Walk up from a span of the saga through spans without an id, up to the request."""
        way: list[str] = []
        while span.kind is not Kind.SERVER:
            above = self.by_id.get(span.parent_id or "")
            if above is None or _saga(above) is not None or above.span_id in way:
                break
            way.append(above.span_id)
            span = above
        return way

    def _nameless_up(self, span: Span | None, members: Container[str]) -> list[Span]:
        """Walk up from a span that is nobody's yet, itself included, to the last one that is nobody's."""
        way: list[Span] = []
        while span is not None and _saga(span) is None and span.span_id not in members and span not in way:
            way.append(span)
            span = self.by_id.get(span.parent_id or "")
        return way


def _saga(span: Span) -> str | None:
    return span.text(semconv.SAGA_ID)


def _prefer_finished(spans: Sequence[Span]) -> Sequence[Span]:
    return [span for span in spans if not span.is_interrupted] or spans[:1]
