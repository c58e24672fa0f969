"""What a broken or hostile peer may send: headers and bodies made from a seed, most of them nearly valid."""

import json
import random
from collections.abc import Callable
from typing import Any

from services.contracts import encode
from tests.support.records import Header, message

_NAMES = ["traceparent", "tracestate", "baggage", "TraceParent", "", "app", "sagatrace-dlq-group", "\u00fc" * 40]
_PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_SCALARS: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "x" * 3000,
    "\ud800",
    "\x00",
    [],
    {},
    [[[[]]]],
    "order.created",
]
_BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff\xfe",
    b'{"event_type":"saga.started"',
    b"NaN",
    b"[" * 3000,
    b"1" * 5000,
]


class Strange:
    """Generates input.

    Args:
        seed: The same seed makes the same input.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def headers(self) -> list[Header]:
        """Return the headers of a record: trace context that is valid, damaged or noise, and others."""
        return [(self._chance.choice(_NAMES), self._value()) for _ in range(self._chance.randrange(6))]

    def body(self) -> bytes | None:
        """Return the value of a record: one that violates the contract, or a valid one."""
        makers: list[Callable[[], bytes | None]] = [self._damaged, self._altered, self._noise, lambda: None]
        return self._chance.choices(makers, [4, 4, 2, 1])[0]()

    def _value(self) -> bytes | None:
        kind = self._chance.randrange(5)
        if kind == 0:
            return None
        if kind == 1:
            return self._chance.randbytes(self._chance.randrange(80))
        value = bytearray(_PARENT if kind < 4 else b"a=1,b=2;c,\xe9==" * self._chance.randrange(60))
        return self._with_bytes_changed(value, self._chance.randrange(3))

    def _damaged(self) -> bytes:
        value = bytearray(encode(message(order=f"o-{self._chance.randrange(9)}")))
        return self._with_bytes_changed(value, self._chance.randrange(1, 9))[: self._chance.randrange(1, 500)]

    def _altered(self) -> bytes:
        """Change some fields of a message, anywhere in it."""
        whole: dict[str, Any] = json.loads(encode(message()))
        for _ in range(self._chance.randrange(1, 4)):
            whole[self._chance.choice([*whole, "payload", "extra"])] = self._chance.choice(_SCALARS)
        return json.dumps(whole).encode()

    def _noise(self) -> bytes:
        return self._chance.choice([*_BODIES, self._chance.randbytes(self._chance.randrange(200))])

    def _with_bytes_changed(self, value: bytearray, count: int) -> bytes:
        for _ in range(count if value else 0):
            value[self._chance.randrange(len(value))] = self._chance.randrange(256)
        return bytes(value)
