"""Leave a context that was made current for a block, wherever the block is left.

A block in a generator may be left somewhere else than it was entered: `break` out of an `async for` leaves the
generator to be closed by a task of its own, and a generator may be closed late, while another context is current. There
the caller's context variable can't be reset. So our context itself, which is still current in the caller, is changed in
place into the one that it was entered from, and nothing that is over stays current. The way out that is usual costs a
reset and a comparison.
"""

from __future__ import annotations

from contextvars import Token
from typing import Final
from weakref import ref

from opentelemetry.context import Context, detach

#: The attribute of a context that holds those which were changed into it, as weak references.
_FOLLOWERS: Final = "_sagatrace_followers"


def leave(token: Token[Context], inside: Context, error: BaseException | None = None) -> None:
    """Make the former context current again.

    Args:
        token: what `attach` returned for `inside`.
        inside: the context to leave; it belongs to the block, and nobody else has attached it.
        error: what the block is left by.
    """
    try:
        variable = token.var
        if variable.get(None) is inside:
            variable.reset(token)
            return
        if not isinstance(error, GeneratorExit):  # the handler has left something behind
            variable.reset(token)
    except AttributeError:  # a runtime context of another make, chosen by OTEL_PYTHON_CONTEXT
        detach(token)
        return
    except ValueError:  # set in another context
        pass
    outside = token.old_value
    _change(inside, outside if isinstance(outside, Context) else Context())


def _change(inside: Context, outside: Context) -> None:
    """Change a context, and those that were changed into it, into the one outside of it."""
    if inside is outside:
        return
    changed = [inside, *_live(inside)]
    for context in changed:
        # By the methods of dict: a context forbids its own. Never empty in between, for another thread may read it.
        dict.update(context, outside)
        for key in context.keys() - outside.keys():
            dict.pop(context, key, None)
    vars(outside)[_FOLLOWERS] = [ref(context) for context in (*_live(outside), *changed)]


def _live(context: Context) -> list[Context]:
    return [found for each in vars(context).get(_FOLLOWERS, ()) if (found := each()) is not None]
