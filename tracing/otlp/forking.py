"""Keep the official exporters usable in the children of a fork (`gunicorn --preload`, `multiprocessing`).

A child inherits the connections of its parent's exporters. Two processes that write to one of them garble each other's
requests and read each other's answers, so each child gets its own, and new locks with them.

gRPC itself survives a fork only with GRPC_ENABLE_FORK_SUPPORT=1, and only if no thread is inside a call at that moment:
then a fork waits for the call. Without it, a call in a child would never return, so none is made there.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final
from weakref import ref

#: Seconds for which a fork waits for a call of gRPC, at most.
_CALL_S: Final = 5.0

_log: Final = logging.getLogger("tracing")
#: The process that has said that it cannot export.
_said: Final = SimpleNamespace(pid=0)


def survive_forks(exporter: object) -> None:
    """Give an official exporter connections and locks of its own in every child of a fork; others are left alone."""
    if hasattr(exporter, "_initialize_channel_and_stub"):
        _survive_with_grpc(exporter)
    elif hasattr(exporter, "_client"):
        os.register_at_fork(after_in_child=_weakly(_renew_http, exporter))


def _renew_http(exporter: Any) -> None:  # noqa: ANN401 - private names
    client = exporter._client
    session = getattr(getattr(client, "_transport", None), "_session", None)
    if session is None:
        return
    if not client._shutdown_event.is_set():
        client._shutdown_event = threading.Event()
    session.cookies = session.cookies.copy()
    for adapter in session.adapters.values():
        if hasattr(adapter, "init_poolmanager"):
            adapter.__setstate__(adapter.__getstate__())  # as when it is unpickled: with the same options, unconnected


def _survive_with_grpc(exporter: Any) -> None:  # noqa: ANN401 - private names
    if not hasattr(exporter, "_export"):
        return
    calls = SimpleNamespace(lock=threading.Lock(), held=False)
    export = exporter._export

    def export_alone(data: object) -> object:
        with calls.lock:
            return export(data)

    def hold() -> None:
        calls.held = _has_fork_support() and calls.lock.acquire(timeout=_CALL_S)

    def release() -> None:
        if calls.held:
            calls.held = False
            calls.lock.release()

    def renew(exporter: Any) -> None:  # noqa: ANN401 - private names
        calls.lock, calls.held = threading.Lock(), False
        _renew_grpc(exporter)

    exporter._export = export_alone
    gone = ref(exporter)
    os.register_at_fork(
        before=lambda: hold() if gone() is not None else None,
        after_in_parent=release,
        after_in_child=_weakly(renew, exporter),
    )


def _renew_grpc(exporter: Any) -> None:  # noqa: ANN401 - private names
    if exporter._shutdown:
        return
    exporter._shutdown_in_progress = threading.Event()
    if _has_fork_support():
        exporter._initialize_channel_and_stub()
        return
    exporter._inherited, exporter._channel, exporter._client = exporter._channel, None, None
    if _said.pid != os.getpid():
        _said.pid = os.getpid()
        _log.error(
            "this process exports nothing, because gRPC does not survive a fork: set GRPC_ENABLE_FORK_SUPPORT=1, "
            "use OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or call configure() after the fork"
        )


def _has_fork_support() -> bool:
    supported = getattr(sys.modules.get("grpc._cython.cygrpc"), "is_fork_support_enabled", None)
    return supported is not None and bool(supported())


def _weakly(renew: Callable[[Any], None], exporter: object) -> Callable[[], None]:
    """Return a function that renews an exporter as long as it lives."""
    reference = ref(exporter)

    def call() -> None:
        found = reference()
        if found is not None:
            renew(found)

    return call
