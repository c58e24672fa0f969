"""One saga's part of a trace, with its spans by kind.

A trace may contain several sagas, and spans of a caller outside this system. A span belongs to a saga

- if it carries the saga's `saga.id`,
- if it carries no `saga.id`, and neither do the spans between it and a span of the saga that is its ancestor or its
  descendant; a path up ends at a SERVER span, because the caller is above that,
- if it carries no `saga.id` and the trace has only one saga and no caller: nobody else can have made it.
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
_TURNS = (semconv.request_span(""), semconv.timeout_span(""))


def operation(span: Span) -> str | None:
    """Return the messaging operation of a span, if it has one."""
    return span.text(MESSAGING_OPERATION_NAME)


def serves_many(span: Span) -> bool:
    """Return whether a span serves many orders, as a poll or a commit does, and so carries no ids."""
    return operation(span) in _SERVES_MANY


def message_type(span: Span) -> str | None:
    """Return the type of the message that a span sends or processes."""
    return span.text(semconv.SAGATRACE_MESSAGE_TYPE)


def group(span: Span) -> str | None:
    """Return the consumer group that a span processes for."""
    return span.text(MESSAGING_CONSUMER_GROUP_NAME)


def claim(span: Span) -> int:
    """Return the number of the outbox row's claim that a send belongs to, from 1."""
    value = span.attributes.get(semconv.SAGATRACE_OUTBOX_ATTEMPT)
    return value if isinstance(value, int) else 1


def is_duplicate(span: Span) -> bool:
    """Return whether the inbox absorbed the message that a span processes."""
    return bool(span.attributes.get(semconv.SAGATRACE_DUPLICATE))


def is_refusal(span: Span) -> bool:
    """Return whether a span's error is a participant's no: the command was processed, and answered."""
    return span.text(semconv.SAGATRACE_REPLY_TYPE) is not None


def has_failed(span: Span) -> bool:
    """Return whether what a span shows went wrong."""
    return span.is_error and not is_refusal(span)


@dataclass(frozen=True)
class SagaTrace:
    """The spans of one saga in a trace.

    Args:
        saga_id: The saga.
        trace: All spans of the trace.
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
        """The requests that started the saga: exactly one in a good trace.

        A caller may make more requests for the order in the trace that it shares; those have no child spans here.
        """
        own = {span.span_id for span in self.spans}
        requests = [span for span in self.spans if span.kind is Kind.SERVER and span.parent_id not in own]
        parents = {span.parent_id for span in self.spans}
        return tuple(one for one in requests if one.span_id in parents) or tuple(requests)

    @cached_property
    def turns(self) -> tuple[Span, ...]:
        """The spans of requests and timeouts, which the orchestrator writes right below the entry."""
        above = {span.span_id for span in self.entries}
        return tuple(span for span in self.spans if span.parent_id in above and span.name.startswith(_TURNS))

    @cached_property
    def sends(self) -> Mapping[MessageKey, Sequence[Span]]:
        """The send spans by topic and message id; a span without a message id is under an empty one."""
        return self._by_message(SEND)

    @cached_property
    def processes(self) -> Mapping[MessageKey, Sequence[Span]]:
        """The process spans by topic and message id."""
        return self._by_message(PROCESS)

    @cached_property
    def effects(self) -> Mapping[tuple[str, str], Sequence[Span]]:
        """The process spans that had an effect, by message id and group, whatever topic the message came from.

        An interrupted span may have had the effect: it counts if no finished one did.
        """
        return {key: _prefer_finished(spans) for key, spans in self.possible_effects.items()}

    @cached_property
    def possible_effects(self) -> Mapping[tuple[str, str], Sequence[Span]]:
        """The process spans that may have had an effect, by message id and group.

        Failed attempts, and duplicates that the inbox absorbed, have none. Of several interrupted spans it is unknown
        which one had the effect.
        """
        found: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for (_, message_id), spans in self.processes.items():
            for span in spans:
                if not has_failed(span) and not is_duplicate(span):
                    found[message_id, group(span) or ""].append(span)
        return dict(found)

    def possible_effects_of(self, kind: str) -> list[list[Span]]:
        """Return the process spans that may have had an effect, for each message of a type."""
        return [list(spans) for spans in self.possible_effects.values() if message_type(spans[0]) == kind]

    @cached_property
    def dead_lettered(self) -> frozenset[tuple[str, str]]:
        """The messages, by id and group, that the group sent to its dead-letter topic."""
        return frozenset(
            (failed.text(MESSAGING_MESSAGE_ID) or "", group(failed) or "")
            for (topic, _), spans in self.sends.items()
            for span in spans
            if not span.is_error and (failed := self.by_id.get(span.parent_id or "")) is not None
            if topic == dead_letter_topic(group(failed) or "")
        )

    def failures(self, message_id: str, reader: str) -> Iterator[Span]:
        """Yield the failed process spans of a message for a group, whatever topic it came from."""
        for (_, one), spans in self.processes.items():
            if one == message_id:
                yield from (span for span in spans if has_failed(span) and group(span) == reader)

    def effects_of(self, kind: str) -> list[Span]:
        """Return the process spans with an effect, for all messages of a type, in the order in which they started."""
        found = [span for spans in self.effects.values() for span in spans if message_type(span) == kind]
        return sorted(found, key=lambda span: span.start_ns)

    def sent_types(self) -> set[str]:
        """Return the types of all messages that were sent."""
        return {kind for spans in self.sends.values() for span in spans if (kind := message_type(span))}

    def path(self, span: Span) -> list[str]:
        """Return the ids of a span and of those above it, as far as they were recorded, each once."""
        path = [span.span_id]
        above = self.by_id.get(span.parent_id or "")
        while above is not None and above.span_id not in path:
            path.append(above.span_id)
            above = self.by_id.get(above.parent_id or "")
        return path

    def bars(self, name: str) -> list[Span]:
        """Return the spans that show a whole life: their names begin so, and say how it ended."""
        return [span for span in self.spans if span.name == name or span.name.startswith(f"{name} ")]

    def _by_message(self, operation_name: str) -> dict[MessageKey, list[Span]]:
        found: dict[MessageKey, list[Span]] = defaultdict(list)
        for span in self.spans:
            if operation(span) == operation_name:
                topic = span.text(MESSAGING_DESTINATION_NAME) or ""
                found[topic, span.text(MESSAGING_MESSAGE_ID) or ""].append(span)
        return dict(found)

    def _members(self) -> set[str]:
        members = {span.span_id for span in self.trace if _saga(span) == self.saga_id}
        if self._has_trace_alone(members):
            return set(self.by_id)
        for one in list(members):
            members.update(self._unmarked_above(self.by_id[one]))
        for span in self.trace:
            path = self._unmarked_path(span, members)
            if path and path[-1].parent_id in members:
                members.update(one.span_id for one in path)
        return members

    def _has_trace_alone(self, members: Iterable[str]) -> bool:
        """Return whether the trace has only this saga and no caller."""
        requests = [self.by_id[one] for one in members if self.by_id[one].kind is Kind.SERVER]
        others = {_saga(span) for span in self.trace} - {self.saga_id, None}
        return not others and all(request.parent_id is None for request in requests)

    def _unmarked_above(self, span: Span) -> list[str]:
        """Return the ids of the spans without `saga.id` directly above a span of the saga, up to the request."""
        path: list[str] = []
        while span.kind is not Kind.SERVER:
            above = self.by_id.get(span.parent_id or "")
            if above is None or _saga(above) is not None or above.span_id in path:
                break
            path.append(above.span_id)
            span = above
        return path

    def _unmarked_path(self, span: Span | None, members: Container[str]) -> list[Span]:
        """Return the path up from a span, itself included, as long as the spans belong to no saga yet."""
        path: list[Span] = []
        while span is not None and _saga(span) is None and span.span_id not in members and span not in path:
            path.append(span)
            span = self.by_id.get(span.parent_id or "")
        return path


def _saga(span: Span) -> str | None:
    return span.text(semconv.SAGA_ID)


def _prefer_finished(spans: Sequence[Span]) -> Sequence[Span]:
    return [span for span in spans if not span.is_interrupted] or spans[:1]
