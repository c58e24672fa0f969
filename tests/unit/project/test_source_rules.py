"""The rules of the source that no linter of ours holds."""

import ast
import importlib
import inspect

import pytest

from tests.support.sources import ROOT, at, functions, parse, python_files

_MOST_LINES = 400
_READ_THE_ENVIRONMENT = {"settings.py", "provider.py"}


def test_every_test_says_what_must_hold() -> None:
    """Every test function opens with a docstring."""
    silent = [
        at(path, function)
        for path in python_files("tests")
        for function in functions(parse(path))
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


@pytest.mark.parametrize("package", ["tracing", "services.contracts", "services.messaging"])
def test_public_names_are_sorted_and_say_what_they_are(package: str) -> None:
    """What a package exports is sorted, is there, and each function and class among it has a docstring of its own."""
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(names)
    exported = {name: getattr(module, name) for name in names}
    silent = [
        name
        for name, value in exported.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__
    ]
    assert silent == []


def test_only_settings_read_the_environment() -> None:
    """`os.environ` and `os.getenv` are named in settings modules and in the SDK's configuration, and nowhere else."""
    readers = [
        at(path, node)
        for path in python_files("tracing", "services")
        if path.name not in _READ_THE_ENVIRONMENT
        for node in ast.walk(parse(path))
        if _names_the_environment(node)
    ]
    assert readers == []


def test_a_file_is_one_noun() -> None:
    """No Python file is longer than 400 lines."""
    files = python_files("tracing", "services", "tests", "benchmarks")
    long = [str(path.relative_to(ROOT)) for path in files if len(path.read_text().splitlines()) > _MOST_LINES]
    assert long == []


def _names_the_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in {"environ", "getenv"} for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and ast.unparse(node.value) == "os"
