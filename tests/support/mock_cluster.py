"""librdkafka's mock cluster by its C interface, in a separate process: the embedded broker, which can be told to fail.

It prints its address, then reads a command a line from standard input, answers each with `ok`, and ends with the input:

    errors API CODE COUNT     answer the next COUNT requests of this kind (protocol number) with this error code
"""

import ctypes
import sys
from collections.abc import Iterable

from services.cli.embedded_broker import open_cluster


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(commands: Iterable[str]) -> None:
    """Start the cluster, print its address, and execute commands until there are no more."""
    cluster = open_cluster()
    assert cluster is not None
    _say(cluster.address)
    for command in commands:
        api, code, count = (int(word) for word in command.split()[1:])
        errors = (ctypes.c_int * count)(*[code] * count)
        cluster.library.rd_kafka_mock_push_request_errors_array(
            cluster.handle, ctypes.c_int16(api), ctypes.c_size_t(count), errors
        )
        _say("ok")


if __name__ == "__main__":
    serve(sys.stdin)
