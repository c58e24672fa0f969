"""The order API's HTTP server, in a thread with its own event loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from services.cli.stack import HOST, take_port
from services.messaging.readiness import Readiness
from services.oms.api import create_app
from services.oms.server import ApiServer
from services.oms.settings import ApiSettings
from tests.support.eventually import eventually
from tests.support.orders import order_service

_START_S = 200.0


@contextmanager
def running_api(database_url: str, token: str | None = None) -> Iterator[str]:
    """Serve the order API on a database for the length of the block; yield its URL."""
    port = take_port(None)
    settings = ApiSettings(port=port, token=SecretStr(token) if token else None)
    started, loop = threading.Event(), asyncio.new_event_loop()
    servers: list[ApiServer] = []

    async def serve() -> None:
        async with order_service(database_url) as oms:
            servers.append(ApiServer(create_app(oms.orders, Readiness(), settings.token), settings))
            running = asyncio.create_task(servers[0].run())
            await eventually(lambda: _listens(port), _START_S)
            started.set()
            await running

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], name="order API")
    thread.start()
    try:
        assert started.wait(_START_S)
        yield f"http://{HOST}:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(servers[0].stop(), loop).result(_START_S)
        thread.join(_START_S)
        loop.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
