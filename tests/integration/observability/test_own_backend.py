"""Your own back end: one variable, with its token and certificate, and everything goes there instead."""

import shutil
from pathlib import Path

import pytest

from services.cli.run import Service
from services.cli.scenarios import SCENARIOS
from tests.support.backend import Backend, Certificate
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.running import running_services

pytestmark = [pytest.mark.brokers("embedded"), pytest.mark.timeout(120)]

_TOKEN = "s3cret value"
_HEADERS = "authorization=Bearer%20s3cret%20value"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_everything_goes_to_a_back_end_with_token_and_tls(broker: Broker, tmp_path: Path) -> None:
    """A back end with a certificate of its own gets a service's spans and metrics, and refuses nothing."""
    certificate = Certificate.make(tmp_path)
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": _HEADERS,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate.certificate),
        "REQUESTS_CA_BUNDLE": str(certificate.certificate),
    }
    with (
        Backend(_TOKEN, certificate) as backend,
        running_services(tmp_path, broker, backend.endpoint, services=[Service.OMS], variables=variables) as orders,
    ):
        orders.place(SCENARIOS[0].order)
        wanted = {"POST /orders", "send order.created", "send inventory.reserve"}
        await eventually(lambda: wanted <= backend.spans.keys(), timeout_s=20)
        await eventually(lambda: "sagatrace.saga.open" in backend.metrics, timeout_s=20)
        assert backend.refused == 0


async def test_a_back_end_that_refuses_stops_no_order(broker: Broker, tmp_path: Path) -> None:
    """Without the token nothing is taken, and the service works all the same."""
    with (
        Backend(_TOKEN) as backend,
        running_services(tmp_path, broker, backend.endpoint, services=[Service.OMS]) as orders,
    ):
        assert orders.place(SCENARIOS[0].order).order_id
        await eventually(lambda: backend.refused, timeout_s=20)
        assert (backend.spans.total(), backend.metrics.total()) == (0, 0)
        assert orders.is_ready()
