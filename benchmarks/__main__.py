"""The benchmarks as a command: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import encoder, figures, freight, imports, machine, processes, rounds
from benchmarks.modes import Mode
from benchmarks.processes import Failed
from benchmarks.report import Report
from benchmarks.rounds import Plan
from benchmarks.system import keys, memory, pipeline, relay

_EXAMPLES: Final = """\
examples:
  make bench                                  the figures of docs/performance.md: about four minutes
  make bench ARGS="--quick"                   checks that everything works; its figures mean little
  make bench ARGS="--rounds 3 --json out.json"

The table goes to standard output, progress to standard error. The exit code is 1 if a part fails or a span is lost;
no figure makes the command fail.
"""
#: The exit code that a shell reports for a program that Ctrl-C ended.
_INTERRUPTED: Final = 130
_QUICK: Final = Plan(rounds=1, messages=400)


#: The benchmarks of the whole system, by the first argument.
_OTHERS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "pipeline": pipeline.main,
    "relay": relay.main,
    "keys": keys.main,
    "memory": memory.main,
}


def _parser() -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What tracing costs: CPU time a Kafka message, untraced, with contrib, and with this project.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=_whole, metavar="N", help=f"fresh processes for each row ({usual.rounds})")
    parser.add_argument("--messages", type=_messages, metavar="N", help=f"messages in a measurement ({usual.messages})")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK.rounds} round of {_QUICK.messages} messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _messages(text: str) -> int:
    count = _whole(text)
    if count > freight.MOST_MESSAGES:
        raise argparse.ArgumentTypeError(f"the embedded broker keeps at most {freight.MOST_MESSAGES} messages")
    return count


def _tell(number: int, total: int, mode: Mode) -> None:
    print(f"[{number + 1}/{total}] {mode.title}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark that the first argument names, or that of tracing, and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in _OTHERS:
        return _OTHERS[given[0]](given[1:])
    parser = _parser()
    options = parser.parse_args(given)
    usual = _QUICK if options.quick else Plan()
    plan = Plan(options.rounds or usual.rounds, options.messages or usual.messages)
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    cores = machine.Cores.split()
    try:
        found = figures.rows(rounds.run(plan, cores, _tell))
        timings: encoder.Timings = processes.work("benchmarks.encoder", [])
        imported = imports.medians(imports.measure(plan.rounds))
    except Failed as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    report = Report(plan, machine.describe(cores), found, figures.taxes(found), encoder.ratio(timings), imported)
    if options.json is not None:
        options.json.write_text(report.json() + "\n")
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
