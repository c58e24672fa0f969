"""`instrument()` puts the wrappers onto aiokafka, `uninstrument()` takes them off.

`KafkaInstrumentor` is a drop-in replacement for contrib's `AIOKafkaInstrumentor`: a singleton with `instrument()`,
`uninstrument()` and the dependency check of the base class. Both wrap the same methods, so only one may be active:

- instrumenting with ours first removes an active instrumentation of the base class;
- while ours is active, `AIOKafkaInstrumentor().instrument()` and `.uninstrument()` do nothing, in any order of calls:
  under `opentelemetry-instrument` both entry points may load;
- the wrappers are plain functions set on the classes. contrib's `unwrap` strips wrapt proxies and would strip ours.
"""

from __future__ import annotations

import tracing.propagators  # noqa: F401  before contrib's package, which imports the API's module itself

# isort: split

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import aiokafka
from aiokafka.cluster import ClusterMetadata
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.metrics import MeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TracerProvider

from tracing import batches, clusters, consuming, faststream, loop, producing, settling, telemetry
from tracing.options import ConsumeHook, MessageKey, Options, PollSpans, ProcessParent, ProcessSpans, ProduceHook
from tracing.settings import instrument_settings
from tracing.telemetry import Telemetry

_log: Final = logging.getLogger("tracing")

Wrapper = Callable[..., Any]

#: What is wrapped, and by what. `send_and_wait`, `async for` and `transaction()` call these.
_WRAPPERS: Final[tuple[tuple[type, str, Wrapper], ...]] = (
    (aiokafka.AIOKafkaProducer, "send", producing.wrap_send),
    (aiokafka.AIOKafkaProducer, "create_batch", batches.wrap_create_batch),
    (aiokafka.AIOKafkaProducer, "send_batch", batches.wrap_send_batch),
    (aiokafka.AIOKafkaProducer, "begin_transaction", settling.wrap_begin_transaction),
    (
        aiokafka.AIOKafkaProducer,
        "commit_transaction",
        functools.partial(settling.wrap_end_transaction, outcome=settling.COMMITTED),
    ),
    (
        aiokafka.AIOKafkaProducer,
        "abort_transaction",
        functools.partial(settling.wrap_end_transaction, outcome=settling.ABORTED),
    ),
    (aiokafka.AIOKafkaProducer, "send_offsets_to_transaction", settling.wrap_send_offsets),
    (ClusterMetadata, "update_metadata", clusters.wrap_update_metadata),
    (aiokafka.AIOKafkaConsumer, "start", clusters.wrap_start),
    (aiokafka.AIOKafkaConsumer, "commit", settling.wrap_commit),
)
#: What is wrapped besides, by `process_spans`.
_RECEIVING: Final[dict[ProcessSpans, tuple[tuple[type, str, Wrapper], ...]]] = {
    "explicit": (
        (aiokafka.AIOKafkaConsumer, "getone", consuming.wrap_getone),
        (aiokafka.AIOKafkaConsumer, "getmany", consuming.wrap_getmany),
    ),
    "loop": (
        (aiokafka.AIOKafkaConsumer, "getone", loop.wrap_getone),
        (aiokafka.AIOKafkaConsumer, "getmany", loop.wrap_getmany),
        (aiokafka.AIOKafkaConsumer, "stop", loop.wrap_stop),
    ),
}


class KafkaInstrumentor(AIOKafkaInstrumentor):
    """OpenTelemetry for aiokafka; a drop-in replacement for contrib's `AIOKafkaInstrumentor`.

    Its `instrument()` takes the options of `tracing.instrument()`.
    """

    # The base class keeps its singleton and its state in class attributes, which a subclass would share.
    _instance = None
    _is_instrumented_by_opentelemetry = False

    def __init__(self) -> None:
        # Every call initialises the one object again: what it holds must survive that.
        self._originals: dict[tuple[type, str], tuple[Any, Any]] = getattr(self, "_originals", {})

    def _instrument(self, **kwargs: object) -> None:
        """Wrap the clients.

        Raises:
            InvalidOption: an option has an invalid value.
            InvalidSetting: a variable that stands for an option has one.
        """
        active = Telemetry(_parse(kwargs))
        _warn_of_unknown(kwargs)
        _retire_base()
        for owner, name, wrap in (*_WRAPPERS, *_RECEIVING[active.options.process_spans]):
            original = getattr(owner, name)
            wrapped = wrap(original, active)
            setattr(owner, name, wrapped)
            self._originals[owner, name] = (original, wrapped)
        telemetry.activate(active)

    def _uninstrument(self, **_: object) -> None:
        """Remove our wrappers; one that somebody else has wrapped since stays below and passes calls through."""
        telemetry.deactivate()
        faststream.uninstrument()
        for (owner, name), (original, wrapped) in self._originals.items():
            if getattr(owner, name) is wrapped:
                setattr(owner, name, original)
        self._originals.clear()
        _restore_base()


def _parse(given: Mapping[str, object]) -> Options:
    """Return the options; one that is not given is read from its variable, if it has one."""
    return Options.parse(instrument_settings() | {name: value for name, value in given.items() if value is not None})


def _warn_of_unknown(given: Iterable[str]) -> None:
    """Log which keywords have no effect: a program may give all its instrumentors the same ones."""
    if unknown := Options.unknown(given):
        _log.warning("instrument() ignores what is no option of it: %s", ", ".join(unknown))


#: The methods with which the base class wraps and unwraps, as contrib defines them.
_BASE_METHODS: Final = {name: getattr(AIOKafkaInstrumentor, name) for name in ("_instrument", "_uninstrument")}


def _stand_aside(_: AIOKafkaInstrumentor, **__: object) -> None:
    """Do nothing, in place of the methods of the base class while ours is active."""
    _log.info("AIOKafkaInstrumentor has no effect while tracing.KafkaInstrumentor is active")


def _retire_base() -> None:
    base = AIOKafkaInstrumentor()
    if base.is_instrumented_by_opentelemetry:
        _log.info("tracing.KafkaInstrumentor replaces the active AIOKafkaInstrumentor")
        base.uninstrument()
    for name in _BASE_METHODS:
        setattr(AIOKafkaInstrumentor, name, _stand_aside)


def _restore_base() -> None:
    for name, method in _BASE_METHODS.items():
        setattr(AIOKafkaInstrumentor, name, method)
    # It may have been asked to instrument, and did nothing: its state must say so.
    AIOKafkaInstrumentor()._is_instrumented_by_opentelemetry = False  # noqa: SLF001 - the base class's own state


def instrument(  # noqa: PLR0913 - the options are named one by one for whoever calls it
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    propagator: TextMapPropagator | None = None,
    produce_hook: ProduceHook | None = None,
    consume_hook: ConsumeHook | None = None,
    include_topics: Collection[str] | None = None,
    exclude_topics: Collection[str] | None = None,
    message_key: MessageKey | None = None,
    captured_headers: Collection[str] | None = None,
    name_attribute: str | None = None,
    poll_spans: PollSpans | None = None,
    commit_spans: bool | None = None,
    process_parent: ProcessParent | None = None,
    process_spans: ProcessSpans | None = None,
    process_span_limit: float | None = None,
    lean_spans: bool | None = None,
    async_produce_hook: ProduceHook | None = None,
    async_consume_hook: ConsumeHook | None = None,
    **unknown: object,
) -> None:
    """Trace every aiokafka producer and consumer of this process, existing ones too.

    An option that is None has its default. Without options a second call does nothing; with options they replace those
    in use. Neither providers nor a broker need to be there yet.

    Args:
        tracer_provider: where spans go; by default the global provider, also one that is set later.
        meter_provider: where metrics go; by default the global provider, also one that is set later.
        propagator: how context is written to headers; by default the global propagator, also one that is set later.
        produce_hook: `hook(span, args, kwargs)`, plain or async, called before a send.
        consume_hook: `hook(span, record, args, kwargs)`, plain or async, called for each received record with the span
            of its poll.
        include_topics: globs of the topics to trace, case-sensitive; by default all topics.
        exclude_topics: globs of the topics to leave out, even if they are included. Such a topic has no spans and no
            metrics; its context still travels.
        message_key: how the key is shown on spans: "plain" (the default), "hash" (16 hexadecimal digits of its SHA-256:
            a pseudonym) or "off".
        captured_headers: names of headers that become `messaging.header.<name>` on send and process spans.
        name_attribute: the attribute that names the spans of single messages: with "message.type", a send, create or
            process span that starts with `message.type=order.placed`, bound (`tracing.bind`) or given to `process`, is
            `send order.placed`. Its values must be few, because back ends group spans by name. By default, and where a
            span has no such text, the topic is in the name.
        poll_spans: whether a receive that brought something has a `poll` span: True (the default), "waited" (if it had
            to wait), "waited_getone" (the same for `getone`; each `getmany` has one) or False.
        commit_spans: whether a commit of offsets has a `commit` span, alone or in a transaction (the default), or not.
        process_parent: the parent of one record's process span: "message" (its sender's span, the default) or "ambient"
            (the current span, with a link to the sender).
        process_spans: who begins the process spans: "loop" (what `getone`, `async for` and the `for` loop over a batch
            of `getmany` hand out has one until the next step; the default) or "explicit" (`process` alone). By default
            as the variable SAGATRACE_PROCESS_SPANS says.
        process_span_limit: seconds after which the span of a loop ends, if nothing has ended it; 300 by default, as
            Kafka's `max.poll.interval.ms`. By default as the variable SAGATRACE_PROCESS_SPAN_LIMIT says.
        lean_spans: whether Kafka spans are lean objects where the provider allows it (the default), or the SDK's own.
        async_produce_hook: contrib's name for `produce_hook`.
        async_consume_hook: contrib's name for `consume_hook`.
        **unknown: ignored with one warning in the log, as a program may give all its instrumentors the same arguments.

    Raises:
        InvalidOption: an option has an invalid value.
        InvalidSetting: a variable that stands for an option has one.
    """
    named = {
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
        "propagator": propagator,
        "produce_hook": produce_hook,
        "consume_hook": consume_hook,
        "include_topics": include_topics,
        "exclude_topics": exclude_topics,
        "message_key": message_key,
        "captured_headers": captured_headers,
        "name_attribute": name_attribute,
        "poll_spans": poll_spans,
        "commit_spans": commit_spans,
        "process_parent": process_parent,
        "process_spans": process_spans,
        "process_span_limit": process_span_limit,
        "lean_spans": lean_spans,
        "async_produce_hook": async_produce_hook,
        "async_consume_hook": async_consume_hook,
    }
    options = {name: value for name, value in named.items() if value is not None}
    instrumentor = KafkaInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(**options, **unknown)
    elif not options:
        _warn_of_unknown(unknown)
    else:
        _parse(options)
        open_transactions = telemetry.current().release_transactions()
        instrumentor.uninstrument()
        instrumentor.instrument(**options, **unknown)
        telemetry.current().adopt_transactions(open_transactions)


def uninstrument() -> None:
    """Stop tracing; does nothing if `instrument` was not called."""
    instrumentor = KafkaInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
