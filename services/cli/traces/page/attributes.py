"""A span's attributes in the order in which a person asks for them, and their values with units."""

from __future__ import annotations

from json import dumps

from services.cli.traces.model import Attributes, AttributeValue

# Group -> the beginnings of its keys, in the order of the rows. A key belongs to the first that it begins with.
_GROUPS = {
    "Order and saga": ("order.", "saga.id", "saga.step", "saga.outcome", "saga.state", "saga.compensat", "saga."),
    "Message": (
        "sagatrace.message.type",
        "sagatrace.reply.type",
        "sagatrace.duplicate",
        "sagatrace.redrives",
        "sagatrace.original",
        "messaging.destination.name",
        "messaging.consumer.group",
        "messaging.destination",
        "messaging.kafka.offset",
        "messaging.kafka.message",
        "messaging.message",
        # With OTEL_SEMCONV_STABILITY_OPT_IN=messaging.
        "kafka.offset",
        "kafka.message",
    ),
    "Error": ("error.type", "error", "exception.type", "exception.message", "exception."),
    "Wait": ("sagatrace.outbox", "messaging.kafka.queue", "retry."),
    "Technical": ("name", "http.", "url.", "messaging.", "server.", ""),
}
_PLACES = [(prefix, group) for group, prefixes in _GROUPS.items() for prefix in prefixes]
_LARGE = 1000
_UNITS = {"_ms": "ms", "_s": "s", "retry.delay": "s", ".size": "bytes"}


def grouped(attributes: Attributes) -> dict[str, dict[str, AttributeValue]]:
    """Return the attributes by group: order and saga, message, error, wait, then technical ones; no group is empty."""
    found: dict[str, dict[str, AttributeValue]] = {}
    for name in sorted(attributes, key=lambda name: (_place(name), name)):
        found.setdefault(_PLACES[_place(name)][1], {})[name] = attributes[name]
    return found


def text_of(name: str, value: AttributeValue) -> str:
    """Return a value as text; a number with its unit, if its name has one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return dumps(value, ensure_ascii=False)
    unit = next((f" {unit}" for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    return _digits(value) + unit


def _digits(value: float) -> str:
    """Return an integer as it is, and another number with as many digits as anybody reads."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if abs(value) >= _LARGE else f"{value:.4g}"


def _place(name: str) -> int:
    return next(place for place, (prefix, _) in enumerate(_PLACES) if name.startswith(prefix))
