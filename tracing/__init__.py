"""OpenTelemetry for aiokafka: each message is one trace, from its send to the end of its processing.

```python
tracing.configure("my-service")  # optional: sets up the SDK from the OTEL_* variables
tracing.instrument()

async for record in consumer:
    await handle(record)  # whatever it sends continues the trace
```

`with tracing.process(record):` around a handler also puts its error on the span.

Importing the package changes nothing and loads next to nothing: each name is loaded when it is first used (PEP 562).
`instrument()` loads all that sends and receives need. Besides the standard library that is aiokafka and OpenTelemetry's
API; `configure`, the encoder, the journal and `tracing.testing` need the SDK, which the extra `otlp` installs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracing import testing
    from tracing.binding import bind
    from tracing.closing import shutdown
    from tracing.errors import InvalidOption, InvalidSetting, MissingExtra, TracingError, UnknownExporter
    from tracing.instrumentor import KafkaInstrumentor, instrument, uninstrument
    from tracing.otlp import EncodingSpanExporter, EncodingSpanProcessor
    from tracing.processing import fail, process
    from tracing.processors import BoundAttributesSpanProcessor
    from tracing.propagation import extract, inject
    from tracing.provider import configure, dropped_spans

__all__ = [
    "BoundAttributesSpanProcessor",
    "EncodingSpanExporter",
    "EncodingSpanProcessor",
    "InvalidOption",
    "InvalidSetting",
    "KafkaInstrumentor",
    "MissingExtra",
    "TracingError",
    "UnknownExporter",
    "bind",
    "configure",
    "dropped_spans",
    "extract",
    "fail",
    "inject",
    "instrument",
    "process",
    "shutdown",
    "testing",
    "uninstrument",
]

_MODULES = {
    "BoundAttributesSpanProcessor": "processors",
    "EncodingSpanExporter": "otlp",
    "EncodingSpanProcessor": "otlp",
    "InvalidOption": "errors",
    "InvalidSetting": "errors",
    "KafkaInstrumentor": "instrumentor",
    "MissingExtra": "errors",
    "TracingError": "errors",
    "UnknownExporter": "errors",
    "bind": "binding",
    "configure": "provider",
    "dropped_spans": "provider",
    "extract": "propagation",
    "fail": "processing",
    "inject": "propagation",
    "instrument": "instrumentor",
    "process": "processing",
    "shutdown": "closing",
    "uninstrument": "instrumentor",
}

if not TYPE_CHECKING:  # A type checker that saw it would take any name for one of the package's.

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used.

        Raises:
            MissingExtra: the name needs the SDK, which is not installed.
        """
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = import_module(f"{__name__}.{_MODULES.get(name, name)}")
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("opentelemetry."):
                raise
            from tracing.errors import MissingExtra  # noqa: PLC0415 - loaded when it is needed, as everything here

            raise MissingExtra.of(f"tracing.{name}") from error
        value = globals()[name] = getattr(module, name) if name in _MODULES else module
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
