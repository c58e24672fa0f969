"""Two distributions from one checkout: the library, and the services, which nobody else has to have."""

import subprocess
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.environments import build_wheel, make_environment
from tests.support.sources import ROOT


def _project(folder: str) -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return project


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has `sagatrace` and what it requires, and nothing else."""
    return make_environment(tmp_path_factory.mktemp("environment"), "sagatrace")


def _run(python: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code], cwd=folder, env={}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(("folder", "package"), [("", "tracing"), ("services", "services")])
def test_a_wheel_has_one_package(folder: str, package: str, tmp_path: Path) -> None:
    """Besides its metadata a wheel has one top-level package, all of it, and none of the project's own files."""
    built = build_wheel(ROOT / folder, tmp_path)
    names = {name for name in ZipFile(built).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    own = {"services/LICENSE", "services/README.md", "services/pyproject.toml"}
    assert names == {str(path.relative_to(ROOT)) for path in files} - own


def test_both_have_one_version() -> None:
    """The services are of the library's version and require it, with the extra that they use."""
    library, services = _project(""), _project("services")
    assert services["version"] == library["version"]
    assert f"sagatrace[otlp]=={library['version']}" in services["dependencies"]  # type: ignore[operator]
    assert (ROOT / "services/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_services_cannot_be_uploaded() -> None:
    """The index refuses a distribution with this classifier: its package `services` would meet other people's."""
    assert "Private :: Do Not Upload" in _project("services")["classifiers"]  # type: ignore[operator]


@pytest.mark.parametrize("is_package", [True, False], ids=["a package", "a plain folder"])
def test_a_folder_named_services_of_ones_own_imports_as_before(
    python: Path, tmp_path: Path, *, is_package: bool
) -> None:
    """Next to an installed `sagatrace`, a project's own `services` imports, with an `__init__.py` and without."""
    own = tmp_path / "services"
    own.mkdir()
    (own / "billing.py").write_text("PRICE = 3\n")
    if is_package:
        (own / "__init__.py").touch()
    done = _run(python, tmp_path, "import services.billing, tracing; print(services.billing.PRICE)")
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_the_library_works_with_the_api_alone(python: Path, tmp_path: Path) -> None:
    """Without the SDK the package imports, instruments and uninstruments, processes a record, and passes context on."""
    done = _run(python, tmp_path, _WITHOUT_SDK)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_what_needs_the_sdk_names_the_extra(python: Path, tmp_path: Path) -> None:
    """A name that needs the SDK is an error of one line that says what to install, however it is asked for."""
    names = ["configure", "BoundAttributesSpanProcessor", "EncodingSpanExporter", "EncodingSpanProcessor", "testing"]
    wanted = {name: f"tracing.{name} needs the OpenTelemetry SDK: pip install 'sagatrace[otlp]'" for name in names}
    code = f"import tracing\nfor name in {names}:\n    try:\n        getattr(tracing, name)\n"
    done = _run(python, tmp_path, f"{code}    except tracing.MissingExtra as error:\n        print(error)")
    assert done.stdout.splitlines() == list(wanted.values())
    for code in ("from tracing import configure", "from tracing.testing import RecordedSpans"):
        name = "configure" if "configure" in code else "testing"
        assert _run(python, tmp_path, code).stderr.splitlines()[-1] == f"tracing.errors.MissingExtra: {wanted[name]}"


_WITHOUT_SDK = """
import importlib.util, sys
from types import SimpleNamespace

import aiokafka, tracing
from opentelemetry import trace

assert importlib.util.find_spec("opentelemetry.sdk") is None
original = aiokafka.AIOKafkaProducer.send
tracing.instrument(exclude_topics=["audit"], message_key="hash")
assert aiokafka.AIOKafkaProducer.send is not original

parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
record = SimpleNamespace(
    topic="orders", partition=0, offset=7, timestamp=1, key=b"o-1", value=b"{}", headers=(("traceparent", parent),)
)
with tracing.process(record, group="g") as span, tracing.bind(**{"order.id": "o-1"}):
    assert format(span.get_span_context().trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    tracing.fail(span, ValueError("no"))
    assert tracing.inject([("type", b"x")]) == [("type", b"x"), ("traceparent", parent)]
context = tracing.extract(record.headers)
assert trace.get_current_span(context).get_span_context().is_remote

try:
    tracing.instrument(message_key="md5")
except tracing.TracingError as error:
    assert isinstance(error, tracing.InvalidOption)
tracing.uninstrument()
assert aiokafka.AIOKafkaProducer.send is original
assert tracing.shutdown()
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
print("done")
"""
