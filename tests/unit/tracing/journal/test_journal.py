"""The span journal: what is kept, what a successor ships, and that a disk that refuses harms nobody."""

import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

import tracing
from tracing import exposure
from tracing.exposure import expose
from tracing.journal.journal import Journal
from tracing.journal.segment import EntryKind, frame, left_behind
from tracing.otlp.encoding import encode_span

RESOURCE = Resource({"service.name": "orders", "service.instance.id": "one"})
REPOSITORY = Path(__file__).parents[4]


class Process:
    """A tracer with a journal, as a process has it; `die` leaves the folder as a kill would."""

    def __init__(self, folder: Path, exporter: SpanExporter | None = None, **options: float) -> None:
        self.journal = Journal(folder, **options)  # type: ignore[arg-type]
        self.provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        self.provider.add_span_processor(self.journal)
        if exporter is not None:
            self.provider.add_span_processor(SimpleSpanProcessor(self.journal.exporting(exporter)))
        self.tracer = self.provider.get_tracer("tests", "1.2")
        exposure.listen(self.journal.expose)

    def die(self) -> None:
        """Let go of the file, and write nothing more."""
        segment = self.journal._segment
        if segment is not None:
            segment.close()
        self.journal._segment = None
        self.journal._closed = True


@pytest.fixture(autouse=True)
def _nobody_listens() -> Iterator[None]:
    yield
    exposure.listen(None)


def recovered(folder: Path) -> list[ReadableSpan]:
    """Return what a successor ships."""
    spans: list[ReadableSpan] = []
    Journal(folder).recover(spans.append)
    return spans


def names(spans: list[ReadableSpan]) -> list[str]:
    """Name spans."""
    return [span.name for span in spans]


def test_a_finished_span_that_was_not_exported_is_shipped_as_it_was(tmp_path: Path) -> None:
    """The successor ships the same span: ids, parent, times, kind, attributes of every type, links, events, status."""
    process = Process(tmp_path)
    caller = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1))
    above = trace.set_span_in_context(trace.NonRecordingSpan(caller))
    attributes: dict[str, AttributeValue] = {"s": "ü", "i": -3, "f": 0.5, "b": True, "l": ["a", "b"]}
    links = [Link(trace.SpanContext(1, 2, is_remote=True), {"link.type": "ambient"})]
    span = process.tracer.start_span("send T", above, SpanKind.PRODUCER, attributes, links)
    span.add_event("retry", {"retry.attempt": 1})
    span.set_status(StatusCode.ERROR, "TimeoutError")
    span.end()
    process.die()
    (found,) = recovered(tmp_path)
    assert isinstance(span, Span)
    assert found.to_json() == span.to_json()
    assert found.resource == RESOURCE
    assert found.instrumentation_scope == span.instrumentation_scope
    assert found.end_time == span.end_time


def test_a_finished_span_is_encoded_once_for_journal_and_export(tmp_path: Path) -> None:
    """The processor that exports hands its bytes over, and they are all that the journal keeps of the span."""
    handed: list[bytes] = []
    process = Process(tmp_path, is_fed=True)

    def keep(span: ReadableSpan, body: bytes) -> None:
        handed.append(body)
        process.journal.ended(span, body)

    # Nobody listens at this port: what waits for the export is what the journal is for.
    exporter = OTLPSpanExporter(endpoint="http://127.0.0.1:9/v1/traces", timeout=1)
    processor = tracing.EncodingSpanProcessor(exporter, ended=keep)
    process.provider.add_span_processor(processor)
    process.tracer.start_span("send T").end()
    process.die()
    (found,) = recovered(tmp_path)
    assert [encode_span(found)] == handed
    processor.shutdown(timeout_s=0.0)


def test_an_exported_span_is_not_shipped_again(tmp_path: Path) -> None:
    """What arrived is dropped, and the file of a process that has exported everything is gone at its end."""
    exporter = InMemorySpanExporter()
    process = Process(tmp_path, exporter)
    process.tracer.start_span("first").end()
    process.tracer.start_span("second").end()
    assert names(list(exporter.get_finished_spans())) == ["first", "second"]
    process.journal.close()
    assert left_behind(tmp_path) == []
    assert recovered(tmp_path) == []


def test_a_process_that_dies_after_its_export_leaves_nothing_to_ship(tmp_path: Path) -> None:
    """Once everything has arrived the file begins anew, and a kill at that moment brings nothing twice."""
    process = Process(tmp_path, InMemorySpanExporter())
    for number in range(5):
        process.tracer.start_span(f"span {number}").end()
    process.die()
    assert len(left_behind(tmp_path)) == 1
    assert recovered(tmp_path) == []


def test_what_could_not_be_exported_until_the_end_is_shipped_by_the_successor(tmp_path: Path) -> None:
    """A process that ends while its collector is away leaves its spans to the next one."""

    class Away(InMemorySpanExporter):
        def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
            return SpanExportResult.FAILURE

    process = Process(tmp_path, Away())
    process.tracer.start_span("first").end()
    process.journal.close()
    assert names(recovered(tmp_path)) == ["first"]


def test_an_open_span_is_shipped_if_its_context_left_the_process(tmp_path: Path) -> None:
    """It comes with the open spans above it, as they were then, ends at the last known time, and is interrupted."""
    process = Process(tmp_path)
    with process.tracer.start_as_current_span("POST /orders") as entry:
        with tracing.bind(**{"saga.id": "s-1"}), process.tracer.start_as_current_span("step"):
            expose()
            with process.tracer.start_as_current_span("unseen"):
                pass
        process.tracer.start_span("unseen and open")
        process.die()
    found = {span.name: span for span in recovered(tmp_path)}
    assert set(found) == {"POST /orders", "step", "unseen"}
    door = found["POST /orders"]
    assert isinstance(entry, Span)
    assert door.attributes == {"saga.id": "s-1", "sagatrace.interrupted": True}
    assert door.start_time == entry.start_time
    assert door.end_time == found["step"].end_time
    assert found["step"].parent is not None
    assert found["step"].parent.span_id == entry.get_span_context().span_id
    assert "sagatrace.interrupted" not in (found["unseen"].attributes or {})


def test_a_span_that_leaves_again_is_kept_as_it_is_then(tmp_path: Path) -> None:
    """Ids that are bound between two commits are on the interrupted span, because the second one writes it anew."""
    process = Process(tmp_path)
    with process.tracer.start_as_current_span("process T"):
        tracing.inject([])
        with tracing.bind(**{"saga.id": "s-1", "order.id": "o-1"}):
            tracing.inject([])
        process.die()
    (found,) = recovered(tmp_path)
    assert found.attributes == {"saga.id": "s-1", "order.id": "o-1", "sagatrace.interrupted": True}


def test_the_open_parent_of_a_finished_span_is_kept(tmp_path: Path) -> None:
    """A finished child may be exported at any time, so what is open above it must not be lost."""
    exporter = InMemorySpanExporter()
    process = Process(tmp_path, exporter)
    with process.tracer.start_as_current_span("process T"):
        process.tracer.start_span("child").end()
        process.die()
    assert names(list(exporter.get_finished_spans()))[0] == "child"
    assert names(recovered(tmp_path)) == ["process T"]


def test_spans_that_are_not_sampled_are_not_kept(tmp_path: Path) -> None:
    """The journal keeps what would be exported, and nothing else."""
    process = Process(tmp_path)
    process.provider.sampler = ALWAYS_OFF
    with process.provider.get_tracer("unsampled").start_as_current_span("off"):
        expose()
    process.die()
    assert left_behind(tmp_path) == []


def test_two_live_processes_of_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    """Only what a dead process left is taken over, and only once."""
    alive, dead = Process(tmp_path), Process(tmp_path)
    alive.tracer.start_span("of the living").end()
    dead.tracer.start_span("of the dead").end()
    dead.die()
    assert names(recovered(tmp_path)) == ["of the dead"]
    alive.die()
    assert "of the living" in names(recovered(tmp_path))


def test_what_was_taken_over_is_kept_until_it_is_exported(tmp_path: Path) -> None:
    """A successor that dies as well before its export leaves the same to its own successor."""
    process = Process(tmp_path)
    process.tracer.start_span("first").end()
    process.die()
    successor = Process(tmp_path)
    successor.journal.recover(lambda _: None)
    successor.die()
    (found,) = recovered(tmp_path)
    assert found.name == "first"
    assert found.resource == RESOURCE


def test_disk_and_memory_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    """A receiver that is away for long costs the oldest spans, never more bytes."""
    bound = 64 * 1024
    process = Process(tmp_path, max_bytes=bound)
    largest = 0
    for number in range(1_000):
        process.tracer.start_span(f"span {number}").end()
        largest = max(largest, sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert largest <= bound
    assert process.journal._live_bytes <= bound // 4
    process.die()
    found = names(recovered(tmp_path))
    assert found == [f"span {number}" for number in range(1_000 - len(found), 1_000)]
    assert len(found) > 50


def test_a_segment_that_is_replaced_keeps_what_is_live(tmp_path: Path) -> None:
    """An open span that was written in the first of many segments is still there in the last one."""
    exporter = InMemorySpanExporter()
    process = Process(tmp_path, exporter, max_bytes=16 * 1024)
    with process.tracer.start_as_current_span("long"):
        expose()
        for number in range(300):
            process.tracer.start_span(f"span {number}").end()
        process.die()
    assert names(recovered(tmp_path)) == ["long"]


def test_old_remains_are_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What no trace store would show any more is deleted, with a word in the log."""
    process = Process(tmp_path)
    process.tracer.start_span("old").end(1_000_000_000)
    process.die()
    assert recovered(tmp_path) == []
    assert "died too long ago" in caplog.text
    assert left_behind(tmp_path) == []


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a file the spans go on to the exporter, and it is said once."""
    file = tmp_path / "file"
    file.write_text("")
    exporter = InMemorySpanExporter()
    process = Process(file / "journal", exporter, retry_s=0.0)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            with process.tracer.start_as_current_span(f"span {number}"):
                expose()
    assert len(exporter.get_finished_spans()) == 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(file) in caplog.text


def test_a_full_disk_costs_the_journal_and_nothing_else(tmp_path: Path) -> None:
    """When the disk takes no more, the file goes, spans go on; with room again the journal is written anew."""
    code = """
        import resource
        from pathlib import Path
        from tests.unit.tracing.journal.test_journal import *
        folder = Path(sys.argv[1])
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        process = Process(folder, retry_s=0.0)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for number in range(10):
            process.tracer.start_span(f"before {number}").end()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_200, hard))
        for number in range(10):
            process.tracer.start_span(f"full {number}").end()
        print(len(list(folder.iterdir())))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        process.tracer.start_span("after").end()
        process.die()
        print(len(recovered(folder)))
    """
    done = in_a_process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "21"]
    assert done.stderr.count("is off") == 1
    assert done.stderr.count("is on again") == 1


def test_a_fork_has_a_journal_of_its_own(tmp_path: Path) -> None:
    """The child neither writes into the parent's file nor ships what the parent has."""
    code = """
        import os
        from tests.unit.tracing.journal.test_journal import *
        folder = Path(sys.argv[1])
        process = Process(folder)
        process.tracer.start_span("of the parent").end()
        child = os.fork()
        if child == 0:
            process.tracer.start_span("of the child").end()
            os._exit(0)
        os.waitpid(child, 0)
        print(names(recovered(folder)))
        process.tracer.start_span("of the parent too").end()
        process.die()
        print(sorted(names(recovered(folder))))
    """
    done = in_a_process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "['of the child']"
    assert "'of the parent', 'of the parent too'" in done.stdout.splitlines()[1]


def in_a_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the folder as its argument."""
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code), str(folder)]
    return subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)


def test_a_journal_of_another_format_is_none(tmp_path: Path) -> None:
    """A file that is no segment gives no spans and raises nothing."""
    (tmp_path / "0-1-000000.journal").write_bytes(b"something else")
    assert recovered(tmp_path) == []


def test_a_broken_span_does_not_cost_the_others(tmp_path: Path) -> None:
    """An entry whose payload is no span is left out."""
    process = Process(tmp_path)
    process.tracer.start_span("good").end()
    assert process.journal._segment is not None
    process.journal._segment.append(frame(EntryKind.END, 0, 99, 1, b"\xff\xff\xff"))
    process.die()
    assert names(recovered(tmp_path)) == ["good"]
