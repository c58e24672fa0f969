"""The attribute names of this run: those of 1.44, those of 1.45 or both, as OTEL_SEMCONV_STABILITY_OPT_IN asks for.

Tests expect the names of 1.44. `in_old_names` takes what was written under whatever names the run asks for, checks that
it was, and returns it under those. SAGATRACE_TEST_SEMCONV says what the run asks for, because the tests' environment is
scrubbed.
"""

import os
from collections.abc import Mapping
from typing import Any

OPT_IN = os.environ.get("SAGATRACE_TEST_SEMCONV", "")
"""Empty, `messaging` or `messaging/dup`."""

RENAMED = {
    "messaging.system": "messaging.system.name",
    "messaging.kafka.offset": "kafka.offset",
    "messaging.kafka.message.key": "kafka.message.key",
    "messaging.kafka.message.tombstone": "kafka.message.tombstone",
    "messaging.kafka.cluster.id": "kafka.cluster.id",
}
"""The names of 1.45 by those of 1.44: v1.45.0, docs/registry/attributes/messaging.md and kafka.md."""


def in_old_names(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes under the names of 1.44.

    Raises:
        AssertionError: one has a name that this run does not ask for, or lacks one that it asks for.
    """
    found = dict(attributes or {})
    for old, new in RENAMED.items():
        if not OPT_IN:
            assert new not in found
        elif OPT_IN == "messaging":
            assert old not in found
            if new in found:
                found[old] = found.pop(new)
        else:
            assert found.get(old) == found.pop(new, None)
    return found
