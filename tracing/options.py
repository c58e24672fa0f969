"""The options of `instrument()`, checked when they are given."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from opentelemetry.metrics import MeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Span, TracerProvider

from tracing.errors import InvalidOption

#: `hook(span, args, kwargs)`, called before a send; contrib's signature, plain or async.
ProduceHook = Callable[[Span, tuple[Any, ...], dict[str, Any]], Awaitable[None] | None]
#: `hook(span, record, args, kwargs)`, called for every received record with the span of its poll.
ConsumeHook = Callable[[Span, Any, tuple[Any, ...], dict[str, Any]], Awaitable[None] | None]

MessageKey = Literal["plain", "hash", "off"]
PollSpans = bool | Literal["waited", "waited_getone"]
ProcessParent = Literal["message", "ambient"]
ProcessSpans = Literal["loop", "explicit"]

MESSAGE_KEYS: Final = ("plain", "hash", "off")
POLL_SPANS: Final = (True, False, "waited", "waited_getone")
PROCESS_PARENTS: Final = ("message", "ambient")
PROCESS_SPANS: Final = ("loop", "explicit")
#: Seconds; Kafka's default `max.poll.interval.ms`: a consumer that has not polled for so long loses its partitions.
PROCESS_SPAN_LIMIT_S: Final = 300.0

#: The method that is called of each object that a user may pass.
_METHODS: Final = {"tracer_provider": "get_tracer", "meter_provider": "get_meter", "propagator": "inject"}
#: Our names of the two hooks, by contrib's.
_ALIASES: Final = {"async_produce_hook": "produce_hook", "async_consume_hook": "consume_hook"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `tracing.instrument()`.

    Raises:
        InvalidOption: a value is not one of those named here.
    """

    #: Where spans go; the global provider, also one set later, if None.
    tracer_provider: TracerProvider | None = None
    #: Where metrics go; the global provider, also one set later, if None.
    meter_provider: MeterProvider | None = None
    #: How context is written to headers; the global propagator, also one set later, if None.
    propagator: TextMapPropagator | None = None
    produce_hook: ProduceHook | None = None
    consume_hook: ConsumeHook | None = None
    #: Globs of the topics to trace; empty for all.
    include_topics: Sequence[str] = ()
    #: Globs of the topics to leave out, even if they are included: no span, no metric; their context still travels.
    exclude_topics: Sequence[str] = ()
    #: The key on spans: "plain", "hash" (the first digits of its SHA-256, a pseudonym) or "off".
    message_key: MessageKey = "plain"
    #: Names of headers that become `messaging.header.<name>` on send and process spans.
    captured_headers: Sequence[str] = ()
    #: The attribute of single messages' spans, bound or given, whose value takes the topic's place in their names.
    name_attribute: str | None = None
    #: True: a `poll` span for each receive that brought something; False: none; "waited": only if it had to wait;
    #: "waited_getone": the same for a `getone`, while each `getmany`, whose span serves many messages, has one.
    poll_spans: PollSpans = True
    #: Whether a commit of offsets has a `commit` span, alone or in a transaction; its metric counts it either way.
    commit_spans: bool = True
    #: The parent of one record's process span: its sender's span, or the current span, with a link to the sender.
    process_parent: ProcessParent = "message"
    #: Whether a loop over a consumer or a batch begins the processing of what it hands out, or only `process` does.
    process_spans: ProcessSpans = "loop"
    #: Seconds after which the span of a loop ends, if nothing else has ended it.
    process_span_limit: float = PROCESS_SPAN_LIMIT_S
    #: Whether our spans are lean objects where the provider allows it, or always the SDK's own.
    lean_spans: bool = True
    _include: re.Pattern[str] | None = field(init=False, repr=False, default=None)
    _exclude: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        for name in ("include_topics", "exclude_topics", "captured_headers"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        self._check_objects()
        _check_switches(commit_spans=self.commit_spans, lean_spans=self.lean_spans)
        _check_name("name_attribute", self.name_attribute)
        if self.message_key not in MESSAGE_KEYS:
            raise InvalidOption(f"message_key must be one of {', '.join(MESSAGE_KEYS)}")
        if self.poll_spans not in POLL_SPANS:
            raise InvalidOption("poll_spans must be True, False, 'waited' or 'waited_getone'")
        if self.process_parent not in PROCESS_PARENTS:
            raise InvalidOption(f"process_parent must be one of {', '.join(PROCESS_PARENTS)}")
        if self.process_spans not in PROCESS_SPANS:
            raise InvalidOption(f"process_spans must be one of {', '.join(PROCESS_SPANS)}")
        if not _is_positive(self.process_span_limit):
            raise InvalidOption("process_span_limit must be a number of seconds above 0")
        object.__setattr__(self, "_include", _any_of(self.include_topics))
        object.__setattr__(self, "_exclude", _any_of(self.exclude_topics))

    def _check_objects(self) -> None:
        for name in ("produce_hook", "consume_hook"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise InvalidOption(f"{name} must be callable, not {type(getattr(self, name)).__name__}")
        for name, method in _METHODS.items():
            if (value := getattr(self, name)) is not None and not callable(getattr(value, method, None)):
                raise InvalidOption(f"{name} must be an object with a method {method}, not {value!r}")

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Options:
        """Build options from keyword arguments, contrib's names among them; unknown ones are left out.

        Raises:
            InvalidOption: an option is given under two names, or has a wrong value.
        """
        known = cls._known()
        options: dict[str, Any] = {}
        for name, value in given.items():
            option = _ALIASES.get(name, name)
            if option not in known or value is None:
                continue
            if option in options:
                raise InvalidOption(f"{option} is given twice, also as {name}")
            options[option] = value
        return cls(**options)

    @classmethod
    def unknown(cls, given: Iterable[str]) -> list[str]:
        """Return the names of keyword arguments that are no options, sorted."""
        return sorted({*given} - {*cls._known(), *_ALIASES})

    @classmethod
    def _known(cls) -> set[str]:
        return {option.name for option in fields(cls) if option.init}

    def traces(self, topic: str) -> bool:
        """Return whether a topic has spans and metrics."""
        if self._exclude is not None and self._exclude.fullmatch(topic):
            return False
        return self._include is None or self._include.fullmatch(topic) is not None


def _check_switches(**options: object) -> None:
    for name, value in options.items():
        if not isinstance(value, bool):
            raise InvalidOption(f"{name} must be True or False, not {value!r}")


def _check_name(option: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidOption(f"{option} must be the name of an attribute, not {value!r}")


def _names(option: str, value: object) -> tuple[str, ...]:
    """Return the strings of a sequence; refuse a single string, whose characters would pass for names."""
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise InvalidOption(f"{option} must be a sequence of strings, not {type(value).__name__}")
    if not all(isinstance(item, str) and item for item in value):
        raise InvalidOption(f"{option} must hold strings that are not empty")
    return tuple(value)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _any_of(globs: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)) if globs else None
