"""What the Compose files say: everything that the code, the documentation and an operator rely on."""

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from services.cli.run import Service
from tests.support.deployment import MAIN, OVERLAY, composed, load
from tests.support.sources import ROOT

_SERVICES = composed(MAIN)["services"]
_KAFKA35 = composed(MAIN, OVERLAY)["services"]
_OURS = {name for name, service in _SERVICES.items() if service.get("image", "").startswith("sagatrace:")}
_ONE_SHOT = {"migrate", "topics", "demo", "volumes"}
_IMAGES = {
    "kafka": "apache/kafka:4.3.1",
    "kafka-ui": "ghcr.io/kafbat/kafka-ui:v1.5.0",
    "postgres": "postgres:15",
    "jaeger": "jaegertracing/jaeger:2.13.0",
    "otel-collector": "otel/opentelemetry-collector-contrib:0.145.0",
    "prometheus": "prom/prometheus:v3.13.1",
    "grafana": "grafana/grafana:13.2.0",
    "volumes": "busybox:1.37",
}
_PORTS = {
    "kafka": ["9093:9093"],
    "kafka-ui": ["8080:8080"],
    "jaeger": ["16686:16686"],
    "otel-collector": ["4317:4317", "4318:4318"],
    "prometheus": ["9090:9090"],
    "grafana": ["3000:3000"],
    "oms": ["8000:8000"],
}
# Where each program keeps what has to outlive its container.
_DATA = {
    "kafka": "kafka-data:/var/lib/kafka/data",
    "postgres": "postgres-data:/var/lib/postgresql/data",
    "jaeger": "jaeger-data:/badger",
    "otel-collector": "collector-queue:/var/lib/otelcol",
    "prometheus": "prometheus-data:/prometheus",
    "grafana": "grafana-data:/var/lib/grafana",
    **{service.value: "span-journals:/var/lib/sagatrace" for service in Service},
}


@pytest.mark.parametrize("paths", [(MAIN,), (OVERLAY,), (MAIN, OVERLAY)], ids=" + ".join)
def test_the_files_keep_to_the_schema(paths: tuple[str, ...]) -> None:
    """Each file, and the two together, are what the Compose specification's schema allows."""
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    # Through JSON, which knows neither tags nor anchors.
    jsonschema.validate(json.loads(json.dumps(composed(*paths))), schema)


def test_images_are_these() -> None:
    """Every image has a tag, and it is the one that was run; all of ours are one image, built once."""
    assert {name: _SERVICES[name]["image"] for name in _SERVICES.keys() - _OURS} == _IMAGES
    assert {_SERVICES[name]["image"] for name in _OURS} == {f"sagatrace:{_version()}"}
    assert [name for name in _SERVICES if "build" in _SERVICES[name]] == ["migrate"]
    assert _KAFKA35["kafka"]["image"] == "confluentinc/cp-kafka:7.5.0"
    assert _KAFKA35["zookeeper"]["image"] == "confluentinc/cp-zookeeper:7.5.0"


def test_ports_are_these_and_only_of_this_machine() -> None:
    """Each published port is the documented one, on 127.0.0.1."""
    assert {name: service["ports"] for name, service in _SERVICES.items() if "ports" in service} == {
        name: [f"127.0.0.1:{port}" for port in ports] for name, ports in _PORTS.items()
    }
    assert _KAFKA35["zookeeper"]["ports"] == ["127.0.0.1:2181:2181"]


def test_the_services_are_those_of_the_command() -> None:
    """`sagatrace run NAME` is the service NAME, and nothing else runs one; each comes back when it died."""
    commands = {name: service.get("command", []) for name, service in _SERVICES.items()}
    running = {name: command for name, command in commands.items() if command[:1] == ["run"]}
    assert running == {name.value: ["run", name.value] for name in Service}
    assert all(_SERVICES[name]["restart"] == "unless-stopped" for name in running)


@pytest.mark.parametrize("name", sorted(_OURS))
def test_our_containers_may_do_nothing(name: str) -> None:
    """Ours run as nobody's user, read-only, without capabilities, with an init, and time to drain and flush."""
    service = _SERVICES[name]
    assert service["user"] == "10001:10001"
    assert (service["read_only"], service["init"]) == (True, True)
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    # SAGATRACE_STOP_BUDGET and SAGATRACE_FLUSH_TIMEOUT together.
    assert int(service["stop_grace_period"].removesuffix("s")) > 8 + 5


@pytest.mark.parametrize("name", sorted({**_SERVICES, **_KAFKA35}))
def test_every_container_is_bounded(name: str) -> None:
    """Each has a limit of memory and of its log, a name that Compose gives, and a restart if it is to stay."""
    service = _KAFKA35[name]
    assert "container_name" not in service
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert name == "volumes" or service["deploy"]["resources"]["limits"]["memory"]
    assert (service.get("restart") == "unless-stopped") == (name not in _ONE_SHOT)


@pytest.mark.parametrize("paths", [(MAIN,), (MAIN, OVERLAY)], ids=len)
def test_what_is_waited_for_can_be(paths: tuple[str, ...]) -> None:
    """A condition is one that its service can meet: healthy needs a health check, completed a one-shot."""
    services = composed(*paths)["services"]
    for service in services.values():
        for name, dependency in service.get("depends_on", {}).items():
            condition = dependency["condition"]
            assert (condition == "service_completed_successfully") == (name in _ONE_SHOT)
            assert condition != "service_healthy" or services[name]["healthcheck"]["test"]


def test_data_is_where_the_volumes_are() -> None:
    """Each named volume is mounted where its program writes, and each is declared and used."""
    for name, volume in _DATA.items():
        assert volume in _SERVICES[name]["volumes"]
    assert _SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    assert "--storage.tsdb.path=/prometheus" in _SERVICES["prometheus"]["command"]
    assert load("deploy/jaeger/jaeger.yaml")["extensions"]["jaeger_storage"]["backends"]["kept"]["badger"][
        "directories"
    ] == {"keys": "/badger/keys", "values": "/badger/values"}
    assert composed(MAIN)["volumes"].keys() == {volume.partition(":")[0] for volume in _DATA.values()}
    for service in Service:
        assert _SERVICES[service.value]["environment"]["SAGATRACE_JOURNAL_DIR"] == "/var/lib/sagatrace"
    # A new volume belongs to root.
    owned = {volume.partition(":")[2] for volume in _SERVICES["volumes"]["volumes"]}
    assert owned == set(_SERVICES["volumes"]["command"][2:])
    assert owned >= {"/badger", "/var/lib/otelcol", "/var/lib/sagatrace"}
    # A volume of one Kafka is of no use to the other.
    assert _KAFKA35["kafka"]["volumes"] == ["kafka35-data:/var/lib/kafka/data"]


def test_what_is_mounted_is_there() -> None:
    """Each file or folder of the repository that a container mounts exists, and is mounted read-only."""
    mounts = [mount for service in _KAFKA35.values() for mount in service.get("volumes", []) if mount.startswith("./")]
    assert len(mounts) >= 6
    for mount in mounts:
        source, _, target = mount.partition(":")
        assert (ROOT / source).exists(), mount
        assert target.endswith(":ro"), mount


def test_the_addresses_are_those_of_the_services() -> None:
    """Kafka advertises the addresses for inside and for the host; ours are given the inside one."""
    environment = _SERVICES["kafka"]["environment"]
    for kafka in (_SERVICES["kafka"], _KAFKA35["kafka"]):
        assert kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "INTERNAL://kafka:9092,EXTERNAL://localhost:9093"
        assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == "1@kafka:9094"
    assert {_SERVICES[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] for name in _OURS - {"demo"}} == {"kafka:9092"}
    assert _SERVICES["oms"]["environment"]["SAGATRACE_API_HOST"] == "0.0.0.0"  # noqa: S104  inside its container


def test_kraft_leaves_no_trace_with_zookeeper() -> None:
    """The overlay replaces the broker's variables: one of KRaft would become a property that Kafka 3.5 refuses."""
    environment = _KAFKA35["kafka"]["environment"]
    assert environment["KAFKA_ZOOKEEPER_CONNECT"] == "zookeeper:2181"
    assert not [name for name in environment if re.search("CONTROLLER|PROCESS_ROLES|NODE_ID|SHARE|CLUSTER_ID", name)]


def test_an_own_back_end_is_one_variable() -> None:
    """The OTLP variables of the caller reach every service, and without them the collector gets everything."""
    environment: dict[str, Any] = _SERVICES["payment"]["environment"]
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${OTEL_EXPORTER_OTLP_ENDPOINT:-http://otel-collector:4318}"
    assert environment["OTEL_EXPORTER_OTLP_HEADERS"] == "${OTEL_EXPORTER_OTLP_HEADERS:-}"
    certificate = "${OTEL_EXPORTER_OTLP_CERTIFICATE:+/etc/sagatrace/ca.pem}"
    assert environment["OTEL_EXPORTER_OTLP_CERTIFICATE"] == environment["REQUESTS_CA_BUNDLE"] == certificate
    mount = "${OTEL_EXPORTER_OTLP_CERTIFICATE:-/dev/null}:/etc/sagatrace/ca.pem:ro"
    assert all(mount in _SERVICES[service.value]["volumes"] for service in Service)
    variables = environment.keys() - {"REQUESTS_CA_BUNDLE"}
    assert all(_SERVICES[service.value]["environment"].keys() >= variables for service in Service)


def test_the_demo_prints_the_pages_that_are_published() -> None:
    """Each address in the demo's block is a published port, and each page that is published is in it."""
    pages = [option for option in _SERVICES["demo"]["command"] if option.startswith("--page=")]
    printed = {int(number) for page in pages for number in re.findall(r"localhost:(\d+)", page)}
    published = {int(port.partition(":")[0]) for ports in _PORTS.values() for port in ports}
    assert printed == published - {4317, 4318}


def _version() -> str:
    return str(re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0])
