"""All services behind a collector, a Jaeger and a Prometheus that have the shipped configurations."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.cli.order_api import OrderApi
from services.messaging.topology import create_topics
from tests.servers.jaeger import JaegerAddress
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.support.prometheus import Prometheus
from tests.support.running import running_services
from tests.support.sources import ROOT


@dataclass(frozen=True)
class Stack:
    """The services, and what watches them, with the shipped configurations."""

    orders: OrderApi
    kafka: KafkaServer
    jaeger: JaegerAddress
    prometheus: Prometheus


@contextmanager
def observed(pool: Servers, folder: Path, variables: Mapping[str, str]) -> Iterator[Stack]:
    """Run everything as compose does, but for addresses, folders and shorter waits."""
    prometheus = Prometheus(pool.prometheus(ROOT / "deploy/prometheus/prometheus.yml").url)
    jaeger = pool.jaeger(ROOT / "deploy/jaeger/jaeger.yaml", _jaeger_here(prometheus.url, folder / "badger")).address
    kafka = pool.kafka()
    asyncio.run(create_topics(kafka.bootstrap))
    collector = pool.collector(
        ROOT / "otel-collector.yaml",
        _collector_here(prometheus.url, jaeger.otlp_grpc, folder / "collector"),
        environment={"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
    )
    with running_services(folder, kafka.bootstrap, collector.address.otlp_http, variables=variables) as orders:
        yield Stack(orders, kafka, jaeger, prometheus)


def _jaeger_here(prometheus: str, data: Path) -> dict[str, Any]:
    """The changes to Jaeger's shipped configuration for this machine: addresses and files."""
    directories = {"keys": str(data / "keys"), "values": str(data / "values")}
    return {
        "extensions": {
            "healthcheckv2": {"http": {"endpoint": "127.0.0.1:0"}},
            "jaeger_storage": {
                "backends": {"kept": {"badger": {"directories": directories}}},
                "metric_backends": {"spans": {"prometheus": {"endpoint": prometheus}}},
            },
            "jaeger_query": {"ui": {"config_file": str(ROOT / "deploy/jaeger/ui.json")}},
        },
    }


def _collector_here(prometheus: str, jaeger: str, data: Path) -> dict[str, Any]:
    """The changes to the collector's shipped configuration: addresses, a folder, and shorter waits."""
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
