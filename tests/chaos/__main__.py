"""`make chaos`: random kills over all services on the real parts, under a steady load of orders.

Examples:
    make chaos KILLS=1000 SEED=1
    make chaos KILLS=50 ARGS="--report chaos.json --instances 1"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.chaos.nursery import Nursery
from tests.chaos.processes import Spawned
from tests.chaos.run import Report, chaos
from tests.chaos.system import real_parts, system


def main() -> int:
    """Run it, print the report, and give the exit code: 1 if something was lost, done twice or broken."""
    options = _parser().parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="sagatrace-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    _tell(f"the logs are in {folder}")
    with real_parts(folder) as parts, Nursery() as nursery:
        start = Spawned if options.spawn else nursery.start
        with system(folder, parts, start, instances=options.instances) as services:
            report = asyncio.run(chaos(services, options.kills, options.seed, _tell))
    document = json.dumps(report.document(), indent=1)
    print(document)
    if options.report:
        options.report.write_text(document + "\n")
    return _verdict(report)


def _verdict(report: Report) -> int:
    _tell("no event lost, each effect once, each saga one trace" if report.is_good else "the guarantee did not hold")
    return 0 if report.is_good else 1


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    description, _, examples = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        "make chaos", description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="how many processes are killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what is killed, and when, follows from it (%(default)s)")
    parser.add_argument("--instances", type=int, default=2, help="how many of each service (%(default)s)")
    parser.add_argument("--report", type=Path, help="a file for the report as JSON")
    parser.add_argument("--folder", type=Path, help="where logs go; a new folder by default")
    parser.add_argument("--spawn", action="store_true", help="start each service by its command instead of a fork")
    return parser


if __name__ == "__main__":
    sys.exit(main())
