"""Foreign bytes are harmless once they are printable, whatever they are."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from services.cli.formatting import cell, document, table
from services.cli.printable import printable


@given(st.binary() | st.text())
def test_no_control_character_reaches_the_terminal(foreign: bytes | str) -> None:
    """Whatever comes in, no control, format or separator character of Unicode comes out: cell, table or JSON."""
    text = foreign if isinstance(foreign, str) else foreign.decode(errors="replace")
    for shown in (printable(foreign), cell(foreign), table(["A"], [[foreign]]).partition("\n")[2]):
        assert not [one for one in shown if unicodedata.category(one)[0] == "C" or unicodedata.category(one) in "ZlZp"]
    written = document({text: text})
    assert all(" " <= one <= "~" for one in written.replace("\n", ""))
    assert json.loads(written) == {text: text}


def test_what_is_escaped_can_still_be_read() -> None:
    """A terminal's escape, a bidirectional override and broken UTF-8 show as their escapes; text stays text."""
    assert printable(b"\x1b]0;pwned\x07") == r"\x1b]0;pwned\x07"
    assert printable("a\u202eb\u2028c\x7f\x9b") == r"a\u202eb\u2028c\x7f\x9b"
    assert printable(b"\xff\xc3\xa9 ok") == "\\xffé ok"
    assert printable("one\ntwo\r\n", lines=True) == "one\ntwo\\r\n"


def test_what_is_too_long_says_so() -> None:
    """Text is cut after so many characters, and the cut shows."""
    assert (printable(b"abc", 2), printable(b"abc", 3)) == ("ab…", "abc")
