"""Convert OTLP's binary requests to OTLP/JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.cli.traces.otlp import MalformedTrace

_IDS = ("traceId", "spanId", "parentSpanId")


def to_json(body: bytes) -> dict[str, Any]:
    """Convert a binary export of traces to OTLP/JSON.

    Protobuf's own mapping writes ids in base64 and enums by name; OTLP has ids in hex and enums as numbers
    (opentelemetry-proto, "JSON Protobuf Encoding").

    Raises:
        MalformedTrace: the bytes are not an export of traces.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedTrace("the body is not an ExportTraceServiceRequest") from error
    document: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for holder in _with_ids(document):
        for name in _IDS:
            if name in holder:
                holder[name] = base64.b64decode(holder[name]).hex()
    return document


def _with_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield span
                yield from span.get("links", ())
