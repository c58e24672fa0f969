"""Where errors of the instrumentation end."""

import logging

import pytest

from tracing import faults


def test_a_fault_is_logged_once_and_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """The first time is a warning with type and line, later ones are debug, and the message appears in neither."""
    faults.forget()
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            try:
                int("secret", 0)
            except ValueError as error:
                faults.report("doing something", error)
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
    assert "doing something: builtins.ValueError" in caplog.text
    assert "test_faults.py" in caplog.records[0].getMessage()
    assert "secret" not in caplog.text
