"""The embedded broker: librdkafka's mock cluster, in a process of its own.

It speaks the Kafka protocol over TCP and ships inside the `confluent-kafka` wheel. One member a group, no admin
calls, nothing on disk: enough for the demo and for fast tests, not for a rebalance.

A cluster created through the wheel's Python interface makes the first member of a group wait three seconds for others.
The C interface (`rdkafka_mock.h`) can turn that off. If the wheel's library is not where this module looks, the Python
interface is used, and each join takes three seconds.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_PRODUCER = 0
_BROKERS = 1
_CONNECT_S = 10
# Where a wheel keeps its bundled libraries, relative to its package: on Linux, and on macOS.
_LIBRARIES = ("../confluent_kafka.libs/librdkafka-*.so*", ".dylibs/librdkafka*.dylib")


class Cluster(NamedTuple):
    """A cluster created through the C interface; it lives as long as its process."""

    library: ctypes.CDLL
    handle: ctypes.c_void_p
    address: str


def open_cluster() -> Cluster | None:
    """Start a cluster of one broker where joining a group takes no time; None if there is no C interface."""
    library = _library()
    if library is None:
        return None
    text = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    # log_level 0: otherwise librdkafka warns on standard error about every mock-only request.
    library.rd_kafka_conf_set(settings, b"log_level", b"0", text, len(text))
    client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, text, ctypes.c_size_t(len(text))))
    handle = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, _BROKERS))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(handle, 0)
    return Cluster(library, handle, library.rd_kafka_mock_cluster_bootstraps(handle).decode())


def serve() -> None:
    """Start the broker, print its bootstrap address on one line, and run until standard input closes.

    Raises:
        ModuleNotFoundError: without the extra `demo`.
    """
    from confluent_kafka import Producer

    cluster = open_cluster()
    if cluster is not None:
        address = cluster.address
    else:
        client = Producer({"test.mock.num.brokers": _BROKERS, "log_level": 0})
        broker = next(iter(client.list_topics(timeout=_CONNECT_S).brokers.values()))
        address = f"{broker.host}:{broker.port}"
    print(address, flush=True)
    # The cluster has threads of its own; this one waits for the end.
    sys.stdin.buffer.read()


def _library() -> ctypes.CDLL | None:
    """Load the library that the wheel's own module uses, and declare the return types of the functions called."""
    spec = find_spec("confluent_kafka")
    package = Path(spec.origin).parent if spec is not None and spec.origin else None
    found = [path for pattern in _LIBRARIES for path in package.glob(pattern)] if package else []
    try:
        library = ctypes.CDLL(str(found[0]))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.restype = None
    except (AttributeError, IndexError, OSError):
        return None
    return library


if __name__ == "__main__":
    serve()
