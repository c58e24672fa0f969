"""Attributes of a unit of work: set once, and written on every span below.

`bind` keeps them in the local OpenTelemetry context under our own key. They are never baggage: nothing bound leaves the
process, and nothing that arrives in a message is bound. Our own spans start with them, so that samplers see them;
`provider.BoundAttributesSpanProcessor` copies them onto all other spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from enum import Enum
from types import TracebackType
from typing import Final, Self, cast

from opentelemetry import trace
from opentelemetry.context import Context, attach, create_key, get_current, set_value
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from tracing import faults, semconv
from tracing.scope import leave

_KEY: Final = create_key("sagatrace-bound-attributes")
#: The bound of OTLP's int64; one larger integer would make the official encoder lose the whole batch.
_INT64: Final = 1 << 63


class Bound(dict[str, AttributeValue]):
    """The attributes bound in a context, and the name of the one that is the conversation, if any."""

    __slots__ = ("conversation",)

    def __init__(self, attributes: Mapping[str, AttributeValue], conversation: str | None) -> None:
        super().__init__(attributes)
        self.conversation = conversation


_NOTHING: Final = Bound({}, None)


def bound(context: Context | None = None) -> Bound:
    """Return the attributes bound in a context, the current one by default. Do not change them."""
    found = (get_current() if context is None else context).get(_KEY)
    return found if found is not None else _NOTHING  # type: ignore[return-value]  # only bind() writes under the key


def clean(value: object) -> AttributeValue:
    """Return a value that every exporter can encode: no lone surrogate, no integer beyond 64 bits, no other type."""
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        # Attributes can't hold nested lists.
        return _homogeneous([_string(item) if isinstance(item, list | tuple) else clean(item) for item in value])
    return _string(value.value if isinstance(value, str) and isinstance(value, Enum) else value)


def _homogeneous(items: list[AttributeValue]) -> AttributeValue:
    """Return a list whose items have one type, as attributes must: their own if they share one, or strings."""
    kinds = {type(item) for item in items}
    if len(kinds) <= 1 and list not in kinds:
        return cast("AttributeValue", items)
    return [str(item) for item in items]


def _string(value: object) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - a broken __str__ is not worth the unit of work
        return type(value).__qualname__


class Binding:
    """The context manager that `bind` returns; it may be entered again, also within itself."""

    __slots__ = ("_attributes", "_conversation", "_entered", "_marks")

    def __init__(
        self, attributes: Mapping[str, object], conversation: str | None = None, *, marks: bool = True
    ) -> None:
        self._marks = marks
        self._attributes: dict[str, AttributeValue] = {
            name: clean(value) for name, value in attributes.items() if value is not None
        }
        self._conversation = conversation if conversation in self._attributes else None
        self._entered: list[tuple[Token[Context], Context]] = []

    def __enter__(self) -> Self:
        context = get_current()
        outer = bound(context)
        inner = Bound(outer | self._attributes, self._conversation or outer.conversation)
        inside = set_value(_KEY, inner, context)
        self._entered.append((attach(inside), inside))
        try:
            self._mark(trace.get_current_span(context), inner.conversation)
        except Exception as error:  # noqa: BLE001 - a foreign span must not cost the unit of work
            faults.report("binding attributes", error)
        return self

    def _mark(self, span: Span, conversation: str | None) -> None:
        if self._marks and span.is_recording():
            span.set_attributes(self._attributes)
            if conversation in self._attributes and of_ours(span):
                span.set_attribute(semconv.MESSAGING_MESSAGE_CONVERSATION_ID, self._attributes[conversation])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if self._entered:
            leave(*self._entered.pop(), error)


def bind(conversation: str | None = None, /, **attributes: object) -> Binding:
    """Set attributes on the current span and on every span that is started below.

    Use it as a context manager: `with tracing.bind(**{"order.id": order_id, "customer.id": customer_id}):`. Inner
    bindings add to outer ones and win; on exit the outer ones are back. A value of None is left out; a value of a type
    that attributes can't have is written as its string.

    `conversation` names the attribute by which messages belong together: with `tracing.bind("order.id", **{"order.id":
    order_id})` spans of messages repeat its value as `messaging.message.conversation_id` (messaging-spans.md). Inner
    bindings keep it.
    """
    return Binding(attributes, conversation)


def bind_below(conversation: str | None = None, /, **attributes: object) -> Binding:
    """Set attributes as `bind` does, but only on spans that are started below, not on the current one.

    For what is true of the next operation alone, such as the type of the message that is about to be sent.
    """
    return Binding(attributes, conversation, marks=False)


class _Use:
    __slots__ = ("_context", "_entered")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._entered: list[tuple[Token[Context], Context]] = []

    def __enter__(self) -> Context:
        # A copy: what is left may be changed, and the context is the caller's.
        inside = Context(self._context)
        self._entered.append((attach(inside), inside))
        return inside

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if self._entered:
            leave(*self._entered.pop(), error)


def use_context(context: Context) -> _Use:
    """Make a context current, to continue a stored trace, and the former one again on exit."""
    return _Use(context)


def of_ours(span: Span) -> bool:
    """Return whether a span was started by this package."""
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == semconv.SCOPE


def with_bound(attributes: dict[str, AttributeValue], context: Context) -> dict[str, AttributeValue]:
    """Add what is bound in the context, and its conversation, to the start attributes of a span of one message."""
    found = bound(context)
    if found:
        attributes.update(found)
        conversation = found.conversation
        if conversation is not None:
            attributes[semconv.MESSAGING_MESSAGE_CONVERSATION_ID] = found[conversation]
    return attributes
