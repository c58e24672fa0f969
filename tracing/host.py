"""The host of this process, as OpenTelemetry and Jaeger name it, found without a packet or a look-up of a name.

Sources:

- `host.id`: the machine id, `/etc/machine-id` or `/var/lib/dbus/machine-id` on Linux and `/etc/hostid` on BSD (semantic
  conventions, "Non-privileged Machine ID Lookup"). A container usually has none, and the conventions leave open what to
  take there: it is the kernel's boot id, which all containers of a host share as they share its clock. Elsewhere, the
  host's name.
- `host.name`: what the kernel says; in a container that is the container's id, unless it was given a name.
- `host.ip`: the addresses from which this host would send to others, IPv4 first, loopback left out.
- `ip`: the first of them, or 127.0.0.1 where there is no network. It is no name of OpenTelemetry's: Jaeger up to 2.14
  compares hosts by it, and takes spans of a process without it for spans of ever new hosts with clocks of their own.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tracing import semconv

_IDS: Final = ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostid", "proc/sys/kernel/random/boot_id")
#: 32 hexadecimal digits, with or without the hyphens of a UUID; systemd writes "uninitialized" before the first boot.
_ID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_LOOPBACK: Final = "127.0.0.1"
#: Addresses that nobody has, kept for documentation (RFC 5737, RFC 3849), and the discard port.
_NOWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD: Final = 9

HostAttributes = dict[str, str | tuple[str, ...]]


def describe(root: Path = Path("/")) -> HostAttributes:
    """Return the host's attributes for a resource.

    Args:
        root: the folder in which `/etc` and `/proc` are.
    """
    name, addresses = socket.gethostname(), tuple(_addresses())
    described: HostAttributes = {
        semconv.HOST_ID: _id(root / path for path in _IDS) or name,
        semconv.HOST_NAME: name,
        semconv.JAEGER_IP: next(iter(addresses), _LOOPBACK),
    }
    return described | ({semconv.HOST_IP: addresses} if addresses else {})


def _id(paths: Iterable[Path]) -> str | None:
    """Return the first id that a file holds."""
    for path in paths:
        try:
            content = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if _ID.fullmatch(content):
            return content
    return None


def _addresses() -> Iterable[str]:
    """Yield the addresses that the routing table has for this host; a connect of datagrams sends nothing."""
    for family, nowhere in _NOWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as unconnected:
                unconnected.connect((nowhere, _DISCARD))
                own = ipaddress.ip_address(unconnected.getsockname()[0].partition("%")[0])
        except OSError:
            continue
        if not own.is_loopback and not own.is_unspecified:
            yield str(own)
