"""OpenTelemetry for aiokafka: each message one trace, from its send to the end of its processing.

```python
tracing.configure("my-service")  # optional: the SDK, from the OTEL_* variables
tracing.instrument()

async for record in consumer:
    with tracing.process(record, group="my-group"):
        await handle(record)  # what it sends continues the trace
```

The package needs the standard library, OpenTelemetry and aiokafka. Importing it changes nothing.
"""

from tracing import semconv
from tracing.binding import bind, use_context
from tracing.exposure import expose
from tracing.headers import Header, Headers
from tracing.identity import known_as
from tracing.instrument import KafkaInstrumentor, instrument, uninstrument
from tracing.messages import Record
from tracing.options import ConsumeHook, InvalidOption, Options, ProduceHook
from tracing.otlp import EncodingSpanExporter, EncodingSpanProcessor, UnknownExporter
from tracing.processing import fail, process
from tracing.propagation import extract, inject
from tracing.provider import BoundAttributesSpanProcessor, configure, dropped_spans, shutdown
from tracing.settings import InvalidSetting

__all__ = [
    "BoundAttributesSpanProcessor",
    "ConsumeHook",
    "EncodingSpanExporter",
    "EncodingSpanProcessor",
    "Header",
    "Headers",
    "InvalidOption",
    "InvalidSetting",
    "KafkaInstrumentor",
    "Options",
    "ProduceHook",
    "Record",
    "UnknownExporter",
    "bind",
    "configure",
    "dropped_spans",
    "expose",
    "extract",
    "fail",
    "inject",
    "instrument",
    "known_as",
    "process",
    "semconv",
    "shutdown",
    "uninstrument",
    "use_context",
]
