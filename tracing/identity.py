"""Span ids that follow from what a span shows.

A span that shows something committed is written after the commit, and is lost if the process ends in between. Whoever
takes over writes it again, and can't know whether it was lost. If the id follows from what is shown, both are one span.
The ids are given by `FactIdGenerator`, which `configure()` and `RecordedSpans` set; with another generator an id is
random, and a span that is written twice is two.
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
    """Give the span that is started in the block the id that follows from a fact: the same, whoever starts it."""
    digest = blake2b("\0".join(fact).encode(), digest_size=_BYTES).digest()
    # Zero is no id.
    token = _wanted.set(int.from_bytes(digest, "big") or 1)
    try:
        yield
    finally:
        _wanted.reset(token)


def wanted() -> int | None:
    """Give the id that the next span is to have, if there is one."""
    return _wanted.get()
