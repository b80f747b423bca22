"""Equations solved by iteration, with the derivatives of the solution rather than of the iteration.

A solution ``x(args)`` of ``F(x, args) = 0`` has the derivative ``dx = -(dF/dx)**-1 dF/dargs`` wherever it came from
(the implicit function theorem). So no step of the solver is kept, or differentiated, and a solver that is no traced
program (SciPy's, say) does as well. The rule is a ``custom_jvp`` in terms of the solution itself, so derivatives of any
order follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import flatten_arrays
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.api.custom import custom_jvp
from functrans.api.jacobian import jacfwd
from functrans.api.linear import jvp
from functrans.api.staging import closure_convert
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.core.tree import tree_map
from functrans.core.treedef import PyTreeDef
from functrans.lax import custom_linear_solve, stop_gradient, while_loop

__all__ = ["fixed_point", "implicit_solution", "root"]

LinearSolve = Callable[[Callable[[Any], Any], Any], Any]


class _Flat:
    """A pytree of floats as a vector, and back."""

    def __init__(self, where: str, label: str, tree: Any) -> None:
        leaves, self.treedef = flatten_arrays(where, label, tree)
        if not leaves:
            raise errors.ArgumentError(f"{where}: {label} has no arrays")
        self.avals: list[ShapedArray] = [aval_of(x) for x in leaves]
        self.dtype = np.result_type(np.float32, *[a.dtype for a in self.avals])
        if all(not dtypes.is_inexact(a.dtype) or a.weak for a in self.avals):
            self.dtype = np.result_type(np.float64, self.dtype)
        self.vector = self.ravel(leaves)

    def ravel(self, leaves: Sequence[Any]) -> Any:
        return np.concatenate([np.ravel(convert(x, self.dtype)) for x in leaves])

    def unravel(self, vector: Any) -> Any:
        leaves, start = [], 0
        for a in self.avals:
            size = math.prod(a.shape)
            leaves.append(np.reshape(vector[start : start + size], a.shape) if a.shape else vector[start])
            start += size
        return self.treedef.unflatten(leaves)

    def raveled(self, where: str, tree: Any) -> Any:
        """Another pytree as a vector; an error where it is not of this one's structure and shapes."""
        leaves, treedef = flatten_arrays(where, "the result", tree)
        _check(where, treedef, self.treedef, [aval_of(x) for x in leaves], self.avals)
        return self.ravel(leaves)


def _check(
    where: str, tree: PyTreeDef, wanted: PyTreeDef, avals: Sequence[ShapedArray], expected: Sequence[ShapedArray]
) -> None:
    if tree != wanted:
        raise errors.TreeStructureError(f"{where}: f must return the structure of x, {wanted}; it returned {tree}")
    for got, aval in zip(avals, expected, strict=True):
        if got.shape != aval.shape:
            raise errors.ShapeError(
                f"{where}: f returned an array of shape {got.shape} where x has one of shape {aval.shape}; an equation "
                f"has as many sides as unknowns"
            )


def _solution(solve: Callable[..., Any], residual: Callable[..., Any], linear: LinearSolve | None, *args: Any) -> Any:
    return solve(*args)


_implicit: Any = custom_jvp(_solution, nondiff_argnums=(0, 1, 2))


@_implicit.defjvp  # type: ignore[untyped-decorator]
def _implicit_rule(
    solve: Callable[..., Any], residual: Callable[..., Any], linear: LinearSolve | None, primals: Any, tangents: Any
) -> tuple[Any, Any]:
    x = _implicit(solve, residual, linear, *primals)
    change = jvp(lambda *args: residual(x, *args), tuple(primals), tuple(tangents))[1]
    if linear is None:
        return x, np.linalg.solve(jacfwd(lambda x: residual(x, *primals))(x), -change)

    def product(v: Any) -> Any:
        return jvp(lambda x: residual(x, *primals), (x,), (v,))[1]

    return x, custom_linear_solve(product, -change, linear, linear)


def _with_derivative(
    where: str,
    flat: _Flat,
    solve: Callable[..., Any],
    residual: Callable[..., Any],
    args: tuple[Any, ...],
    linear_solve: LinearSolve | None,
) -> Any:
    """``solve(*args)``, a vector, with the derivative of a root of ``residual(x, *args)``."""
    flatten_arrays(where, "argument ", args)
    strong = tree_map(lambda x: convert(x, aval_of(x).dtype), args)
    converted, constants = closure_convert(residual, flat.vector, *strong)
    return flat.unravel(
        _implicit(lambda *given: solve(converted, *given), converted, linear_solve, *strong, *constants)
    )


@boundary
def implicit_solution(f: Callable[..., Any], x: Any, *args: Any, linear_solve: LinearSolve | None = None) -> Any:
    """A solution ``x`` of ``f(x, *args) = 0`` from elsewhere, as a differentiable function of ``args``.

    Args:
        f: the equation: a function of ``x`` and ``args`` that returns what must be zero, of the structure of ``x``.
        x: the solution, a pytree of floats, found by any means: by SciPy, by ``pure_callback``, in closed form. What it
            depends on does not matter to the derivative.
        args: pytrees of arrays.
        linear_solve: ``linear_solve(product, b)`` solves linear systems with ``df/dx`` (and its transpose) given by
            products with it, for systems that are too large for a matrix; by default the matrix is made.

    Returns:
        ``x``, whose derivatives in ``args`` (and in what ``f`` closes over) follow from the equation.

    >>> import functrans as ft
    >>> def cube_root(a):
    ...     return ft.solvers.implicit_solution(lambda x, a: x**3 - a, ft.stop_gradient(a) ** (1 / 3), a)
    >>> ft.grad(cube_root)(8.0).round(12)
    np.float64(0.083333333333)
    """
    check_callable("implicit_solution", f)
    where = f"implicit_solution({name_of(f)})"
    flat = _Flat(where, "x", stop_gradient(x))

    def residual(v: Any, *args: Any) -> Any:
        return flat.raveled(where, f(flat.unravel(v), *args))

    solution = flat.vector
    return _with_derivative(where, flat, lambda _, *args: solution, residual, args, linear_solve)


@boundary
def root(
    f: Callable[..., Any],
    x0: Any,
    *args: Any,
    tol: float = 1e-10,
    max_steps: int = 100,
    linear_solve: LinearSolve | None = None,
) -> Any:
    """A root of ``f(x, *args) = 0`` by Newton's method, differentiable in ``args``.

    A step that does not make the norm of ``f`` smaller is halved until it does. The derivative is that of the root,
    from the equation; it is zero in ``x0``.

    Args:
        f: a function of ``x`` and ``args`` that returns as many numbers as ``x`` has, in its structure.
        x0: where to start, a pytree of floats.
        args: pytrees of arrays.
        tol: the norm of ``f`` at which to stop, in its largest entry.
        max_steps: how many steps to take at most. If they do not do, the result is NaN.
        linear_solve: see ``implicit_solution``; the steps use it too.

    >>> import functrans as ft
    >>> ft.solvers.root(lambda x, a: x**2 - a, 1.0, 2.0).round(9)
    np.float64(1.414213562)
    >>> ft.grad(lambda a: ft.solvers.root(lambda x, a: x**2 - a, 1.0, a))(2.0).round(9)
    np.float64(0.353553391)
    """
    check_callable("root", f)
    where = f"root({name_of(f)})"
    flat = _Flat(where, "x0", stop_gradient(x0))
    start = flat.vector

    def residual(v: Any, *args: Any) -> Any:
        return flat.raveled(where, f(flat.unravel(v), *args))

    def solve(residual: Callable[..., Any], *args: Any) -> Any:
        def step(carry: Any) -> Any:
            x, value, steps = carry
            if linear_solve is None:
                newton = np.linalg.solve(jacfwd(lambda x: residual(x, *args))(x), -value)
            else:
                newton = linear_solve(lambda v: jvp(lambda x: residual(x, *args), (x,), (v,))[1], -value)
            size = np.sum(np.abs(value) ** 2)

            def worse(state: Any) -> Any:
                length, new = state
                return ~(np.sum(np.abs(new) ** 2) < size) & (length > 1e-8)

            def shorter(state: Any) -> Any:
                length = state[0] / 2
                return length, residual(x + length * newton, *args)

            one = np.ones((), dtypes.real_dtype(flat.dtype))[()]
            length, new = while_loop(worse, shorter, (one, residual(x + newton, *args)))
            return x + length * newton, new, steps + 1

        def goes_on(carry: Any) -> Any:
            _, value, steps = carry
            return (np.max(np.abs(value)) > tol) & (steps < max_steps)

        x, value, _ = while_loop(goes_on, step, (start, residual(start, *args), 0))
        return np.where(np.max(np.abs(value)) <= tol, x, np.nan).astype(flat.dtype)

    return _with_derivative(where, flat, solve, residual, args, linear_solve)


@boundary
def fixed_point(
    f: Callable[..., Any],
    x0: Any,
    *args: Any,
    tol: float = 1e-10,
    max_steps: int = 1000,
    linear_solve: LinearSolve | None = None,
) -> Any:
    """A fixed point ``x = f(x, *args)`` by iteration from ``x0``, differentiable in ``args``.

    The derivative is that of the fixed point, from the equation; it is zero in ``x0``.

    Args:
        f: a function of ``x`` and ``args`` that returns a pytree like ``x``. The iteration converges where it is a
            contraction.
        x0: where to start, a pytree of floats.
        args: pytrees of arrays.
        tol: the largest change of an entry at which to stop.
        max_steps: how many steps to take at most. If they do not do, the result is NaN.
        linear_solve: see ``implicit_solution``.

    >>> import numpy as np, functrans as ft
    >>> ft.solvers.fixed_point(lambda x, a: np.cos(a * x), 1.0, 1.0).round(9)
    np.float64(0.739085133)
    >>> ft.grad(lambda a: ft.solvers.fixed_point(lambda x, a: np.cos(a * x), 1.0, a))(1.0).round(9)
    np.float64(-0.297474341)
    """
    check_callable("fixed_point", f)
    where = f"fixed_point({name_of(f)})"
    flat = _Flat(where, "x0", stop_gradient(x0))
    start = flat.vector

    def residual(v: Any, *args: Any) -> Any:
        return v - flat.raveled(where, f(flat.unravel(v), *args))

    def solve(residual: Callable[..., Any], *args: Any) -> Any:
        def goes_on(carry: Any) -> Any:
            _, change, steps = carry
            return (np.max(np.abs(change)) > tol) & (steps < max_steps)

        def step(carry: Any) -> Any:
            x, change, steps = carry
            x = x - change
            return x, residual(x, *args), steps + 1

        x, change, _ = while_loop(goes_on, step, (start, residual(start, *args), 0))
        return np.where(np.max(np.abs(change)) <= tol, x, np.nan).astype(flat.dtype)

    return _with_derivative(where, flat, solve, residual, args, linear_solve)
