"""A record that a loop has handed out: its processing, current in the code that follows until that is over.

A coroutine that is awaited shares the context variables of its caller. So what `getone` attaches before it returns is
current in the caller's next lines, and stays so until somebody attaches something else: there is no block that ends.
The end comes from outside, in one of three ways:

- `leave`: the code that follows is known to be over. The former context is current again. Where the context variable
  can't be reset, the context itself is changed into the former one (see `scope`).
- `fade`: the span is over, but the code that follows may go on, in another task. What it sends still belongs to the
  trace, so a span that is over gives way to its mere context.
- `take`: an explicit `tracing.process` of the same record goes on with the span, and ends it. Where it is called from
  elsewhere, the context fades.

`tracing.process` finds a delivery by its record, in whatever task and context it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Token
from time import monotonic
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context, attach, create_key
from opentelemetry.trace import NonRecordingSpan

from tracing.scope import followers, restore, withdraw
from tracing.wire import with_span

AT_HAND: Final = create_key("sagatrace-at-hand")
_NONE: Final = Context()
#: Those whose span has not ended, by the identity of the record, which they keep.
_unfinished: dict[int, Delivery] = {}


class Work(Protocol):
    """A span that is not a block yet, as `processing.Processing` is."""

    #: Whether nobody else has the context that `open` has returned.
    owned: bool

    def open(self, context: Context) -> Context:
        """Start the span, and return the context to work in."""

    def finish(self, error: BaseException | None) -> None:
        """End the span."""


class Delivery:
    """One record, handed out once."""

    __slots__ = ("_processing", "_token", "inside", "outside", "record", "since")

    def __init__(self, record: object, processing: Work) -> None:
        self.record = record
        self._processing: Work | None = processing
        self._token: Token[Context] | None = None
        self.inside = self.outside = _NONE
        #: When it was handed out, in seconds of the monotonic clock.
        self.since = monotonic()

    def begin(self, context: Context) -> None:
        """Start the span and make it current for whoever called, where `context` is current."""
        if self._processing is None:
            return
        self.outside = context
        inside = self._processing.open(_around(context) if AT_HAND in context else context)
        if self._processing.owned:
            # By the method of dict: a context forbids its own.
            dict.__setitem__(inside, AT_HAND, self)
        else:
            inside = Context({**inside, AT_HAND: self})
        self.inside = inside
        self._token = attach(inside)
        _unfinished[id(self.record)] = self

    def attach(self) -> None:
        """Make it current here, where the code that follows goes on."""
        self._token = attach(self.inside)

    def finish(self) -> None:
        """End the span, unless that was done or is up to another."""
        processing, self._processing = self._processing, None
        if processing is not None:
            if _unfinished.get(id(self.record)) is self:
                _unfinished.pop(id(self.record), None)
            processing.finish(None)

    def leave(self) -> None:
        """Make the former context current again."""
        token, inside = self._token, self.inside
        # The context has this object: as a cycle, each record would wait for the garbage collector.
        self._token = None
        self.inside = self.outside = _NONE
        if token is not None and not restore(token, inside):
            withdraw(token, inside)

    def fade(self) -> None:
        """Let what is still sent be in the trace, where the span itself must not be current any more."""
        span = trace.get_current_span(self.inside)
        if self._token is not None and not isinstance(span, NonRecordingSpan):
            # By the method of dict: a context forbids its own.
            faded = NonRecordingSpan(span.get_span_context())
            for context in (self.inside, *followers(self.inside)):
                dict.update(context, with_span(faded, context))

    def close(self) -> None:
        """End the span, and leave."""
        if self._processing is not None:
            self.finish()
        self.leave()

    def take(self) -> Work | None:
        """Return the processing, which is up to the caller from now on; None if it is over."""
        processing, self._processing = self._processing, None
        _unfinished.pop(id(self.record), None)
        if processing is not None and self._token is not None:
            if restore(self._token, self.inside):
                self._token = None
                self.leave()
            else:
                self.fade()
        return processing


def unfinished(record: object) -> Delivery | None:
    """Return the delivery of a record whose span has not ended."""
    return _unfinished.get(id(record))


class Together:
    """The records that one explicit `tracing.process` is about: no loop over them begins another."""

    __slots__ = ("_ids", "_records")

    def __init__(self, records: Sequence[object]) -> None:
        self._records = records
        self._ids = {id(record) for record in records}

    def __contains__(self, record: object) -> bool:
        return id(record) in self._ids


def _around(context: Context) -> Context:
    """Return the context around those of other loops that are current: a loop is no part of another's record."""
    while isinstance(found := context.get(AT_HAND), Delivery) and found.inside is context:
        context = found.outside
    return context
