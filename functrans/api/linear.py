"""``jvp``, ``linearize``, ``vjp`` and ``linear_transpose``: the two modes of differentiation, bare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import (
    Auxiliary,
    avals_of,
    check_aux,
    check_differentiable,
    check_outputs,
    flatten_arrays,
    leaf_path,
)
from functrans.api.boundary import boundary, check_callable, name_of, own, own_copies
from functrans.api.grad import finish_cotangent
from functrans.api.staging import abstract
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.finite import is_debugging
from functrans.core.primitive import Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of, current_trace
from functrans.core.tree import describe_mismatch
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.jvp import jvp_flat
from functrans.interpreters.linearize import Tape, linearize_flat, pull, push
from functrans.interpreters.transpose import backward_pass


def _tuple(where: str, name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise errors.ArgumentError(
            f"{where}: {name} must be a tuple with one member for each argument, got {type(value).__name__}. Write "
            f"({name[:-1]},) for a single argument"
        )
    return tuple(value)


def _check_tangents(
    where: str, kind: str, expected: PyTreeDef, avals: Sequence[ShapedArray], primals: Any, tangents: Any
) -> list[Any]:
    """The leaves of tangents (or cotangents) that fit the primals, float0 ones replaced by symbolic zeros."""
    leaves, treedef = flatten_arrays(where, kind, tangents)
    if treedef != expected:
        raise errors.TreeStructureError(
            f"{where}: the {kind} must have the structure of the values they belong to: "
            f"{describe_mismatch(expected, treedef, kind, 'in the values', 'in the ' + kind)}"
        )
    out: list[Any] = []
    for i, (t, aval) in enumerate(zip(leaves, avals, strict=True)):
        wanted = aval.cotangent() if kind == "cotangents" else aval.tangent()
        got = aval_of(t) if not _is_float0(t) else wanted.update(dtype=dtypes.float0)
        if got.shape != wanted.shape:
            raise errors.ShapeError(
                f"{where}: {leaf_path(kind, tangents, i)} has shape {got.shape}, and {wanted.shape} is needed"
            )
        if wanted.dtype == dtypes.float0:
            if got.dtype != dtypes.float0 and np.any(np.asarray(t) != 0) if not hasattr(t, "aval") else False:
                raise errors.DTypeError(
                    f"{where}: {leaf_path(kind, tangents, i)} belongs to a value of dtype {aval.dtype}, which has no "
                    f"derivative. Its {kind[:-1]} is np.zeros(shape, functrans.float0)"
                )
            out.append(Zero(wanted))
            continue
        if got.dtype == dtypes.float0:
            out.append(Zero(wanted))
            continue
        if got.dtype != wanted.dtype:
            if not np.can_cast(got.dtype, wanted.dtype, "same_kind"):
                raise errors.DTypeError(
                    f"{where}: {leaf_path(kind, tangents, i)} has type {got}, and {wanted} is needed. Convert it with "
                    f".astype"
                )
            t = convert(t, wanted.dtype)
        out.append(rebox(t, wanted.box) if wanted.shape == () else t)
    return out


def _is_float0(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtypes.float0


def _finish_tangent(t: Any, primal: Any) -> Any:
    aval = aval_of(primal).tangent()
    if aval.dtype == dtypes.float0:
        return np.zeros(aval.shape, dtypes.float0)
    if isinstance(t, Zero):
        return rebox(finish_cotangent(None, aval), aval.box)
    return rebox(t, aval.box)


def _flat(
    where: str, f: Callable[..., Any], treedef: PyTreeDef, has_aux: bool, aux: Auxiliary, trees: list[PyTreeDef]
) -> Callable[..., list[Any]]:
    """``f`` as a function of arrays; its result's structure lands in ``trees`` and its arrays come first."""

    def flat(*inputs: Any) -> list[Any]:
        out = f(*treedef.unflatten(inputs))
        extra = None
        if has_aux:
            out, extra = check_aux(where, out)
        leaves, tree = check_outputs(where, out)
        trees[:] = [tree]
        return leaves + aux.take(extra)

    return flat


@boundary
def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """The value of ``f`` and its derivative in a direction (forward mode).

    Args:
        f: a function of arrays and pytrees of them.
        primals: a tuple with the arguments of ``f``.
        tangents: a tuple of the same structure and shapes: the direction. Tangents of integers are arrays of
            dtype ``float0``.
        has_aux: whether ``f`` returns a pair whose second member is handed through.

    Returns:
        ``(value, tangent)``, and ``aux`` as a third member with ``has_aux``.

    >>> import numpy as np, functrans as ft
    >>> ft.jvp(np.sin, (0.0,), (1.0,))
    (np.float64(0.0), np.float64(1.0))
    """
    check_callable("jvp", f)
    where = f"jvp({name_of(f)})"
    primals, tangents = _tuple(where, "primals", primals), _tuple(where, "tangents", tangents)
    leaves, treedef = flatten_arrays(where, "primals", primals)
    directions = _check_tangents(where, "tangents", treedef, avals_of(leaves), primals, tangents)
    aux, trees = Auxiliary(), []  # type: Auxiliary, list[PyTreeDef]
    outs, out_tangents = jvp_flat(_flat(where, f, treedef, has_aux, aux, trees), leaves, directions)
    (tree,) = trees
    n = tree.num_leaves
    derived = [_finish_tangent(t, p) for t, p in zip(out_tangents[:n], outs[:n], strict=True)]
    del out_tangents
    if current_trace() is None:
        outs, derived = own(outs), own(derived)
    result = tree.unflatten(outs[:n]), tree.unflatten(derived)
    return (*result, aux.give(outs[n:])) if has_aux else result


class _Linearized:
    """A tape with the structures of its inputs and results."""

    def __init__(self, name: str, f: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> None:
        self.where = f"{name}({name_of(f)})"
        self.primals = primals
        leaves, self.in_tree = flatten_arrays(self.where, "argument ", primals)
        self.in_avals = avals_of(leaves)
        self.live = [dtypes.is_inexact(a.dtype) for a in self.in_avals]
        self.aux = Auxiliary()
        trees: list[PyTreeDef] = []
        flat = _flat(self.where, f, self.in_tree, has_aux, self.aux, trees)

        def of_live(*inputs: Any) -> list[Any]:
            given = iter(inputs)
            return flat(*[next(given) if a else x for a, x in zip(self.live, leaves, strict=True)])

        inputs = [x for a, x in zip(self.live, leaves, strict=True) if a]
        tape = linearize_flat(of_live, inputs, debugging=is_debugging())
        (self.out_tree,) = trees
        n = self.out_tree.num_leaves
        outs = tape.primals_out
        self.out_avals = avals_of(outs[:n])
        self.tape = Tape(tape.nodes, tape.inputs, tape.outs[:n], tape.slots)
        values = own_copies(outs) if current_trace() is None else outs
        self.value = self.out_tree.unflatten(values[:n])
        self.aux_value = self.aux.give(values[n:]) if has_aux else None
        # The value and the arguments are the user's now; the tape keeps copies of what it needs.
        self.primals = ()


@boundary
def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f`` and its derivative at a point, as a linear function of the tangents.

    Returns:
        ``(value, f_jvp)``, and ``aux`` with ``has_aux``; ``f_jvp(*tangents)`` costs no evaluation of ``f``.

    >>> import numpy as np, functrans as ft
    >>> y, f_jvp = ft.linearize(lambda x: x**2, 3.0)
    >>> f_jvp(1.0), f_jvp(2.0)
    (np.float64(6.0), np.float64(12.0))
    """
    check_callable("linearize", f)
    lin = _Linearized("linearize", f, primals, has_aux)

    @boundary
    def f_jvp(*tangents: Any) -> Any:
        where = f"the linear function from {lin.where}"
        ts = _check_tangents(where, "tangents", lin.in_tree, lin.in_avals, (), tangents)
        outs = push(lin.tape, [t for t, a in zip(ts, lin.live, strict=True) if a])
        values = [
            rebox(finish_cotangent(None if isinstance(t, Zero) else t, a), "array" if a.box == "array" else "numpy")
            for t, a in zip(outs, lin.out_avals, strict=True)
        ]
        del outs
        return lin.out_tree.unflatten(own(values) if current_trace() is None else values)

    return (lin.value, f_jvp, lin.aux_value) if has_aux else (lin.value, f_jvp)


@boundary
def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f`` and a function that pulls cotangents back (reverse mode).

    Returns:
        ``(value, f_vjp)``, and ``aux`` with ``has_aux``. ``f_vjp(cotangent)`` takes a cotangent with the structure
        and shapes of the value, and returns a tuple with one cotangent for each argument; for integers these
        have dtype ``float0``. It may be called many times.

    >>> import numpy as np, functrans as ft
    >>> y, f_vjp = ft.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0)
    >>> f_vjp(np.ones(2))
    (array([3., 3.]), np.float64(3.0))
    """
    check_callable("vjp", f)
    lin = _Linearized("vjp", f, primals, has_aux)

    @boundary
    def f_vjp(cotangent: Any) -> Any:
        where = f"the function from {lin.where}"
        cts = _check_tangents(where, "cotangents", lin.out_tree, lin.out_avals, (), cotangent)
        found = iter(pull(lin.tape, cts))
        values = [finish_cotangent(next(found) if a else None, v) for a, v in zip(lin.live, lin.in_avals, strict=True)]
        del found
        return lin.in_tree.unflatten(own(values) if current_trace() is None else values)

    return (lin.value, f_vjp, lin.aux_value) if has_aux else (lin.value, f_vjp)


@boundary
def linear_transpose(f: Callable[..., Any], *primals: Any) -> Callable[[Any], Any]:
    """The transpose of a linear function.

    Args:
        f: a function that is linear in all its arguments.
        primals: arrays, or ``ShapeDtypeStruct``s, that give the arguments' structure, shapes and dtypes: floats or
            complex numbers.

    Returns:
        A function from a cotangent of the result to a tuple of cotangents of the arguments.

    Raises:
        GradientInputError: an argument is an integer or boolean.

    >>> import numpy as np, functrans as ft
    >>> transposed = ft.linear_transpose(lambda x: 3.0 * x, ft.ShapeDtypeStruct((2,), np.float64))
    >>> transposed(np.ones(2))
    (array([3., 3.]),)
    """
    check_callable("linear_transpose", f)
    where = f"linear_transpose({name_of(f)})"
    avals, in_tree = abstract(where, "argument ", primals)
    check_differentiable(where, lambda i: leaf_path("argument ", primals, i), avals, False, False)
    trees: list[PyTreeDef] = []
    jaxpr = stage(_flat(where, f, in_tree, False, Auxiliary(), trees), avals, name_of(f))
    (out_tree,) = trees

    @boundary
    def transposed(cotangent: Any) -> Any:
        cts = _check_tangents(where, "cotangents", out_tree, jaxpr.out_avals, (), cotangent)
        found = backward_pass(jaxpr, [Undefined(a) for a in avals], cts)
        values = [finish_cotangent(ct, a) for ct, a in zip(found, avals, strict=True)]
        del found
        return in_tree.unflatten(own(values) if current_trace() is None else values)

    return transposed
