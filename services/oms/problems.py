"""Errors as RFC 9457 problem details: they name the field that is wrong, never its value."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.messaging.errors import Unavailable
from services.oms.order import OrderError
from services.oms.saga import MissingDefinition

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
# The caller chooses the name of an unknown field.
_PATH_LENGTH = 100


class Problem(Exception):
    """A request that can't be carried out; `status` is the HTTP status code."""

    def __init__(self, status: HTTPStatus, detail: str, *, field: str | None = None) -> None:
        """Say what is wrong, and with which field."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = [{"field": field, "rule": detail}] if field else []


class NotFound(Problem):
    """There is no such order or saga."""

    def __init__(self, what: str) -> None:
        """Name the kind of thing that is missing."""
        super().__init__(HTTPStatus.NOT_FOUND, f"there is no such {what}")


class Conflict(Problem):
    """The order is in a state that does not allow the request."""

    def __init__(self, detail: str) -> None:
        """Say which state the order is in."""
        super().__init__(HTTPStatus.CONFLICT, detail)


_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "rule"],
                "properties": {"field": {"type": "string"}, "rule": {"type": "string"}},
            },
        },
    },
}
"""The JSON schema of every problem."""

_EVERYWHERE = (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for an operation's problems: its own, and those that all operations have."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {int(status): {"description": status.phrase, "content": content} for status in (*_EVERYWHERE, *statuses)}


def install(app: FastAPI) -> None:
    """Make the application return every error as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(OrderError, _order_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(MissingDefinition, _missing_definition)


def response(
    status: int, detail: str, errors: Sequence[Any] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the response for one problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, headers, MEDIA_TYPE)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101  registered for it alone
    return response(error.status, error.detail, error.errors)


async def _order_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OrderError)  # noqa: S101  registered for it alone
    errors = [{"field": error.field, "rule": error.rule}]
    return response(HTTPStatus.UNPROCESSABLE_ENTITY, "the order breaks a rule", errors)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for it alone
    if any(detail["type"] == "json_invalid" for detail in error.errors()):
        return response(HTTPStatus.BAD_REQUEST, "the body is not JSON")
    errors = [{"field": _path(detail["loc"]), "rule": detail["type"]} for detail in error.errors()]
    return response(HTTPStatus.UNPROCESSABLE_ENTITY, "the request breaks the API's rules", errors)


async def _http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it alone
    return response(error.status_code, HTTPStatus(error.status_code).description, headers=dict(error.headers or {}))


async def _unavailable(_: Request, __: Exception) -> JSONResponse:
    detail = "the order database is not reachable; nothing was accepted, try again"
    headers = {"retry-after": str(RETRY_AFTER_S)}
    return response(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


async def _missing_definition(_: Request, __: Exception) -> JSONResponse:
    detail = "another version of this service handles this order; nothing was changed, try again"
    headers = {"retry-after": str(RETRY_AFTER_S)}
    return response(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def _path(location: Sequence[Any]) -> str:
    """Return a field's path as a user would write it: `items.0.quantity`, without the leading `body`."""
    parts = location[1:] if location and location[0] in {"body", "query", "path", "header"} else location
    return ".".join(str(part) for part in parts)[:_PATH_LENGTH] or "body"
