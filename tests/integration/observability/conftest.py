"""A collector and a Prometheus with the shipped configurations, behind all services under a load with failures."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.cli.order_api import OrderApi
from services.cli.scenarios import Request, Scenario
from services.contracts.topics import PAYMENT_COMMANDS
from services.messaging.topology import create_topics
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.support.eventually import eventually
from tests.support.prometheus import Prometheus
from tests.support.running import running_services
from tests.support.sources import ROOT

_SHIPPED = ROOT / "otel-collector.yaml"
_ORDERS = 40
_FOUND_S = 40.0
_LOAD = (
    Scenario("completed", outcome="completed"),
    Scenario("declined", outcome="failed", payment_method="pm_declined"),
    Scenario("out of stock", outcome="failed", sku="sku_none"),
    Scenario("retried", outcome="completed", payment_method="pm_flaky"),
)
_REFUNDED = Scenario("refunded", outcome="refunded", request=Request.REFUND, request_at="completed")
_ENDS = {"completed", "failed", "canceled", "refunded"}


@pytest.fixture(scope="module")
def prometheus_under_load(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus while the services work, after a load in which handlers, sends, sagas and a message failed."""
    pool = module_servers
    prometheus = Prometheus(pool.prometheus(ROOT / "deploy/prometheus/prometheus.yml").url)
    kafka = pool.kafka()
    asyncio.run(create_topics(kafka.bootstrap))
    data = tmp_path_factory.mktemp("collector")
    collector = pool.collector(
        _SHIPPED,
        _here(prometheus.url, pool.jaeger().address.otlp_grpc, data),
        environment={"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
    )
    # A send that fails is to be seen soon.
    variables = {"SAGATRACE_PRODUCER_SEND_TIMEOUT": "1", "SAGATRACE_PRODUCER_ATTEMPTS": "1"}
    folder = tmp_path_factory.mktemp("services")
    with running_services(folder, kafka.bootstrap, collector.address.otlp_http, variables=variables) as orders:
        asyncio.run(_load(kafka, orders, prometheus))
        yield prometheus


def _here(prometheus: str, jaeger: str, data: Path) -> dict[str, Any]:
    """The changes to the shipped configuration for this machine: addresses, a folder, and shorter waits."""
    own = {"otlp": {"protocol": "http/protobuf", "endpoint": f"{prometheus}/api/v1/otlp/v1/metrics"}}
    return {
        "extensions": {"file_storage/queue": {"directory": str(data / "queue")}},
        "receivers": {"kafkametrics": {"collection_interval": "1s", "metadata": {"refresh_interval": "1s"}}},
        "connectors": {
            "spanmetrics": {"metrics_flush_interval": "1s"},
            "servicegraph": {"metrics_flush_interval": "1s"},
        },
        "exporters": {
            "otlp_grpc/jaeger": {"endpoint": jaeger},
            "otlp_http/prometheus": {"endpoint": f"{prometheus}/api/v1/otlp"},
        },
        "service": {
            "telemetry": {"metrics": {"readers": [{"periodic": {"interval": 1000, "exporter": own}}]}},
        },
    }


async def _load(kafka: KafkaServer, orders: OrderApi, prometheus: Prometheus) -> None:
    """Place orders of every kind, break a message, and take the broker away for a while."""
    placed = [orders.place(scenario.order) for scenario in islice(cycle(_LOAD), _ORDERS)]
    await _break(kafka.bootstrap)
    refunded = orders.place(_REFUNDED.order).order_id
    await eventually(lambda: orders.status(refunded) == "completed", timeout_s=_FOUND_S)
    orders.request(refunded, Request.REFUND)
    await eventually(lambda: all(orders.status(one.order_id) in _ENDS for one in placed), timeout_s=_FOUND_S)
    await _found(prometheus, "sagatrace_consumer_dead_letters_total")
    kafka.stop()
    waiting = orders.place(_LOAD[0].order).order_id
    await _found(prometheus, "sagatrace_outbox_failures_total")
    kafka.start()
    await eventually(lambda: orders.status(waiting) == "completed", timeout_s=_FOUND_S)
    more = [orders.place(scenario.order) for scenario in islice(cycle(_LOAD), _ORDERS // 2)]
    await eventually(lambda: all(orders.status(one.order_id) in _ENDS for one in more), timeout_s=_FOUND_S)


async def _break(brokers: str) -> None:
    """Send a command that nobody can read."""
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        await producer.send_and_wait(PAYMENT_COMMANDS, b"\x00", key=b"o-0")


async def _found(prometheus: Prometheus, expression: str) -> None:
    found: Callable[[], list[float]] = lambda: prometheus.values(expression)  # noqa: E731  named for the line below
    await eventually(found, timeout_s=_FOUND_S)
