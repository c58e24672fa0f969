"""By what Jaeger tells hosts, and so clocks, apart: its adjuster moves or marks spans of a child on another host.

A span of which the key is empty counts as one of another host, also where both have none.
"""

from collections.abc import Mapping
from typing import Any


def key_by_ip(resource: Mapping[str, Any]) -> str:
    """Return the key up to Jaeger 2.14, for `/api/traces`: the resource's `ip`, if it is text.

    Source: `hostKey` in cmd/query/app/querysvc/internal/adjuster/clockskew.go of 2.13.
    """
    found = resource.get("ip")
    return found if isinstance(found, str) else ""


def key_by_host(resource: Mapping[str, Any]) -> str:
    """Return the key from 2.15 on, and before that for `/api/v3`: `host.id`, else the first `host.ip`, or `host.name`.

    A `host.id` that is there and is no text is an empty key: the others are not looked at then.

    Source: `hostKey` in cmd/jaeger/internal/extension/jaegerquery/internal/adjuster/clockskew.go of 2.20.
    """
    if "host.id" in resource:
        found = resource["host.id"]
        return found if isinstance(found, str) else ""
    addresses = resource.get("host.ip", ())
    if isinstance(addresses, str):
        return addresses
    return str(next(iter(addresses), resource.get("host.name", "")))


KEYS = (key_by_ip, key_by_host)
