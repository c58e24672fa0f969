"""What a receiver's answers mean, in the words and codes that receivers use."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tracing.otlp.answers import ExportOutcome, grpc_answer, http_answer

TOO_LARGE = [
    ("RESOURCE_EXHAUSTED", "Received message larger than max (4350134 vs. 4194304)"),
    ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (4350134 vs. 1000)"),
    ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (4350134 vs. 4194304)"),
    ("RESOURCE_EXHAUSTED", "grpc: received message after decompression larger than max 4194304"),
    ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304: 4350134"),
    ("RESOURCE_EXHAUSTED", "Received message exceeds the maximum configured message size."),
    ("OUT_OF_RANGE", "Error, decoded message length too large: found 4350134 bytes, the limit is: 4194304 bytes"),
    ("UNKNOWN", "Received http2 header with status: 413"),
]


@pytest.mark.parametrize(("code", "details"), TOO_LARGE)
def test_grpc_says_too_large_in_many_ways(code: str, details: str) -> None:
    """The texts of C++, Go, Java, .NET and Rust, and of a proxy, all mean that smaller requests may be taken."""
    assert grpc_answer(code, details, {}, 100).outcome is ExportOutcome.TOO_LARGE


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
def test_the_retryable_codes_of_grpc(code: str) -> None:
    """These are sent again, whatever their text says about connections and loads."""
    assert grpc_answer(code, "connection reset", {}, 5 << 20).outcome is ExportOutcome.AGAIN


@pytest.mark.parametrize(
    "code",
    ["UNIMPLEMENTED", "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "INTERNAL", "UNKNOWN"],
)
def test_the_final_codes_of_grpc(code: str) -> None:
    """These are never sent again."""
    assert grpc_answer(code, "unknown service", {}, 5 << 20).outcome is ExportOutcome.REFUSED


def test_exhausted_is_retried_only_if_the_receiver_says_when() -> None:
    """A RetryInfo stands alone or in the details of the status; without one, a small request used up some quota."""
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(2500)
    detail = Detail()
    detail.Pack(info)
    alone = {"google.rpc.retryinfo-bin": info.SerializeToString()}
    inside = {"grpc-status-details-bin": Status(code=8, details=[detail]).SerializeToString()}
    for trailers in (alone, inside):
        assert grpc_answer("RESOURCE_EXHAUSTED", "quota", trailers, 100) == (ExportOutcome.AGAIN, 0, 2.5)
        assert grpc_answer("UNAVAILABLE", "busy", trailers, 100) == (ExportOutcome.AGAIN, 0, 2.5)
    assert grpc_answer("RESOURCE_EXHAUSTED", "quota", {}, 100).outcome is ExportOutcome.REFUSED
    assert grpc_answer("RESOURCE_EXHAUSTED", "", {}, 1 << 20).outcome is ExportOutcome.TOO_LARGE
    assert (
        grpc_answer("RESOURCE_EXHAUSTED", "", {"grpc-status-details-bin": b"\xff"}, 1).outcome is ExportOutcome.REFUSED
    )


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", ExportOutcome.ACCEPTED),
        (202, b"<html>", ExportOutcome.ACCEPTED),
        (301, b"", ExportOutcome.REFUSED),
        (400, b"", ExportOutcome.REFUSED),
        (400, b"\x0a\x00\x12\x1dhttp: request body too large", ExportOutcome.TOO_LARGE),
        (401, b"", ExportOutcome.REFUSED),
        (404, b"", ExportOutcome.REFUSED),
        (408, b"", ExportOutcome.AGAIN),
        (413, b"", ExportOutcome.TOO_LARGE),
        (429, b"", ExportOutcome.AGAIN),
        (500, b"", ExportOutcome.REFUSED),
        (501, b"", ExportOutcome.REFUSED),
        (502, b"", ExportOutcome.AGAIN),
        (503, b"", ExportOutcome.AGAIN),
        (504, b"", ExportOutcome.AGAIN),
        (None, b"", ExportOutcome.AGAIN),
    ],
)
def test_the_statuses_of_http(status: int | None, body: bytes, outcome: ExportOutcome) -> None:
    """Only those that OTLP names are sent again; the collector says with 400 that a body is too large."""
    assert http_answer(status, {}, body).outcome is outcome


def test_a_receiver_says_when_to_come_again() -> None:
    """Retry-After is a number of seconds or a date, at most five minutes, and ignored if it is neither."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert http_answer(429, {"Retry-After": "7"}, b"").after_s == 7
    assert 20 < http_answer(503, {"Retry-After": later}, b"").after_s <= 30
    assert http_answer(503, {"Retry-After": "86400"}, b"").after_s == 300
    assert http_answer(503, {"Retry-After": "soon"}, b"").after_s == 0


def test_a_partial_success_says_how_many_spans_were_rejected() -> None:
    """A negative number is nobody's."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    assert http_answer(200, {}, response.SerializeToString()) == (ExportOutcome.ACCEPTED, 3, 0.0)
    response.partial_success.rejected_spans = -3
    assert http_answer(200, {}, response.SerializeToString()).rejected == 0
