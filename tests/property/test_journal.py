"""A span journal that was cut off or damaged anywhere: a prefix is read, and nothing is raised."""

from hypothesis import given
from hypothesis import strategies as st

from tracing.journal.recovery import Remains
from tracing.journal.segment import MAGIC, EntryKind, frame, read

ENTRIES = st.tuples(
    st.sampled_from(EntryKind),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=40),
)


@given(st.lists(ENTRIES, max_size=8), st.data())
def test_any_cut_leaves_a_prefix(entries: list[tuple[EntryKind, int, int, int, bytes]], data: st.DataObject) -> None:
    """Of a file that was cut off at any byte, all entries that are whole are read, and nothing else."""
    frames = [frame(*entry) for entry in entries]
    content = b"".join((MAGIC, *frames))
    cut = data.draw(st.integers(0, len(content)))
    ends = [len(MAGIC) + len(b"".join(frames[: number + 1])) for number in range(len(frames))]
    whole = sum(end <= cut for end in ends)
    assert [tuple(entry) for entry in read(content[:cut])] == entries[:whole]


@given(st.lists(ENTRIES, min_size=1, max_size=8), st.data())
def test_a_damaged_byte_ends_the_reading(
    entries: list[tuple[EntryKind, int, int, int, bytes]], data: st.DataObject
) -> None:
    """What stands before a byte that changed is read, and what is wrong is never taken for an entry."""
    frames = [frame(*entry) for entry in entries]
    content = bytearray(b"".join((MAGIC, *frames)))
    position = data.draw(st.integers(len(MAGIC), len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    found = [tuple(entry) for entry in read(bytes(content))]
    ends = [len(MAGIC) + len(b"".join(frames[: number + 1])) for number in range(len(frames))]
    assert found == entries[: sum(end <= position for end in ends)]


@given(st.binary(max_size=400), st.lists(ENTRIES, max_size=8))
def test_any_entries_are_played_back(noise: bytes, entries: list[tuple[EntryKind, int, int, int, bytes]]) -> None:
    """Whatever a file holds, playing it back raises nothing and gives spans with an end."""
    remains = Remains()
    remains.add(read(MAGIC + noise))
    remains.add(read(b"".join((MAGIC, *(frame(*entry) for entry in entries)))))
    assert all(span.end_time is not None for span in remains.spans())
