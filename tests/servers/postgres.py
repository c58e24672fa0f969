"""PostgreSQL on this machine: a new cluster each time, with a password, and databases copied from a template.

The server refuses to run as root. Tests that do (in a container) start it as `postgres`, or as `nobody` if there is
no such user; otherwise it runs as the user who runs the tests.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.ports import HOST, accepts
from tests.servers.process import ServerFailed, ServerProcess
from tests.servers.server import Server, running

SUPERUSER = "sagatrace"
_CLUSTER_S = 600.0
# A crash of the machine is not among the tests, so no write waits for the disk. A killed server loses nothing by that.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "log_min_messages": "warning",
}
_READY = "database system is ready to accept connections"
_READY_TO_FOLLOW = "database system is ready to accept read-only connections"


@dataclass(kw_only=True)
class PostgresServer(Server):
    """A server that runs.

    Args:
        url: the superuser's, to the database `postgres`: postgresql+asyncpg://user:password@host:port/postgres.
    """

    url: str
    port: int
    ready: str = _READY

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        return self.process.has_printed(self.ready) and accepts(self.port)


@contextmanager
def postgres(programs: Path, folder: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL for the length of the block.

    Args:
        programs: the folder with `initdb` and `postgres`.
        folder: an empty folder for its data and log. As root, others must be allowed to pass through those above it.

    Raises:
        ServerFailed: it did not start.
    """
    user = _other_user()
    password = secrets.token_urlsafe(16)
    data = _make_cluster(programs, folder, user, password)
    with running(1, lambda ports: _server(programs, folder, data, ports[0], password)) as server:
        yield server


@contextmanager
def standby(programs: Path, folder: Path, primary: PostgresServer) -> Iterator[PostgresServer]:
    """Run a streaming replica of a server for the length of the block; `SELECT pg_promote()` makes it the primary.

    Args:
        programs: the folder with `pg_basebackup` and `postgres`.
        folder: an empty folder for its data and log.
        primary: a server that runs.

    Raises:
        ServerFailed: the copy could not be made, or the server did not start.
    """
    user, data = _other_user(), folder / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user[0], user[1])
    address = urlsplit(primary.url)
    source = f"host={HOST} port={primary.port} user={SUPERUSER} password={address.password}"
    copy = [str(programs / "pg_basebackup"), "-D", str(data), "-d", source, "-R", "-X", "stream", "-c", "fast"]
    _run("pg_basebackup", [*copy, "--no-sync"], user)

    def make(ports: list[int]) -> PostgresServer:
        return _server(programs, folder, data, ports[0], str(address.password), ready=_READY_TO_FOLLOW)

    with running(1, make) as server:
        yield server


def _server(  # noqa: PLR0913  what a server is started from
    programs: Path, folder: Path, data: Path, port: int, password: str, *, ready: str = _READY
) -> PostgresServer:
    settings = [f"-c{name}={value}" for name, value in (_SETTINGS | {"port": str(port)}).items()]
    process = ServerProcess(
        "postgres",
        [str(programs / "postgres"), "-D", str(data), *settings],
        log=folder / "postgres.log",
        data=data,
        user=_other_user(),
        stop_signal=signal.SIGINT,
    )
    url = f"postgresql+asyncpg://{SUPERUSER}:{password}@{HOST}:{port}/postgres"
    return PostgresServer(url=url, port=port, process=process, ready=ready)


def _other_user() -> tuple[str, int] | None:
    """Return the user and group to run as, or None for one's own, unless this is root."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    account = accounts.get("postgres") or accounts["nobody"]
    return account.pw_name, account.pw_gid


def _make_cluster(programs: Path, folder: Path, user: tuple[str, int] | None, password: str) -> Path:
    data, secret = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user is not None:
        for path in (data, secret):
            shutil.chown(path, user[0], user[1])
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", SUPERUSER, "--pwfile", str(secret), "--no-sync"]
    try:
        _run("initdb", [*initdb, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"], user)
    finally:
        secret.unlink()
    return data


def _run(name: str, command: Sequence[str], user: tuple[str, int] | None) -> None:
    result = subprocess.run(
        command,
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=_CLUSTER_S,
        check=False,
    )
    if result.returncode != 0:
        raise ServerFailed(f"postgres: {name} ended with {result.returncode}\n{result.stdout}{result.stderr}")
