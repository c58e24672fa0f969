"""Room for the context of a `send`: a message that the client takes without it goes out without it, not nowhere.

The client refuses a message that is larger than `max_request_size`, and a context takes some 70 bytes. Whether a
message is too large is known only inside the client, after its serialisers have run, and they may run only once:

- without serialisers the refused call is repeated with the headers that the caller gave;
- with serialisers the producer's `_serialize` shows the client the caller's headers, and afterwards takes the context
  out of the message if there is no room for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import ref

from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from opentelemetry.trace import Span

from tracing import semconv
from tracing.headers import Header

_SERIALIZERS: Final = ("_key_serializer", "_value_serializer")
#: The most claims that are kept, if a client of another make does not ask for them.
_MOST: Final = 10_000

_size: Final = DefaultRecordBatchBuilder.estimate_size_in_bytes


def left_out(span: Span) -> None:
    """Mark the span of a message that goes out without its context."""
    span.set_attribute(semconv.CONTEXT_LEFT_OUT, True)  # noqa: FBT003 - the value of an attribute


def without(given: Any, written: Sequence[Header], headers: Any) -> Any:  # noqa: ANN401 - unchecked
    """Return the headers that the caller gave, and those that a hook has added to the written ones."""
    added = [header for header in headers if not any(header is each for each in written)]
    return [*(given or ()), *added] if added else given


class Claim(NamedTuple):
    """Headers with a context on their way into the client, and what they were made from."""

    #: Held, so that no other list has its identity.
    headers: list[Header]
    written: Sequence[Header]
    given: Any
    span: Span

    def bare(self) -> list[Header]:
        """Return the headers as they would be without tracing."""
        return without(self.given, self.written, self.headers) or []


class Claims:
    """The messages of a producer with serialisers that are in the client, before its check of their size."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: dict[int, Claim] = {}

    def add(self, headers: list[Header], given: Any, span: Span) -> None:  # noqa: ANN401 - unchecked
        """Remember what headers with a context were made from."""
        if len(self._claims) >= _MOST:
            self._claims.clear()
        self._claims[id(headers)] = Claim(headers, tuple(headers), given, span)

    def drop(self, headers: object) -> None:
        """Forget headers, if they are still known."""
        self._claims.pop(id(headers), None)

    def watch(self, producer: Any) -> None:  # noqa: ANN401 - private names of the client are needed
        """Have the producer's messages sized without their contexts."""
        # Neither keeps the producer: it is to go when its program lets it go.
        serialize, producer_ref = type(producer)._serialize, ref(producer)  # noqa: SLF001 - the only place

        def sized(key: object, value: object, headers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - unchecked
            owner: Any = producer_ref()
            claim = self._claims.pop(id(headers), None)
            bare = headers if claim is None else claim.bare()
            serialized: tuple[Any, Any] = serialize(owner, key, value, bare)
            if claim is not None and _size(*serialized, headers) > owner._max_request_size:  # noqa: SLF001 - as above
                headers[:] = bare
                left_out(claim.span)
            return serialized

        producer._serialize = sized  # noqa: SLF001 - of this one object


def claims(producer: object) -> Claims | None:
    """Return the claims of a producer that has serialisers; None for any other client."""
    if all(getattr(producer, name, None) is None for name in _SERIALIZERS) or not hasattr(producer, "_serialize"):
        return None
    found = Claims()
    found.watch(producer)
    return found


def lacking(error: BaseException, claims: Claims | None, headers: object) -> bool:
    """Return whether a send was refused only because it may have had no room for its context."""
    if claims is not None:
        claims.drop(headers)
        return False
    return isinstance(error, MessageSizeTooLargeError)
