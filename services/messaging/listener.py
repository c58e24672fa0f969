"""Which security protocol a broker's listener speaks, for the error text of a client that was not let in.

A client that speaks another protocol than the listener only sees that the connection is closed. So the listener is
asked: every listener without TLS answers Kafka's SaslHandshake, and the error code says whether it has SASL
(https://kafka.apache.org/protocol, error codes 33 and 34).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress

_TIMEOUT_S = 2.0
_PORT = 9092
# SaslHandshake version 0 (key 17), correlation 1, no client id, an empty mechanism; before it, its length.
_HANDSHAKE = struct.pack(">ihhihh", 12, 17, 0, 1, -1, 0)
_ILLEGAL_SASL_STATE = 34
_CORRELATION_AND_ERROR = struct.Struct(">iih")


async def hint(brokers: str, configured: str) -> str:
    """Return the end of an error text that names the protocol to configure; empty if it is not that, or not known.

    It takes at most 2 seconds.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            for address in brokers.split(","):
                spoken = await spoken_at(address.strip())
                if spoken is not None:
                    wrong = f"; {address.strip()} speaks {spoken}: KAFKA_SECURITY_PROTOCOL={spoken}"
                    return "" if spoken == configured else wrong
    return ""


async def spoken_at(address: str) -> str | None:
    """Return the security protocol that a listener speaks, by Kafka's name; None if it can't be found out."""
    if (code := await _ask(address, None)) is not None:
        return "PLAINTEXT" if code == _ILLEGAL_SASL_STATE else "SASL_PLAINTEXT"
    try:
        code = await _ask(address, _any_certificate(), raises=True)
    except OSError:
        return None
    return "SSL" if code is None or code == _ILLEGAL_SASL_STATE else "SASL_SSL"


async def _ask(address: str, tls: ssl.SSLContext | None, *, raises: bool = False) -> int | None:
    """Return the error code with which a listener answers the handshake; None if it answers nothing of Kafka's.

    Raises:
        OSError: no connection, if that is asked for.
    """
    host, _, port = address.rpartition(":") if not address.endswith("]") and ":" in address else (address, "", "")
    try:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port or _PORT), ssl=tls)
    except OSError:
        if raises:
            raise
        return None
    try:
        writer.write(_HANDSHAKE)
        answer = await reader.readexactly(_CORRELATION_AND_ERROR.size)
    except (OSError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.transport.abort()
    _, correlation, code = _CORRELATION_AND_ERROR.unpack(answer)
    return code if correlation == 1 else None


def _any_certificate() -> ssl.SSLContext:
    """Return a context for a connection that carries nothing but the question, so anybody may answer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
