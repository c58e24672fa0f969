"""Write trace context to Kafka headers and read it from them, with any propagator.

Rules for every propagator:

- inject replaces: before a propagator writes anything, all its fields are removed, so a forwarded message never keeps a
  stale `traceparent`, nor a `tracestate` that belongs to another one. If it writes nothing, its fields stay.
- inject returns a new list, as aiokafka's record builder requires, and never changes its argument.
- extract never raises and takes the last valid value: a broken header counts as none.

W3C Trace Context with or without Baggage, the default of OTEL_PROPAGATORS, has a short cut that parses bytes and
remembers the last contexts, because a poll and the processing of its records read the same header.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from tracing.exposure import EXPOSING, exposed
from tracing.headers import TRACEPARENT, Header, HeaderGetter, Headers, HeaderSetter, is_header, text
from tracing.propagators import propagate

_GETTER: Final = HeaderGetter()
_SETTER: Final = HeaderSetter()
#: W3C Trace Context, section 3.3.1.5: a longer one may be dropped, and the API drops it.
_TRACESTATE_LIMIT: Final = 512
#: A `traceparent` of version 00 has 55 bytes; later versions may add to it.
_TRACEPARENT_LIMIT: Final = 128
#: W3C Trace Context level 2, section 3.3.2: a member, and the most members that there may be.
_TRACESTATE_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_TRACESTATE_MEMBERS: Final = 32
_REMEMBERED: Final = 4096
_FLAGS: Final = {b"%02x" % octet: TraceFlags(octet) for octet in range(256)}
#: The keys under which a context holds its span and its baggage.
_SPAN: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_BAGGAGE: Final = next(iter(baggage.set_baggage("a", "b", Context())))
#: Whether a span context is a tuple of what its constructor takes, and whether it is valid.
_PLAIN: Final = SpanContext(1, 2, is_remote=True) == (1, 2, True, 0, DEFAULT_TRACE_STATE, True)


def with_span(span: Span, context: Context) -> Context:
    """Return a context with the span as the current one, as `set_span_in_context` does, in one call fewer."""
    return Context({**context, _SPAN: span})


def parse(traceparent: bytes, tracestate: bytes | None = None) -> SpanContext | None:
    """Read a span context as the W3C recommendation writes it; None if it is malformed or all zero."""
    # Before anything is remembered: what others send must not fill the memory.
    if len(traceparent) > _TRACEPARENT_LIMIT:
        return None
    if tracestate is not None and len(tracestate) > _TRACESTATE_LIMIT:
        tracestate = None
    return _parsed(traceparent, tracestate)


@lru_cache(maxsize=_REMEMBERED)
def _parsed(traceparent: bytes, tracestate: bytes | None) -> SpanContext | None:
    match = TRACEPARENT.fullmatch(traceparent) or TRACEPARENT.fullmatch(traceparent.strip(b" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if rest is not None and version == b"00":
        return None
    state = DEFAULT_TRACE_STATE if tracestate is None else _trace_state(tracestate) or DEFAULT_TRACE_STATE
    context = (int(trace_id, 16), int(span_id, 16), True, _FLAGS[flags], state)
    if not (context[0] and context[1]):
        return None
    # As the constructor does it, without checking again whether the ids are valid, which takes a third of the time.
    return tuple.__new__(SpanContext, (*context, True)) if _PLAIN else SpanContext(*context)


def _trace_state(value: bytes | None) -> TraceState | None:
    """Read a `tracestate`, all of it or nothing. The API's own parser would log what it does not understand."""
    found = text(value)
    if not found or len(found) > _TRACESTATE_LIMIT:
        return None
    members = [member for part in found.split(",") if (member := part.strip(" \t"))]
    if len(members) > _TRACESTATE_MEMBERS or not all(map(_TRACESTATE_MEMBER.fullmatch, members)):
        return None
    entries = {key: value for key, _, value in (member.partition("=") for member in members)}
    return TraceState(list(entries.items())) if len(entries) == len(members) else None


def render(context: SpanContext) -> bytes:
    """Write a `traceparent`. The flags go out as they are: the SDK sets the random bit, so 03 is as usual as 01."""
    trace_id, span_id, _, flags, _, _ = context
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, flags)


def _leaves(propagator: TextMapPropagator) -> Iterator[TextMapPropagator]:
    members = getattr(propagator, "_propagators", None) if type(propagator) is CompositePropagator else None
    if members is None:
        yield propagator
    else:
        for member in members:
            yield from _leaves(member)


class Propagation:
    """A propagator bound to Kafka headers.

    Without one it uses the global propagator, even if that is set later.
    """

    __slots__ = ("_baggage", "_configured", "_leaves", "_resolved", "_scanned", "_w3c")

    def __init__(self, propagator: TextMapPropagator | None = None) -> None:
        self._configured = propagator
        self._resolved: TextMapPropagator | None = None
        self._leaves: tuple[TextMapPropagator, ...] = ()
        self._baggage: W3CBaggagePropagator | None = None
        self._w3c = False
        #: The headers that were scanned last, and the result: `getone` and the processing of its record ask the same.
        self._scanned: tuple[Headers, tuple[SpanContext | None, bool]] = ((), (None, False))

    def _resolve(self) -> None:
        propagator = self._configured or propagate.get_global_textmap()
        if propagator is self._resolved:
            return
        self._leaves = tuple(leaf for leaf in _leaves(propagator) if leaf is not EXPOSING)
        kinds = {type(leaf) for leaf in self._leaves}
        self._w3c = TraceContextTextMapPropagator in kinds and kinds <= {
            TraceContextTextMapPropagator,
            W3CBaggagePropagator,
        }
        self._baggage = next((leaf for leaf in self._leaves if type(leaf) is W3CBaggagePropagator), None)
        self._resolved = propagator

    def inject(
        self, headers: Headers | None, context: Context, span_context: SpanContext | None = None
    ) -> list[Header]:
        """Return the headers with the context in them.

        `span_context` is that of the message's own span, if that span is not the current one in `context`.
        """
        self._resolve()
        if span_context is None:
            span_context = trace.get_current_span(context).get_span_context()
        exposed(span_context)
        if not self._w3c:
            return self._inject_any(headers, context, span_context)
        injected = self._inject_span(headers, span_context)
        if self._baggage is not None and context.get(_BAGGAGE):
            return self._inject_leaf(self._baggage, injected, context)
        return injected

    @staticmethod
    def _inject_span(headers: Headers | None, span_context: SpanContext) -> list[Header]:
        if not span_context.is_valid:
            return list(headers or ())
        written: list[Header] = []
        if headers:
            written += [header for header in headers if header[0] != "traceparent" and header[0] != "tracestate"]
            if len(written) != len(headers):
                written = _replaceable(headers, {"traceparent", "tracestate"})
        written.append(("traceparent", render(span_context)))
        if span_context.trace_state:
            written.append(("tracestate", span_context.trace_state.to_header().encode()))
        return written

    def _inject_any(self, headers: Headers | None, context: Context, span_context: SpanContext) -> list[Header]:
        if span_context is not trace.get_current_span(context).get_span_context():
            context = with_span(NonRecordingSpan(span_context), context)
        injected = list(headers or ())
        for leaf in self._leaves:
            injected = self._inject_leaf(leaf, injected, context)
        return injected

    @staticmethod
    def _inject_leaf(leaf: TextMapPropagator, headers: list[Header], context: Context) -> list[Header]:
        written: list[Header] = []
        leaf.inject(written, context=context, setter=_SETTER)
        return _replaceable(headers, {*leaf.fields, *(name for name, _ in written)}) + written if written else headers

    def extract(self, headers: Headers | None, context: Context) -> tuple[Context, SpanContext | None]:
        """Return the context with the span and baggage of the headers added, and the span context in the headers."""
        self._resolve()
        if not headers:
            return context, None
        if not self._w3c:
            return self._extract_any(headers, context)
        span_context, has_baggage = self._scan(headers)
        if has_baggage and self._baggage is not None:
            context = self._baggage.extract(headers, context, getter=_GETTER)
        if span_context is not None:
            context = with_span(NonRecordingSpan(span_context), context)
        return context, span_context

    def _extract_any(self, headers: Headers, context: Context) -> tuple[Context, SpanContext | None]:
        # An INVALID_SPAN goes in first, so that the result is the headers' span and not the caller's own.
        blank = trace.set_span_in_context(trace.INVALID_SPAN, context)
        extracted = blank
        for leaf in self._leaves:
            extracted = leaf.extract(headers, extracted, getter=_GETTER)
        span_context = trace.get_current_span(extracted).get_span_context()
        if not span_context.is_valid:
            return trace.set_span_in_context(trace.get_current_span(context), extracted), None
        return extracted, span_context

    def span_context(self, headers: Headers | None) -> SpanContext | None:
        """Return the span context in the headers, or None; cheaper than `extract` where only a link is needed."""
        self._resolve()
        if not headers:
            return None
        if self._w3c:
            return self._scan(headers)[0]
        return self._extract_any(headers, Context())[1]

    def _scan(self, headers: Headers) -> tuple[SpanContext | None, bool]:
        scanned, found = self._scanned
        if headers is not scanned:
            found = _scan(headers)
            if type(headers) is tuple:  # a list may change
                self._scanned = (headers, found)
        return found


def _replaceable(headers: Headers, names: Collection[str]) -> list[Header]:
    """Return the headers without those of these names, if they are ones that a client would take."""
    return [each for each in headers if each[0] not in names or not is_header(each)]


def _scan(headers: Headers) -> tuple[SpanContext | None, bool]:
    """Find the last valid `traceparent` with its `tracestate`, and whether there is any baggage."""
    parent: bytes | None = None
    state: bytes | None = None
    repeated = has_baggage = False
    for name, value in headers:
        if name == "traceparent":
            repeated = repeated or parent is not None
            parent = value
        elif name == "tracestate":
            state = value
        elif name == "baggage":
            has_baggage = True
    span_context = parse(parent, state) if type(parent) is bytes else None
    if span_context is None and repeated:
        span_context = _last_valid(headers, state)
    return span_context, has_baggage


def _last_valid(headers: Headers, state: bytes | None) -> SpanContext | None:
    """Look further back, past a `traceparent` that is not valid."""
    for name, value in reversed(headers):
        if name == "traceparent" and type(value) is bytes and (span_context := parse(value, state)) is not None:
            return span_context
    return None
