"""Run one server for as long as the process that asked for it lives: a separate program, between the two.

    python lifeline.py '{"command": [...], "user": null, "group": null, "grace_s": 10, "signal": 15, "remove": null}'

It reads its standard input, whose other end the asking process holds. That end closes when the process is killed too;
then the server's whole process group gets the signal, and SIGKILL when the grace is over. If it closes before the byte
`s` came (stop), nobody is left to clean up, and the folder `remove` goes too. A session of its own keeps a terminal's
signals, or a `kill -9` of the tests' process group, from the lifeline. If the lifeline itself is killed, Linux kills
the server: prctl(2), PR_SET_PDEATHSIG.

It prints the server's process id, and ends with the server's exit code, negative if a signal ended it.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

STOP = b"s"
_PR_SET_PDEATHSIG = 1


def main(asked: dict[str, Any]) -> int:
    """Run the server; see the top of this file for what is asked."""
    ended = _child_ended()
    server = _start(asked)
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    let_go, word = False, b""
    while server.poll() is None and not let_go:
        ready, _, _ = select.select([sys.stdin, ended], [], [])
        if ended in ready:
            os.read(ended, 1)
        if sys.stdin in ready:
            let_go, word = True, os.read(sys.stdin.fileno(), 1)
    code = _end(server, asked)
    if let_go and word != STOP and asked["remove"] is not None:
        shutil.rmtree(asked["remove"], ignore_errors=True)
    return code


def _child_ended() -> int:
    """Make a file descriptor that can be read when a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer)
    return reader


def _start(asked: dict[str, Any]) -> "subprocess.Popen[bytes]":
    identity = {} if asked["user"] is None else {"user": asked["user"], "group": asked["group"], "extra_groups": []}
    return subprocess.Popen(
        asked["command"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        # This process has one thread, so its child may run Python before it becomes the server.
        preexec_fn=_die_with_the_lifeline if sys.platform == "linux" else None,  # noqa: PLW1509  see above
        **identity,
    )


def _die_with_the_lifeline() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(server: "subprocess.Popen[bytes]", asked: dict[str, Any]) -> int:
    """End the server's group, by the signal and then by force."""
    if server.poll() is None:
        _signal(server.pid, asked["signal"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(asked["grace_s"])
    _signal(server.pid, signal.SIGKILL)
    return server.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
