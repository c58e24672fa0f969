"""The OTEL_* variables."""

import os
import subprocess
import sys

import pytest

import tracing
from tracing import InvalidSetting
from tracing.settings import TelemetrySettings, instrument_settings

# Each value in a child of a process that has imported all that `configure()` needs.
_TRY_ALL = """
import os
import tracing.provider
import opentelemetry.exporter.otlp.proto.http.metric_exporter
import opentelemetry.exporter.otlp.proto.http.trace_exporter
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as of_sdk

def outcome(variable, value):
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with open(reading) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ[variable] = value
    try:
        tracing.provider.configure("test")
        said = "taken"
    except BaseException as error:
        is_ours = type(error).__name__ == "InvalidSetting" and variable in str(error)
        said = "refused" if is_ours else "wrong"
    os.write(writing, said.encode())
    os._exit(0)

modules = environment_variables, of_sdk
names = sorted({name for module in modules for name in vars(module) if name.startswith("OTEL_")})
found = {(name, value): outcome(name, value) for name in names for value in ("@bad@", "-7")}
print([key for key, said in found.items() if said not in ("taken", "refused")])
print(*sorted({name for (name, _), said in found.items() if said == "refused"}))
"""


def test_the_defaults_are_those_of_the_specification_with_a_larger_queue() -> None:
    """OTLP over HTTP for both signals, parent-based sampling of everything, W3C propagation."""
    assert TelemetrySettings.from_environment({}) == TelemetrySettings(
        disabled=False,
        traces_exporters=("otlp",),
        metrics_exporters=("otlp",),
        traces_protocol="http/protobuf",
        metrics_protocol="http/protobuf",
        sampler="parentbased_always_on",
        sampling_ratio=1.0,
        propagators=("tracecontext", "baggage"),
        queue_size=32_768,
        batch_size=512,
        schedule_delay_ms=5_000,
        export_timeout_ms=30_000,
        metric_interval_ms=60_000,
        journal=None,
    )


def test_every_variable_is_obeyed() -> None:
    """Values are trimmed, names are case-insensitive where the specification says so, and signals have their own."""
    settings = TelemetrySettings.from_environment(
        {
            "OTEL_TRACES_EXPORTER": "console, otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER": "TraceIdRatio",
            "OTEL_TRACES_SAMPLER_ARG": " 0.25 ",
            "OTEL_PROPAGATORS": "tracecontext,tracecontext",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "",
        }
    )
    assert settings.traces_exporters == ("console", "otlp")
    assert settings.metrics_exporters == ()
    assert (settings.traces_protocol, settings.metrics_protocol) == ("grpc", "http/protobuf")
    assert (settings.sampler, settings.sampling_ratio) == ("traceidratio", 0.25)
    assert settings.propagators == ("tracecontext",)
    assert (settings.queue_size, settings.batch_size, settings.schedule_delay_ms) == (100, 100, 5_000)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "otlp,statsd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "udp"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "150%"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "40000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=1,=secret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "inf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip -9"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable(variable: str, value: str) -> None:
    """What the SDK would log and replace stops the program with the name to look for, and no secret is repeated."""
    with pytest.raises(InvalidSetting, match=variable) as refused:
        TelemetrySettings.from_environment({"OTEL_TRACES_SAMPLER": "traceidratio", variable: value})
    assert "secret" not in str(refused.value)


def test_no_variable_of_opentelemetry_is_an_error_of_another_kind() -> None:
    """Whatever a variable that OpenTelemetry knows says, `configure()` takes it or raises an error that names it."""
    done = subprocess.run([sys.executable, "-c", _TRY_ALL], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "[]"
    refused = set(done.stdout.split())
    assert {"OTEL_PROPAGATORS", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"} <= refused
    assert {"OTEL_METRICS_EXEMPLAR_FILTER", "OTEL_PYTHON_TRACER_PROVIDER"} <= refused


@pytest.mark.parametrize("name", ["configure", "instrument", "process", "inject"])
def test_a_propagator_that_is_not_installed_is_named(name: str) -> None:
    """OpenTelemetry loads OTEL_PROPAGATORS on its import; what of ours loads it then raises an error of ours."""
    code = f"import tracing\ntry: tracing.{name}\nexcept tracing.InvalidSetting as error: print(error)"
    environment = {**os.environ, "OTEL_PROPAGATORS": "tracecontext,carrier-pigeon"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OTEL_PROPAGATORS: Propagator carrier-pigeon not found")


def test_limits_are_what_the_sdk_takes() -> None:
    """Zero, an empty value and blanks are limits to the SDK, and so to us."""
    for value in ("0", "", "  ", " 7 ", "128"):
        TelemetrySettings.from_environment({"OTEL_SPAN_LINK_COUNT_LIMIT": value, "OTEL_PROPAGATORS": "tracecontext"})


def test_compression_is_what_the_exporter_of_the_protocol_takes() -> None:
    """HTTP knows "none" and "deflate"; gRPC knows "gzip" alone, in whatever case."""
    TelemetrySettings.from_environment({"OTEL_EXPORTER_OTLP_COMPRESSION": "none"})
    TelemetrySettings.from_environment(
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    )
    with pytest.raises(InvalidSetting, match="OTEL_EXPORTER_OTLP_COMPRESSION must be one of gzip, not 'deflate'"):
        TelemetrySettings.from_environment(
            {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        )


def test_a_disabled_sdk_asks_for_nothing() -> None:
    """Nothing is exported, so no bad value stops the program."""
    settings = TelemetrySettings.from_environment(
        {"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}
    )
    assert settings.disabled


def test_an_argument_for_no_sampler_is_ignored() -> None:
    """OTEL_TRACES_SAMPLER_ARG is read only for the samplers that take a ratio."""
    assert TelemetrySettings.from_environment({"OTEL_TRACES_SAMPLER_ARG": "endpoint=x"}).sampling_ratio == 1.0


def test_a_grpc_endpoint_needs_no_scheme() -> None:
    """GRPC's own form of an address is accepted where gRPC is chosen."""
    TelemetrySettings.from_environment(
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "sagatrace"),
        ("OTEL_TRACES_EXPORTER", "zipkin,sagatrace"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
    ],
)
def test_the_exporter_alone_goes_into_whatever_sdk_there_is(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names the exporter, and what only concerns others, does not stop exporter and processor from being built."""
    monkeypatch.setenv(variable, value)
    tracing.EncodingSpanExporter().shutdown()
    tracing.EncodingSpanProcessor().shutdown()


def test_a_program_that_names_the_exporter_may_configure_itself() -> None:
    """`sagatrace` is OTLP for `configure()`, and one exporter if both are named."""
    for names in ("sagatrace", "otlp,sagatrace"):
        assert TelemetrySettings.from_environment({"OTEL_TRACES_EXPORTER": names}).traces_exporters == ("otlp",)


def test_the_options_that_have_a_variable_are_read() -> None:
    """What is not set, or empty, is left to `instrument()`; a bad value is an error that names the variable."""
    variables = {"SAGATRACE_PROCESS_SPANS": "explicit", "SAGATRACE_PROCESS_SPAN_LIMIT": "2.5"}
    assert instrument_settings(variables) == {"process_spans": "explicit", "process_span_limit": 2.5}
    assert instrument_settings(dict.fromkeys(variables, "")) == {}
    for variable, value in [("SAGATRACE_PROCESS_SPANS", "all"), ("SAGATRACE_PROCESS_SPAN_LIMIT", "0")]:
        with pytest.raises(InvalidSetting, match=variable):
            instrument_settings({variable: value})
