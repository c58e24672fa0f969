"""librdkafka's mock cluster by its C interface, in a process of its own: as the embedded broker, and told to fail.

It prints its address, then takes a command a line on standard input, each answered with `ok`, and ends with the input:

    errors API CODE COUNT     answer the next COUNT requests of this kind (protocol number) with this error code

Joining a group takes no time here: the embedded broker waits 3 seconds for further members.
"""

import ctypes
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

_PRODUCER = 0


def _library() -> ctypes.CDLL:
    spec = find_spec("confluent_kafka")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    (path,) = (folder.parent / "confluent_kafka.libs").glob("librdkafka-*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(commands: Iterable[str]) -> None:
    """Start the cluster, print its address, and obey until the commands end."""
    library = _library()
    text = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"log_level", b"0", text, len(text))
    handle = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, text, ctypes.c_size_t(len(text))))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 1))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    _say(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())
    for command in commands:
        api, code, count = (int(word) for word in command.split()[1:])
        errors = (ctypes.c_int * count)(*[code] * count)
        library.rd_kafka_mock_push_request_errors_array(cluster, ctypes.c_int16(api), ctypes.c_size_t(count), errors)
        _say("ok")


if __name__ == "__main__":
    serve(sys.stdin)
