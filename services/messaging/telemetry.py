"""What a program of this system exports, and under which name: spans of orders, and no noise beside them.

A poll or a commit serves many orders and belongs to none, so each would be a trace of its own: they have no spans
unless `SAGATRACE_ALL_SPANS` asks for them. That goes for those that failed too: while a broker is away they fail again
and again, and what is to be known is in the log and in `messaging.client.operation.duration`, by `error.type`.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Final

import tracing
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.settings import TracingSettings

#: `service.namespace` of all services.
NAMESPACE: Final = "sagatrace"
_DISTRIBUTION: Final = "sagatrace-services"


def configure(name: str, journal: Path | None = None) -> None:
    """Set up the export of a program; what the environment says of it wins.

    Args:
        name: `service.name`.
        journal: the folder of the span journals; None for no journal.

    Raises:
        InvalidSetting: an OTEL_* variable is wrong.
    """
    tracing.configure(name, service_version=version(), service_namespace=NAMESPACE, journal=journal)


def instrument() -> None:
    """Trace the Kafka clients of this process, and name the spans of messages by what the messages say.

    Raises:
        ConfigurationError: SAGATRACE_ALL_SPANS is wrong.
    """
    wanted = TracingSettings.read().all_spans
    tracing.instrument(
        name_attribute=SAGATRACE_MESSAGE_TYPE,
        poll_spans=wanted,
        commit_spans=wanted,
        # consuming/delivery.py opens each of them, with its retries inside.
        process_spans="explicit",
    )


def version() -> str | None:
    """Return the version of the installed services; None if they run from a bare folder."""
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
