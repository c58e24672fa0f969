"""The span journal: a write-ahead log, so that a killed process leaves no gap in a trace.

Other rooms use what is named here. Importing it needs the OpenTelemetry SDK and POSIX file locks.
"""

from tracing.journal.journal import Journal

__all__ = ["Journal"]
