"""Decide what a receiver's answer means for the spans of a request.

Source: OTLP specification, "Failures", "Partial Success" and "Throttling" of OTLP/gRPC and OTLP/HTTP. Beyond it: a
request that is too large is told from one that is wrong, because its spans can still arrive in smaller requests.
gRPC has no code for it, and some HTTP receivers answer with 400, so the text is read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from time import time
from typing import Any, Final, NamedTuple

from tracing.otlp.protobuf import INT64, fields

#: Statuses after which the same request is to be sent again: the receiver, or something in front of it, is slow or busy
#: (OTLP, "Retryable Response Codes"). None stands for no answer at all.
_HTTP_AGAIN: Final = frozenset({None, 408, 429, 502, 503, 504})
_HTTP_TAKEN: Final = range(200, 300)
_HTTP_TOO_LARGE: Final = 413
#: The same for gRPC. RESOURCE_EXHAUSTED belongs to them only if the receiver says when to come again.
_GRPC_AGAIN: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
#: How gRPC's and HTTP's implementations say that a message is too large.
_TOO_LARGE: Final = re.compile(
    r"(message|body|entity|payload|length|request)[^.]{0,60}(too (large|big)|larger than|exceed)|status: 413",
    re.IGNORECASE,
)
#: Characters of an answer that are read, at most.
_READ: Final = 4096
#: Bytes up to which a request that exhausts some resource is not too large: the quota is used up.
_SMALL: Final = 64 << 10
#: Seconds that a receiver can ask for, at most.
_LONGEST_S: Final = 300.0


class ExportOutcome(Enum):
    """What became of a request."""

    ACCEPTED = "accepted"
    #: There was no answer, or the answer was to try again later.
    AGAIN = "again"
    #: The request has more bytes than the receiver takes; its spans may arrive in smaller ones.
    TOO_LARGE = "too large"
    #: The same request would be refused again.
    REFUSED = "refused"


class Answer(NamedTuple):
    """An outcome and what the receiver said with it."""

    outcome: ExportOutcome
    #: Spans of an accepted request that the receiver did not keep; they must not be sent again.
    rejected: int = 0
    #: Seconds after which the receiver wants the same request again.
    after_s: float = 0.0


#: The answer if there was none.
NO_ANSWER: Final = Answer(ExportOutcome.AGAIN)
TOO_LARGE: Final = Answer(ExportOutcome.TOO_LARGE)
REFUSED: Final = Answer(ExportOutcome.REFUSED)


def http_answer(status: int | None, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what an HTTP response says; a status of None stands for no response."""
    if status in _HTTP_AGAIN:
        return Answer(ExportOutcome.AGAIN, after_s=_retry_after(headers.get("Retry-After")))
    if status in _HTTP_TAKEN:
        return accepted(body)
    if status == _HTTP_TOO_LARGE or _TOO_LARGE.search(body[:_READ].decode(errors="replace")):
        return TOO_LARGE
    return REFUSED


def grpc_answer(code: str, details: str, trailers: Mapping[str, Any], size: int) -> Answer:
    """Return what a gRPC status says about a request of this many bytes.

    Args:
        code: the name of the status.
        details: its text.
        trailers: the metadata behind the answer.
        size: bytes of the request.
    """
    if _TOO_LARGE.search(details[:_READ]):
        return TOO_LARGE
    after_s = _retry_info(trailers)
    if code in _GRPC_AGAIN or (code == "RESOURCE_EXHAUSTED" and after_s is not None):
        return Answer(ExportOutcome.AGAIN, after_s=after_s or 0.0)
    return TOO_LARGE if code == "RESOURCE_EXHAUSTED" and size > _SMALL else REFUSED


def accepted(body: bytes) -> Answer:
    """Return the answer in an `ExportTraceServiceResponse`; one that cannot be read rejects nothing."""
    rejected = 0
    try:
        for partial_success in _inside(body, 1):
            rejected = next(_numbers(partial_success, 1), 0)
    except (LookupError, ValueError):  # a proxy may answer with anything
        rejected = 0
    return Answer(ExportOutcome.ACCEPTED, rejected=rejected if rejected < INT64 else 0)


def _retry_after(value: str | None) -> float:
    """Read the header Retry-After, in seconds or as a date (RFC 9110, 10.2.3)."""
    if value is None:
        return 0.0
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time()
    except ValueError:
        return 0.0
    return min(max(0.0, seconds), _LONGEST_S)


def _retry_info(trailers: Mapping[str, Any]) -> float | None:
    """Read the pause that a receiver asks for, or None: a RetryInfo, alone or among the details of the status."""
    try:
        found = [trailers["google.rpc.retryinfo-bin"]] if "google.rpc.retryinfo-bin" in trailers else []
        for detail in _inside(trailers.get("grpc-status-details-bin", b""), 3):
            if b"google.rpc.RetryInfo" in b"".join(_inside(detail, 1)):
                found += _inside(detail, 2)
        return _seconds(found[0]) if found else None
    except (LookupError, ValueError):
        return None


def _seconds(retry_info: bytes) -> float:
    """Read `retry_delay` = 1, a Duration: seconds = 1, nanos = 2."""
    asked_s = 0.0
    for delay in _inside(retry_info, 1):
        asked_s = next(_numbers(delay, 1), 0) + next(_numbers(delay, 2), 0) / 1e9
    return min(asked_s, _LONGEST_S)


def _inside(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the messages and strings in a field."""
    return (value for at, value in fields(message) if at == number and isinstance(value, bytes))


def _numbers(message: bytes, number: int) -> Iterator[int]:
    """Yield the integers in a field."""
    return (value for at, value in fields(message) if at == number and isinstance(value, int))
