"""TCP ports of 127.0.0.1, for servers that cannot be told to choose their own."""

import socket
from contextlib import ExitStack

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ask the kernel for distinct ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def accepts(port: int) -> bool:
    """Return True if a port accepts connections.

    Raises:
        OSError: it does not.
    """
    with socket.create_connection((HOST, port), timeout=1.0):
        return True
