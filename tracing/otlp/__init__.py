"""Export over OTLP: spans become bytes when they end, wait in a queue, and are sent in batches.

Other rooms use what is named here. Importing it needs the OpenTelemetry SDK.
"""

from tracing.otlp.encoding import EncodedSpan, encode_request, encode_span
from tracing.otlp.forking import survive_forks
from tracing.otlp.processor import EncodingSpanExporter, EncodingSpanProcessor
from tracing.otlp.transport import official_exporter, takes_bytes

__all__ = [
    "EncodedSpan",
    "EncodingSpanExporter",
    "EncodingSpanProcessor",
    "encode_request",
    "encode_span",
    "official_exporter",
    "survive_forks",
    "takes_bytes",
]
