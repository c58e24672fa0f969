"""`python -m benchmarks` as a user meets it: what it tells, and what it refuses."""

import pytest

from benchmarks.__main__ import main


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option and how it is used is told without a look into the code."""
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    told = capsys.readouterr().out
    assert stopped.value.code == 0
    for option in ("--rounds", "--messages", "--json", "--quick", 'make bench ARGS="--quick"'):
        assert option in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["--rounds", "0"], "'0' is not a whole number above 0", id="no rounds"),
        pytest.param(["--messages", "many"], "'many' is not a whole number above 0", id="no number"),
        pytest.param(["--messages", "40001"], "keeps at most 40000 messages", id="more than the broker keeps"),
        pytest.param(["--json", "no/such/folder/f.json"], "there is no folder no/such/folder", id="no folder"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails before anything is started, and says what is wrong."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
