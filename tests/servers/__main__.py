"""`make servers`: build what is missing, and print a table of what there is."""

# ruff: noqa: T201  a command speaks on standard output

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.servers.building import NotBuilt, build, built
from tests.servers.installed import FOUND, PARTS, NotInstalled, installed, version
from tests.servers.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Outcome:
    """One row of the table."""

    part: str
    version: str
    state: str
    detail: str

    @property
    def is_there(self) -> bool:
        """Whether tests can use it."""
        return self.state != "missing"


def main(arguments: Sequence[str]) -> int:
    """Build the servers.

    Returns:
        The exit code: 0, or 1 when a required part is missing.
    """
    asked = _parser().parse_args(arguments)
    parts = {*(asked.parts or PARTS), *asked.require}
    outcomes = [_made(recipe) for recipe in RECIPES if recipe.part in parts]
    outcomes += [_found(part) for part in FOUND if part in parts]
    print(_table(outcomes))
    missing = [outcome.part for outcome in outcomes if outcome.part in asked.require and not outcome.is_there]
    if missing:
        print(f"required and missing: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Make the servers that tests run on.")
    parser.add_argument("parts", nargs="*", type=_part, help=f"the parts to make; all of {', '.join(PARTS)} if none")
    parser.add_argument(
        "--require", type=_list, default=[], help="parts, by commas, that must be there for exit code 0"
    )
    return parser


def _list(text: str) -> list[str]:
    return [_part(name) for name in text.replace(",", " ").split()]


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no {name!r}, but {', '.join(PARTS)}")
    return name


def _made(recipe: Recipe) -> Outcome:
    def say(line: str) -> None:
        print(f"{recipe.part} {recipe.version}: {line}", flush=True)

    try:
        result = build(recipe, say)
    except (NotBuilt, OSError) as error:
        return Outcome(recipe.part, recipe.version, "missing", str(error))
    state = f"made in {result.took_s:.0f} s" if result.fresh else "there"
    return Outcome(recipe.part, recipe.version, state, str(built(recipe)))


def _found(part: str) -> Outcome:
    try:
        path = installed(part)
    except NotInstalled as error:
        return Outcome(part, "-", "missing", str(error))
    return Outcome(part, version(part, path), "there", str(path))


def _table(outcomes: Iterable[Outcome]) -> str:
    rows = [
        ("part", "version", "state", "where, or why not"),
        *((o.part, o.version, o.state, o.detail) for o in outcomes),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        " ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
