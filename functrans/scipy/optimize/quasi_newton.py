"""BFGS and L-BFGS as traced loops over vectors, for any backend, under ``jit`` and ``vmap``.

The formulas are those of J. Nocedal and S. J. Wright, "Numerical Optimization" (2nd ed., 2006): algorithm 6.1 with the
update 6.17, and algorithms 7.4 and 7.5. Tolerances and stopping rules are those of SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.scipy.optimize.linesearch import wolfe_search

CONVERGED, MAXITER, PRECISION, NOT_FINITE = range(4)
RUNNING = -1

Oracle = Callable[[Any], tuple[Any, Any]]


class Outcome(NamedTuple):
    """Where a solver stopped: see ``OptimizeResults``. All but ``x`` and ``hess_inv`` are scalars and the gradient."""

    x: Any
    fun: Any
    jac: Any
    hess_inv: Any
    status: Any
    nfev: Any
    njev: Any
    nit: Any


def _largest(g: Any, norm: float) -> Any:
    return fnp.linalg.norm(g, norm) if g.shape[0] else fnp.zeros((), g.dtype)[()]


def _chosen_by(condition: Any) -> Callable[[Any, Any], Any]:
    return lambda new, old: fnp.where(condition, new, old)


def _status(value: Any, gradient: Any, gnorm: Any, gtol: float, count: Any, maxiter: int) -> Any:
    finite = fnp.isfinite(value) & fnp.isfinite(gnorm)
    out = fnp.where(gnorm <= gtol, CONVERGED, fnp.where(count >= maxiter, MAXITER, RUNNING))
    return fnp.where(finite, out, NOT_FINITE).astype(np.int64)


def options_of(name: str, given: dict[str, Any] | None, known: dict[str, Any]) -> dict[str, Any]:
    """The options of a solver: the known ones with their defaults, replaced by what was given."""
    options = dict(given or {})
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise errors.ArgumentError(
            f"minimize: method {name!r} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}"
        )
    return {**known, **{k: v for k, v in options.items() if v is not None}}


# -- BFGS -------------------------------------------------------------------------------------------------------------


class _Dense(NamedTuple):
    x: Any
    fun: Any
    before: Any
    jac: Any
    hess_inv: Any
    status: Any
    nfev: Any
    nit: Any


def bfgs(oracle: Oracle, x0: Any, options: dict[str, Any] | None = None, tol: float | None = None) -> Outcome:
    """Minimize by BFGS.

    Args:
        oracle: the function of a vector, with its gradient.
        x0: where to start.
        options: ``gtol``, ``norm``, ``maxiter``, ``c1``, ``c2``, ``hess_inv0`` as SciPy has them, and ``maxls``, the
            most evaluations in a line search.
    """
    n = x0.shape[0]
    known = {"gtol": 1e-5 if tol is None else tol, "norm": np.inf, "maxiter": 200 * n, "c1": 1e-4, "c2": 0.9}
    o = options_of("BFGS", options, {**known, "maxls": 20, "hess_inv0": None})
    identity = fnp.eye(n, dtype=x0.dtype)
    h0 = identity if o["hess_inv0"] is None else fnp.asarray(o["hess_inv0"], x0.dtype)
    f0, g0 = oracle(x0)
    # SciPy's guess of a value before the first one, which makes the first step about as long as 1 over the gradient.
    before = f0 + fnp.linalg.norm(g0) / 2 if n else f0
    zero = np.int64(0)
    status = _status(f0, g0, _largest(g0, o["norm"]), o["gtol"], zero, o["maxiter"])

    def step(s: _Dense) -> _Dense:
        direction = -(s.hess_inv @ s.jac)
        slope = fnp.dot(direction, s.jac)
        first = fnp.minimum(fnp.ones_like(slope), 2.02 * (s.fun - s.before) / slope)
        first = fnp.where(first > 0, first, fnp.ones_like(first))
        new, good, count = wolfe_search(oracle, s.x, direction, s.fun, s.jac, first, o["c1"], o["c2"], o["maxls"])
        moved = new.step * direction
        x, change = s.x + moved, new.gradient - s.jac
        h = _updated(s.hess_inv, moved, change)
        stopped = _status(
            new.value, new.gradient, _largest(new.gradient, o["norm"]), o["gtol"], s.nit + 1, o["maxiter"]
        )
        keep = _chosen_by(good)
        return _Dense(
            keep(x, s.x),
            keep(new.value, s.fun),
            keep(s.fun, s.before),
            keep(new.gradient, s.jac),
            keep(h, s.hess_inv),
            fnp.where(good, stopped, PRECISION),
            s.nfev + count,
            s.nit + good.astype(np.int64),
        )

    start = _Dense(x0, f0, before, g0, h0, status, np.int64(1), zero)
    end = lax.while_loop(lambda s: s.status == RUNNING, step, start)
    return Outcome(end.x, end.fun, end.jac, end.hess_inv, end.status, end.nfev, end.nfev, end.nit)


def _updated(h: Any, s: Any, y: Any) -> Any:
    """The inverse Hessian after a step and the change of the gradient along it; unchanged without curvature."""
    curvature = fnp.dot(s, y)
    usable = curvature > 0
    rho = 1.0 / fnp.where(usable, curvature, fnp.ones_like(curvature))
    hy = h @ y
    cross = fnp.outer(hy, s)
    new = h + ((1.0 + rho * fnp.dot(y, hy)) * rho) * fnp.outer(s, s) - rho * (cross + cross.T)
    return fnp.where(usable, new, h)


# -- L-BFGS -----------------------------------------------------------------------------------------------------------


class _Limited(NamedTuple):
    x: Any
    fun: Any
    jac: Any
    steps: Any
    changes: Any
    rho: Any
    gamma: Any
    status: Any
    nfev: Any
    nit: Any


def lbfgs(oracle: Oracle, x0: Any, options: dict[str, Any] | None = None, tol: float | None = None) -> Outcome:
    """Minimize by BFGS with limited memory.

    Args:
        oracle: the function of a vector, with its gradient.
        x0: where to start.
        options: ``maxcor`` (how many steps to remember), ``gtol``, ``ftol``, ``maxiter``, ``maxfun``, ``maxls`` as
            SciPy's L-BFGS-B has them, and ``norm``, ``c1``, ``c2`` as its BFGS has them.
    """
    known = {"maxcor": 10, "gtol": 1e-5, "ftol": 2.220446049250313e-09, "maxiter": 15000, "maxfun": 15000, "maxls": 20}
    if tol is not None:
        known.update(gtol=tol, ftol=tol)
    o = options_of("L-BFGS", options, {**known, "norm": np.inf, "c1": 1e-4, "c2": 0.9})
    n, m = x0.shape[0], int(o["maxcor"])
    f0, g0 = oracle(x0)
    zero = np.int64(0)
    status = _status(f0, g0, _largest(g0, o["norm"]), o["gtol"], zero, o["maxiter"])
    none = fnp.zeros((m, n), x0.dtype)

    def step(s: _Limited) -> _Limited:
        direction = -_two_loops(s)
        gnorm = fnp.linalg.norm(s.jac)
        one = fnp.ones_like(s.fun)
        first = fnp.where(s.nit == 0, fnp.minimum(one, 1.0 / gnorm), one)
        new, good, count = wolfe_search(oracle, s.x, direction, s.fun, s.jac, first, o["c1"], o["c2"], o["maxls"])
        moved, change = new.step * direction, new.gradient - s.jac
        curvature = fnp.dot(moved, change)
        usable = good & (curvature > 0)
        divisor = fnp.where(usable, curvature, one)
        keep, remember = _chosen_by(good), _chosen_by(usable)
        stopped = _status(
            new.value, new.gradient, _largest(new.gradient, o["norm"]), o["gtol"], s.nit + 1, o["maxiter"]
        )
        scale = fnp.maximum(fnp.maximum(fnp.abs(s.fun), fnp.abs(new.value)), one)
        stalled = (s.fun - new.value <= o["ftol"] * scale) & (stopped == RUNNING)
        stopped = fnp.where(stalled, CONVERGED, stopped)
        spent = (s.nfev + count >= o["maxfun"]) & (stopped == RUNNING)
        return _Limited(
            keep(s.x + moved, s.x),
            keep(new.value, s.fun),
            keep(new.gradient, s.jac),
            remember(_pushed(s.steps, moved), s.steps),
            remember(_pushed(s.changes, change), s.changes),
            remember(_pushed(s.rho, 1.0 / divisor), s.rho),
            remember(curvature / fnp.where(usable, fnp.dot(change, change), one), s.gamma),
            fnp.where(good, fnp.where(spent, MAXITER, stopped), PRECISION),
            s.nfev + count,
            s.nit + good.astype(np.int64),
        )

    start = _Limited(
        x0, f0, g0, none, none, none[:, 0] if n else none.sum(1), fnp.ones_like(f0), status, np.int64(1), zero
    )
    end = lax.while_loop(lambda s: s.status == RUNNING, step, start)
    return Outcome(end.x, end.fun, end.jac, None, end.status, end.nfev, end.nfev, end.nit)


def _pushed(history: Any, row: Any) -> Any:
    """A history with the oldest entry dropped and a new one at the end."""
    return fnp.concatenate([history[1:], fnp.reshape(row, (1, *history.shape[1:]))])


def _two_loops(s: _Limited) -> Any:
    """The inverse Hessian times the gradient. Entries of the history that were never filled have ``rho`` 0."""

    def newest_first(q: Any, past: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        step, change, rho = past
        alpha = rho * fnp.dot(step, q)
        return q - alpha * change, alpha

    q, alphas = lax.scan(newest_first, s.jac, (s.steps, s.changes, s.rho), reverse=True)

    def oldest_first(r: Any, past: tuple[Any, Any, Any, Any]) -> tuple[Any, None]:
        step, change, rho, alpha = past
        return r + step * (alpha - rho * fnp.dot(change, r)), None

    r, _ = lax.scan(oldest_first, s.gamma * q, (s.steps, s.changes, s.rho, alphas))
    return r
