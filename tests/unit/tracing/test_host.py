"""The host's attributes: where each comes from, and that they cost no packet and no look-up."""

import socket
from pathlib import Path

import pytest

from tracing import host

_MACHINE = "3d1219c7c4c5404aaa1f6d2a48adfda4"
_DBUS = "0f1219c7c4c5404aaa1f6d2a48adfda4"
_BSD = "30313233-3435-3637-3839-616263646566"
_BOOT = "ccdd9a46-09e3-4611-ad90-f4d9730fb87f"
_FILES = {
    "etc/machine-id": f"{_MACHINE}\n",
    "var/lib/dbus/machine-id": f"{_DBUS}\n",
    "etc/hostid": f"{_BSD}\n",
    "proc/sys/kernel/random/boot_id": f"{_BOOT}\n",
}


def _machine(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (_FILES, _MACHINE),
        ({**_FILES, "etc/machine-id": "uninitialized\n"}, _DBUS),
        ({**_FILES, "etc/machine-id": "", "var/lib/dbus/machine-id": ""}, _BSD),
        ({"proc/sys/kernel/random/boot_id": _FILES["proc/sys/kernel/random/boot_id"]}, _BOOT),
        ({"etc/machine-id": "\xff"}, socket.gethostname()),
        ({}, socket.gethostname()),
    ],
    ids=["linux", "first-boot", "bsd", "container", "unreadable", "elsewhere"],
)
def test_the_host_id_is_the_machines(tmp_path: Path, files: dict[str, str], found: str) -> None:
    """It is the machine id where there is one, else the kernel's boot id, else the host's name."""
    assert host.describe(_machine(tmp_path, files))["host.id"] == found


def test_the_name_is_the_kernels() -> None:
    """The host's name is what the kernel says, without a look-up."""
    assert host.describe()["host.name"] == socket.gethostname()


def test_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is resolved, which could take long where the name server is away."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a look-up")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"):
        monkeypatch.setattr(socket, name, refused)
    assert host.describe()


@pytest.mark.parametrize(
    ("own", "addresses", "ip"),
    [
        ({socket.AF_INET: "10.1.2.3"}, ("10.1.2.3",), "10.1.2.3"),
        ({socket.AF_INET: "10.1.2.3", socket.AF_INET6: "fd00::1%eth0"}, ("10.1.2.3", "fd00::1"), "10.1.2.3"),
        ({socket.AF_INET6: "fd00:0:0::1"}, ("fd00::1",), "fd00::1"),
        ({socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}, None, "127.0.0.1"),
        ({socket.AF_INET6: "::"}, None, "127.0.0.1"),
        ({}, None, "127.0.0.1"),
    ],
    ids=["four", "both", "six", "loopback", "unbound", "no-network"],
)
def test_addresses_are_those_that_lead_out(
    monkeypatch: pytest.MonkeyPatch, own: dict[int, str], addresses: tuple[str, ...] | None, ip: str
) -> None:
    """`host.ip` has no loopback, and is left out rather than empty; `ip` is always one string, which Jaeger needs."""

    class Routed(socket.socket):
        """A socket on a host with these addresses."""

        def connect(self, _: object) -> None:
            if self.family not in own:
                raise OSError("Network is unreachable")

        def getsockname(self) -> tuple[str, int]:
            return own[self.family], 40_000

    monkeypatch.setattr(socket, "socket", Routed)
    described = host.describe()
    assert described.get("host.ip") == addresses
    assert described["ip"] == ip
