"""Gradients of scalar functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import (
    Argnums,
    Auxiliary,
    avals_of,
    check_argnums,
    check_aux,
    check_differentiable,
    check_outputs,
    flatten_arrays,
    leaf_path,
    select,
)
from functrans.api.boundary import boundary, check_callable, name_of, own
from functrans.api.nan_gradients import diagnose, holds_nan
from functrans.config import config
from functrans.core import dtypes
from functrans.core.avals import Box, ShapedArray, shaped
from functrans.core.capture import Rebuild, transformation
from functrans.core.finite import is_debugging
from functrans.core.primitive import creating
from functrans.core.structural import convert, ones, rebox, zeros
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.interpreters.linearize import frozen_tape, pull


def finish_cotangent(ct: Any, aval: ShapedArray) -> Any:
    """A cotangent as the gradient that the user gets: zeros where it is None, dtype and box as the input's."""
    if dtypes.tangent_dtype(aval.dtype) == dtypes.float0:
        return np.zeros(aval.shape, dtypes.float0)
    box: Box = "array" if aval.box == "array" else "numpy"
    if ct is None:
        if current_trace() is None:
            zero = creating(np).zeros(aval.shape, aval.dtype)
            return zero if box == "array" else zero[()]
        return zeros(shaped(aval.shape, aval.dtype, box))
    return rebox(convert(ct, aval.dtype), box)


def check_scalar(where: str, leaf: Any, treedef: Any, holomorphic: bool) -> None:
    """Reject what has no gradient: anything but one number, real unless ``holomorphic``."""
    if not treedef.is_leaf if hasattr(treedef, "is_leaf") else False:
        raise errors.NonScalarOutputError(f"{where}: the function must return one number, got {treedef}")
    aval = aval_of(leaf)
    if aval.shape != ():
        raise errors.NonScalarOutputError(
            f"{where}: the function must return one number, got an array of shape {aval.shape}. Reduce it (.sum(), "
            f".mean()), take functrans.jacobian(f), or functrans.vmap(functrans.grad(f)) for a gradient per example"
        )
    kind = dtypes.kind(aval.dtype)
    if holomorphic and kind != "c":
        raise errors.NonScalarOutputError(
            f"{where} with holomorphic=True: the function must return a complex number, got {aval}"
        )
    if not holomorphic and kind == "c":
        raise errors.NonScalarOutputError(
            f"{where}: the function must return a real number, got {aval}. Return .real or abs() of it, or pass "
            f"holomorphic=True for the complex derivative of a holomorphic function"
        )
    if kind not in "fc":
        raise errors.NonScalarOutputError(
            f"{where}: the function must return a float, got {aval}. Integer results have no derivative"
        )


@boundary
def value_and_grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that computes ``f`` and its gradient.

    Args:
        f: a function that returns one real number (a pair of it and auxiliary data with ``has_aux``).
        argnums: which positional arguments to differentiate in, an int or a tuple of ints. Each may be a pytree.
        has_aux: whether ``f`` returns a pair whose second member is handed through.
        holomorphic: differentiate a holomorphic function: complex inputs and a complex result.
        allow_int: accept integer inputs; their gradients have dtype ``float0``.

    Returns:
        A function of the same arguments that returns ``(value, gradient)``; ``((value, aux), gradient)`` with
        ``has_aux``. The gradient has the structure, shapes and dtypes of the argument (a tuple of such for a
        tuple of ``argnums``) and owns its memory. For complex inputs of a real function it is the conjugate of
        the direction of steepest ascent, as in JAX: ``df = real(sum(grad * dx))``.

    Raises:
        GradientInputError: an input is an integer or boolean.
        NonScalarOutputError: the result is not one real number.

    >>> import numpy as np, functrans as ft
    >>> ft.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    check_callable("value_and_grad", f)
    positions = check_argnums("grad", argnums)
    single = isinstance(argnums, int)

    @boundary
    @functools.wraps(f, updated=())
    def value_and_grad_of(*args: Any, **kwargs: Any) -> Any:
        where = f"grad({name_of(f)})"
        indices = select("grad", f, positions, args)
        chosen = args[indices[0]] if single else tuple([args[i] for i in indices])
        label = f"argument {indices[0]}" if single else "the differentiated arguments"
        leaves, treedef = flatten_arrays(where, label, chosen)
        avals = avals_of(leaves)
        check_differentiable(where, lambda i: leaf_path(label, chosen, i), avals, holomorphic, allow_int)
        live = [dtypes.is_inexact(a.dtype) for a in avals] if allow_int else [True] * len(avals)
        aux = Auxiliary()

        def flat(*inputs: Any) -> list[Any]:
            given = iter(inputs)
            tree = treedef.unflatten([next(given) if a else x for a, x in zip(live, leaves, strict=True)])
            full = list(args)
            for i, value in zip(indices, (tree,) if single else tree, strict=True):
                full[i] = value
            out = f(*full, **kwargs)
            extra = None
            if has_aux:
                out, extra = check_aux(where, out)
            (*outs,), out_tree = check_outputs(where, out)
            if out is None:
                raise errors.NonScalarOutputError(
                    f"{where}: the function must return one number, got None. Is its return statement missing?"
                )
            if len(outs) != 1 or out_tree.num_nodes != 1:
                raise errors.NonScalarOutputError(
                    f"{where}: the function must return one number, got the pytree {out_tree}. Return auxiliary "
                    f"results as the second member of a pair with has_aux=True"
                )
            check_scalar(where, outs[0], out_tree, holomorphic)
            return [outs[0], *aux.take(extra)]

        inputs = [x for a, x in zip(live, leaves, strict=True) if a]
        with frozen_tape(flat, inputs, freeze=True, debugging=is_debugging()) as tape:
            value, *aux_arrays = tape.primals_out
            seed = ones(aval_of(value).cotangent())
            cts = iter(pull(tape, [seed, *[None] * len(aux_arrays)]))
        grads = [finish_cotangent(next(cts) if a else None, v) for a, v in zip(live, avals, strict=True)]
        del cts, tape
        if current_trace() is None:
            grads = own(grads)
            (value,) = own([value])
            aux_arrays = [a if isinstance(a, Tracer) else own([a])[0] for a in aux_arrays]
            if config.diagnose_nan_gradients and any(map(holds_nan, grads)):
                paths = [leaf_path(label, chosen, i) for i, g in enumerate(grads) if holds_nan(g)]
                diagnose(where, name_of(f), paths, [value, *inputs], lambda: value_and_grad_of(*args, **kwargs))
        gradient = treedef.unflatten(grads)
        return ((value, aux.give(aux_arrays)) if has_aux else value), gradient

    return transformation(value_and_grad_of, f, Rebuild(value_and_grad, argnums, has_aux, holomorphic, allow_int))


@boundary
def grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that computes the gradient of ``f``.

    Arguments, result and errors are those of ``value_and_grad``, without the value; with ``has_aux`` the result
    is ``(gradient, aux)``.

    >>> import functrans as ft
    >>> ft.grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    >>> ft.grad(ft.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    check_callable("grad", f)
    both = value_and_grad(f, argnums, has_aux, holomorphic, allow_int)

    @functools.wraps(f, updated=())
    def grad_of(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return transformation(grad_of, f, Rebuild(grad, argnums, has_aux, holomorphic, allow_int))


@boundary
def elementwise_grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The derivative of a function that acts on each element, at each element.

    It is the gradient of the sum of the results, so entry ``i`` is the sum over ``j`` of ``df_j / dx_i``: the
    elements' own derivatives exactly where ``f_j`` depends on ``x_j`` alone.

    >>> import numpy as np, functrans as ft
    >>> ft.elementwise_grad(np.sin)(np.array([0.0, np.pi])).round(12)
    array([ 1., -1.])
    """
    check_callable("elementwise_grad", f)

    @functools.wraps(f, updated=())
    def total(*args: Any, **kwargs: Any) -> Any:
        out = f(*args, **kwargs)
        extra = None
        if has_aux:
            out, extra = check_aux(f"elementwise_grad({name_of(f)})", out)
        leaves, _ = check_outputs(f"elementwise_grad({name_of(f)})", out)
        summed: Any = 0.0
        for leaf in leaves:
            summed = summed + (leaf.sum() if hasattr(leaf, "sum") else leaf)
        return (summed, extra) if has_aux else summed

    return transformation(
        grad(total, argnums, has_aux, holomorphic, allow_int),
        f,
        Rebuild(elementwise_grad, argnums, has_aux, holomorphic, allow_int),
    )
