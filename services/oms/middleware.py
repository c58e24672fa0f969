"""What a request passes before the API sees it: its baggage is dropped, and its token is checked."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.oms import problems

HEALTH = frozenset({"/healthz", "/readyz"})
"""The paths for a supervisor, which has no token."""


def without_baggage(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that a request's `baggage` header is dropped before anything reads it."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"baggage"]
            scope = {**scope, "headers": kept}
        await app(scope, receive, send)

    return outer


def with_token(app: ASGIApp, token: SecretStr) -> ASGIApp:
    """Wrap an application so that only requests with the bearer token reach it (RFC 6750, sections 2.1 and 3).

    A refused request leaves no span: a stranger writes nothing into anybody's trace.
    """
    expected = token.get_secret_value().encode()

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH and not _is_right(_token_of(scope), expected):
            challenge = {"www-authenticate": 'Bearer realm="sagatrace"'}
            refusal = problems.response(HTTPStatus.UNAUTHORIZED, "a bearer token is needed", headers=challenge)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return outer


def _token_of(scope: Scope) -> bytes:
    """Return the token of a request; empty if there is none, or several."""
    values = Headers(scope=scope).getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _is_right(given: bytes, expected: bytes) -> bool:
    """Compare in constant time, which does not reveal where they differ."""
    return hmac.compare_digest(given, expected)
