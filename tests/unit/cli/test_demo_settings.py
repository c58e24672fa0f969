"""The demo's environment: what takes the place of its own parts, and what its services get."""

import pytest

from services.cli.settings import DemoSettings, environment_of
from services.messaging.errors import ConfigurationError


def test_without_variables_the_demo_brings_its_own_parts() -> None:
    """Nothing set, or set to nothing, means the embedded parts."""
    settings = DemoSettings.read()
    assert (settings.kafka_bootstrap_servers, settings.database_url, settings.otlp_endpoint) == (None, None, None)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing counts as not set."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    assert DemoSettings.read().kafka_bootstrap_servers is None


def test_headers_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTLP headers are pairs separated by commas, with percent-encoded values."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc=, x-tenant = a%2Cb,junk")
    assert DemoSettings.read().headers() == {"authorization": "Basic abc=", "x-tenant": "a,b"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
)
def test_what_can_not_be_forwarded_to_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """An endpoint without http(s), or another protocol, is an error that names the variable and not the value."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as raised:
        DemoSettings.read()
    assert value not in str(raised.value).replace("http/protobuf", "")


def test_services_get_what_the_demo_decides_and_the_rest_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's own telemetry settings do not reach the services; its other variables do."""
    monkeypatch.delenv("SAGATRACE_PROCESS_SPANS", raising=False)  # of the test session
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://elsewhere:4318/v1/traces")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=laptop")
    monkeypatch.setenv("SAGATRACE_RESERVATION_DELAY", "1")
    environment = environment_of({"OTEL_SERVICE_NAME": "oms"})
    kept = {name: value for name, value in environment.items() if name.startswith(("OTEL_", "SAGATRACE_"))}
    assert kept == {
        "OTEL_SERVICE_NAME": "oms",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=laptop",
        "SAGATRACE_RESERVATION_DELAY": "1",
    }
