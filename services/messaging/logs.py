"""Logs: JSON lines on standard output, each with the trace and the span in which it was written.

An exception is logged with its class and its stack. Its text is logged only if it is one of ours: a foreign text may
quote a payload, and so may the values in a debugger's traceback.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from opentelemetry import trace

from services.contracts import ContractError
from services.messaging.errors import MessagingError


def configure(service: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Make structlog and the standard library's logging write JSON lines, by default to stdout; once per process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        _with_span,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _with_exception,
                structlog.processors.JSONRenderer(default=repr),
            ],
        ),
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # The client logs every metadata change at INFO, and at ERROR every lost connection, though it retries them itself.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


def _with_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _with_span(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids by which a log line is found from its trace."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


def _with_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by what may be logged of it."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if info is True:
        error = sys.exception()
    if error is not None:
        if event.get("logger") == "asyncio":
            # Its further lines show the task, with the exception's text.
            event["event"] = str(event["event"]).partition("\n")[0]
        event["exception"] = f"{type(error).__module__}.{type(error).__qualname__}"
        event["exception_stack"] = "".join(traceback.format_tb(error.__traceback__))
        if isinstance(error, MessagingError | ContractError):
            event["exception_text"] = str(error)
    return event
