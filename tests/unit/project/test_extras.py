"""Each package needs what its extra brings, and no more."""

import pytest

from tests.support.distributions import modules_beyond, run_without

_IMPORT_ALL = """
import importlib, pkgutil
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("migrations.env"):  # Alembic runs it, and it runs when it is imported
        importlib.import_module(module.name)
"""


def test_tracing_stands_alone() -> None:
    """All of `tracing` imports with only the stdlib, OpenTelemetry and aiokafka present."""
    result = run_without(modules_beyond("sagatrace[otlp]") | {"services"}, _IMPORT_ALL, "tracing")
    assert (result.returncode, result.stderr) == (0, "")


def test_services_need_no_embedded_broker() -> None:
    """All of `services` imports without the extra `demo`."""
    result = run_without(modules_beyond("sagatrace-services"), _IMPORT_ALL, "services")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("installed", "arguments", "install"),
    [
        pytest.param("sagatrace", ["demo"], "sagatrace-services[demo]", id="the library alone"),
        pytest.param("sagatrace-services", ["demo"], "sagatrace-services[demo]", id="no demo extra"),
        pytest.param("sagatrace", ["run", "oms"], "sagatrace-services", id="the library alone, a service"),
    ],
)
def test_the_command_names_the_missing_extra(installed: str, arguments: list[str], install: str) -> None:
    """Without the extra it needs, the command fails with one line that says which to install."""
    code = "from services.cli.__main__ import main; main()"
    result = run_without(modules_beyond(installed), code, *arguments)
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert f"pip install '{install}'" in line
