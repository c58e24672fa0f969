"""Span ids that are derived from the fact that a span shows.

A span that shows a committed fact is written after the commit, and is lost if the process ends in between. The process
that takes over writes it again, because it can't know whether it was lost. If the id is derived from the fact, both are
one span. `FactIdGenerator`, which `configure()` and `RecordedSpans` set, assigns these ids; with another generator ids
are random, and a span that is written twice is two spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

_BYTES: Final = 8

_wanted: ContextVar[int | None] = ContextVar("sagatrace_span_id", default=None)


@contextmanager
def known_as(*fact: str) -> Iterator[None]:
    """Give the span that is started in the block an id derived from a fact: the same in every process."""
    digest = blake2b("\0".join(fact).encode(), digest_size=_BYTES).digest()
    # Zero is no id.
    token = _wanted.set(int.from_bytes(digest, "big") or 1)
    try:
        yield
    finally:
        _wanted.reset(token)


def wanted() -> int | None:
    """Return the id that the next span is to have, or None."""
    return _wanted.get()
