"""The time of an import, read from what the interpreter lists."""

from benchmarks import imports

_LISTING = """\
import time: self [us] | cumulative | imported package
import time:       900 |        900 |   codecs
import time:      1000 |       1900 | site
import time:      2000 |       2000 |   typing
import time:       500 |       2500 | tracing
"""


def test_what_the_interpreter_had_does_not_count() -> None:
    """The figure is the time of the modules themselves, from the first one after the interpreter's start."""
    assert imports.imported_ms(_LISTING) == 2.5


def test_importing_takes_no_longer_than_contribs_package() -> None:
    """The claim of the report, in one round."""
    alone, _ = imports.ratios(imports.medians(imports.measure(1)))
    assert alone <= 1.0
