"""Span ids that are derived from the fact that a span shows.

A span that shows a committed fact is written after the commit, and is lost if the process ends in between. The process
that takes over writes it again, because it can't know whether it was lost. If the id is derived from the fact, both are
one span. `FactIdGenerator`, which `configure()` and `RecordedSpans` set, assigns these ids; with another generator ids
are random, and a span that is written twice is two spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

_BYTES: Final = 8


class _Wish:
    """An id that one span is to have. Tasks that are started in the block share it."""

    __slots__ = ("span_id",)

    def __init__(self, span_id: int) -> None:
        self.span_id: int | None = span_id


_wish: ContextVar[_Wish | None] = ContextVar("sagatrace_span_id", default=None)


@contextmanager
def known_as(*fact: str) -> Iterator[None]:
    """Give the first span that is started in the block an id derived from a fact: the same in every process.

    It is for this one span: what is started inside it, or after it, has an id of its own.
    """
    digest = blake2b("\0".join(fact).encode(), digest_size=_BYTES).digest()
    # Zero is no id.
    wish = _Wish(int.from_bytes(digest, "big") or 1)
    token = _wish.set(wish)
    try:
        yield
    finally:
        wish.span_id = None
        # A generator may be closed in another context, in which there is nothing to reset.
        with suppress(ValueError):
            _wish.reset(token)


def take() -> int | None:
    """Return the id that the span which is being started is to have, once; None if it may have any."""
    wish = _wish.get()
    if wish is None:
        return None
    span_id, wish.span_id = wish.span_id, None
    return span_id
