"""OTEL_CONFIG_FILE: the file describes the SDK, and what is ours is added; each in a process of its own."""

import textwrap
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.runs.slowness import is_within
from tests.support.distributions import run_without

FILE = """
file_format: "1.0"
propagator:
  composite: [{tracecontext: }]
resource:
  attributes:
    - {name: deployment.environment.name, value: file}
  attributes_list: "region=file"
tracer_provider:
  processors:
    - simple: {exporter: {console: }}
"""
BATCH = """
file_format: "1.0"
tracer_provider:
  processors:
    - batch: {exporter: {otlp_http: {endpoint: "http://127.0.0.1:9/v1/traces"}}}
"""
OURS = """
file_format: "1.0"
tracer_provider:
  processors:
    - batch: {exporter: {sagatrace: }}
"""
DETECTING = """
file_format: "1.0"
resource:
  detection/development:
    detectors: [{service: }]
tracer_provider:
  processors:
    - simple: {exporter: {console: }}
"""


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A file that describes a console exporter."""
    file = tmp_path / "otel.yaml"
    file.write_text(FILE)
    return file


def run(code: str, **environment: object) -> CompletedProcess[str]:
    """Run code in a new interpreter with these variables."""
    given = {name: str(value) for name, value in environment.items()}
    return run_without(
        frozenset(), f"import os\nos.environ.update({given!r})\nimport tracing\n" + textwrap.dedent(code)
    )


def output(code: str, **environment: object) -> str:
    """Run code that must succeed without a word of complaint, and return what it printed."""
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_file_describes_the_sdk_and_ours_is_added(described: Path) -> None:
    """Spans go where the file says, with bound attributes; the program's attributes fill what the file leaves open."""
    printed = output(
        """
        from opentelemetry import propagate, trace
        program = {"deployment.environment.name": "program", "region": "program", "a": "program"}
        tracing.configure("orders", resource_attributes=program)
        tracing.configure("another")
        with tracing.bind(**{"saga.id": "s-1"}), trace.get_tracer("t").start_as_current_span("work"):
            pass
        print(sorted(propagate.get_global_textmap().fields), tracing.shutdown(), tracing.shutdown())
        """,
        OTEL_CONFIG_FILE=described,
        OTEL_TRACES_EXPORTER="nonsense, which does not count",
    )
    for pair in (
        '"service.name": "orders"',
        '"deployment.environment.name": "file"',
        '"region": "file"',
        '"a": "program"',
        '"saga.id": "s-1"',
    ):
        assert pair in printed
    assert printed.splitlines()[-1] == "['traceparent', 'tracestate'] True True"


def test_kafka_spans_take_the_same_way(described: Path) -> None:
    """A process span of an instrumented program is exported as the file says, with the name of its message's topic."""
    printed = output(
        """
        class Record:
            topic, partition, offset, timestamp, key, value, headers = "t", 0, 0, 0, None, b"", ()
        tracing.configure()
        tracing.instrument()
        with tracing.process(Record()):
            pass
        """,
        OTEL_CONFIG_FILE=described,
    )
    assert '"name": "process t"' in printed


def test_the_encoder_can_be_named(tmp_path: Path) -> None:
    """The exporter of the entry point is a component of the file, too."""
    (tmp_path / "otel.yaml").write_text(OURS)
    code = """
        from opentelemetry import trace
        tracing.configure()
        print([type(each.span_exporter).__name__ for each in
               trace.get_tracer_provider()._active_span_processor._span_processors if hasattr(each, "span_exporter")])
        """
    assert output(code, OTEL_CONFIG_FILE=tmp_path / "otel.yaml") == "['EncodingSpanExporter']\n"


@pytest.mark.parametrize(("variable", "name"), [("", "program"), ("deployment", "deployment")])
def test_a_detector_of_the_file_wins_over_the_program(tmp_path: Path, variable: str, name: str) -> None:
    """Where the file asks for OTEL_SERVICE_NAME, a deployment can rename a service."""
    (tmp_path / "otel.yaml").write_text(DETECTING)
    code = """
        from opentelemetry import trace
        tracing.configure("program")
        print(trace.get_tracer_provider().resource.attributes["service.name"])
        """
    assert output(code, OTEL_CONFIG_FILE=tmp_path / "otel.yaml", OTEL_SERVICE_NAME=variable) == f"{name}\n"


def test_a_provider_that_the_file_has_set_already_is_not_set_again(described: Path) -> None:
    """Under `opentelemetry-instrument` the file was applied before: its provider gets what is ours, and stays open."""
    printed = output(
        """
        from opentelemetry import trace
        from opentelemetry.configuration import configure_sdk, load_config_file
        configure_sdk(load_config_file(os.environ["OTEL_CONFIG_FILE"]))
        provider = trace.get_tracer_provider()
        tracing.configure("orders")
        tracing.shutdown()
        with tracing.bind(a="1"), trace.get_tracer("t").start_as_current_span("work"):
            pass
        print(trace.get_tracer_provider() is provider)
        """,
        OTEL_CONFIG_FILE=described,
    )
    assert '"a": "1"' in printed
    assert printed.splitlines()[-1] == "True"


def test_shutdown_does_not_wait_for_a_collector_that_is_away(tmp_path: Path) -> None:
    """The time limit of `shutdown` holds for processors that the file describes."""
    (tmp_path / "otel.yaml").write_text(BATCH)
    code = """
        import logging, time
        logging.disable()
        from opentelemetry import trace
        tracing.configure()
        trace.get_tracer("t").start_span("work").end()
        started = time.monotonic()
        tracing.shutdown(0.2)
        print(time.monotonic() - started)
        """
    assert is_within(float(output(code, OTEL_CONFIG_FILE=tmp_path / "otel.yaml")), 1.0)


def test_a_journal_that_is_asked_for_is_refused_in_one_line(described: Path, tmp_path: Path) -> None:
    """The file has the export of spans, so there is nothing that could feed a journal."""
    code = f"""
        from pathlib import Path
        tracing.configure("orders", journal=Path({str(tmp_path / "journal")!r}))
        """
    done = run(code, OTEL_CONFIG_FILE=described)
    assert done.returncode == 0
    assert done.stderr == "OTEL_CONFIG_FILE describes the export of spans, so there is no span journal\n"
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "not found"),
        ("", "empty"),
        ("file_format: '1.0'\ntracer_provider: {}\n", "does not match schema"),
        ("file_format: '1.0'\npropagator: {composite_list: nonsense}\n", "nonsense"),
    ],
    ids=["missing", "empty", "wrong", "not installed"],
)
def test_a_file_that_can_not_be_used_is_an_error_that_names_the_variable(
    tmp_path: Path, content: str | None, part: str
) -> None:
    """`configure()` raises InvalidSetting, as for any other variable."""
    file = tmp_path / "otel.yaml"
    if content is not None:
        file.write_text(content)
    done = run("tracing.configure()", OTEL_CONFIG_FILE=file)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"tracing.errors.InvalidSetting: OTEL_CONFIG_FILE names '{file}', which can't be used: ")
    assert part in last


def test_without_what_reads_it_the_error_says_what_to_install(described: Path) -> None:
    """The SDK alone can't read the file."""
    code = """
        import sys
        sys.modules["opentelemetry.configuration"] = None
        tracing.configure()
        """
    last = run(code, OTEL_CONFIG_FILE=described).stderr.splitlines()[-1]
    assert last.endswith("pip install 'opentelemetry-sdk[file-configuration]'")
    assert "OTEL_CONFIG_FILE" in last
