"""Spans in OTLP: the bytes are those of the official encoder, whatever a span holds."""

import itertools
import logging
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from tests.runs.sizes import size
from tracing.otlp import encoding
from tracing.otlp.encoding import encode_request, encode_span

#: Batches, and the spans of each: 10,800 in all in a thorough run.
BATCHES, SPANS = size(45, 450), 24

words = st.sampled_from(["", "kafka", "messaging.system", "é€😀", "x" * 130, "order-1"]) | st.text(max_size=20)
names = words.filter(bool)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 127, 128, 2**14, 2**21, 2**63 - 1, 1.0, 0.0, -0.0, True, False])
    | st.floats()
    | words
    | st.binary(max_size=20)
)
#: Also what the official encoder leaves out with a complaint: an integer past 64 bits, a string that is no Unicode.
bad = st.sampled_from([2**63, -(2**63) - 1, "\ud800", object])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(names, values | bad, max_size=8)
times = st.sampled_from([None, 0, 1]) | st.integers(1, 2**63)
states = (
    st.none()
    | st.just(TraceState())
    | st.just(TraceState([("a", "1"), ("b@c", "é=")]))
    | st.just(TraceState([("k", "v")]))
)
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_flags=st.integers(0, 255).map(TraceFlags),
    trace_state=states,
)
resources = st.builds(Resource, attributes, st.sampled_from(["", "https://opentelemetry.io/schemas/1.44.0"]))
scopes = st.builds(
    InstrumentationScope,
    words,
    st.none() | words,
    st.none() | words,
    st.none() | st.dictionaries(names, scalars, max_size=2),
)
statuses = (
    st.none() | st.builds(Status, st.sampled_from(StatusCode)) | st.builds(Status, st.just(StatusCode.ERROR), words)
)
limits = st.builds(
    SpanLimits,
    max_span_attributes=st.sampled_from([128, 2, 0]),
    max_events=st.sampled_from([128, 1]),
    max_links=st.sampled_from([128, 1]),
    max_event_attributes=st.sampled_from([128, 1]),
    max_link_attributes=st.sampled_from([128, 1, 0]),
    max_attribute_length=st.sampled_from([None, 3]),
)


class Ended(SpanProcessor):
    """Keeps what ends."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.spans.append(span)


class Ids(IdGenerator):
    """Counts, where the SDK's own draws: an example shall be the same each time."""

    def __init__(self) -> None:
        self._next = itertools.count(2**60)

    def generate_span_id(self) -> int:
        """Count on."""
        return next(self._next)

    def generate_trace_id(self) -> int:
        """Count on."""
        return next(self._next) << 64


class Stateful(Sampler):
    """Samples everything, with a trace state of its own."""

    def __init__(self, state: TraceState | None) -> None:
        self._state = state

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        """Take it."""
        attributes = args[4] if len(args) > 4 else kwargs.get("attributes")
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, self._state)

    def get_description(self) -> str:
        """Name it."""
        return "Stateful"


def official(spans: Sequence[ReadableSpan]) -> bytes:
    """What the official exporters post."""
    written: bytes = encode_spans(spans).SerializePartialToString()
    return written


def ours(spans: Sequence[ReadableSpan]) -> bytes:
    """What the fast path posts."""
    return encode_request([(span.resource, span.instrumentation_scope, encode_span(span)) for span in spans])


settings.register_profile("batches", suppress_health_check=[HealthCheck.too_slow], deadline=None)
batches = settings.get_profile("batches")


@pytest.fixture(autouse=True)
def _no_complaints() -> Iterator[None]:
    """What does not fit is logged, on both sides, thousands of times."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def some(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One to three, in turn and without end: periods that differ meet in every combination."""
    return st.lists(of, min_size=1, max_size=3).map(itertools.cycle)


@st.composite
def recorded(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans as the SDK makes them, by providers and under scopes of their own."""
    ended = Ended()
    tracers = []
    for _ in range(draw(st.integers(1, 2))):
        sampler = draw(st.just(ALWAYS_ON) | st.builds(Stateful, states))
        provider = TracerProvider(
            sampler, draw(resources), shutdown_on_exit=False, id_generator=Ids(), span_limits=draw(limits)
        )
        provider.add_span_processor(ended)
        tracers += [provider.get_tracer(draw(names), draw(words), draw(st.none() | words)) for _ in range(2)]
    pools: dict[str, Iterator[Any]] = {
        "name": draw(some(words)),
        "parent": draw(some(st.none() | contexts)),
        "kind": draw(some(st.sampled_from(SpanKind))),
        "attributes": draw(some(attributes)),
        "links": draw(some(st.lists(st.tuples(contexts, st.none() | attributes), max_size=2))),
        "times": draw(some(st.tuples(times, times, times))),
        "events": draw(some(st.lists(st.tuples(words, attributes), max_size=2))),
        "status": draw(some(statuses)),
    }
    for tracer, _ in zip(itertools.cycle(tracers), range(SPANS), strict=False):
        end_span(tracer, **{name: next(pool) for name, pool in pools.items()})
    return ended.spans


def end_span(tracer: Tracer, **of: Any) -> None:
    """Make a span of these and end it."""
    parent = None if of["parent"] is None else set_span_in_context(NonRecordingSpan(of["parent"]))
    started, happened, ended = of["times"]
    links = [Link(*link) for link in of["links"]]
    span = tracer.start_span(of["name"], parent, of["kind"], of["attributes"], links, started)
    for name, described in of["events"]:
        span.add_event(name, described, happened)
    if of["status"] is not None:
        span.set_status(of["status"])
    span.end(ended)


@pytest.mark.timeout(120)
@settings(batches, max_examples=BATCHES)
@given(recorded())
def test_spans_of_the_sdk_have_the_bytes_of_the_official_encoder(spans: list[ReadableSpan]) -> None:
    """A batch of the SDK's spans, of several resources and scopes, is written byte for byte as the official one is."""
    assert len(spans) == SPANS
    assert ours(spans) == official(spans)


class Foreign(ReadableSpan):
    """A span of another class, which may answer otherwise than what it holds inside."""


foreign = st.builds(
    Foreign,
    name=words,
    context=contexts,
    parent=st.none() | contexts,
    resource=resources,
    attributes=st.none() | attributes,
    links=st.lists(st.builds(Link, contexts, st.none() | attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=st.none() | scopes,
)


@settings(batches, max_examples=size(25, 100))
@given(st.lists(foreign, max_size=3))
def test_spans_of_other_classes_have_the_bytes_of_the_official_encoder(spans: list[ReadableSpan]) -> None:
    """What is no span of the SDK's own class is asked through its properties, with the same result."""
    assert ours(spans) == official(spans)


@settings(batches, max_examples=size(50, 200))
@given(st.lists(st.tuples(*[values | bad] * 3), min_size=3, max_size=12))
def test_what_a_key_had_before_does_not_decide_how_a_value_of_it_is_written(rows: list[tuple[Any, ...]]) -> None:
    """Spans with the same keys have the bytes of the official encoder, however the types of their values change."""
    context = SpanContext(1, 2, is_remote=False)
    for row in rows:
        described = dict(zip(("first", "second", "third"), row, strict=True))
        spans = [Foreign("span", context, resource=Resource({}), attributes=described)]
        assert ours(spans) == official(spans)


def grown_by(described: Iterable[dict[str, Any]]) -> int:
    """Encode a span with each of these attributes and return the bytes of memory that this leaves taken."""
    context = SpanContext(1, 2, is_remote=False)
    tracemalloc.start()
    try:
        for each in described:
            encode_span(Foreign("span", context, resource=Resource({}), attributes=each))
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_keys_and_strings_without_end_take_no_memory_without_end() -> None:
    """What spans with ever new keys, or ever new strings of the same ones, leave behind is bounded."""
    assert grown_by({f"key.{number}": 1} for number in range(5000)) < 300_000
    assert grown_by({"key": f"{number:040d}"} for number in range(5000)) < 100_000
    assert grown_by({"key": "x" * number} for number in range(5000)) < 200_000


def test_sequences_of_keys_without_end_take_no_memory_without_end() -> None:
    """What spans leave behind whose keys come in ever new orders, and often in each, is bounded."""
    orders = [dict.fromkeys(order, 1) for order in itertools.permutations("abcdef")]
    often = itertools.chain.from_iterable(itertools.repeat(each, 70) for each in orders)
    assert grown_by(often) < 3_000_000


@settings(batches, max_examples=size(10, 30))
@given(recorded())
def test_an_sdk_that_is_built_otherwise_is_asked_through_its_properties(spans: list[ReadableSpan]) -> None:
    """Where the SDK's private names are missing the bytes are still the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "KNOWN", frozenset())
        assert ours(spans) == official(spans)
