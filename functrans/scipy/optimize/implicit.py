"""Derivatives of what a solver finds, by the implicit function theorem.

A solver finds ``z`` with ``residual(z, *operands) = 0``, by whatever means. Where the Jacobian of the residual with
respect to ``z`` is regular, ``z`` is a smooth function of the operands, and its derivative solves a linear system with
that Jacobian. So the solver is never differentiated, and need not be differentiable: it may be SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans import numpy as fnp
from functrans.api.callback import pure_callback
from functrans.api.custom import SymbolicZero, custom_jvp
from functrans.api.jacobian import jacfwd
from functrans.api.linear import jvp
from functrans.core.structural import is_traced
from functrans.core.trace import aval_of
from functrans.core.tree import tree_flatten
from functrans.lax.linalg.lu import solve as solve_matrix

Solve = Callable[..., tuple[Any, Any]]


def linear_solve(matrix: Any, vector: Any) -> Any:
    """The solution of a system of linear equations.

    Raises:
        numpy.linalg.LinAlgError: the matrix is singular: what it belongs to has no isolated solution.
    """
    return solve_matrix(matrix, vector[:, None])[:, 0]


def dense(residual: Callable[..., Any]) -> Callable[..., Any]:
    """``step(z, operands, moved)``: the change of the solution, by the whole Jacobian."""

    def step(z: Any, operands: Sequence[Any], moved: Any) -> Any:
        return -linear_solve(jacfwd(residual)(z, *operands), moved)

    return step


def elementwise(residual: Callable[..., Any]) -> Callable[..., Any]:
    """The same, for a residual whose every entry depends on the entry of the solution at its place alone."""

    def step(z: Any, operands: Sequence[Any], moved: Any) -> Any:
        slopes = jvp(lambda z: residual(z, *operands), (z,), (fnp.ones_like(z),))[1]
        return -moved / slopes

    return step


def implicit(
    solve: Solve, residual: Callable[..., Any], operands: Sequence[Any], start: Sequence[Any] = (), way: Any = dense
) -> tuple[Any, Any]:
    """What ``solve(*start, *operands)`` gives, with derivatives in the operands.

    Args:
        solve: gives the solution ``z`` (a vector) and a pytree of further results, which are constants.
        residual: ``residual(z, *operands)`` is zero at the solution and has its shape.
        operands: arrays which the solution depends on.
        start: arrays which it does not depend on.
        way: ``dense`` or ``elementwise``.
    """
    if not is_traced():
        return solve(*start, *operands)
    n = len(start)

    trees: list[Any] = []

    @custom_jvp
    def solution(*arrays: Any) -> tuple[Any, list[Any]]:
        z, rest = solve(*arrays)
        leaves, tree = tree_flatten(rest)
        trees[:] = [tree]
        return z, leaves

    step = way(residual)

    @solution.defjvp
    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        z, rest = solution(*primals)
        given = tuple(primals[n:])
        _, moved = jvp(lambda *arrays: residual(z, *arrays), given, tuple(tangents[n:]))
        constant = [SymbolicZero(aval_of(x).tangent()) for x in rest]
        return (z, rest), (step(z, given, moved), constant)

    z, rest = solution(*start, *operands)
    return z, trees[0].unflatten(rest)


def called_back(host: Callable[..., tuple[Any, Any]], shapes: Any, *arrays: Any) -> tuple[Any, Any]:
    """``host(*arrays)`` on NumPy arrays, run when the values are known; once for each example of a batch."""
    if not is_traced():
        return host(*arrays)
    z, rest = pure_callback(host, shapes, *arrays, vmap_method="sequential")
    return z, rest
