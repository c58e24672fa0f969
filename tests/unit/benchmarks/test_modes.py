"""The rows of the benchmark, what each must export, and the order in which they take their turns."""

import pytest

from benchmarks.modes import MODES, Tally, Workload, expected_spans, spare_polls
from benchmarks.rounds import rotated

_BY_NAME = {mode.name: mode for mode in MODES}


@pytest.fixture
def done() -> Tally:
    """Two calls of `getmany`: 300 messages of two partitions, 128 of one; an empty one in between."""
    tally = Tally()
    tally.polled([200, 100])
    tally.polled([])
    tally.polled([128])
    return tally


def test_a_tally_counts_what_determines_spans(done: Tally) -> None:
    """An empty poll counts for nothing, and a poll of more than 128 messages needs several spans for its links."""
    assert done == Tally(messages=428, polls=2, partitions=3, chunks=4)


@pytest.mark.parametrize(
    ("row", "workload", "spans"),
    [
        ("untraced", "produce", 0),
        ("contrib_100", "produce", 1000),
        ("contrib_100", "getone", 1000),
        ("official_100", "produce", 1000),
        ("official_100", "getone", 2000),
        ("official_100_metrics", "getone", 2000),
        ("official_100_journal", "getone", 2000),
        ("contrib_0", "produce", 0),
        ("official_0", "getone", 0),
        ("faststream", "produce", 0),
        ("faststream_100", "produce", 2000),
        ("confluent_100", "produce", 1000),
    ],
)
def test_every_message_has_its_spans(row: str, workload: Workload, spans: int) -> None:
    """Contrib makes one span for a message at either end; ours has the processing as well; unsampled there is none."""
    assert expected_spans(_BY_NAME[row], workload, Tally(messages=1000)) == spans


@pytest.mark.parametrize(
    ("row", "workload", "least", "more"),
    [
        ("fast_100", "getone", 1000, 1000),
        ("fast_100", "produce", 1000, 0),
        ("loop_100", "getone", 1000, 1000),
        ("fast_0", "getone", 0, 0),
        ("official_100", "getone", 2000, 0),
    ],
)
def test_the_fast_path_has_a_poll_span_for_a_getone_that_waited(
    row: str, workload: Workload, least: int, more: int
) -> None:
    """How many waited is not known, so there the number is a range; it is exact everywhere else."""
    done = Tally(messages=1000)
    assert (expected_spans(_BY_NAME[row], workload, done), spare_polls(_BY_NAME[row], workload, done)) == (least, more)


@pytest.mark.parametrize(
    ("row", "spans"),
    [("contrib_100", 428 + 2 + 3), ("official_100", 428 + 4), ("contrib_0", 0), ("official_0", 0), ("untraced", 0)],
)
def test_a_poll_of_many_adds_its_own_spans(row: str, spans: int, done: Tally) -> None:
    """Contrib adds one for the call and one for each partition, ours one for every 128 messages of a call."""
    assert expected_spans(_BY_NAME[row], "getmany", done) == spans


@pytest.mark.parametrize("row", ["faststream_100", "confluent_100"])
def test_a_peer_makes_two_spans_for_a_batch(row: str, done: Tally) -> None:
    """However many messages a batch has: neither peer says which message came from where."""
    assert expected_spans(_BY_NAME[row], "getmany", done) == 4


def test_the_order_of_modes_moves_on_with_each_round() -> None:
    """After as many rounds as there are modes, each has stood in each place once."""
    rounds = [rotated(MODES, number) for number in range(len(MODES))]
    assert [mode.name for mode in rounds[1]] == [mode.name for mode in (*MODES[1:], MODES[0])]
    for place in zip(*rounds, strict=True):
        assert {mode.name for mode in place} == set(_BY_NAME)


def test_every_reference_is_a_row_that_differs_in_the_instrumentation_alone() -> None:
    """A tax compares like with like: same sampling, no metrics on either side."""
    for mode in MODES:
        if mode.reference is not None:
            reference = _BY_NAME[mode.reference]
            assert (reference.instrumentation, reference.sampled) == ("contrib", mode.sampled)
            assert not mode.metrics
            assert not reference.metrics
