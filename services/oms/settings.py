"""The settings of the order service, read from its environment."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.messaging.settings import Seconds, Settings

Attempts = Annotated[int, Field(ge=1, le=100)]

_MAX_BACKOFF = 64
_MIN_TOKEN_LENGTH = 16
# The form of a bearer token (RFC 6750, section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TimeoutSettings(Settings):
    """How long the orchestrator waits for a reply, in seconds, and how often it asks.

    Read from `SAGATRACE_STEP_TIMEOUT`, `SAGATRACE_ATTEMPTS_FORWARD`, `SAGATRACE_ATTEMPTS_BACK`,
    `SAGATRACE_SWEEP_INTERVAL` and `SAGATRACE_SWEEP_BATCH`.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_")

    step_timeout: Seconds = 30.0
    attempts_forward: Attempts = 2
    attempts_back: Attempts = 10
    sweep_interval: Seconds = 0.5
    sweep_batch: Annotated[int, Field(ge=1, le=10_000)] = 100

    def deadline(self, attempt: int, *, back: bool) -> float:
        """Return the seconds that an attempt may take: on the way back they double with each attempt."""
        return self.step_timeout * (min(2 ** (attempt - 1), _MAX_BACKOFF) if back else 1)


class ApiSettings(Settings):
    """The order API: its address, `SAGATRACE_API_HOST` and `SAGATRACE_API_PORT`, and token, `SAGATRACE_API_TOKEN`.

    Without a token it serves everybody who can reach it: by default, only programs on this machine.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_API_")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    token: Annotated[SecretStr | None, Field(min_length=_MIN_TOKEN_LENGTH)] = None

    @field_validator("token")
    @classmethod
    def _is_sendable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("it must consist of letters, digits and -._~+/=")
        return token
