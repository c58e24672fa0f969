"""`make chaos`: random kills over all services on the real servers, under a steady load of orders.

Examples:
    make chaos KILLS=1000 SEED=1
    make chaos KILLS=50 ARGS="--report chaos.json --instances 1"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.killers import Killers
from tests.chaos.nursery import Nursery
from tests.chaos.processes import Spawned
from tests.chaos.report import Report, report
from tests.chaos.run import play
from tests.chaos.system import System, real_parts, system

_TELL_S = 5.0


def main() -> int:
    """Run it, print the report, and return the exit code: 1 if something was lost, done twice or broken."""
    options = _parser().parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="sagatrace-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    _tell(f"the logs are in {folder}")
    with real_parts(folder) as parts, Nursery() as nursery:
        start = Spawned if options.spawn else nursery.start
        with system(folder, parts, start, instances=options.instances) as services:
            counted = asyncio.run(_chaos(services, options.kills, options.seed))
    document = json.dumps(counted.document(), indent=1)
    print(document)
    if options.report:
        options.report.write_text(document + "\n")
    _tell("no event lost, each effect once, each saga one trace" if counted.is_good else "the guarantee did not hold")
    return 0 if counted.is_good else 1


async def _chaos(services: System, kills: int, seed: int) -> Report:
    killers = Killers(services.instances, kills, seed)
    # An interrupt ends the kills, and what was done so far is reported.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, killers.stop)
    telling = asyncio.create_task(_tell_on(killers))
    try:
        left = await play(services, seed, killers.run)
    finally:
        telling.cancel()
    for line in (*left.faults(), *(f"died by itself: {death}" for death in killers.deaths)):
        _tell(line)
    return report(killers, left)


async def _tell_on(killers: Killers) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_TELL_S)
        _tell(f"{time.monotonic() - began:6.0f} s  {killers.standing()}")


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
