"""``jet``: Taylor mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_outputs, flatten_arrays, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of, own
from functrans.core import dtypes
from functrans.core.structural import convert, zeros
from functrans.core.trace import aval_of, current_trace, is_array
from functrans.core.tree import tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.lax import taylor_rules as taylor_rules  # the recurrences, which fill in slots of primitives
from functrans.lax.control.region import fit
from functrans.lax.taylor import jet_flat, scaled


def _terms(where: str, i: int, treedef: PyTreeDef, series: Any) -> list[list[Any]]:
    """The derivatives that are given for each leaf of an argument."""
    leaves, tree = tree_flatten(series, is_leaf=_is_list_of_terms)
    if tree != treedef or not all(isinstance(x, (list, tuple)) for x in leaves):
        raise errors.TreeStructureError(
            f"{where}: series[{i}] must have a list of derivatives in the place of each array of primals[{i}], which "
            f"has the structure {treedef}; got {tree}"
        )
    return [list(leaf) for leaf in leaves]


def _is_list_of_terms(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and all(map(is_array, x))


@boundary
def jet(f: Callable[..., Any], primals: Sequence[Any], series: Sequence[Any]) -> tuple[Any, Any]:
    """The derivatives of ``f`` along a path, to any order (Taylor mode).

    For a path ``x(t)`` with ``x(0) = primals`` and derivatives ``series`` at 0, the derivatives of ``f(x(t))`` at 0.
    The cost grows with the square of the order where operations have a recurrence or are linear or bilinear (and with
    its cube or so for others), where nested ``jvp`` or ``grad`` grow exponentially. Every operation that has a JVP has
    a series, control flow included.

    Args:
        f: a function of pytrees of arrays.
        primals: a tuple with its arguments.
        series: for each argument a list with its first, second, ... derivative; all lists have one length. For an
            argument that is a pytree, a pytree of such lists. For integers the derivatives are ignored.

    Returns:
        The value, and its derivatives: a list for a single array, else the structure of the value with a list in the
        place of each array.

    Raises:
        ShapeError, TreeStructureError: the derivatives do not fit the arguments.

    >>> import numpy as np, functrans as ft
    >>> value, derivatives = ft.jet(np.exp, (0.0,), ([1.0, 0.0, 0.0],))
    >>> [float(d) for d in derivatives]  # of exp(t)
    [1.0, 1.0, 1.0]
    >>> ft.jet(lambda x: x**3, (2.0,), ([1.0, 0.0, 0.0, 0.0],))[1]
    [np.float64(12.0), np.float64(12.0), np.float64(6.0), np.float64(0.0)]
    """
    check_callable("jet", f)
    where = f"jet({name_of(f)})"
    for name, value in (("primals", primals), ("series", series)):
        if not isinstance(value, (tuple, list)):
            raise errors.ArgumentError(f"{where}: {name} must be a tuple with one member for each argument")
    if len(primals) != len(series):
        raise errors.ArgumentError(f"{where}: there are {len(primals)} primals and {len(series)} series")
    inputs: list[list[Any]] = []
    trees: list[PyTreeDef] = []
    order: int | None = None
    for i, (primal, given) in enumerate(zip(primals, series, strict=True)):
        leaves, treedef = flatten_arrays(where, f"primals[{i}]", primal)
        trees.append(treedef)
        lists = [list(given)] if treedef.num_nodes == 1 else _terms(where, i, treedef, given)
        for k, (leaf, terms) in enumerate(zip(leaves, lists, strict=True)):
            label = leaf_path(f"primals[{i}]", primal, k)
            order = len(terms) if order is None else order
            if len(terms) != order:
                raise errors.ShapeError(
                    f"{where}: {len(terms)} derivatives are given for {label}, and {order} for the first argument. All "
                    f"need as many; those that are zero are arrays of zeros"
                )
            inputs.append([leaf, *_coefficients(where, label, leaf, terms)])
    out_trees: list[PyTreeDef] = []
    sizes = [t.num_leaves for t in trees]

    def flat(*arrays: Any) -> list[Any]:
        rest = iter(arrays)
        args = [t.unflatten([next(rest) for _ in range(n)]) for t, n in zip(trees, sizes, strict=True)]
        leaves, tree = check_outputs(where, f(*args))
        out_trees[:] = [tree]
        return leaves

    n = order or 0
    found = jet_flat(flat, inputs, n)
    (out_tree,) = out_trees
    values = [out[0] for out in found]
    derivatives = [_derivatives(out, n) for out in found]
    if current_trace() is None:
        del found
        values = own(values)
        derivatives = [own(terms) for terms in derivatives]
    return out_tree.unflatten(values), out_tree.unflatten(derivatives)


def _coefficients(where: str, label: str, leaf: Any, terms: Sequence[Any]) -> list[Any]:
    """Taylor coefficients for derivatives: divided by factorials."""
    aval = aval_of(leaf).tangent()
    if aval.dtype == dtypes.float0:
        return [None] * len(terms)
    found = []
    for k, term in enumerate(terms, 1):
        got = aval_of(term)
        if got.shape != aval.shape or not np.can_cast(got.dtype, aval.dtype, "same_kind"):
            raise errors.ShapeError(f"{where}: derivative {k} given for {label} has type {got}, and {aval} is needed")
        found.append(scaled(fit(convert(term, aval.dtype), aval), 1.0 / math.factorial(k), aval))
    return found


def _derivatives(terms: Sequence[Any], order: int) -> list[Any]:
    aval = aval_of(terms[0]).tangent()
    if aval.dtype == dtypes.float0:
        return [np.zeros(aval.shape, dtypes.float0) for _ in range(order)]
    aval = aval.update(box="numpy" if aval.box == "python" else aval.box)
    out = []
    for k in range(1, order + 1):
        if terms[k] is None:
            out.append(np.zeros(aval.shape, aval.dtype)[()] if current_trace() is None else zeros(aval))
        else:
            out.append(scaled(fit(terms[k], aval), math.factorial(k), aval))
    return out
