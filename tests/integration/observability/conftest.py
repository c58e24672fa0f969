"""Collector, Jaeger and Prometheus with the shipped configurations, behind all services."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import pytest
from aiokafka import AIOKafkaProducer

from services.cli.order_api import OrderApi
from services.cli.scenarios import Request, Scenario
from services.contracts.topics import PAYMENT_COMMANDS
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.support.eventually import eventually
from tests.support.observed import Stack, observed
from tests.support.prometheus import Prometheus

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
def stack(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, with no order in it."""
    with observed(module_servers, tmp_path_factory.mktemp("stack"), {}) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus_under_load(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus while the services work, after a load in which handlers, sends, sagas and a message failed."""
    # A send that fails is to be seen soon.
    variables = {"SAGATRACE_PRODUCER_SEND_TIMEOUT": "1", "SAGATRACE_PRODUCER_ATTEMPTS": "1"}
    with observed(module_servers, tmp_path_factory.mktemp("stack"), variables) as running:
        asyncio.run(_load(running.kafka, running.orders, running.prometheus))
        yield running.prometheus


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
