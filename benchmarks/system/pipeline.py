"""Sagas a second over the whole system: traced against untraced, or by the number of instances.

Traced against untraced: both stacks run all the time, each with its own broker and database, and take turns under load,
so that a machine that is slow for a while affects both. By instances: one stack runs after the other, on one broker and
one database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import machine, processes, sink
from benchmarks.processes import Failed
from benchmarks.system import stack
from benchmarks.system.load import Load, Round
from benchmarks.system.stack import Stack
from services.cli.run import Service

#: Seconds after a round in which spans are exported and offsets committed; that CPU time belongs to the round.
_SETTLE_S: Final = 2.0
_WARM_UP: Final = 100

_EXAMPLES: Final = """\
examples:
  make bench ARGS="pipeline"                          traced against untraced: about four minutes
  make bench ARGS="pipeline --rounds 3 --json out.json"
  make bench ARGS="pipeline --instances 1,2,4"        one, two and four instances of each service, all traced
"""


@dataclass
class Samples:
    """All rounds of one side."""

    rounds: list[Round] = field(default_factory=list)
    #: Milliseconds of CPU a saga, by service and server, one value a round.
    cpu_ms: list[dict[str, float]] = field(default_factory=list)
    spans_a_saga: list[float] = field(default_factory=list)
    instances_ms: dict[str, list[float]] = field(default_factory=dict)
    resident_mb: dict[str, float] = field(default_factory=dict)
    out_of_order: int = 0

    def rate(self) -> float:
        """Return the median of sagas a second."""
        return median(round_.rate for round_ in self.rounds)

    def cpu(self) -> dict[str, float]:
        """Return the median milliseconds of CPU a saga, by service and server."""
        return {name: median(each[name] for each in self.cpu_ms) for name in self.cpu_ms[0]}

    def services_ms(self) -> list[float]:
        """Return the milliseconds of CPU a saga of all services together, one value a round."""
        return [sum(each[service] for service in Service) for each in self.cpu_ms]

    def document(self) -> dict[str, Any]:
        """Return everything for the JSON report."""
        return {
            "sagas_per_second": {"median": self.rate(), "all": [round_.rate for round_ in self.rounds]},
            "cpu_ms_per_saga": self.cpu(),
            "cpu_ms_per_saga_by_instance": self.instances_ms,
            "spans_per_saga": median(self.spans_a_saga),
            "transactions_per_saga": median(round_.transactions / round_.sagas for round_ in self.rounds),
            "saga_seconds": {
                "median": median(round_.median_s for round_ in self.rounds),
                "p95": median(round_.most_s for round_ in self.rounds),
            },
            "resident_mb": self.resident_mb,
            "events_out_of_order": self.out_of_order,
            "rounds": [asdict(round_) for round_ in self.rounds],
        }


class Side:
    """One stack, and the samples of its rounds under load."""

    def __init__(self, running: Stack, telemetry: str) -> None:
        self.name = running.name
        self.samples = Samples()
        self._stack = running
        self._load = Load(running)
        self._telemetry = telemetry

    def warm_up(self, sagas: int) -> None:
        """Fill caches and pools; nothing is measured."""
        asyncio.run(self._load.run(min(sagas, _WARM_UP)))

    def measure(self, sagas: int) -> Round:
        """Run one round and keep what it cost."""
        spans, cpu = sink.received(self._telemetry), self._stack.cpu_s()
        instances = {service: self._stack.instances_s(service) for service in Service}
        round_ = asyncio.run(self._load.run(sagas))
        asyncio.run(asyncio.sleep(_SETTLE_S))
        self.samples.rounds.append(round_)
        spent = self._stack.cpu_s()
        self.samples.cpu_ms.append({name: (spent[name] - cpu[name]) * 1000 / sagas for name in spent})
        self.samples.spans_a_saga.append((sink.received(self._telemetry) - spans) / sagas)
        self.samples.instances_ms = {
            service: [
                (after - before) * 1000 / sagas
                for before, after in zip(instances[service], self._stack.instances_s(service), strict=True)
            ]
            for service in Service
        }
        return round_

    def finish(self) -> None:
        """Read what is known only at the end."""
        self.samples.resident_mb = {name: size / 1e6 for name, size in self._stack.resident_bytes().items()}
        self.samples.out_of_order = asyncio.run(self._load.out_of_order())


Tell = Callable[[str], None]


def compare_tracing(folder: Path, sagas: int, rounds: int, *, metrics: bool, tell: Tell) -> dict[str, Samples]:
    """Run a traced and an untraced stack in turns."""
    with ExitStack() as opened:
        collector = opened.enter_context(processes.sink())
        tell("starting two brokers, PostgreSQL, and the five services twice")
        server = opened.enter_context(stack.database_server(folder / "postgres"))
        urls = opened.enter_context(stack.databases(server, 2))
        sides = []
        variables = {"traced": _traced(f"{collector}/traced", metrics=metrics), "untraced": _UNTRACED}
        for (name, ours), url in zip(variables.items(), urls, strict=True):
            kafka = opened.enter_context(stack.broker(folder / f"kafka-{name}"))
            up = opened.enter_context(stack.running(name, folder / name, kafka, url, ours))
            servers = {"kafka": kafka.process.pid or 0, "postgres": server.process.pid or 0}
            sides.append(Side(Stack(name, url, up.ports, up.children, servers), f"{collector}/{name}"))
        for side in sides:
            tell(f"warming up: {side.name}")
            side.warm_up(sagas)
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                _measure(side, sagas, f"[{number + 1}/{rounds}] {side.name}", tell)
        return _finished(sides)


def compare_instances(folder: Path, sagas: int, rounds: int, counts: Sequence[int], tell: Tell) -> dict[str, Samples]:
    """Run stacks on one broker and one database, one after the other."""
    with ExitStack() as opened:
        collector = opened.enter_context(processes.sink())
        server = opened.enter_context(stack.database_server(folder / "postgres"))
        (url,) = opened.enter_context(stack.databases(server, 1))
        kafka = opened.enter_context(stack.broker(folder / "kafka"))
        servers = {"kafka": kafka.process.pid or 0, "postgres": server.process.pid or 0}
        found: dict[str, Samples] = {}
        for count in counts:
            name = f"instances_{count}"
            tell(f"starting {count} of each service")
            ours = _traced(f"{collector}/{name}", metrics=False)
            with stack.running(name, folder / name, kafka, url, ours, instances=count) as up:
                side = Side(Stack(name, url, up.ports, up.children, servers), f"{collector}/{name}")
                side.warm_up(sagas)
                for number in range(rounds):
                    _measure(side, sagas, f"[{number + 1}/{rounds}] {count} of each", tell)
                found |= _finished([side])
        return found


_UNTRACED: Final = {"OTEL_SDK_DISABLED": "true"}


def _traced(endpoint: str, *, metrics: bool) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "otlp" if metrics else "none",
    }


def _measure(side: Side, sagas: int, title: str, tell: Tell) -> None:
    round_ = side.measure(sagas)
    tell(f"{title}: {round_.rate:.1f} sagas a second")


def _finished(sides: Sequence[Side]) -> dict[str, Samples]:
    for side in sides:
        side.finish()
    return {side.name: side.samples for side in sides}


def ratio(found: Mapping[str, Samples]) -> float | None:
    """Return the median, over the rounds, of traced over untraced sagas a second; None without these two."""
    if not {"traced", "untraced"} <= found.keys():
        return None
    pairs = zip(found["traced"].rounds, found["untraced"].rounds, strict=True)
    return median(traced.rate / untraced.rate for traced, untraced in pairs)


def cpu_ratio(found: Mapping[str, Samples]) -> float | None:
    """Return the median, over the rounds, of the services' CPU a saga untraced over traced; None without these two.

    The ratio of sagas a second would be the same if the services had the machine to themselves; this figure is less
    affected by whatever else runs.
    """
    if not {"traced", "untraced"} <= found.keys():
        return None
    pairs = zip(found["traced"].services_ms(), found["untraced"].services_ms(), strict=True)
    return median(untraced / traced for traced, untraced in pairs)


def lines(found: Mapping[str, Samples], about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{about['cpu']}, {about['cores']} cores, {about['system']}"
    yield ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    yield ""
    width = max(map(len, found))
    yield f"{'':{width}}  sagas/s (least-most)     life: median, 95 %   spans   transactions   out of order"
    for name, samples in found.items():
        rates, document = [round_.rate for round_ in samples.rounds], samples.document()
        life = document["saga_seconds"]
        yield (
            f"{name:{width}}  {samples.rate():7.1f} ({min(rates):.1f}-{max(rates):.1f})".ljust(width + 27)
            + f"{life['median']:8.2f} s {life['p95']:6.2f} s {document['spans_per_saga']:9.1f}"
            + f"{document['transactions_per_saga']:15.1f}{samples.out_of_order:15d}"
        )
    if (compared := ratio(found)) is not None:
        yield ""
        yield f"sagas a second, traced over untraced, median over the rounds: {compared:.3f}"
        yield f"CPU a saga of the services, untraced over traced, median over the rounds: {cpu_ratio(found):.3f}"
    yield ""
    yield "milliseconds of CPU a saga (shared servers, such as PostgreSQL, count for the side whose round it is)"
    names = list(next(iter(found.values())).cpu())
    yield f"{'':{width}}" + "".join(f"{name:>14}" for name in [*names, "services"])
    for name, samples in found.items():
        cpu = samples.cpu()
        services = median(samples.services_ms())
        yield f"{name:{width}}" + "".join(f"{value:14.2f}" for value in [*cpu.values(), services])
    for name, samples in found.items():
        if any(len(each) > 1 for each in samples.instances_ms.values()):
            shares = ", ".join(f"{service} {_shares(each)}" for service, each in samples.instances_ms.items())
            yield f"{name}, of each instance: {shares}"


def _shares(instances: Sequence[float]) -> str:
    return "/".join(f"{100 * each / (sum(instances) or 1):.0f}" for each in instances) + " %"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks pipeline",
        description="Sagas a second over the whole system, on real Kafka and PostgreSQL (see `make servers`).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sagas", type=int, default=600, metavar="N", help="orders of a round (600)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each side (5)")
    parser.add_argument("--instances", type=_counts, metavar="N,N", help="compare these numbers of instances")
    parser.add_argument("--metrics", action="store_true", help="the traced side exports its metrics, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers above 0, such as 1,2,4")
    return counts


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit code."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sagatrace-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            if options.instances:
                found = compare_instances(folder, options.sagas, options.rounds, options.instances, _tell)
            else:
                found = compare_tracing(folder, options.sagas, options.rounds, metrics=options.metrics, tell=_tell)
        except Failed as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
    about = machine.describe(machine.Cores())
    if options.json is not None:
        document = {name: samples.document() for name, samples in found.items()}
        options.json.write_text(
            json.dumps({**document, "ratio": ratio(found), "cpu_ratio": cpu_ratio(found), "machine": about}, indent=2)
            + "\n"
        )
    print("\n".join(lines(found, about)))
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
