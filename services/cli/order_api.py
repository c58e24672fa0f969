"""A client of the order API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from pydantic import SecretStr

from services.cli.scenarios import Request

_TIMEOUT_S = 30.0


class ApiError(Exception):
    """The API refused a request, or did not answer; the text is for the user."""


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order that was accepted."""

    order_id: str
    saga_id: str
    trace_id: str


class OrderApi:
    """Sends requests to the order API, each over its own connection, so it is safe for threads.

    Args:
        host: The API's host.
        port: Its port.
        token: Its bearer token, if it requires one.
    """

    def __init__(self, host: str, port: int, token: SecretStr | None = None) -> None:
        self._host = host
        self._port = port
        self._headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}

    def is_ready(self) -> bool:
        """Return whether the order service is ready."""
        try:
            return self._send("GET", "/readyz")[0] == HTTPStatus.OK
        except ApiError:
            return False

    def place(self, order: dict[str, Any]) -> PlacedOrder:
        """Place an order.

        Raises:
            ApiError: it was not accepted.
        """
        answer = self._accepted("POST", "/orders", order)
        return PlacedOrder(answer["order_id"], answer["saga_id"], answer["trace_id"] or "")

    def request(self, order_id: str, request: Request) -> None:
        """Cancel or refund an order.

        Raises:
            ApiError: the request was not accepted.
        """
        self._accepted("POST", f"/orders/{order_id}/{request}")

    def status(self, order_id: str) -> str:
        """Return the status of an order's saga.

        Raises:
            ApiError: there was no answer.
        """
        return str(self._accepted("GET", f"/orders/{order_id}")["status"])

    def _accepted(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, answer = self._send(method, path, body)
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise ApiError(f"{method} {path} was answered with {status}: {answer.get('detail', 'no reason given')}")
        return answer

    def _send(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        content = None if body is None else json.dumps(body)
        headers = self._headers | ({"Content-Type": "application/json"} if content else {})
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, json.load(response)
        except (OSError, HTTPException, ValueError) as error:
            raise ApiError(f"{method} {path} was not answered ({type(error).__name__})") from error
        finally:
            connection.close()
