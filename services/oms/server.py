"""The HTTP server of the API: a loop like the others, which leaves signals to the runtime."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from services.messaging.errors import ConfigurationError
from services.messaging.part import Part
from services.oms.settings import ApiSettings

_GRACE_S = 5


class ApiServer(Part):
    """Serves an application until it is stopped, and lets requests in flight finish."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _UvicornServer(config)
        self._settings = settings

    async def run(self) -> None:
        """Listen and serve until `stop`.

        Raises:
            ConfigurationError: the address can't be listened on.
        """
        with _listen(self._settings) as listener:
            await self._server.serve(sockets=[listener])

    async def stop(self) -> None:
        """Accept no more requests; `run` returns when those in flight have finished."""
        self._server.should_exit = True


class _UvicornServer(uvicorn.Server):
    """Uvicorn's server without its signal handlers: the runtime has those."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        message = (
            f"the order API can't listen on {settings.host}:{settings.port} ({error.strerror}): "
            "stop the program that has the port, or set SAGATRACE_API_PORT"
        )
        raise ConfigurationError(message) from error
