"""Record spans in memory, draw them as trees and assert on them: for the tests of programs that use `tracing`.

```python
with tracing.testing.RecordedSpans() as spans:
    ...  # send and process
spans.assert_connected()
assert spans.one("process orders").attributes["order.id"] == "o-1"
print(spans.tree())
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from tracing.errors import MissingExtra
from tracing.instrumentor import KafkaInstrumentor, instrument, uninstrument
from tracing.semconv import ERROR_TYPE

try:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

    from tracing.processors import BoundAttributesSpanProcessor
    from tracing.provider import FactIdGenerator
except ModuleNotFoundError as missing:
    raise MissingExtra.of("tracing.testing") from missing

#: For how long and how often `wait_for` looks, in seconds.
PATIENCE_S: Final = 5.0
_INTERVAL_S: Final = 0.005


class RecordedSpans:
    """Records every span and metric while it is entered.

    Entering it instruments aiokafka with the given options, and makes its tracer provider the global one until it is
    left, so that spans of other instrumentations and of the program itself are recorded too. Metrics of others are
    recorded if `meter_provider` is passed to them.

    Args:
        sampler: which spans to record; by default all, unless their parent is not sampled.
        service_name: `service.name` of the resource.
        span_processors: called for each span as well.
        instrumented: whether entering instruments aiokafka.
        options: of `tracing.instrument()`.
    """

    def __init__(
        self,
        *,
        sampler: Sampler | None = None,
        service_name: str = "test",
        span_processors: Sequence[SpanProcessor] = (),
        instrumented: bool = True,
        **options: Any,  # noqa: ANN401 - as instrument() takes them
    ) -> None:
        resource = Resource({"service.name": service_name})
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(
            sampler=sampler or ParentBased(ALWAYS_ON),
            resource=resource,
            id_generator=FactIdGenerator(),
            shutdown_on_exit=False,
        )
        for processor in (BoundAttributesSpanProcessor(), *span_processors, SimpleSpanProcessor(self._exporter)):
            self.tracer_provider.add_span_processor(processor)
        self.meter_provider = MeterProvider(metric_readers=[self._reader], resource=resource, shutdown_on_exit=False)
        self._options = {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider, **options}
        self._instrumented = instrumented

    def __enter__(self) -> Self:
        if _Switch.current is not None:
            raise RuntimeError("RecordedSpans is entered already; leave the outer one first")
        if self._instrumented and KafkaInstrumentor().is_instrumented_by_opentelemetry:
            raise RuntimeError("aiokafka is instrumented already; call tracing.uninstrument() first")
        _Switch.turn_to(self.tracer_provider)
        if self._instrumented:
            try:
                instrument(**self._options)
            except BaseException:
                _Switch.current = None
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        _Switch.current = None
        if self._instrumented:
            uninstrument()
        self.tracer_provider.shutdown()

    @property
    def finished(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order of their start."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def clear(self) -> None:
        """Forget the spans so far."""
        self._exporter.clear()

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the finished spans of this name, in the order of their start."""
        return [span for span in self.finished if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the one finished span of this name.

        Raises:
            AssertionError: there is none, or there are several; the message shows the tree.
        """
        found = self.named(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are named {name!r}, not one:\n{self.tree()}")
        return found[0]

    def children(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Return the finished spans whose parent is the given one."""
        return [span for span in self.finished if _parent_id(span) == _id(parent)]

    def traces(self) -> dict[str, list[ReadableSpan]]:
        """Return the finished spans by trace id, 32 hexadecimal digits."""
        found: dict[str, list[ReadableSpan]] = {}
        for span in self.finished:
            found.setdefault(format_trace_id(_context(span).trace_id), []).append(span)
        return found

    def wait_for(self, condition: Callable[[Self], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait, blocking, until a condition on the recorded spans holds.

        Raises:
            AssertionError: it did not within the time; the message shows the tree.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s:\n{self.tree()}")
            time.sleep(_INTERVAL_S)

    def tree(self) -> str:
        """Draw the finished spans: one line each with name, kind, error and links, children indented, by trace."""
        return "\n".join(line for spans in self.traces().values() for line in _draw(spans))

    def assert_connected(self, trace_id: str | None = None) -> None:
        """Assert that the recorded spans, or those of one trace, are one trace in which every parent is present.

        A SERVER span whose caller is another system counts as the root. Spans that serve many messages (poll, and
        commit outside of a handler) start traces of their own: leave them out by naming the trace.

        Raises:
            AssertionError: there is no span, more than one trace or root, or a parent that was not recorded.
        """
        traces = self.traces()
        if trace_id is not None:
            traces = {trace_id: traces.get(trace_id, [])}
        if len(traces) != 1 or not all(traces.values()):
            raise AssertionError(f"{len(traces)} traces, not one:\n{self.tree()}")
        spans = next(iter(traces.values()))
        known = {_id(span) for span in spans}
        entries = [span for span in spans if span.parent is None or _parent_id(span) not in known]
        roots = [span.name for span in entries if _is_root(span)]
        orphans = [span.name for span in entries if not _is_root(span)]
        if len(roots) != 1 or orphans:
            raise AssertionError(f"roots: {roots}, orphans: {orphans}:\n{self.tree()}")

    def metric_points(self, name: str) -> list[Any]:
        """Return the data points of a metric: each with `attributes`, and `value` or `sum`, `count` and buckets."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def links_to(span: ReadableSpan, target: ReadableSpan) -> bool:
    """Return whether a span has a link to another."""
    return any(link.context.span_id == _id(target) for link in span.links)


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Return whether a span is a direct child of another, in the same trace."""
    return _parent_id(span) == _id(parent) and _context(span).trace_id == _context(parent).trace_id


def _is_root(span: ReadableSpan) -> bool:
    """Return whether a span without a recorded parent may begin a trace."""
    return span.parent is None or (span.kind is SpanKind.SERVER and span.parent.is_remote)


def _context(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    if context is None:
        raise AssertionError(f"span {span.name!r} has no context")
    return context


def _id(span: ReadableSpan) -> int:
    return _context(span).span_id


def _parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def _draw(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """Draw one trace; a span whose parent was not recorded stands at the left edge and says so."""
    known = {_id(span): span for span in spans}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in spans:
        parent = _parent_id(span)
        below.setdefault(parent if parent in known else None, []).append(span)
    stack = [(span, 0) for span in reversed(below.get(None, []))]
    while stack:
        span, depth = stack.pop()
        yield "  " * depth + _line(span, orphan=depth == 0 and span.parent is not None)
        stack.extend((child, depth + 1) for child in reversed(below.get(_id(span), [])))


def _line(span: ReadableSpan, *, orphan: bool) -> str:
    parts = [span.name, f"[{span.kind.name}]"]
    if span.status.status_code is StatusCode.ERROR:
        parts.append(f"ERROR {(span.attributes or {}).get(ERROR_TYPE, '')}".rstrip())
    if span.links:
        parts.append(f"links={len(span.links)}")
    if orphan:
        parts.append("(parent not recorded)")
    return " ".join(parts)


class _Switch(trace.TracerProvider):
    """The global tracer provider of a test process: it hands every span to the recorder that is entered.

    The API lets the global provider be set once, and tracers that were handed out remember it; this one stays and
    forwards.
    """

    current: trace.TracerProvider | None = None
    _installed = False

    @classmethod
    def turn_to(cls, provider: trace.TracerProvider) -> None:
        if not cls._installed:
            if isinstance(trace.get_tracer_provider(), TracerProvider):
                raise RuntimeError(
                    "a global TracerProvider is set already; pass RecordedSpans' own to what has to use it"
                )
            trace.set_tracer_provider(cls())
            cls._installed = True
        cls.current = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:  # noqa: ANN401 - forwarded as they are
        return _SwitchedTracer(args, kwargs)


class _SwitchedTracer(trace.Tracer):
    def __init__(self, args: Any, kwargs: Any) -> None:  # noqa: ANN401 - forwarded as they are
        self._args = args
        self._kwargs = kwargs

    @property
    def _now(self) -> trace.Tracer:
        provider = _Switch.current or trace.NoOpTracerProvider()
        return provider.get_tracer(*self._args, **self._kwargs)

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> trace.Span:  # noqa: ANN401
        return self._now.start_span(name, context, *args, **kwargs)

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return self._now.start_as_current_span(name, *args, **kwargs)
