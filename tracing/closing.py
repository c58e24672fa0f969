"""`tracing.shutdown()`, which a program may call whether or not it was configured, and with the API alone."""

from __future__ import annotations

import sys

from tracing.settings import SHUTDOWN_TIMEOUT_S


def shutdown(timeout_s: float = SHUTDOWN_TIMEOUT_S) -> bool:
    """Export what is left and close what `configure` opened; a second call does nothing.

    Args:
        timeout_s: seconds after which it returns, whether or not a collector has taken everything. Threads of the SDK
            that still wait for the collector are left behind, and end with the process.

    Returns:
        Whether everything was closed in time.
    """
    if "tracing.provider" not in sys.modules:  # which has `configure`, so nothing was configured
        return True
    from tracing import provider  # noqa: PLC0415 - see above

    return provider.shutdown(timeout_s)
