"""Putting the wrappers onto aiokafka, and taking them off.

`KafkaInstrumentor` is contrib's `AIOKafkaInstrumentor` to its call sites: a singleton with `instrument()`,
`uninstrument()` and the dependency check of the base class. Both wrap the same methods, so only one may be active:

- instrumenting with ours first takes off an active instrumentation of the base class;
- while ours is active, `AIOKafkaInstrumentor().instrument()` and `.uninstrument()` do nothing, whoever calls them and
  in whatever order: under `opentelemetry-instrument` both entry points may load;
- the wrappers are plain functions set on the classes. contrib's `unwrap` strips wrapt proxies and would strip ours.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Final

import aiokafka
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor

from tracing import batches, consuming, producing, settling, telemetry
from tracing.options import Options
from tracing.telemetry import Telemetry

_log: Final = logging.getLogger("tracing")

Wrapper = Callable[..., Any]

#: What is wrapped, and by what. `send_and_wait`, `async for` and `transaction()` end in these.
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
    (aiokafka.AIOKafkaConsumer, "getone", consuming.wrap_getone),
    (aiokafka.AIOKafkaConsumer, "getmany", consuming.wrap_getmany),
    (aiokafka.AIOKafkaConsumer, "commit", settling.wrap_commit),
)


class KafkaInstrumentor(AIOKafkaInstrumentor):
    """OpenTelemetry for aiokafka; in every call site of `AIOKafkaInstrumentor` it can stand in for it.

    `instrument()` takes the options of `tracing.Options` and contrib's `async_produce_hook` and `async_consume_hook`.
    """

    # The base class keeps its singleton and its state in class attributes, which a subclass would share.
    _instance = None
    _is_instrumented_by_opentelemetry = False

    def __init__(self) -> None:
        # Called each time, for one object: what it holds must survive that.
        self._originals: dict[tuple[type, str], tuple[Any, Any]] = getattr(self, "_originals", {})

    def _instrument(self, **kwargs: object) -> None:
        """Wrap the clients.

        Raises:
            InvalidOption: an option is unknown or has a value it cannot have.
        """
        active = Telemetry(Options.parse(kwargs))
        _retire_base()
        for owner, name, wrap in _WRAPPERS:
            original = getattr(owner, name)
            wrapped = wrap(original, active)
            setattr(owner, name, wrapped)
            self._originals[owner, name] = (original, wrapped)
        telemetry.activate(active)

    def _uninstrument(self, **_: object) -> None:
        """Take off what is still ours; where somebody wrapped on top, ours stays below and passes calls through."""
        telemetry.deactivate()
        for (owner, name), (original, wrapped) in self._originals.items():
            if getattr(owner, name) is wrapped:
                setattr(owner, name, original)
        self._originals.clear()
        _restore_base()


#: The methods through which the base class wraps and strips, as they are.
_BASE_METHODS: Final = {name: getattr(AIOKafkaInstrumentor, name) for name in ("_instrument", "_uninstrument")}


def _stand_aside(_: AIOKafkaInstrumentor, **__: object) -> None:
    """Do nothing in the name of the base class while ours is active."""
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
    # It may have been told to instrument and have done nothing: it shall not believe otherwise.
    AIOKafkaInstrumentor()._is_instrumented_by_opentelemetry = False  # noqa: SLF001 - the base class's own state


def instrument(**options: object) -> None:
    """Trace every aiokafka producer and consumer of this process, existing ones too.

    Without options it does nothing if it was done before; with options they replace those in use. Neither providers
    nor a broker need to be there yet.

    Args:
        **options: the fields of `tracing.Options`; contrib's names of the hooks are understood too.

    Raises:
        InvalidOption: an option is unknown or has a value it cannot have.
    """
    instrumentor = KafkaInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        if not options:
            return
        Options.parse(options)
        instrumentor.uninstrument()
    instrumentor.instrument(**options)


def uninstrument() -> None:
    """Stop tracing; nothing happens if `instrument` was not called."""
    instrumentor = KafkaInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
