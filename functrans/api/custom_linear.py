"""``linear_call``: a linear function with a transpose of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functrans import errors
from functrans.api.arguments import flatten_arrays, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.core.trace import aval_of
from functrans.core.tree import describe_mismatch, tree_flatten
from functrans.lax.control.body import body_of
from functrans.lax.control.custom_linear import linear_call_p
from functrans.lax.control.region import results_fitted


@boundary
def linear_call(
    fun: Callable[[Any, Any], Any], fun_transpose: Callable[[Any, Any], Any], residual_args: Any, linear_args: Any
) -> Any:
    """``fun(residual_args, linear_args)``, with ``fun_transpose`` as its transpose in ``linear_args``.

    Reverse mode and ``linear_transpose`` call ``fun_transpose(residual_args, cotangent)`` in place of transposing
    ``fun``. The transpose of the transpose is ``fun`` again. The derivative in the residuals is that of ``fun``.

    Args:
        fun: a function that is linear in its second argument.
        fun_transpose: its transpose: takes the residuals and a cotangent of the result, returns one of
            ``linear_args``, of the same structure, shapes and dtypes.
        residual_args: a pytree of arrays.
        linear_args: a pytree of inexact arrays.

    Raises:
        CustomRuleError: the transpose does not give what it must.

    >>> import functrans as ft
    >>> def scale(residuals, x):
    ...     return x * residuals
    >>> def divide(residuals, ct):  # on purpose not the transpose, to see it at work
    ...     return ct / residuals
    >>> f = lambda x: ft.custom_derivatives.linear_call(scale, divide, 4.0, x)
    >>> float(f(3.0)), float(ft.linear_transpose(f, 3.0)(1.0)[0])
    (12.0, 0.25)
    """
    for f in (fun, fun_transpose):
        check_callable("linear_call", f)
    where = f"linear_call({name_of(fun)})"
    residuals, _ = flatten_arrays(where, "residual_args", residual_args)
    linear, linear_tree = flatten_arrays(where, "linear_args", linear_args)
    treedef = tree_flatten((residual_args, linear_args))[1]
    fixed = [aval_of(x) for x in residuals]
    avals = [aval_of(x) for x in linear]
    forward = body_of(where, fun, treedef, [*fixed, *avals])
    example = forward.out_tree.unflatten([0] * len(forward.out_avals))
    back_tree = tree_flatten((residual_args, example))[1]
    backward = body_of(where, fun_transpose, back_tree, [*fixed, *(a.cotangent() for a in forward.out_avals)])
    transpose = f"the transpose {name_of(fun_transpose)} of {where}"
    if backward.out_tree != linear_tree:
        raise errors.CustomRuleError(
            f"{transpose} must return a cotangent of linear_args: {describe_mismatch(linear_tree, backward.out_tree)}"
        )
    for i, (got, aval) in enumerate(zip(backward.out_avals, avals, strict=True)):
        if (got.shape, got.dtype) != (aval.shape, aval.dtype):
            raise errors.CustomRuleError(
                f"{transpose} gave a cotangent of type {got} for {leaf_path('linear_args', linear_args, i)}, which has "
                f"type {aval}. A cotangent has the shape and dtype of what it belongs to"
            )
    outs = linear_call_p.bind(
        *forward.consts,
        *backward.consts,
        *residuals,
        *linear,
        forward=forward.jaxpr,
        backward=results_fitted(backward.jaxpr, [a.cotangent() for a in avals]),
        sizes=(len(forward.consts), len(backward.consts), len(residuals)),
    )
    return forward.out_tree.unflatten(outs)
