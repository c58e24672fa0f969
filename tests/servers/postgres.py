"""PostgreSQL on this machine: a new cluster each time, with a password, and databases copied from a template.

The server refuses to run as root. Tests that do (in a container) start it as `postgres`, or as `nobody` where there is
no such user; else it runs as whoever runs the tests.
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

from tests.servers.ports import HOST, accepts
from tests.servers.process import ServerFailed, ServerProcess
from tests.servers.server import Server, running

SUPERUSER = "sagatrace"
_INITDB_S = 60.0
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


@dataclass(kw_only=True)
class PostgresServer(Server):
    """A server that runs.

    Args:
        url: the superuser's, to the database `postgres`: postgresql+asyncpg://user:password@host:port/postgres.
    """

    url: str
    port: int

    def is_ready(self) -> bool:
        """Say whether it takes clients."""
        return self.process.has_printed(_READY) and accepts(self.port)


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

    def make(ports: list[int]) -> PostgresServer:
        settings = [f"-c{name}={value}" for name, value in (_SETTINGS | {"port": str(ports[0])}).items()]
        process = ServerProcess(
            "postgres",
            [str(programs / "postgres"), "-D", str(data), *settings],
            log=folder / "postgres.log",
            data=data,
            user=user,
            stop_signal=signal.SIGINT,
        )
        url = f"postgresql+asyncpg://{SUPERUSER}:{password}@{HOST}:{ports[0]}/postgres"
        return PostgresServer(url=url, port=ports[0], process=process)

    with running(1, make) as server:
        yield server


def _other_user() -> tuple[str, int] | None:
    """Choose whom to run as, with the group: nobody else unless this is root."""
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
        _run([*initdb, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"], user)
    finally:
        secret.unlink()
    return data


def _run(command: Sequence[str], user: tuple[str, int] | None) -> None:
    result = subprocess.run(
        command,
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=_INITDB_S,
        check=False,
    )
    if result.returncode != 0:
        raise ServerFailed(f"postgres: initdb ended with {result.returncode}\n{result.stdout}{result.stderr}")
