"""What is missing from a saga's trace, or wrong with it, in words: the findings of its check without ids and rules.

One span that was not recorded breaks several rules at once, so the same words are said once. An open saga has messages
in transit and no end yet: what only an end must have is not missing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from services.cli.traces.findings import Finding, Rule
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import SagaTrace, group, message_type, operation
from services.contracts.topics import READERS
from tracing.semconv import MESSAGING_DESTINATION_NAME, MESSAGING_MESSAGE_ID, PROCESS, SEND

_OF_AN_END = {Rule.SEND, Rule.EFFECT, Rule.LIFE, Rule.END}


def missing(saga: SagaTrace, findings: Iterable[Finding], *, is_open: bool) -> tuple[str, ...]:
    """Return what is missing or wrong, a few words each and each once, in the order of the findings."""
    told = [one for one in findings if not (is_open and one.rule in _OF_AN_END)]
    return tuple(dict.fromkeys(words for one in told for words in _WORDS.get(one.rule, _as_found)(one, saga)))


def called(span: Span) -> str:
    """Return what a span is about, as a sentence says it: `the send of payment.charge`."""
    match operation(span):
        case "send":
            return f"the send of {_kind(span)}"
        case "process":
            return f"the processing of {_kind(span)} by {group(span) or span.service}"
        case _:
            return f"`{span.name}`"


def _entry(finding: Finding, _: SagaTrace) -> Iterator[str]:
    yield "there is a second entry" if finding.span else "the entry was not recorded"


def _parent(finding: Finding, saga: SagaTrace) -> Iterator[str]:
    span = finding.span
    if span is None or span.parent_id is None or span.parent_id in saga.by_id:
        yield from _as_found(finding, saga)
    elif operation(span) == PROCESS:
        yield f"the send of {_kind(span)} was not recorded"
    elif operation(span) == SEND or saga.entries:
        yield f"what is above {called(span)} was not recorded"


def _send(finding: Finding, saga: SagaTrace) -> Iterator[str]:
    span = finding.span
    if span is None or not span.text(MESSAGING_MESSAGE_ID):
        yield from _as_found(finding, saga)
        return
    sends = saga.sends.get(_key(span), ())
    if any(not send.is_error and not send.is_interrupted for send in sends):
        yield f"{_kind(span)} was sent twice"
    else:
        yield f"the send of {_kind(span)} was not {'acknowledged' if sends else 'recorded'}"


def _effect(finding: Finding, saga: SagaTrace) -> Iterator[str]:
    span = finding.span
    if span is None or operation(span) == PROCESS:
        yield f"{_kind(span)} was processed twice by {group(span) or span.service}" if span else finding.text
        return
    topic, message_id = _key(span)
    for reader in READERS.get(topic, ()):
        if not saga.effects.get((message_id, reader)) and (message_id, reader) not in saga.dead_lettered:
            yield f"the processing of {_kind(span)} by {reader} was not recorded"


def _cause(finding: Finding, saga: SagaTrace) -> Iterator[str]:
    span = finding.span
    # A parent that was not recorded is a finding of its own.
    if span is None or span.parent_id in saga.by_id:
        yield from _as_found(finding, saga)


def _life(finding: Finding, saga: SagaTrace) -> Iterator[str]:
    if finding.span is not None:
        yield from _as_found(finding, saga)
    else:
        yield "the span of its " + ("refund" if "refund" in finding.text else "life") + " was not recorded"


def _as_found(finding: Finding, _: SagaTrace) -> Iterator[str]:
    yield f"{called(finding.span)} {finding.text}" if finding.span else finding.text


def _kind(span: Span) -> str:
    return message_type(span) or span.text(MESSAGING_DESTINATION_NAME) or "a message"


def _key(span: Span) -> tuple[str, str]:
    return span.text(MESSAGING_DESTINATION_NAME) or "", span.text(MESSAGING_MESSAGE_ID) or ""


_WORDS: dict[Rule, Callable[[Finding, SagaTrace], Iterator[str]]] = {
    Rule.ENTRY: _entry,
    Rule.PARENT: _parent,
    Rule.SEND: _send,
    Rule.EFFECT: _effect,
    Rule.CAUSE: _cause,
    Rule.LIFE: _life,
}
