"""The rows of the benchmark: the ways in which Kafka is traced while the same work is done.

A row is a `Mode`, and a new row needs only an entry here, as long as its instrumentation is one of `Instrumentation`.
Every mode runs in the same process layout, with the SDK set up. Modes differ in what is wrapped around the client, in
whether the messages belong to a sampled trace, and in whether metrics are collected.

The tax of a mode is what it adds to an untraced message, over what its reference adds in the same run:

    tax = (mode - untraced) / (reference - untraced)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Client = Literal["aiokafka", "faststream", "confluent"]
#: "own": the tracing made for a client other than aiokafka.
Instrumentation = Literal["none", "contrib", "ours", "own"]
Workload = Literal["produce", "getone", "getmany"]
PollSpans = bool | Literal["waited", "waited_getone"]
ProcessSpans = Literal["loop", "explicit"]

WORKLOADS: Final[tuple[Workload, ...]] = ("produce", "getone", "getmany")
#: Links that the SDK keeps a span; a larger poll is several of our spans.
_LINKS_A_SPAN: Final = 128


@dataclass(frozen=True, slots=True)
class Mode:
    """One row."""

    name: str
    title: str
    instrumentation: Instrumentation
    #: Whether the parent, in the headers or as the current span, is sampled.
    sampled: bool = True
    metrics: bool = False
    #: Whether spans are kept in a span journal until their export.
    journal: bool = False
    client: Client = "aiokafka"
    #: Whether our spans are lean objects, encoded when they end, or the SDK's with its batch processor and its encoder.
    fast: bool = False
    #: The option of `tracing.instrument()`.
    poll_spans: PollSpans = True
    #: The option of `tracing.instrument()`; with "explicit" the handler opens its process span itself.
    process_spans: ProcessSpans = "explicit"
    #: The row whose cost is 1 in this row's tax; a row without one has no tax.
    reference: str | None = None


UNTRACED: Final = "untraced"
#: The option of the fast path: a `getone` that found its message prefetched has only the process span.
_SPARED: Final = "waited_getone"
MODES: Final = (
    Mode(UNTRACED, "aiokafka, untraced", "none"),
    Mode("contrib_100", "contrib, 100 % sampled", "contrib"),
    Mode("official_100", "ours, official path, 100 %", "ours", reference="contrib_100"),
    Mode("fast_100", "ours, fast path, 100 %", "ours", fast=True, poll_spans=_SPARED, reference="contrib_100"),
    Mode("loop_100", "ours, fast path, 100 %, loops", "ours", fast=True, poll_spans=_SPARED, process_spans="loop"),
    Mode("contrib_0", "contrib, 0 % sampled", "contrib", sampled=False),
    Mode("official_0", "ours, official path, 0 %", "ours", sampled=False, reference="contrib_0"),
    Mode("fast_0", "ours, fast path, 0 %", "ours", sampled=False, fast=True, poll_spans=_SPARED, reference="contrib_0"),
    Mode("official_100_metrics", "ours, official path, 100 %, metrics", "ours", metrics=True),
    Mode("fast_100_metrics", "ours, fast path, 100 %, metrics", "ours", metrics=True, fast=True, poll_spans=_SPARED),
    Mode("official_100_journal", "ours, official path, 100 %, journal", "ours", journal=True),
    Mode("fast_100_journal", "ours, fast path, 100 %, journal", "ours", journal=True, fast=True, poll_spans=_SPARED),
    Mode("faststream", "FastStream, untraced", "none", client="faststream"),
    Mode("faststream_100", "FastStream, own tracing, 100 % sampled", "own", client="faststream"),
    Mode("confluent", "confluent-kafka, untraced", "none", client="confluent"),
    Mode("confluent_100", "confluent-kafka, contrib, 100 % sampled", "own", client="confluent"),
)


@dataclass(slots=True)
class Tally:
    """The work that a workload did."""

    messages: int = 0
    #: Calls of `getmany` that returned messages.
    polls: int = 0
    #: Partitions that had messages in these calls, summed over the calls.
    partitions: int = 0
    #: Spans that are needed to hold a link to each message of each call.
    chunks: int = 0

    def polled(self, sizes: list[int]) -> None:
        """Count one `getmany`, given the number of messages from each partition."""
        brought = sum(sizes)
        if brought:
            self.messages += brought
            self.polls += 1
            self.partitions += len(sizes)
            self.chunks += -(-brought // _LINKS_A_SPAN)


def expected_spans(mode: Mode, workload: Workload, done: Tally) -> int:
    """Return how many spans the receiver must have got at least; there may be up to `spare_polls` more.

    contrib makes a span for each message sent or received, and for `getmany` one more for the call and for each of its
    partitions; it makes none for the processing. Ours makes `send`, `poll` and `process`; one `poll` serves up to 128
    messages of a `getmany`.
    """
    if not mode.sampled or mode.instrumentation == "none":
        return 0
    if mode.instrumentation == "contrib":
        return done.messages + done.polls + done.partitions
    if mode.instrumentation == "own":
        return _spans_of_peer(mode.client, workload, done)
    if workload == "getone":
        return done.messages if mode.poll_spans == _SPARED else done.messages * 2
    return done.messages + done.chunks


def spare_polls(mode: Mode, workload: Workload, done: Tally) -> int:
    """Return how many more spans there may be: only the instrumentation knows which calls of `getone` waited."""
    spared = mode.sampled and mode.poll_spans == _SPARED and workload == "getone"
    return done.messages if spared else 0


def _spans_of_peer(client: Client, workload: Workload, done: Tally) -> int:
    """Return the spans of a peer: FastStream makes two a message sent or batch received, contrib two a receive."""
    if client == "faststream":
        return {"produce": done.messages * 2, "getone": done.messages, "getmany": done.polls * 2}[workload]
    return done.messages if workload == "produce" else done.polls * 2
