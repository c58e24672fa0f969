"""The operator of a command, and its telemetry and logs.

What a command sends continues the trace of the saga. With an OTLP endpoint in the environment the command has a span of
its own; without one, the messages are children of the saga's own spans. The trace is complete either way.
"""

from __future__ import annotations

import getpass
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import tracing
from services.cli.errors import CannotRun
from services.cli.settings import OperatorSettings
from services.messaging import logs, telemetry
from tracing import InvalidSetting

_NAME = "sagatrace-cli"
_FLUSH_S = 5.0


def log_to_stderr() -> None:
    """Send warnings to standard error, and drop the client's own: the command itself reports an unavailable broker."""
    logs.configure(_NAME, level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@contextmanager
def session() -> Iterator[None]:
    """Trace what is sent within the block.

    Raises:
        CannotRun: an OTEL_* variable is wrong.
    """
    try:
        if OperatorSettings.read().records_spans():
            telemetry.configure(_NAME)
    except InvalidSetting as error:
        raise CannotRun(str(error)) from error
    telemetry.instrument()
    try:
        yield
    finally:
        tracing.uninstrument()
        if not tracing.shutdown(_FLUSH_S):
            print("sagatrace: the spans of this command may be missing from their traces", file=sys.stderr)


def operator() -> str:
    """Return the operator's name: SAGATRACE_OPERATOR, or the user of this process.

    Raises:
        CannotRun: there is neither.
    """
    named = OperatorSettings.read().operator
    if named:
        return named
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError) as error:
        raise CannotRun("nobody is named as the operator: set SAGATRACE_OPERATOR") from error
