"""The moment in which a span's context leaves the process, told to whoever has to act before it.

From that moment on somebody else's span may be the child of this one. `inject` tells it by itself, and so does the
propagator that `configure()` sets; a program that writes contexts down in another way, such as into a row, says
`tracing.expose()` first.
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
    """Tell this listener from now on, and nobody else; nobody at all if it is None."""
    global _listener  # noqa: PLW0603 - one journal at a time
    _listener = listener


def exposed(span_context: SpanContext) -> None:
    """Tell the listener, if there is one, that a context is about to leave."""
    if _listener is not None:
        try:
            _listener(span_context)
        except Exception as error:  # noqa: BLE001 - the message goes out all the same
            faults.report("journalling a span", error)


def expose(context: Context | None = None) -> None:
    """Say that the span of a context, the current one by default, is about to become known outside of the process.

    To be called before its context is committed or sent by other means than `inject`. Without a span journal it does
    nothing.
    """
    if _listener is not None:
        exposed(trace.get_current_span(context).get_span_context())


class ExposingPropagator(textmap.TextMapPropagator):
    """Writes nothing, and tells that the others of its composite do: for clients that are not this package's."""

    def extract(
        self,
        carrier: textmap.CarrierT,  # noqa: ARG002 - nothing of ours is in there
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,  # noqa: ARG002
    ) -> Context:
        """Return the context as it is."""
        return Context() if context is None else context

    def inject(
        self,
        carrier: textmap.CarrierT,  # noqa: ARG002 - as above
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,  # noqa: ARG002
    ) -> None:
        """Tell that the context leaves."""
        expose(context)

    @property
    def fields(self) -> set[str]:
        """None."""
        return set()


EXPOSING: Final = ExposingPropagator()
