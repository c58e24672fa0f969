"""The package from outside: its names, what it needs, and what importing it does."""

import ast
import importlib
import inspect
from importlib import metadata
from pathlib import Path

import tracing
from tests.support.distributions import modules_beyond, run_without
from tracing import semconv


def test_all_is_sorted_and_names_what_is_public() -> None:
    """`__all__` is in order, and is what a type checker sees, and each name is loaded from the module it sees it in."""
    (checked,) = (
        node
        for node in ast.parse(Path(tracing.__file__).read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    seen = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert tracing.__all__ == sorted(seen)
    for name, module in seen.items():
        assert getattr(tracing, name) is getattr(importlib.import_module(str(module)), name), name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A module's way to say so, which `hasattr` and the import system rely on."""
    assert not hasattr(tracing, "nonsense")
    assert set(tracing.__all__) <= set(dir(tracing))


def test_every_error_has_one_base() -> None:
    """A program can catch all that the library raises by one name, or each error as what it is."""
    errors = {
        tracing.InvalidOption: ValueError,
        tracing.InvalidSetting: ValueError,
        tracing.UnknownExporter: TypeError,
        tracing.MissingExtra: ImportError,
    }
    for error, kind in errors.items():
        assert issubclass(error, tracing.TracingError)
        assert issubclass(error, kind)


def test_everything_public_is_documented() -> None:
    """Each public name that can have one has a docstring."""
    for name in tracing.__all__:
        value = getattr(tracing, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_it_needs_nothing_but_opentelemetry_and_aiokafka() -> None:
    """It imports, with all its modules, where only its own dependencies are installed."""
    code = (
        "import importlib, pkgutil, tracing\n"
        "for module in pkgutil.iter_modules(tracing.__path__):\n"
        "    importlib.import_module('tracing.' + module.name)\n"
    )
    done = run_without(modules_beyond("sagatrace[otlp]"), code)
    assert done.returncode == 0, done.stderr


def test_its_imports_are_the_standard_library_opentelemetry_and_aiokafka() -> None:
    """No module names anything else, not even what happens to come along with those."""
    import sys  # noqa: PLC0415 - the one list that only this test needs

    allowed = sys.stdlib_module_names | {"opentelemetry", "aiokafka", "tracing"}
    for file in Path(tracing.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules = {(node.module or "").split(".")[0]}
            else:
                continue
            assert modules <= allowed, file.name


def test_importing_changes_nothing() -> None:
    """No provider is set, nothing is wrapped, and no thread runs."""
    code = (
        "import threading, aiokafka\n"
        "before = aiokafka.AIOKafkaProducer.send, aiokafka.AIOKafkaConsumer.getone\n"
        "import tracing, tracing.testing\n"
        "from opentelemetry import metrics, trace\n"
        "assert before == (aiokafka.AIOKafkaProducer.send, aiokafka.AIOKafkaConsumer.getone)\n"
        "assert type(trace.get_tracer_provider()).__name__ == 'ProxyTracerProvider'\n"
        "assert type(metrics.get_meter_provider()).__name__ == '_ProxyMeterProvider'\n"
        "assert threading.active_count() == 1\n"
    )
    done = run_without(frozenset(), code)
    assert done.returncode == 0, done.stderr


def test_the_names_of_the_convention_are_in_one_file() -> None:
    """No other module spells a `messaging.` name, so that a new version of the convention changes one file."""
    for file in Path(tracing.__file__).parent.rglob("*.py"):
        if file.name == "semconv.py":
            continue
        tree = ast.parse(file.read_text())
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                assert not node.value.startswith(("messaging.", "server.", "error.")), (file.name, node.value)


def test_the_convention_is_the_newest_with_constants() -> None:
    """The schema of spans and metrics is that of 1.44."""
    assert semconv.SCHEMA_URL.endswith(semconv.VERSION)
    assert metadata.version("opentelemetry-semantic-conventions").startswith("0.")
