"""``safe_where``: the dead branch of each ``where`` made harmless to derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functrans.api.arguments import check_outputs
from functrans.api.boundary import boundary, check_callable, name_of, own
from functrans.core.capture import Rebuild, transformation
from functrans.core.evaluate import evaluate
from functrans.core.stage import stage
from functrans.core.trace import Tracer, aval_of, current_trace, is_array
from functrans.core.tree import tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.passes.inline import inline_calls
from functrans.passes.safe_select import guard_selects


@boundary
def safe_where(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with derivatives in which the branches that ``where`` did not choose play no part.

    ``np.where(x > 0.0, np.log(x), 0.0)`` has the derivative NaN at zero: the logarithm, although it was not chosen, is
    differentiated there, and gives ``0 * inf``. Under ``safe_where`` each operation in a branch sees, in the elements
    that are not chosen, a value at which it has a derivative; so one need not write a second ``where`` around the
    argument. It holds for all that is made of selections (``select``, ``piecewise``, ``cond`` under ``vmap``), for what
    comes before the branch (``x / norm(x)`` where the norm is not zero), through movements and sums of elements, and to
    any order of derivatives. A NaN in an element that is chosen stays.

    Values are those of ``f``, to the bit. What a selection looks at (``isnan(y)``, say) is computed from what ``f``
    computes, so part of the work may be done twice. Operations of whole arrays in a branch (matrix products, sorting,
    factorisations, loops) are left as they are, and so is what comes before them.

    Args:
        f: a function of arrays and pytrees of them. It is traced as by ``jit``, at each call; under ``jit`` once.
            Python ints, bools and what is no array stay what they are.

    Returns:
        A function of the same arguments.

    >>> import numpy as np, functrans as ft
    >>> f = lambda x: np.where(x > 0.0, np.log(x), 0.0)
    >>> ft.grad(ft.safe_where(f))(0.0)
    np.float64(0.0)
    """
    check_callable("safe_where", f)

    @boundary
    def guarded(*args: Any, **kwargs: Any) -> Any:
        where = f"safe_where({name_of(f)})"
        leaves, treedef = tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if _is_traced(leaf)]
        trees: list[PyTreeDef] = []

        def flat(*inputs: Any) -> list[Any]:
            filled = list(leaves)
            for i, x in zip(places, inputs, strict=True):
                filled[i] = x
            given, named = treedef.unflatten(filled)
            outs, tree = check_outputs(where, f(*given, **named))
            trees[:] = [tree]
            return outs

        arrays = [leaves[i] for i in places]
        jaxpr = guard_selects(inline_calls(stage(flat, [aval_of(x) for x in arrays], name_of(f))))
        outs = evaluate(jaxpr, arrays)
        return trees[0].unflatten(own(outs) if current_trace() is None else outs)

    return transformation(guarded, f, Rebuild(safe_where))


def _is_traced(leaf: Any) -> bool:
    """Whether an argument is traced: an array or a float, but no Python int or bool, which may decide a shape."""
    return isinstance(leaf, Tracer) or (is_array(leaf) and not isinstance(leaf, int))
