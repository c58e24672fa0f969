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

from opentelemetry.context import Context, attach, detach, get_current

#: The attribute of a context that holds those which were changed into it, as weak references.
_FOLLOWERS: Final = "_sagatrace_followers"
#: The attribute of a context that was changed: the one that it follows, which was not.
_CHANGED_INTO: Final = "_sagatrace_changed_into"


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


def restore(token: Token[Context], inside: Context) -> bool:
    """Make the former context current again if `inside` is current, and was attached here; return whether it was."""
    try:
        variable = token.var
        if variable.get(None) is not inside:
            return False
        variable.reset(token)
    except AttributeError:  # a runtime context of another make
        detach(token)
    except ValueError:  # attached in another context
        return False
    return True


def withdraw(token: Token[Context], inside: Context) -> None:
    """Take a context away that has no block, where `restore` can't.

    What others have attached on top stays current: a block that is open will leave it. It loses what it has inherited
    from the context that is taken away.

    Args:
        token: what `attach` returned for `inside`.
        inside: the context to take away; nobody else has attached it.
    """
    outside = token.old_value if isinstance(token.old_value, Context) else Context()
    current = get_current()
    changed = (inside, *followers(inside))
    if all(current is not each for each in changed) and (inherited := _inherited(current, inside, outside)):
        kept = {key: value for key, value in current.items() if key not in inherited}
        attach(Context({**outside, **kept}))
    _change(inside, outside)


def _inherited(context: Context, inside: Context, outside: Context) -> set[str]:
    """Return the keys whose values come from `inside`, and not from what is outside of it."""
    return {key for key, value in inside.items() if context.get(key) is value and outside.get(key) is not value}


def _change(inside: Context, outside: Context) -> None:
    """Change a context, and those that were changed into it, into the one outside of it."""
    outside = vars(outside).get(_CHANGED_INTO, outside)
    if inside is outside:
        return
    changed = [inside, *followers(inside)]
    for context in changed:
        # By the methods of dict: a context forbids its own. Never empty in between, for another thread may read it.
        dict.update(context, outside)
        for key in context.keys() - outside.keys():
            dict.pop(context, key, None)
        vars(context)[_CHANGED_INTO] = outside
    vars(outside)[_FOLLOWERS] = [ref(context) for context in (*followers(outside), *changed)]


def followers(context: Context) -> list[Context]:
    """Return what was changed into a context, as far as somebody has it."""
    return [found for each in vars(context).get(_FOLLOWERS, ()) if (found := each()) is not None]
