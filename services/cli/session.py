"""One act of an operator: who it is, and the telemetry and logs around it.

What the act sends continues the trace of its saga. With an OTLP endpoint in the environment the act has a span of its
own; without one it has none, and what it sends hangs on the saga's own spans: the trace is whole either way.
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
from services.messaging import logs
from tracing import InvalidSetting

_NAME = "sagatrace-cli"
_FLUSH_S = 5.0


def log_to_stderr() -> None:
    """Keep logs out of what a command prints; a broker that is away is told once, by the command itself."""
    logs.configure(_NAME, level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@contextmanager
def session() -> Iterator[None]:
    """Send traced messages, for the length of the block.

    Raises:
        CannotRun: an OTEL_* variable is wrong.
    """
    try:
        if OperatorSettings.read().records_spans():
            tracing.configure(_NAME)
    except InvalidSetting as error:
        raise CannotRun(str(error)) from error
    tracing.instrument()
    try:
        yield
    finally:
        tracing.uninstrument()
        if not tracing.shutdown(_FLUSH_S):
            print("sagatrace: the spans of this command may be missing in their traces", file=sys.stderr)


def operator() -> str:
    """Name who acts: SAGATRACE_OPERATOR, or the user of this process.

    Raises:
        CannotRun: there is no such name.
    """
    named = OperatorSettings.read().operator
    if named:
        return named
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError) as error:
        raise CannotRun("nobody is named as the operator: set SAGATRACE_OPERATOR") from error
