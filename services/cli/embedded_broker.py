"""The embedded broker: librdkafka's mock cluster, in a process of its own.

It speaks the Kafka protocol over TCP and ships inside the `confluent-kafka` wheel. One member a group, no admin
calls, nothing on disk: enough for the demo and for fast tests, not for a rebalance.
"""

from __future__ import annotations

import sys


def serve() -> None:
    """Start the broker, print its bootstrap address on one line, and live until standard input closes.

    Raises:
        ModuleNotFoundError: without the extra `demo`.
    """
    from confluent_kafka import Producer

    # log_level 0: librdkafka otherwise warns on standard error of every mock-only request.
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    print(f"{broker.host}:{broker.port}", flush=True)
    # Its threads serve; this one waits for the end.
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve()
