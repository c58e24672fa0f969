"""The errors that `tracing` raises. None of them ever comes out of a traced call.

```
TracingError
├── InvalidOption    (ValueError)    an option of instrument()
├── InvalidSetting   (ValueError)    an environment variable
├── UnknownExporter  (TypeError)     an exporter that can't be given bytes
└── MissingExtra     (ImportError)   what is asked for needs the extra `otlp`
```
"""

from __future__ import annotations


class TracingError(Exception):
    """The base class of all errors that this package raises."""


class InvalidOption(TracingError, ValueError):
    """An option of `instrument()` has an invalid value."""


class InvalidSetting(TracingError, ValueError):
    """An environment variable has an invalid value; the message names the variable."""


class UnknownExporter(TracingError, TypeError):
    """The exporter is not an official OTLP exporter, or lacks a private name that is needed here."""


class MissingExtra(TracingError, ImportError):
    """The OpenTelemetry SDK, or one of its exporters, is not installed."""

    @classmethod
    def of(cls, name: str) -> MissingExtra:
        """Return the error for a name of this package that needs the SDK."""
        return cls(f"{name} needs the OpenTelemetry SDK: pip install 'sagatrace[otlp]'")
