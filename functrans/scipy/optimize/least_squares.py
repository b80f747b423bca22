"""``least_squares`` and ``curve_fit``: SciPy's solvers with Jacobians, and derivatives of what they find."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.grad import grad
from functrans.api.jacobian import jacfwd, jacrev
from functrans.api.jit import jit
from functrans.api.staging import ShapeDtypeStruct, eval_shape
from functrans.core.structural import is_traced
from functrans.core.trace import Tracer
from functrans.lax.linalg.lu import inv
from functrans.lax.selection import stop_gradient
from functrans.scipy.library import needed
from functrans.scipy.optimize.constraints import within
from functrans.scipy.optimize.implicit import called_back, implicit
from functrans.scipy.optimize.minimization import plain
from functrans.scipy.optimize.problem import Function, Point, check_args
from functrans.scipy.optimize.results import LeastSquaresResults


def _linear(z: Any) -> Any:
    return z


def _soft_l1(z: Any) -> Any:
    return 2 * (fnp.sqrt(1 + z) - 1)


def _huber(z: Any) -> Any:
    inside = z <= 1
    return fnp.where(inside, z, 2 * fnp.sqrt(fnp.where(inside, fnp.ones_like(z), z)) - 1)


LOSSES: dict[str, Callable[[Any], Any]] = {
    "linear": _linear,
    "soft_l1": _soft_l1,
    "huber": _huber,
    "cauchy": lambda z: fnp.log1p(z),
    "arctan": lambda z: fnp.arctan(z),
}
"""``rho(z)`` of the squared residuals ``z``, as ``scipy.optimize.least_squares`` defines them."""


def least_squares(
    fun: Callable[..., Any],
    x0: Any,
    jac: Any = None,
    bounds: Any = (-np.inf, np.inf),
    method: str = "trf",
    ftol: float | None = 1e-8,
    xtol: float | None = 1e-8,
    gtol: float | None = 1e-8,
    x_scale: Any = 1.0,
    loss: str = "linear",
    f_scale: float = 1.0,
    max_nfev: int | None = None,
    verbose: int = 0,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    **others: Any,
) -> LeastSquaresResults:
    """The variables that make the sum of squared residuals smallest, by ``scipy.optimize.least_squares``.

    The Jacobian is found by differentiation. The solution is differentiable in ``args``, in the bounds, and in what
    ``fun`` closes over, in both modes and to any order; ``x0`` has no influence on it. Its derivative is that of the
    minimizer of the cost, residuals that do not vanish there included.

    Args:
        fun: ``fun(x, *args, **kwargs)``, a pytree of arrays: the residuals.
        x0: where to start: an array, a list of numbers, or any pytree of arrays.
        jac: None for differentiation, or the name of one of SciPy's finite differences.
        bounds: a pair of lower and upper bounds, numbers or vectors, or ``scipy.optimize.Bounds``.
        loss: ``"linear"``, ``"soft_l1"``, ``"huber"``, ``"cauchy"`` or ``"arctan"``.
        args, kwargs: further arguments of ``fun``; derivatives are taken in ``args``.
        method, ftol, xtol, gtol, x_scale, f_scale, max_nfev, verbose, others: as SciPy has them.

    >>> import numpy as np, functrans as ft
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> slope = lambda y: least_squares(lambda p: p[0] + p[1] * t - y, np.zeros(2)).x[1]
    >>> np.allclose(ft.grad(slope)(np.array([1.0, 2.0, 2.5])), [-0.5, 0.0, 0.5])
    True
    """
    args = check_args("least_squares", args)
    if loss not in LOSSES:
        raise errors.ArgumentError(f"least_squares: loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if not (jac is None or isinstance(jac, str)):
        raise errors.ArgumentError(f"least_squares: jac must be None (differentiation) or a name, got {jac!r}")
    point = Point("least_squares", x0, dtype=np.float64)
    keywords = dict(kwargs or {})
    function = Function("least_squares", lambda x, *a: fun(x, *a, **keywords), point, args)
    ends = _ends(bounds, point)
    n, staged = len(function.operands), is_traced()

    def residuals(v: Any, *mine: Any) -> Any:
        return function.vector(v, *mine)

    size = eval_shape(residuals, point.vector, *function.operands).shape[0] if staged else None
    m = size if size is not None else point.size

    def cost(v: Any, *mine: Any) -> Any:
        r = residuals(v, *mine)
        return 0.5 * f_scale**2 * fnp.sum(LOSSES[loss]((r / f_scale) ** 2))

    def host(start: Any, *arrays: Any) -> tuple[Any, LeastSquaresResults]:
        fast = jit if staged else plain
        mine, limits = arrays[:n], arrays[n:]
        value = fast(lambda v: residuals(v, *mine))
        slope = fast(lambda v: (jacfwd if m >= point.size else jacrev)(residuals)(v, *mine))
        result = needed("scipy.optimize", "least_squares").least_squares(
            lambda v: np.array(value(v), np.float64),
            start,
            jac=jac or (lambda v: np.array(slope(v), np.float64)),
            bounds=tuple(limits) if limits else (-np.inf, np.inf),
            method=method, ftol=ftol, xtol=xtol, gtol=gtol, x_scale=x_scale, loss=loss, f_scale=f_scale,
            max_nfev=max_nfev, verbose=verbose, **others,
        )  # fmt: skip
        counts = [np.int64(result.nfev), np.int64(result.njev or 0), np.int64(result.status), np.bool_(result.success)]
        facts = (np.float64(result.optimality), np.asarray(result.active_mask, np.int64))
        x = np.array(result.x, np.float64)
        return x, LeastSquaresResults(None, None, None, None, None, *facts, *counts)

    number, whole = ShapeDtypeStruct((), np.float64), ShapeDtypeStruct((), np.int64)
    mask = ShapeDtypeStruct((point.size,), np.int64)
    empty = (None,) * 5
    shapes = LeastSquaresResults(*empty, number, mask, whole, whole, whole, ShapeDtypeStruct((), np.bool_))

    def run(start: Any, *arrays: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((point.size,), np.float64), shapes), start, *arrays)

    def residual(v: Any, *arrays: Any) -> Any:
        return within(v, grad(cost)(v, *arrays[:n]), arrays[n:])

    v, facts = implicit(run, residual, [*function.operands, *ends], [stop_gradient(point.vector)])
    mine = function.operands
    value, gradient = cost(v, *mine), grad(cost)(v, *mine)
    matrix = (jacfwd if m >= point.size else jacrev)(residuals)(v, *mine)
    result: LeastSquaresResults = facts._replace(
        x=point.unravel(v), cost=value, fun=residuals(v, *mine), jac=matrix, grad=gradient
    )
    return result


def _ends(bounds: Any, point: Point) -> list[Any]:
    pair = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else tuple(bounds)
    if len(pair) != 2:
        raise errors.ArgumentError(f"least_squares: bounds must be a pair (lower, upper), got {len(pair)} members")
    if all(not isinstance(e, Tracer) and not np.isfinite(np.asarray(e, float)).any() for e in pair):
        return []
    return [fnp.broadcast_to(fnp.asarray(e, dtype=np.float64), (point.size,)) for e in pair]


def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool | None = None,
    bounds: Any = (-np.inf, np.inf),
    method: str | None = None,
    jac: Any = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """The parameters with which a function fits data best, and their covariance; see ``scipy.optimize.curve_fit``.

    Both are differentiable in ``xdata``, ``ydata`` and ``sigma``. Jacobians are found by differentiation.

    Args:
        f: ``f(xdata, *parameters)``.
        xdata, ydata: the data.
        p0: the first guess; ones if None, as many as ``f`` has arguments after the first.
        sigma: the standard deviation of each value of ``ydata``.
        absolute_sigma: whether ``sigma`` is meant as it is, or up to a factor found from the fit.
        bounds: a pair of lower and upper bounds on the parameters.
        method: of ``least_squares``; by default "lm" without bounds and "trf" with them.
        kwargs: further arguments of ``least_squares``.

    >>> import numpy as np
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> curve_fit(lambda x, a, b: a * np.exp(-b * x), x, 2.0 * np.exp(-0.5 * x))[0].round(6)
    array([2. , 0.5])
    """
    if check_finite and not is_traced() and not np.isfinite(np.asarray(ydata)).all():
        raise ValueError("curve_fit: ydata holds NaN or an infinity")
    if p0 is None:
        names = inspect.signature(f).parameters.values()
        if any(p.kind is p.VAR_POSITIONAL for p in names) or len(names) < 2:
            raise errors.ArgumentError("curve_fit: the number of parameters of f cannot be told; give p0")
        p0 = np.ones(len(names) - 1)
    ydata = fnp.asarray(ydata, dtype=np.float64)
    if sigma is not None and np.ndim(sigma) != 1:
        raise errors.ShapeError("curve_fit: sigma must be a vector of standard deviations")
    weights = None if sigma is None else fnp.asarray(sigma, dtype=np.float64)
    data = (xdata, ydata, *(() if weights is None else (weights,)))

    def residuals(p: Any, x: Any, y: Any, s: Any = None) -> Any:
        r = f(x, *[p[i] for i in range(p.shape[0])]) - y
        return r if s is None else r / s

    bounded = bool(_ends(bounds, Point("curve_fit", p0)))
    method = method or ("trf" if bounded else "lm")
    fit = least_squares(residuals, p0, jac, bounds, method, args=data, **kwargs)
    n, m = fit.jac.shape[1], fit.jac.shape[0]
    covariance = inv(fit.jac.T @ fit.jac)
    if not absolute_sigma:
        if m <= n:
            raise errors.ShapeError(f"curve_fit: {m} values do not determine the spread about a fit of {n} parameters")
        covariance = covariance * (2 * fit.cost / (m - n))
    return fit.x, covariance
