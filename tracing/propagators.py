"""The API's module of the global propagator, imported so that a wrong OTEL_PROPAGATORS is an error of this package.

The API loads what the variable names when the module is first imported, and raises a plain ValueError.
"""

from __future__ import annotations

from tracing.errors import InvalidSetting

try:
    from opentelemetry import propagate
except ValueError as error:
    raise InvalidSetting(f"OTEL_PROPAGATORS: {error}") from error

__all__ = ["propagate"]
