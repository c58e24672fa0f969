"""A process that is told to die at a durable write dies there, and every durable write is such a place."""

import ast
import re
import signal
import subprocess
import sys

import pytest

from services.audit.writes import AuditWrite
from services.inventory.writes import InventoryWrite
from services.messaging.crash_points import CRASHED, CrashPoint, Side, Write
from services.messaging.errors import ConfigurationError
from services.messaging.settings import RuntimeSettings
from services.notification.writes import NotificationWrite
from services.oms.writes import OmsWrite
from services.payment.writes import PaymentWrite
from tests.support.sources import at, parse, python_files

_PROGRAM = """
from services.messaging import crash_points
from services.messaging.crash_points import CrashPoint, Write
crash_points.arm(CrashPoint.parse("outbox.send:after:2"))
for number in range(3):
    crash_points.before(Write.OUTBOX_SEND)
    crash_points.after(Write.OUTBOX_CLAIM)
    crash_points.after(Write.OUTBOX_SEND)
    print(number, flush=True)
"""

_WRITES = (Write, OmsWrite, InventoryWrite, PaymentWrite, AuditWrite, NotificationWrite)


def test_the_process_ends_at_its_point_and_nowhere_else() -> None:
    """It is killed the second time it comes to its point, says which one that was, and does nothing after."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n")
    assert done.stderr == f'{{"event":"{CRASHED}","point":"outbox.send:after:2"}}\n'


@pytest.mark.parametrize(
    "text", ["", "outbox.send", "outbox.sent:after", "outbox.send:during", "reply:after:0", "reply:after:x"]
)
def test_a_point_that_is_none_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A point that is not there is reported with the variable's name, and never silently met by nobody."""
    with pytest.raises(ValueError, match="WRITE:before"):
        CrashPoint.parse(text, OmsWrite)
    monkeypatch.setenv("SAGATRACE_CRASH_AT", text or " ")
    with pytest.raises(ConfigurationError, match="SAGATRACE_CRASH_AT"):
        RuntimeSettings.read().crash_point(OmsWrite)


def test_the_write_of_another_service_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service knows its own writes and those that all have: it would never come to another one's."""
    monkeypatch.setenv("SAGATRACE_CRASH_AT", "charge:after")
    settings = RuntimeSettings.read()
    assert settings.crash_point(PaymentWrite) == CrashPoint(PaymentWrite.CHARGE, Side.AFTER)
    with pytest.raises(ConfigurationError, match=r"SAGATRACE_CRASH_AT.* outbox\.send, .* reply, "):
        settings.crash_point(OmsWrite)


def test_a_point_is_read_as_it_is_written() -> None:
    """Text and value are the same point, and the first time is the one that is meant without a number."""
    point = CrashPoint.parse("reply:before", OmsWrite)
    assert point == CrashPoint(OmsWrite.REPLY, Side.BEFORE, 1) == CrashPoint.parse(str(point), OmsWrite)


def test_without_the_variable_there_is_no_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that nobody told to die is not armed."""
    monkeypatch.delenv("SAGATRACE_CRASH_AT", raising=False)
    assert RuntimeSettings.read().crash_point() is None


def test_every_durable_write_of_the_services_is_a_crash_point() -> None:
    """Each transaction, acknowledged send and commit of offsets in the source is named, each name at one place."""
    nameless, named = [], []
    for path in python_files("services"):
        for call in (node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)):
            passed = [ast.unparse(word) for word in call.args]
            words = [word for word in passed if re.match(r"\w*Write\.", word)]
            match ast.unparse(call.func).rpartition(".")[2]:
                case "transaction":
                    named += words
                    # A name that is passed on was given by the caller.
                    nameless += [] if words or passed == ["write"] else [at(path, call)]
                case "before" | "run":
                    named += words
    assert nameless == []
    assert sorted(named) == sorted(f"{type(write).__name__}.{write.name}" for writes in _WRITES for write in writes)


def test_each_write_outside_of_a_transaction_has_both_sides() -> None:
    """Whoever comes to the moment before a write comes to the one after it, too."""
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for path in python_files("services"):
        for call in (node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)):
            owner, _, name = ast.unparse(call.func).rpartition(".")
            if owner == "crash_points" and name in sides:
                sides[name] += [ast.unparse(word) for word in call.args]
    assert sides["before"] == sides["after"]
