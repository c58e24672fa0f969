"""A segment: one file of the span journal, appended to by one process, readable by its successor.

It starts with `MAGIC`, followed by entries, each framed so that a torn one is recognised:

    length u32 | crc32 u32 | kind u8 | origin u16 | span id u64 | time u64 (ns since the epoch) | payload

All numbers are little-endian; length and checksum are those of what follows them. Reading ends at the first entry that
is cut off or does not match its checksum: everything before it is good. An append is one `write`: what that has taken
survives the end of the process, though not of the machine, and needs no fsync.

A segment belongs to the process that holds its `flock`, which the system releases however that process ends. It is
locked before it gets its name, so a segment that can be locked was left by a dead process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, Self
from zlib import crc32

MAGIC: Final = b"sagatrace-journal-1\n"
SUFFIX: Final = ".journal"

_FRAME: Final = Struct("<II")
_HEAD: Final = Struct("<BHQQ")
_UNNAMED: Final = ".new"


class EntryKind(IntEnum):
    """The kinds of entries."""

    #: A resource and a scope, under the number that later entries name as their origin.
    ORIGIN = 1
    #: An open span as it is at the time; a later entry of the span replaces it.
    BEGIN = 2
    #: A finished span.
    END = 3
    #: Spans that need not be kept any more, by their ids.
    DROP = 4


class JournalEntry(NamedTuple):
    """One entry."""

    kind: EntryKind
    origin: int
    span_id: int
    time_ns: int
    payload: bytes


def frame(kind: EntryKind, origin: int, span_id: int, time_ns: int, payload: bytes) -> bytes:
    """Return the bytes of an entry."""
    content = _HEAD.pack(kind, origin, span_id, time_ns) + payload
    return _FRAME.pack(len(content), crc32(content)) + content


def read(content: bytes) -> Iterator[JournalEntry]:
    """Yield the entries of a segment, up to the first that is not whole; none if it is not a segment of this format."""
    if not content.startswith(MAGIC):
        return
    position, end = len(MAGIC), len(content)
    while position + _FRAME.size <= end:
        length, checksum = _FRAME.unpack_from(content, position)
        position += _FRAME.size
        body = content[position : position + length]
        if len(body) < max(length, _HEAD.size) or crc32(body) != checksum:
            return
        position += length
        kind, origin, span_id, time_ns = _HEAD.unpack_from(body)
        if kind not in _KINDS:  # a later version may add some
            continue
        yield JournalEntry(EntryKind(kind), origin, span_id, time_ns, body[_HEAD.size :])


_KINDS: Final = frozenset(EntryKind)


class Segment:
    """An open segment; errors are those of the system, `OSError`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        #: Bytes in the file.
        self.size = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, content: Iterable[bytes] = ()) -> Self:
        """Create a segment with this content; nobody sees it before it is complete.

        Raises:
            OSError: the folder or the disk does not allow it; nothing is left behind.
        """
        unnamed = path.with_suffix(_UNNAMED)
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        segment = cls(unnamed, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment.append(b"".join((MAGIC, *content)))
            unnamed.rename(path)
        except OSError:
            segment.discard()
            raise
        segment.path = path
        return segment

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Take over a segment of a dead process; return None if its process lives, or another successor was first."""
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return cls(path, descriptor)
            except OSError:
                pass
            os.close(descriptor)
        return None

    def append(self, content: bytes) -> None:
        """Write at the end.

        Raises:
            OSError: not all of it was written; the segment is of no further use.
        """
        written = os.write(self._descriptor, content)
        self.size += written
        if written < len(content):
            # Writing the rest makes the system say why.
            self.append(content[written:])

    def content(self) -> bytes:
        """Read the whole file."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()

    def empty(self, content: Iterable[bytes] = ()) -> None:
        """Start again with this content in the same file."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0
        self.append(b"".join((MAGIC, *content)))

    def discard(self) -> None:
        """Delete the file."""
        with suppress(OSError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Close the file, which stays, and release its lock, unless a fork holds it too."""
        with suppress(OSError):
            os.close(self._descriptor)


def left_behind(folder: Path) -> list[Path]:
    """Return the segments in a folder, of living and dead processes, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))
