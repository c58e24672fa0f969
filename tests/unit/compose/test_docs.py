"""The documentation describes the containers as the Compose files do."""

import re

import pytest

from tests.support.deployment import MAIN, OVERLAY, composed
from tests.support.sources import ROOT

_SERVICES = composed(MAIN, OVERLAY)["services"]
_MAIN = composed(MAIN)["services"]
_PAGES = ["README.md", "docs/compose.md", "docs/troubleshooting.md", "docs/runbook.md"]
_PUBLISHED = {port.split(":")[1] for service in _SERVICES.values() for port in service.get("ports", [])}
# Which word of a command line is a service: after these verbs, and whatever options they have.
_NAMED = re.compile(
    r"docker compose (?:exec(?: -T)?|logs(?: --tail \d+)?|restart|stop|start|up(?: -d)?(?: --scale \w+=\d)?|ps -a) "
    r"([a-z][a-z-]*)"
)


@pytest.mark.parametrize("page", _PAGES)
def test_services_and_ports_are_those_that_there_are(page: str) -> None:
    """Each service in a command is one, and each port on localhost is published, or said not to be."""
    text = (ROOT / page).read_text()
    assert set(_NAMED.findall(text)) <= _SERVICES.keys()
    # 9092 is Kafka's port inside; a tool that runs there uses it, and the page warns of it outside.
    assert set(re.findall(r"localhost:(\d+)", text)) <= _PUBLISHED | {"9092", "2181"}


def test_the_table_has_every_service_image_and_limit() -> None:
    """docs/compose.md names each service with its image, and with the memory that it may take."""
    table = (ROOT / "docs/compose.md").read_text()
    rows = {
        name: line for line in table.splitlines() if line.startswith("| `") for name in re.findall(r"`([\w-]+)`", line)
    }
    for name, service in _MAIN.items():
        assert name in rows, name
        if not service["image"].startswith(("sagatrace:", "busybox:")):
            limit = service["deploy"]["resources"]["limits"]["memory"].removesuffix("M")
            assert service["image"] in rows[name]
            assert f"{limit} MB" in rows[name]
    for name in ("kafka", "zookeeper"):
        assert f"`{_SERVICES[name]['image']}`" in table


def test_every_variable_is_explained() -> None:
    """docs/compose.md has a row for each variable that the Compose file reads, with its default."""
    table = (ROOT / "docs/compose.md").read_text()
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (ROOT / MAIN).read_text()):
        if default == "/dev/null":
            continue
        shown = f" `{default}` " if default else " "
        assert f"| `{name}` |{shown}|" in table, name


def test_the_image_is_built_in_stages_for_nobody() -> None:
    """The Dockerfile has no `# syntax` line, which pulls an image; its last stage has no root; packages have hashes."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if line.startswith("# syntax")]
    stages = [line for line in lines if line.startswith("FROM")]
    assert len(stages) == 3
    assert all(":" in line.split()[1] for line in stages)
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 10001:10001" in last
    installs = [line for line in lines if "uv pip" in line and "/wheel/" not in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_the_build_context_holds_what_is_copied_and_no_more() -> None:
    """.dockerignore lets in exactly the files and folders of the repository that the Dockerfile copies."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {name for copy in copies for name in copy.split()}
    assert {name for name in copied if name.split("/")[0] not in copied - {name}} == allowed
