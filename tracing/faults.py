"""Log the errors of the instrumentation, each once, so that none reaches the caller.

An exception's message may quote a payload, so the log names the exception's type and the line that raised it.
"""

from __future__ import annotations

import logging
import traceback
from typing import Final

_log: Final = logging.getLogger("tracing")
#: The kinds of faults that were logged; bounded, so that a fault with many variants cannot grow it for ever.
_seen: set[tuple[str, str, str]] = set()
_SEEN_LIMIT: Final = 256


def report(doing: str, error: BaseException) -> None:
    """Log an error of ours or of a hook: as a warning the first time, as debug from then on.

    Args:
        doing: what failed, as a participle with its object: "starting a send span".
        error: what was raised; its message is not logged.
    """
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"
    face = (doing, kind, where)
    level = logging.DEBUG if face in _seen else logging.WARNING
    if len(_seen) < _SEEN_LIMIT:
        _seen.add(face)
    _log.log(level, "tracing went on without %s: %s at %s", doing, kind, where)


def forget() -> None:
    """Log every fault as new again; a new instrumentation starts with this."""
    _seen.clear()
