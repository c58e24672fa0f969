"""What can be wrong with a message's bytes.

ContractError
├── Undecodable         not JSON, or not an object
├── UnknownType         an `event_type` that this program does not know
│   └── UnknownVersion  a `schema_version` of it that this program does not read
└── Invalid             a known type whose fields break the contract
"""

from __future__ import annotations

from collections.abc import Sequence


class ContractError(Exception):
    """A message breaks the wire contract. The text names fields and rules, never values."""


class Undecodable(ContractError):
    """The value is not a JSON object in UTF-8."""


class UnknownType(ContractError):
    """The message's `event_type` is not one that this version knows."""


class UnknownVersion(UnknownType):
    """The message has a `schema_version` that this program does not read; the text says which ones it reads."""

    def __init__(self, event_type: str, version: int, readable: Sequence[int]) -> None:
        """Name the type, its version here, and the versions that are wanted."""
        wanted = " or ".join(map(str, readable))
        super().__init__(f"{event_type} has schema_version {version}, and this program reads {wanted}")
        self.event_type = event_type


class Invalid(ContractError):
    """A field of the message is missing or wrong."""

    def __init__(self, text: str, event_type: str | None = None) -> None:
        """Say what is wrong, and with a message of which type, if that is one that this version knows."""
        super().__init__(text)
        self.event_type = event_type
