"""The message key as an attribute: readable, shortened, hashed or left out.

A key may be personal data, such as an e-mail address, so a user can switch it off or have a pseudonym. The convention
wants the key's string form, and no attribute for a key that has no canonical one (kafka.md,
`messaging.kafka.message.key`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final
from uuid import UUID

#: Characters; a longer key is cut and ends in an ellipsis.
LIMIT: Final = 256
#: Hexadecimal digits of the pseudonym: 64 bits of SHA-256.
HASH_DIGITS: Final = 16
#: A tuple, because a union would be built again for each key.
_BYTES: Final = (bytes, bytearray, memoryview)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def canonical(key: object) -> str | None:
    """Return the canonical string form of a key; None if it has none, such as bytes that are not UTF-8."""
    if isinstance(key, _BYTES):
        try:
            return bytes(key).decode()
        except UnicodeDecodeError:
            return None
    if isinstance(key, str):
        # A lone surrogate cannot be exported: the official encoder would lose the whole batch of spans.
        return str(key) if key.isascii() or not _LONE_SURROGATE.search(key) else None
    if isinstance(key, UUID) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    return None


def plain(key: object) -> str | None:
    """Return a readable key, at most `LIMIT` characters long."""
    found = canonical(key)
    if found is None or len(found) <= LIMIT:
        return found
    return found[: LIMIT - 1] + "…"


def hashed(key: object) -> str | None:
    """Return a pseudonym of the key's bytes: equal for equal keys, and not secret where keys can be guessed."""
    found = canonical(key)
    if found is not None:
        digest = hashlib.sha256(found.encode())
    elif isinstance(key, _BYTES):
        digest = hashlib.sha256(bytes(key))
    else:
        return None
    return digest.hexdigest()[:HASH_DIGITS]


def off(_: object) -> None:
    """Leave the key out."""


RENDERERS: Final = {"plain": plain, "hash": hashed, "off": off}
