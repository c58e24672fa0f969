"""`make servers` makes what is missing, once, and says what it cannot make."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import __main__ as command
from tests.servers import building
from tests.servers.building import NotBuilt, build, built
from tests.servers.installed import PARTS
from tests.servers.recipes import RECIPES, Recipe, Step
from tests.support import parts
from tests.support.sources import ROOT


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe that copies a file of its folder, and counts how often it did."""
    monkeypatch.setattr("tests.servers.recipes.FOLDER", tmp_path / "recipes")
    (tmp_path / "recipes" / "copied").mkdir(parents=True)
    (tmp_path / "recipes" / "copied" / "list").write_text("one")
    copy = f"cp list {{out}}/list && echo >> {tmp_path}/times"
    return Recipe("copied", "1", ("sh",), (Step(("sh", "-c", copy)),), ("list",), about_s=1)


def _hush(_line: str) -> None:
    """Take a line about the progress of a build."""


def _times(tmp_path: Path) -> int:
    return len((tmp_path / "times").read_text().splitlines())


def test_a_server_is_made_once_for_a_recipe(recipe: Recipe, tmp_path: Path) -> None:
    """What is there stays until its recipe changes, in a word of a command or in a dependency list."""
    home = tmp_path / "home"
    assert built(recipe, home) is None
    assert [build(recipe, _hush, home).fresh for _ in range(2)] == [True, False]
    (recipe.folder / "list").write_text("two")
    assert built(recipe, home) is None
    assert build(recipe, _hush, home).fresh
    assert (home / "copied" / "list").read_text() == "two"
    assert _times(tmp_path) == 2


@pytest.mark.usefixtures("recipe")
def test_a_failed_build_shows_why_and_keeps_nothing(tmp_path: Path) -> None:
    """The end of what the command printed is in the error, and no half-made server is taken for one."""
    broken = Recipe("copied", "1", ("sh",), (Step(("sh", "-c", "echo no such module; exit 7")),), (), about_s=1)
    with pytest.raises(NotBuilt, match=r"`sh -c .*` ended with 7:\n +no such module"):
        build(broken, _hush, tmp_path / "home")
    assert built(broken, tmp_path / "home") is None


def test_a_missing_program_is_named_with_what_to_install(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the program that a recipe needs, nothing is run, and the error says how to get it."""
    monkeypatch.setitem(building.INSTALL, "no-such-program", "no-such-program is not on PATH (get it)")
    needy = Recipe("copied", "1", ("no-such-program",), recipe.steps, ("list",), about_s=1)
    with pytest.raises(NotBuilt, match=r"no-such-program is not on PATH \(get it\)"):
        build(needy, _hush, tmp_path / "home")
    assert not (tmp_path / "times").exists()


def test_every_part_has_a_variable_and_every_need_a_hint() -> None:
    """The parts of the recipes are those that the environment can name, and no program is missing without a hint."""
    assert set(PARTS) == set(parts.ADDRESS_VARIABLES)
    assert {need for recipe in RECIPES for need in recipe.needs} <= set(building.INSTALL)


def test_the_recipes_name_no_registry_and_no_machine() -> None:
    """Dependency lists hold modules, versions and hashes: where they come from is the user's configuration."""
    text = "\n".join(path.read_text() for recipe in RECIPES for path in sorted(recipe.folder.iterdir()))
    assert re.findall(r"https?://|<repositor|GOPROXY|/root/|/home/", text) == []


def test_without_the_tools_the_table_says_so_and_only_a_required_part_fails(tmp_path: Path) -> None:
    """With nothing on PATH each part is a row with its reason, and the exit code is 1 only if one is required."""
    checkout = tmp_path / "checkout"
    for folder in ("tests/servers", "tests/support", "services", "tracing"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "tests" / "__init__.py").touch()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "tests.servers", *arguments]
        environment = {"PATH": str(tmp_path)}
        return subprocess.run(
            program, cwd=checkout, env=environment, capture_output=True, text=True, timeout=500, check=False
        )

    result = run("kafka", "jaeger")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^kafka +4\.3\.1 +missing java is not .*; mvn is not on PATH", result.stdout, re.MULTILINE)
    assert re.search(r"^jaeger +2\.13\.0 +missing go is not on PATH", result.stdout, re.MULTILINE)
    result = run("--require", "jaeger", "kafka")
    assert (result.returncode, result.stderr) == (1, "required and missing: jaeger\n")


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelled part is an error that lists the parts, not one that is silently not required."""
    with pytest.raises(SystemExit) as exit_:
        command.main(["--require", "kafak"])
    assert exit_.value.code == 2
    assert "there is no 'kafak', but kafka, kafka35" in capsys.readouterr().err
