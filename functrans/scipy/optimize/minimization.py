"""``minimize`` and ``minimize_scalar``: traced solvers and SciPy's, with derivatives of the minimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.grad import grad
from functrans.api.jit import jit
from functrans.api.staging import ShapeDtypeStruct
from functrans.core.structural import is_traced, rebox
from functrans.lax.selection import stop_gradient
from functrans.scipy.library import needed
from functrans.scipy.optimize.constraints import Constraints, bound_arrays, within
from functrans.scipy.optimize.implicit import called_back, implicit
from functrans.scipy.optimize.objective import WITH_HESSIAN, WITHOUT_GRADIENT, Objective
from functrans.scipy.optimize.problem import Function, Point, check_args
from functrans.scipy.optimize.quasi_newton import CONVERGED, bfgs, lbfgs
from functrans.scipy.optimize.results import OptimizeResults

TRACED: dict[str, Any] = {"bfgs": bfgs, "l-bfgs": lbfgs, "l-bfgs-experimental-do-not-use": lbfgs}


class Facts(NamedTuple):
    """What SciPy reports of a run, as numbers; a count that a method does not keep is 0."""

    success: Any
    status: Any
    nfev: Any
    njev: Any
    nit: Any


_INT = ShapeDtypeStruct((), np.int64)
FACTS = Facts(ShapeDtypeStruct((), np.bool_), _INT, _INT, _INT, _INT)


def facts_of(result: Any) -> Facts:
    """The facts of an ``OptimizeResult`` of SciPy's."""
    return Facts(np.bool_(result.success), *[np.int64(result.get(n, 0)) for n in ("status", "nfev", "njev", "nit")])


def plain(f: Any) -> Any:
    """What stands for ``jit`` where the user's function must run as it is."""
    return f


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Any = None,
    options: dict[str, Any] | None = None,
) -> OptimizeResults:
    """A local minimum of a function of one or several variables.

    ``method="BFGS"`` and ``"L-BFGS"`` are loops of primitives: they run under ``jit`` and ``vmap`` without leaving the
    compiled program. Every other name is a method of ``scipy.optimize.minimize``, which is called (also from compiled
    programs) with gradients and, where it wants them, Hessians of ``fun`` found by differentiation.

    The minimizer is differentiable with respect to ``args``, to ``bounds`` and to everything that ``fun`` closes over,
    whichever method finds it: by the implicit function theorem, in forward and reverse mode and to any order. This
    holds of a solution: not of a point where the method stopped early, nor where the Hessian is singular. ``x0`` has no
    influence on it, and fields other than ``x``, ``fun`` and ``jac`` count as constants.

    Args:
        fun: ``fun(x, *args)``, one real number.
        x0: where to start: an array, a list of numbers, or any pytree of arrays.
        args: a tuple of further arguments.
        method: by default SLSQP with constraints, L-BFGS-B with bounds, else BFGS.
        jac: the gradient where differentiation should not find it: a function like ``fun``, True where ``fun`` returns
            value and gradient, or the name of one of SciPy's finite differences.
        hess, hessp: the same for the Hessian, or for its product with a vector; SciPy's methods only.
        bounds: pairs ``(lower, upper)`` with None for no bound, one for each entry of ``x``, or
            ``scipy.optimize.Bounds``; SciPy's methods only. An entry that is held at its bound moves with it.
        constraints: dicts with ``type``, ``fun`` and ``args``, ``LinearConstraint``s or ``NonlinearConstraint``s, as
            SciPy has them; SciPy's methods only. Those that hold the solution back hold it when operands move.
        tol: the tolerance of the method.
        callback: a function that SciPy calls after each iteration.
        options: of the method. Those of BFGS are ``gtol``, ``norm``, ``maxiter``, ``c1``, ``c2``, ``hess_inv0`` and
            ``maxls``, those of L-BFGS ``maxcor``, ``gtol``, ``ftol``, ``maxiter``, ``maxfun``, ``maxls``, ``norm``,
            ``c1`` and ``c2``. Their status is 0 where they converged, 1 after too many iterations, 2 where no step
            decreases the function, 3 where it is not finite.

    Returns:
        ``OptimizeResults``, whose ``x`` and ``jac`` have the structure of ``x0``.

    Raises:
        ArgumentError: for ``args`` that are no tuple, for an unknown option, and for bounds, constraints and the like
            given to a method that does not take them.
        NonScalarOutputError: ``fun`` does not return one number.

    >>> import numpy as np, functrans as ft
    >>> def bowl(x, center):
    ...     return np.sum((x - center) ** 2 + 0.1 * x**4)
    >>> def lowest(center):
    ...     return minimize(bowl, np.zeros(2), (center,), method="BFGS", options={"gtol": 1e-10}).x
    >>> ft.jacobian(lowest)(np.array([1.2, 0.3])).diagonal().round(6)
    array([0.625   , 0.950417])
    """
    args = check_args("minimize", args)
    some = list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]
    if method is None:
        method = "SLSQP" if some else "L-BFGS-B" if bounds is not None else "BFGS"
    if not isinstance(method, str):
        raise errors.ArgumentError(f"minimize: method must be the name of one, got {method!r}")
    name = method.lower()
    traced = TRACED.get(name)
    refused = {"hess": hess, "hessp": hessp} if name not in WITH_HESSIAN else {}
    if traced is not None:
        refused.update(bounds=bounds, constraints=some or None, callback=callback)
        refused["jac"] = jac if isinstance(jac, str) else None
    for argument, value in refused.items():
        if value is not None:
            raise errors.ArgumentError(
                f"minimize: method {method!r} takes no {argument}; another one of SciPy's does (L-BFGS-B takes bounds, "
                f"SLSQP constraints, trust-constr everything)"
            )
    point = Point("minimize", x0, dtype=None if traced else np.float64)
    objective = Objective(fun, point, args, jac, hess, hessp)
    n = len(objective.operands)
    if traced is not None:

        def solve(start: Any, *arrays: Any) -> tuple[Any, Any]:
            out = traced(lambda v: objective.oracle(v, *arrays), start, options, tol)
            scalars = {n: rebox(getattr(out, n), "numpy") for n in ("fun", "status", "nfev", "njev", "nit")}
            return out.x, out._replace(x=None, **scalars)

        v, out = implicit(solve, objective.slope, objective.operands, [stop_gradient(point.vector)])
        f, g = objective.oracle(v, *objective.operands) if is_traced() else (out.fun, out.jac)
        counts = (out.hess_inv, out.nfev, out.njev, out.nit)
        return OptimizeResults(point.unravel(v), out.status == CONVERGED, out.status, f, point.unravel(g), *counts)

    held = Constraints("minimize", some, point)
    ends = bound_arrays("minimize", bounds, point)
    staged = is_traced()

    def host(start: Any, *arrays: Any) -> tuple[Any, Facts]:
        fast = jit if staged else plain
        mine, theirs, limits = arrays[:n], arrays[n : len(arrays) - len(ends)], arrays[len(arrays) - len(ends) :]
        function, keywords = objective.for_scipy(name, mine, fast)
        if limits:
            keywords["bounds"] = list(zip(*[end.tolist() for end in limits], strict=True))
        if held.count:
            keywords["constraints"] = held.for_scipy(name, theirs, fast)
        solver = needed("scipy.optimize", f"minimize(method={method!r})").minimize
        result = solver(function, start, method=method, tol=tol, callback=callback, options=options, **keywords)
        x = np.array(result.x, np.float64)
        if held.count and staged:
            x = held.with_multipliers(x, np.asarray(objective.slope(x, *mine)), theirs, limits)
        return x, facts_of(result)

    def run(start: Any, *arrays: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((point.size + held.count,), np.float64), FACTS), start, *arrays)

    def residual(z: Any, *arrays: Any) -> Any:
        mine, theirs, limits = arrays[:n], arrays[n : len(arrays) - len(ends)], arrays[len(arrays) - len(ends) :]
        return held.stationarity(z, lambda v: objective.slope(v, *mine), theirs, limits)

    operands = [*objective.operands, *held.operands, *ends]
    z, facts = implicit(run, residual, operands, [stop_gradient(point.vector)])
    v = z[: point.size]
    if name in WITHOUT_GRADIENT:
        f, gradient = objective.number(v, *operands[:n]), None
    else:
        f, g = objective.oracle(v, *operands[:n])
        gradient = point.unravel(g)
    counts = (None, facts.nfev, facts.njev, facts.nit)
    return OptimizeResults(point.unravel(v), facts.success, facts.status, f, gradient, *counts)


def minimize_scalar(
    fun: Callable[..., Any],
    bracket: Any = None,
    bounds: Any = None,
    args: tuple[Any, ...] = (),
    method: str | None = None,
    tol: float | None = None,
    options: dict[str, Any] | None = None,
) -> OptimizeResults:
    """A local minimum of a function of one number, by ``scipy.optimize.minimize_scalar``.

    The minimizer is differentiable as that of ``minimize`` is.

    Args:
        fun: ``fun(x, *args)``, one real number.
        bracket: two or three numbers to start from.
        bounds: a pair of numbers, for ``method="bounded"``.
        args: a tuple of further arguments.
        method: ``"brent"``, ``"golden"``, or ``"bounded"``, which is the default where there are bounds.
        tol, options: as SciPy has them.

    >>> import numpy as np, functrans as ft
    >>> lowest = lambda a: minimize_scalar(lambda x: x**2 - a * x).x
    >>> float(ft.grad(lowest)(3.0))
    0.5
    """
    args = check_args("minimize_scalar", args)
    point = Point("minimize_scalar", np.float64(0.0))
    function = Function("minimize_scalar", fun, point, args)
    ends = bound_arrays("minimize_scalar", None if bounds is None else [bounds], point)
    n, staged = len(function.operands), is_traced()

    def host(*arrays: Any) -> tuple[Any, Facts]:
        mine, limits = arrays[:n], arrays[n:]
        value = (jit if staged else plain)(lambda x: function.number(fnp.reshape(x, (1,)), *mine))
        solver = needed("scipy.optimize", "minimize_scalar").minimize_scalar
        within = [float(end[0]) for end in limits] if limits else None
        result = solver(
            lambda x: float(value(x)), bracket=bracket, bounds=within, method=method, tol=tol, options=options
        )
        return np.reshape(np.float64(result.x), (1,)), facts_of(result)

    def run(*arrays: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((1,), np.float64), FACTS), *arrays)

    def residual(v: Any, *arrays: Any) -> Any:
        return within(v, grad(function.number)(v, *arrays[:n]), arrays[n:])

    v, facts = implicit(run, residual, [*function.operands, *ends])
    f = function.number(v, *function.operands)
    counts = (None, None, facts.nfev, None, facts.nit)
    return OptimizeResults(point.unravel(v), facts.success, facts.status, f, *counts)
