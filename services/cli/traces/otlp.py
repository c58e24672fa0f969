"""Read OTLP/JSON into spans, and select traces from it.

The shape is that of OTLP/HTTP with JSON (opentelemetry-proto, "JSON Protobuf Encoding": ids in hex, 64-bit numbers as
text, enums as numbers), of Jaeger's upload, and of the `result` of Jaeger's `/api/v3/traces/{id}`, which may write
numbers and enums either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from services.cli.traces.model import AttributeValue, Event, Kind, Link, Span, once

Json = Mapping[str, Any]

_NO_PARENT = re.compile("0*")
_ID = {16: re.compile("[0-9a-fA-F]{32}"), 8: re.compile("[0-9a-fA-F]{16}")}
_ERROR = {2, "2", "STATUS_CODE_ERROR"}
_SERVICE_NAME = "service.name"
_UNKNOWN_SERVICE = "unknown_service"


class MalformedTrace(ValueError):
    """The document is not OTLP/JSON; the text says what is wrong, but not the value."""


def parse(document: Json) -> tuple[Span, ...]:
    """Read the spans of a document with `resourceSpans`, one for each span id.

    Raises:
        MalformedTrace: the document has another shape.
    """
    try:
        return once(_spans(document))
    except MalformedTrace:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedTrace(f"the document does not have the shape of OTLP/JSON: {type(error).__name__}") from error


def select(resource_spans: Iterable[Json], trace_ids: Collection[str]) -> dict[str, Any]:
    """Return the spans of some traces as one document."""
    kept = (_selected(resource, trace_ids) for resource in resource_spans)
    return {"resourceSpans": [resource for resource in kept if resource["scopeSpans"]]}


def _selected(resource: Json, trace_ids: Collection[str]) -> dict[str, Any]:
    scopes = [
        {**scope, "spans": [span for span in scope.get("spans", ()) if span["traceId"] in trace_ids]}
        for scope in resource.get("scopeSpans", ())
    ]
    return {**resource, "scopeSpans": [scope for scope in scopes if scope["spans"]]}


def _spans(document: Json) -> Iterator[Span]:
    for resource in document.get("resourceSpans", ()):
        service = str(_attributes(resource.get("resource", {})).get(_SERVICE_NAME, _UNKNOWN_SERVICE))
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield _span(span, service)


def _span(span: Json, service: str) -> Span:
    status = span.get("status") or {}
    start_ns = int(span.get("startTimeUnixNano", 0))
    return Span(
        trace_id=_id(span["traceId"], 16),
        span_id=_id(span["spanId"], 8),
        parent_id=_parent(span.get("parentSpanId") or ""),
        service=service,
        name=str(span.get("name", "")),
        kind=_kind(span.get("kind", Kind.UNSPECIFIED)),
        start_ns=start_ns,
        end_ns=int(span.get("endTimeUnixNano", start_ns)),
        attributes=_attributes(span),
        links=tuple(_link(link) for link in span.get("links", ())),
        events=tuple(_event(event) for event in span.get("events", ())),
        is_error=status.get("code") in _ERROR,
        status=str(status.get("message", "")),
    )


def _link(link: Json) -> Link:
    return Link(_id(link["traceId"], 16), _id(link["spanId"], 8), _attributes(link))


def _event(event: Json) -> Event:
    return Event(str(event.get("name", "")), int(event.get("timeUnixNano", 0)), _attributes(event))


def _id(text: str, size: int) -> str:
    if not _ID[size].fullmatch(text):
        raise MalformedTrace(f"an id is not {size * 2} hex digits")
    return text.lower()


def _parent(text: str) -> str | None:
    """Read a parent id; an empty one and all zeros both mean a root."""
    return None if _NO_PARENT.fullmatch(text) else _id(text, 8)


def _kind(kind: int | str) -> Kind:
    if isinstance(kind, str) and not kind.isdigit():
        return Kind[kind.removeprefix("SPAN_KIND_")]
    return Kind(int(kind))


def _attributes(holder: Json) -> dict[str, AttributeValue]:
    return {pair["key"]: _value(pair.get("value") or {}) for pair in holder.get("attributes", ())}


def _value(value: Json) -> AttributeValue:
    for field, read in _READERS.items():
        if field in value:
            return read(value[field])
    return None


_READERS: Mapping[str, Callable[[Any], AttributeValue]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": str,
    "arrayValue": lambda array: tuple(_value(item) for item in array.get("values", ())),
    "kvlistValue": lambda pairs: {pair["key"]: _value(pair.get("value") or {}) for pair in pairs.get("values", ())},
}
"""How each variant of `AnyValue` is read."""
