"""Whether a service can do its work, and why not."""

from services.messaging.readiness import Readiness


def test_a_service_is_ready_while_nobody_objects() -> None:
    """Reasons come and go by the part's name; without any the service is ready."""
    readiness = Readiness()
    assert readiness.reasons() == {}
    readiness.unready("database", "away")
    readiness.unready("consumer", "joining")
    readiness.ready("database")
    readiness.ready("never objected")
    assert readiness.reasons() == {"consumer": "joining"}


def test_a_part_can_be_asked() -> None:
    """A check is asked each time, and what it gives is the reason."""
    readiness = Readiness()
    answers = iter(["silent", None])
    readiness.watch("consumer", lambda: next(answers))
    assert readiness.reasons() == {"consumer": "silent"}
    assert readiness.reasons() == {}
