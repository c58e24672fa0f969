"""The course of a saga as its trace shows it: which moves it made, where it stands, and why it turned back.

A move is a span of the orchestrator: the entry, the process span of a reply that was applied, a later request, a
timeout. The span says what moved the saga (`saga.input`) and from which state to which. Where it does not, as in a span
that was interrupted, the name or the type of the message says what moved the saga, and its table says where to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from services.cli.traces.model import Kind, Span
from services.cli.traces.saga_trace import SagaTrace, message_type
from services.contracts.topics import ORCHESTRATOR_GROUP
from services.messaging import semconv
from services.oms.saga import COMMANDS, ENDS, TABLE, IllegalMove, Input, SagaState, is_back, newest, step

_REQUEST, _TIMEOUT = semconv.request_span(""), semconv.timeout_span("")
_APPLIED = {None, "applied"}
_DEFINITE = {Input.REJECTED, Input.DECLINED, Input.CANCEL}
_UNCERTAIN = {Input.GAVE_UP, Input.DEAD_LETTERED}
_INPUTS = {str(one): one for one in Input}
_STATES = {str(one): one for one in SagaState}

# The command whose answer a saga awaits, by its state.
_AWAITED = {move.state: str(command) for move in TABLE.values() for command in COMMANDS.intersection(move.effects)}


@dataclass(frozen=True, slots=True)
class SagaMove:
    """One move: its span, what moved the saga, and the states before and after; None if they can't be known."""

    span: Span
    by: Input
    before: SagaState | None
    after: SagaState | None

    @property
    def awaited(self) -> str | None:
        """The command whose answer the saga awaited before the move."""
        return _AWAITED.get(self.before) if self.before else None


@dataclass(frozen=True)
class Course:
    """The moves of one saga.

    Args:
        saga: Its trace.
    """

    saga: SagaTrace

    @cached_property
    def moves(self) -> tuple[SagaMove, ...]:
        """All moves, in the order in which they were made."""
        made: list[SagaMove] = []
        state = SagaState.NEW if self.saga.entries else SagaState.RESERVING
        for span, by in sorted(_moving(self.saga), key=lambda one: one[0].start_ns):
            before = _state(span, semconv.SAGA_STATE_FROM) or state
            after = _state(span, semconv.SAGA_STATE_TO) or _next(before, by)
            made.append(SagaMove(span, by, before, after))
            state = after or before
        return tuple(made)

    @cached_property
    def state(self) -> SagaState | None:
        """Where the saga stands; None if nothing says so."""
        return next((move.after for move in reversed(self.moves) if move.after), None)

    @property
    def awaited(self) -> str | None:
        """The command whose answer the saga awaits."""
        return _AWAITED.get(self.state) if self.state else None

    @cached_property
    def turn(self) -> SagaMove | None:
        """The move that turned the saga back before it was completed, or ended it without success."""
        return next((move for move in self.moves if _turns(move)), None)

    @property
    def turned_ns(self) -> int:
        """When it was turned back, from its begin: no later than its end, which that span may outlive."""
        turned = self.turn.span.end_ns if self.turn else self.end_ns
        return (min(turned, self.end_ns) if self.outcome else turned) - self.begin_ns

    @cached_property
    def refund(self) -> SagaMove | None:
        """The request to refund the completed order."""
        return next((move for move in self.moves if move.by is Input.REFUND), None)

    @cached_property
    def attention(self) -> SagaMove | None:
        """The last move, if it asked for an operator: a saga on its way back got no answer, or a dead letter."""
        last = self.moves[-1] if self.moves else None
        return last if last and last.by in _UNCERTAIN and last.after == last.before and not _turns(last) else None

    @cached_property
    def life(self) -> Span | None:
        """The span that shows the saga's life as one bar; there is none before its first end."""
        return next(iter(self.saga.bars(semconv.SPAN_SAGA_ORDER)), None)

    @cached_property
    def refunding(self) -> Span | None:
        """The span that shows a refund as one bar; there is none before it is done."""
        return next(iter(self.saga.bars(semconv.SPAN_REFUND_ORDER)), None)

    @cached_property
    def outcome(self) -> str | None:
        """How the saga ended: `completed`, `failed`, `canceled`, `refunded`; None if it is open."""
        last = self.refunding or (None if self.refund else self.life)
        said = last.text(semconv.SAGA_OUTCOME) if last else None
        return said or (str(ENDS[self.state]) if self.state in ENDS else None)

    @property
    def first_outcome(self) -> str | None:
        """How the saga first ended, whatever became of a refund."""
        return (self.life.text(semconv.SAGA_OUTCOME) if self.life else None) or (None if self.refund else self.outcome)

    @cached_property
    def begin_ns(self) -> int:
        """When the saga's life begins, in nanoseconds since the epoch."""
        first = self.life or next(iter(self.saga.entries), None) or self.saga.spans[0]
        return first.start_ns

    @cached_property
    def end_ns(self) -> int:
        """When its life before a refund ends; as far as it is recorded, if it has not ended."""
        if self.life:
            return self.life.end_ns
        lived = [move for move in self.moves if move.by is not Input.REFUND] if self.outcome else ()
        return max((span.end_ns for span in ([move.span for move in lived] or self.saga.spans)), default=0)


def _moving(saga: SagaTrace) -> Iterator[tuple[Span, Input]]:
    """Yield the spans that moved the saga, with what moved it."""
    yield from ((span, Input.START) for span in saga.entries[:1])
    for (_, reader), spans in saga.effects.items():
        if reader == ORCHESTRATOR_GROUP:
            replies = (span for span in spans[:1] if span.text(semconv.SAGA_VERDICT) in _APPLIED)
            yield from _known((span, message_type(span)) for span in replies)
    above = {span.parent_id for span in saga.spans}
    asked = [span for span in saga.spans if span.kind is Kind.INTERNAL and span.name.startswith((_REQUEST, _TIMEOUT))]
    # One that was interrupted is committed only if the relay found what it sends.
    yield from _known((span, _asking(span)) for span in asked if not span.is_interrupted or span.span_id in above)


def _asking(span: Span) -> str:
    return span.name.removeprefix(_REQUEST) if span.name.startswith(_REQUEST) else Input.TIMED_OUT


def _known(spans: Iterable[tuple[Span, str | None]]) -> Iterator[tuple[Span, Input]]:
    for span, otherwise in spans:
        by = _INPUTS.get(span.text(semconv.SAGA_INPUT) or otherwise or "")
        if by is not None:
            yield span, by


def _state(span: Span, key: str) -> SagaState | None:
    return _STATES.get(span.text(key) or "")


def _next(before: SagaState, by: Input) -> SagaState | None:
    try:
        return step(newest(), before, by).state
    except IllegalMove:
        return None


def _turns(move: SagaMove) -> bool:
    """Return whether a move ended the way forward; on the way back, no answer and a dead letter only ask for help."""
    if move.by in _UNCERTAIN:
        return move.before is None or not is_back(newest(), move.before)
    return move.by in _DEFINITE
