"""The resource: who says what, and that one host never looks like two clocks."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from tests.support.clocks import KEYS, key_by_host
from tracing import host
from tracing.resource import resource_of

Key = Callable[[Mapping[str, Any]], str]

_PRINTED = "import json; from tracing.resource import resource_of; print(json.dumps(dict(resource_of('a').attributes)))"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "orders"),
        ({"OTEL_SERVICE_NAME": "renamed"}, "renamed"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=renamed"}, "renamed"),
    ],
    ids=["program", "variable", "attributes"],
)
def test_the_environment_names_the_service(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment can rename a service."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert resource_of("orders").attributes["service.name"] == name


def test_a_service_without_a_name_has_the_sdks() -> None:
    """Without a name anywhere it is the SDK's `unknown_service`."""
    assert str(resource_of().attributes["service.name"]).startswith("unknown_service")


def test_the_program_says_version_and_namespace() -> None:
    """Version and namespace are the program's; those that it does not give are left out."""
    given = resource_of("orders", "1.2.3", "shop", {"deployment.environment.name": "test"}).attributes
    assert (given["service.version"], given["service.namespace"]) == ("1.2.3", "shop")
    assert given["deployment.environment.name"] == "test"
    assert not {"service.version", "service.namespace"} & set(resource_of("orders").attributes)


def test_an_instance_has_an_id() -> None:
    """Each process has an id of its own, unless the program gives one."""
    assert resource_of().attributes["service.instance.id"]
    assert resource_of(attributes={"service.instance.id": "i-1"}).attributes["service.instance.id"] == "i-1"


@pytest.mark.parametrize(
    "key", ["service.version", "service.namespace", "service.instance.id", "host.name", "host.id", "host.ip", "ip"]
)
def test_the_environment_wins(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OTEL_RESOURCE_ATTRIBUTES says is said, whatever the program gives or the host is."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{key}=deployed")
    assert resource_of("a", "1", "b", {key: "program"}).attributes[key] == "deployed"


def test_the_program_knows_more_than_the_host() -> None:
    """An attribute of the program replaces what was found out about the host."""
    assert resource_of(attributes={"host.id": "i-0abc"}).attributes["host.id"] == "i-0abc"


def test_a_detector_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that OTEL_EXPERIMENTAL_RESOURCE_DETECTORS names is part of the environment."""
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "host")
    assert resource_of(attributes={"host.name": "program"}).attributes["host.name"] == host.describe()["host.name"]


@pytest.mark.parametrize("key", KEYS)
def test_two_processes_of_a_host_have_one_clock(key: Key) -> None:
    """By either of Jaeger's rules the keys of two processes are the same, and not empty."""
    one, two = (_of_a_new_process() for _ in range(2))
    assert one["service.instance.id"] != two["service.instance.id"]
    assert key(one) == key(two) == key(dict(resource_of("a").attributes))
    assert key(one)


@pytest.mark.parametrize("missing", [(), ("host.id",), ("host.id", "host.ip")], ids=["id", "address", "name"])
def test_each_attribute_that_jaeger_falls_back_to_is_usable(missing: tuple[str, ...]) -> None:
    """Where a pipeline takes an attribute away, the next one that Jaeger looks at is a key, too."""
    described = {name: value for name, value in host.describe().items() if name not in missing}
    assert key_by_host(described)


def test_two_hosts_have_two_clocks(tmp_path: Path) -> None:
    """Containers under other kernels have other keys, and those under one kernel, which share its clock, have one."""
    keys = [key_by_host(host.describe(_booted(tmp_path / name, boot))) for name, boot in _CONTAINERS.items()]
    assert keys == [_CONTAINERS["here"], _CONTAINERS["here"], _CONTAINERS["there"]]


def test_addresses_are_an_array_as_the_convention_has_it() -> None:
    """`host.ip` is an array of text on the resource, also after a way through the SDK."""
    assert Resource({"host.ip": ("10.0.0.1",)}).attributes["host.ip"] == ("10.0.0.1",)
    found = resource_of().attributes.get("host.ip", ())
    assert isinstance(found, tuple)
    assert all(isinstance(address, str) for address in found)


_CONTAINERS = {
    "here": "ccdd9a46-09e3-4611-ad90-f4d9730fb87f",
    "beside": "ccdd9a46-09e3-4611-ad90-f4d9730fb87f",
    "there": "11dd9a46-09e3-4611-ad90-f4d9730fb87f",
}


def _booted(folder: Path, boot: str) -> Path:
    file = folder / "proc/sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True)
    file.write_text(boot)
    return folder


def _of_a_new_process() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _PRINTED], capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
