"""The demo on the real parts: with their addresses in the environment it starts none of its own."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from services.cli.jaeger import Jaeger
from services.cli.traces.check import check
from tests.servers.jaeger import JaegerAddress
from tests.support.broker import Broker
from tests.support.databases import postgresql_database
from tests.support.demos import SERVICES, running_demo
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    with postgresql_database(postgres) as url:
        yield url


async def test_the_demo_runs_on_kafka_postgresql_and_jaeger(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    kafka: Broker,
    postgres_database: str,
    jaeger: JaegerAddress,
) -> None:
    """On Kafka and PostgreSQL all five sagas end as expected; each trace passes the check in Jaeger, and is linked."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_http)
    monkeypatch.setenv("SAGATRACE_JAEGER_PAGE", jaeger.url)
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        out, err = demo.process.communicate(timeout=2000)
        assert (demo.process.returncode, err) == (0, ""), out
        logs = {path.stem for path in (demo.output / "logs").iterdir()}
        report = json.loads((demo.output / "report.json").read_text())
    assert logs == SERVICES
    for order in report["orders"]:
        assert f"{jaeger.url}/trace/{order['trace_id']}\n" in out
        await eventually(partial(_is_whole_in_jaeger, jaeger, order), timeout_s=30)


def _is_whole_in_jaeger(jaeger: JaegerAddress, order: dict[str, str]) -> bool:
    trace_id = order["trace_id"]
    return not check(Jaeger(jaeger.url).spans(trace_id), saga_id=order["saga_id"], trace_id=trace_id)
