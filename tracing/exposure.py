"""Announce that a span's context is about to leave the process, to a listener that has to act before it does.

From that moment on, another process may start a child of this span. `inject` announces it by itself, and so does the
propagator that `configure()` sets; a program that writes contexts in another way, such as into a database row, calls
`expose()` first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators import textmap
from opentelemetry.trace import SpanContext

from tracing import faults

Listener = Callable[[SpanContext], None]

_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Call this listener from now on, in place of any other; none if it is None."""
    global _listener  # noqa: PLW0603 - one journal at a time
    _listener = listener


def exposed(span_context: SpanContext) -> None:
    """Call the listener, if there is one, with a context that is about to leave."""
    if _listener is not None:
        try:
            _listener(span_context)
        except Exception as error:  # noqa: BLE001 - the message goes out all the same
            faults.report("journalling a span", error)


def expose(context: Context | None = None) -> None:
    """Announce that the span of a context, the current one by default, is about to become known outside the process.

    Call it before the context is committed, or sent by other means than `inject`. Without a span journal it does
    nothing.
    """
    if _listener is not None:
        exposed(trace.get_current_span(context).get_span_context())


class ExposingPropagator(textmap.TextMapPropagator):
    """Writes nothing, and announces that the others of its composite do: for clients that are not this package's."""

    def extract(
        self,
        carrier: textmap.CarrierT,  # noqa: ARG002 - it carries nothing of ours
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,  # noqa: ARG002
    ) -> Context:
        """Return the context unchanged."""
        return Context() if context is None else context

    def inject(
        self,
        carrier: textmap.CarrierT,  # noqa: ARG002 - as above
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,  # noqa: ARG002
    ) -> None:
        """Announce that the context leaves."""
        expose(context)

    @property
    def fields(self) -> set[str]:
        """Return no names: it writes no fields."""
        return set()


EXPOSING: Final = ExposingPropagator()
