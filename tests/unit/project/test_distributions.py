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
    return make_environment(tmp_path_factory.mktemp("environment"), "sagatrace[otlp]")


def _run(python: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code], cwd=folder, env={}, capture_output=True, text=True, timeout=30, check=False
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
