"""Check that a saga is exactly one connected trace, by rules over its recorded spans.

Each rule is a function from the saga's trace to its findings, and `RULES` lists all of them:

- one entry: a SERVER span whose parent is absent or outside this system; every other span's parent is recorded;
- every span that serves the order carries the order's ids;
- every message was acknowledged, once for each claim of its outbox row: a relay that dies after the broker's
  acknowledgement and before recording it leaves the row to another claim, which sends it again;
- every group that reads the topic has one process span with an effect, which is a child of a send and linked to it;
  there may also be failed attempts and duplicates; a message among the group's dead letters has no effect yet;
- what the orchestrator sends is a step: a child of the entry, or of a request or a timeout below it, with a link to the
  reply that caused it; only the first steps, and the command that a request or a timeout sends, have no such link.
  A cause that was not recorded is a step that may be missing as a whole;
- a step is one line: no span is deeper than the entry, a request or timeout, and a step's two messages make it;
- a process span of a re-driven message links to one that failed;
- a compensating span links to its participant's span of the step it undoes, if that step was ever processed;
- one `saga order ...` span covers the saga's life, and a refund after completion adds one `refund order ...` span;
- a saga that ended has sent the events of its outcome.

A trace that passes is connected: all paths up end at the one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from services.cli.traces.findings import Finding, Rule
from services.cli.traces.model import Kind, Span, once
from services.cli.traces.saga_trace import SagaTrace, claim, group, message_type, serves_many
from services.cli.traces.steps import BEGINNING, are_below_the_entry, are_lines
from services.contracts.commands import UNDOES
from services.contracts.topics import ORCHESTRATOR_GROUP, READERS, retry_topic
from services.messaging import semconv
from tracing.semconv import MESSAGING_MESSAGE_ID

ENDS = {
    "completed": frozenset({"order.confirmed", "saga.completed"}),
    "failed": frozenset({"order.canceled", "saga.failed"}),
    "canceled": frozenset({"order.canceled", "saga.canceled"}),
    "refunded": frozenset({"order.refunded", "saga.refunded"}),
}
"""The events that an ended saga has sent, by its outcome."""

CLOCKS_NS = 1_000_000_000
"""How far the clocks of two hosts, or of a host and the database, may differ."""

_APPLIED = {None, "applied"}


def check(spans: Iterable[Span], *, saga_id: str, trace_id: str, outcome: str | None = None) -> list[Finding]:
    """Check that a saga is exactly one connected trace; return no findings if it is.

    Args:
        spans: The recorded spans: those of the trace, and any others, which are searched for strays of the saga.
        saga_id: The saga.
        trace_id: The trace that it should be, in lower-case hex.
        outcome: How the saga ended, if that is known: then the trace has to show it.
    """
    recorded = once(spans)
    saga = SagaTrace(saga_id, tuple(span for span in recorded if span.trace_id == trace_id))
    elsewhere = [span for span in recorded if span.trace_id != trace_id]
    findings = [finding for rule in RULES for finding in rule(saga)]
    return [*findings, *_shows(saga, outcome), *_no_strays(saga_id, elsewhere)]


def _one_entry(saga: SagaTrace) -> Iterator[Finding]:
    if not saga.entries:
        yield Finding(Rule.ENTRY, "no request started this saga")
    for span in saga.entries[1:]:
        yield Finding(Rule.ENTRY, "is another entry", span)


def _parents_are_there(saga: SagaTrace) -> Iterator[Finding]:
    for span in saga.spans:
        if span.parent_id is None and span.kind is not Kind.SERVER:
            yield Finding(Rule.PARENT, "has no parent", span)
        elif span.parent_id not in saga.by_id and span.kind is not Kind.SERVER:
            yield Finding(Rule.PARENT, f"has a parent that was not recorded ({span.parent_id})", span)
        elif _is_below_itself(span, saga):
            yield Finding(Rule.PARENT, "is its own ancestor", span)


def _is_below_itself(span: Span, saga: SagaTrace) -> bool:
    above = saga.by_id.get(saga.path(span)[-1])
    return above is not None and above.parent_id == span.span_id


def _no_strays(saga_id: str, elsewhere: Sequence[Span]) -> Iterator[Finding]:
    """Find spans of the saga in other traces, where only requests for it are allowed."""
    there = {(span.trace_id, span.span_id) for span in elsewhere}
    for span in elsewhere:
        is_inside_a_request = span.kind is Kind.SERVER or (span.trace_id, span.parent_id) in there
        if span.text(semconv.SAGA_ID) == saga_id and not is_inside_a_request:
            yield Finding(Rule.ONE_TRACE, f"is in trace {span.trace_id}", span)


def _ids(saga: SagaTrace) -> Iterator[Finding]:
    known = [order for span in saga.entries if (order := span.text(semconv.ORDER_ID))]
    for span in saga.spans:
        if serves_many(span):
            continue
        if span.text(semconv.SAGA_ID) is None:
            yield Finding(Rule.IDS, f"has no {semconv.SAGA_ID}", span)
        if (order := span.text(semconv.ORDER_ID)) is None:
            yield Finding(Rule.IDS, f"has no {semconv.ORDER_ID}", span)
        elif known and order != known[0]:
            yield Finding(Rule.IDS, f"has the {semconv.ORDER_ID} of another order", span)


def _sends(saga: SagaTrace) -> Iterator[Finding]:
    for topic, message_id in _keys(saga):
        attempts = saga.sends.get((topic, message_id), ())
        processed = saga.processes.get((topic, message_id), ())
        some = (*attempts, *processed)[0]
        if not message_id:
            yield Finding(Rule.SEND, f"names no message ({MESSAGING_MESSAGE_ID})", some)
            continue
        acknowledged = [span for span in attempts if not span.is_error and not span.is_interrupted]
        if not acknowledged:
            yield Finding(Rule.SEND, f"is about {_message(some, message_id)}, for which no send was acknowledged", some)
        claims: set[int] = set()
        for span in acknowledged:
            if claim(span) in claims:
                yield Finding(Rule.SEND, f"sends {_message(span, message_id)} once more", span)
            claims.add(claim(span))


def _effects(saga: SagaTrace) -> Iterator[Finding]:
    for topic, message_id in _keys(saga):
        send = next(iter(saga.sends.get((topic, message_id), ())), None)
        if not message_id or send is None:
            continue
        for reader in READERS[topic]:
            effects = saga.effects.get((message_id, reader), ())
            if not effects and (message_id, reader) not in saga.dead_lettered:
                text = f"sent {_message(send, message_id)}, which group {reader} has not processed with an effect"
                yield Finding(Rule.EFFECT, text, send)
            for span in effects[1:]:
                yield Finding(Rule.EFFECT, f"is another effect of {_message(span, message_id)} for {reader}", span)


def _causes(saga: SagaTrace) -> Iterator[Finding]:
    for (topic, message_id), spans in saga.processes.items():
        sends = saga.sends.get((topic, message_id), ())
        if not sends and topic not in READERS:
            # An operator without telemetry has re-driven it: the context in the record is that of its first send.
            sends = [send for (_, one), each in saga.sends.items() for send in each if one == message_id]
        senders = {span.span_id for span in sends}
        for span in spans:
            if span.parent_id not in senders:
                yield Finding(Rule.CAUSE, "is not the child of its message's send", span)
            if not senders.intersection(link.span_id for link in span.links):
                yield Finding(Rule.CAUSE, "is not linked to its message's send", span)


def _retries(saga: SagaTrace) -> Iterator[Finding]:
    for (topic, message_id), spans in saga.processes.items():
        for span in spans:
            if topic != retry_topic(group(span) or ""):
                continue
            failed = {one.span_id for one in saga.failures(message_id, group(span) or "") if one is not span}
            if not failed.intersection(link.span_id for link in span.links):
                yield Finding(Rule.RETRY, "is not linked to the attempt that failed", span)


def _compensations(saga: SagaTrace) -> Iterator[Finding]:
    for compensation, step in UNDOES.items():
        undoing = saga.effects_of(compensation)
        undone = saga.effects_of(step)
        # A step that came after the first compensation was refused, so there is nothing to link to.
        if not undoing or not undone or undone[0].start_ns > undoing[0].start_ns:
            continue
        # Interrupted spans leave it open which of them had the effect, so a link from any to any counts.
        targets = {span.span_id for spans in saga.possible_effects_of(step) for span in spans}
        for spans in saga.possible_effects_of(compensation):
            # `link.type` is not checked: Jaeger's Badger storage drops the attributes of links.
            if targets.isdisjoint(link.span_id for span in spans for link in span.links):
                yield Finding(Rule.COMPENSATION, f"does not link to the `{step}` that it undoes", spans[-1])


def _life(saga: SagaTrace) -> Iterator[Finding]:
    lives, refunds = saga.bars(semconv.SPAN_SAGA_ORDER), saga.bars(semconv.SPAN_REFUND_ORDER)
    is_refunded = not saga.sent_types().isdisjoint(ENDS["refunded"])
    if not lives:
        yield Finding(Rule.LIFE, f"there is no `{semconv.SPAN_SAGA_ORDER}` span: the saga has not ended")
        return
    if is_refunded and not refunds:
        yield Finding(Rule.LIFE, f"there is no `{semconv.SPAN_REFUND_ORDER}` span, but the order was refunded")
    for span in lives[1:] + refunds[1:]:
        yield Finding(Rule.LIFE, "is there once more", span)
    if saga.entries and not _meet(saga.entries[0], lives[0].start_ns, lives[0].start_ns):
        yield Finding(Rule.LIFE, "does not begin within the request that started the saga", lives[0])
    for span in _moves(saga):
        if not any(_meet(span, life.start_ns, life.end_ns) for life in lives + refunds):
            yield Finding(Rule.LIFE, "moved the saga outside of the life that its summary shows", span)


def _shows(saga: SagaTrace, outcome: str | None) -> Iterator[Finding]:
    """Find that the last spans are not there: a trace without the whole refund is one of a completed order."""
    bars = [*saga.bars(semconv.SPAN_SAGA_ORDER), *saga.bars(semconv.SPAN_REFUND_ORDER)]
    if outcome in ENDS and outcome not in {span.text(semconv.SAGA_OUTCOME) for span in bars}:
        yield Finding(Rule.LIFE, f"no span shows that it was {outcome}")


def _moves(saga: SagaTrace) -> Iterator[Span]:
    """Yield the process spans in which a reply moved the saga."""
    for (_, reader), spans in saga.effects.items():
        if reader == ORCHESTRATOR_GROUP:
            yield from (span for span in spans if span.text(semconv.SAGA_VERDICT) in _APPLIED)


def _meet(span: Span, start_ns: int, end_ns: int) -> bool:
    return span.start_ns <= end_ns + CLOCKS_NS and span.end_ns >= start_ns - CLOCKS_NS


def _end(saga: SagaTrace) -> Iterator[Finding]:
    sent = saga.sent_types()
    for name in (semconv.SPAN_SAGA_ORDER, semconv.SPAN_REFUND_ORDER):
        for span in saga.bars(name):
            outcome = span.text(semconv.SAGA_OUTCOME)
            missing = (BEGINNING | ENDS.get(outcome or "", frozenset())) - sent
            if outcome not in ENDS:
                yield Finding(Rule.END, f"has no {semconv.SAGA_OUTCOME} that a saga can have", span)
            elif missing:
                yield Finding(Rule.END, f"shows an end of which {_list(missing)} was not sent", span)


def _keys(saga: SagaTrace) -> list[tuple[str, str]]:
    """Return the messages on topics with readers, which excludes dead-letter and retry topics."""
    return [key for key in dict.fromkeys((*saga.sends, *saga.processes)) if key[0] in READERS]


def _message(span: Span, message_id: str) -> str:
    return f"`{message_type(span) or 'a message'}` ({message_id})"


def _list(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


RULES: tuple[Callable[[SagaTrace], Iterator[Finding]], ...] = (
    _one_entry,
    _parents_are_there,
    _ids,
    _sends,
    _effects,
    _causes,
    are_below_the_entry,
    are_lines,
    _retries,
    _compensations,
    _life,
    _end,
)
