"""The moment up to which a partition is processed, over any traffic."""

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.consuming.progress import PartitionProgress

STEPS = st.lists(st.sampled_from(["write", "ask", "answer", "process", "wait"]), max_size=120)


@given(steps=STEPS)
def test_all_that_was_written_before_the_moment_is_processed(steps: list[str]) -> None:
    """However writes, fetches, slow answers and processing interleave, the moment is never too late nor goes back.

    The model: a fetch is asked for after the answer to the one before; the broker looks at its log at some time between
    question and answer (here: at the question, the worst case); the answer is noted when it comes.
    """
    progress = PartitionProgress()
    now = 1
    written: list[int] = []
    processed = 0
    asked: int | None = None
    latest = 0
    for step in steps:
        now += 1
        if step == "write":
            written.append(now)
        elif step == "ask" and asked is None:
            asked = len(written)
        elif step == "answer" and asked is not None:
            latest, asked = asked, None
            progress.answer(latest, now)
        elif step == "process" and processed < latest:
            processed += 1
        before = progress.moment_ms
        progress.process(processed)
        moment = progress.moment_ms
        assert before is None or (moment is not None and moment >= before)
        if moment is not None:
            assert all(at >= moment for at in written[processed:])


@given(backlog=st.integers(1, 50))
def test_a_partition_that_is_never_idle_gets_on(backlog: int) -> None:
    """With always the same backlog, and a record written for each one processed, the moment follows."""
    progress = PartitionProgress()
    for now in range(1, 4 * backlog + 10):
        progress.answer(now + backlog, now * 10)
        progress.process(now)
    assert progress.moment_ms is not None
    assert progress.moment_ms >= 10
