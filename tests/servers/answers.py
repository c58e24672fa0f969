"""Ask a server over HTTP whether it is up."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

_ASK_S = 2.0


def answers_ok(url: str, expected: int = 200) -> bool:
    """Return whether a GET of a URL (http only) is answered with a status.

    Raises:
        OSError: nobody answers.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_ASK_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == expected
    except HTTPException:
        return False
    finally:
        connection.close()
