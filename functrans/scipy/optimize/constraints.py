"""Bounds and constraints of ``minimize``, and the conditions that hold at its solution.

At a minimum under constraints the gradient of the Lagrange function vanishes, and each inequality or its multiplier
does. The smaller one of the two is what vanishes to first order, so the residual has that one in its place. Where both
vanish the solution has different derivatives to both sides, and that without the constraint is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.jacobian import hessian, jacfwd
from functrans.api.linear import vjp
from functrans.api.staging import eval_shape
from functrans.scipy.library import needed
from functrans.scipy.optimize.problem import Function, Point, check_args

_ACTIVE = 1e-6


def bound_arrays(where: str, bounds: Any, point: Point) -> list[Any]:
    """Lower and upper bounds as two vectors; none at all for None."""
    if bounds is None:
        return []
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        pair = bounds.lb, bounds.ub
    else:
        pairs = list(bounds)
        if len(pairs) != point.size:
            raise errors.ShapeError(
                f"{where}: bounds has {len(pairs)} pairs for {point.size} variables; give (lower, upper) for each"
            )
        for i, p in enumerate(pairs):
            if not isinstance(p, (tuple, list, np.ndarray)) or len(p) != 2:
                raise errors.ArgumentError(f"{where}: bounds[{i}] must be a pair (lower, upper), got {p!r}")
        pair = (
            [-np.inf if low is None else low for low, _ in pairs],
            [np.inf if high is None else high for _, high in pairs],
        )
    return [fnp.broadcast_to(fnp.asarray(end, dtype=np.float64), (point.size,)) for end in pair]


def within(x: Any, gradient: Any, ends: Sequence[Any]) -> Any:
    """The residual of a minimum within bounds: the gradient, or the distance to a bound that holds the entry."""
    if not ends:
        return gradient
    low, high = x - ends[0], x - ends[1]
    return fnp.where(low < gradient, low, fnp.where(-high < -gradient, high, gradient))


class Constraints:
    """Equations ``c(x) = 0`` and inequalities ``c(x) >= 0``, all in one vector.

    Attributes:
        operands: the arrays that the constraints depend on.
        count: how many there are.
        equal: which of them are equations.
    """

    def __init__(self, where: str, given: Sequence[Any], point: Point) -> None:
        self.operands: list[Any] = []
        self._parts: list[tuple[Function, int, Callable[[Any], Any]]] = []
        kinds: list[Any] = []
        for i, item in enumerate(given):
            fun, args, rows = _read(f"{where}: constraints[{i}]", item, point)
            function = Function(where, fun, point, args)
            size = eval_shape(function.vector, point.vector, *function.operands).shape[0]
            kind, arrange = rows(size)
            kinds.append(kind)
            self._parts.append((function, len(self.operands), arrange))
            self.operands += function.operands
        self.equal = np.concatenate(kinds) if kinds else np.zeros(0, bool)
        self.count = self.equal.size

    def values(self, v: Any, *operands: Any) -> Any:
        """All of them at a point."""
        return fnp.concatenate(
            [
                arrange(function.vector(v, *operands[at : at + len(function.operands)]))
                for function, at, arrange in self._parts
            ]
        )

    def for_scipy(self, method: str, operands: Sequence[Any], fast: Callable[[Any], Any]) -> list[Any]:
        """The constraints as SciPy takes them, with their derivatives."""

        def values(v: Any) -> Any:
            return self.values(v, *operands)

        value, slope = fast(values), fast(jacfwd(values))
        if method == "trust-constr":
            curvature = fast(hessian(lambda v, weights: fnp.dot(weights, values(v))))
            nonlinear = needed("scipy.optimize", "trust-constr").NonlinearConstraint
            high = np.where(self.equal, 0.0, np.inf)
            arrays = (_array(f) for f in (value, slope, curvature))
            return [nonlinear(next(arrays), np.zeros(self.count), high, next(arrays), next(arrays))]
        kinds = [(kind, rows) for kind, rows in (("eq", self.equal), ("ineq", ~self.equal)) if rows.any()]
        return [{"type": kind, "fun": _array(value, rows), "jac": _array(slope, rows)} for kind, rows in kinds]

    def with_multipliers(self, x: Any, gradient: Any, operands: Sequence[Any], ends: Sequence[Any]) -> Any:
        """A solution followed by the multipliers of the constraints, zero for those that are not active."""
        multipliers = np.zeros(self.count)
        slopes = np.asarray(jacfwd(lambda v: self.values(v, *operands))(x))
        values = np.asarray(self.values(x, *operands))
        active = self.equal | (values <= _ACTIVE * (1 + np.abs(slopes) @ np.abs(x)))
        free = np.ones(x.size, bool)
        if ends:
            near = _ACTIVE * (1 + np.abs(x))
            free = (x - ends[0] > near) & (ends[1] - x > near)
        while active.any():
            multipliers[:] = 0.0
            multipliers[active] = np.linalg.lstsq(slopes[active][:, free].T, gradient[free], rcond=None)[0]
            wrong = active & ~self.equal & (multipliers < 0)
            if not wrong.any():
                break
            active &= ~wrong
            multipliers[wrong] = 0.0
        return np.concatenate([x, multipliers])

    def stationarity(self, z: Any, slope: Callable[[Any], Any], operands: Sequence[Any], ends: Sequence[Any]) -> Any:
        """What vanishes at the solution ``z``, a point followed by multipliers."""
        if not self.count:
            return within(z, slope(z), ends)
        n = z.shape[0] - self.count
        x, multipliers = z[:n], z[n:]
        values, pull = vjp(lambda v: self.values(v, *operands), x)
        gradient = slope(x) - pull(multipliers)[0]
        held = fnp.where(self.equal | (values < multipliers), values, multipliers)
        return fnp.concatenate([within(x, gradient, ends), held])


def _array(f: Callable[..., Any], rows: Any = slice(None)) -> Callable[..., Any]:
    """Some rows of what a function gives, as an array that the caller may keep and write to."""
    return lambda *args: np.array(f(*args), np.float64)[rows]


Rows = Callable[[int], tuple[Any, Callable[[Any], Any]]]


def _read(where: str, item: Any, point: Point) -> tuple[Callable[..., Any], tuple[Any, ...], Rows]:
    """The function of a constraint, its further arguments, and how its values become equations and inequalities."""
    if isinstance(item, dict):
        if "type" not in item or "fun" not in item:
            raise errors.ArgumentError(f"{where} must have the keys 'type' and 'fun', got {sorted(item)}")
        kind = str(item["type"]).lower()
        if kind not in ("eq", "ineq"):
            raise errors.ArgumentError(f"{where}: its type must be 'eq' or 'ineq', got {item['type']!r}")
        return (
            item["fun"],
            check_args(where, item.get("args", ())),
            lambda size: (np.full(size, kind == "eq"), lambda c: c),
        )
    if not (hasattr(item, "lb") and hasattr(item, "ub") and (hasattr(item, "A") or hasattr(item, "fun"))):
        raise errors.ArgumentError(
            f"{where} must be a dict, a LinearConstraint or a NonlinearConstraint, got {type(item).__name__}"
        )
    matrix = None
    if hasattr(item, "A"):
        matrix = item.A.toarray() if hasattr(item.A, "toarray") else np.atleast_2d(item.A)

    def products(x: Any) -> Any:
        return matrix @ Point(where, x).vector

    def rows(size: int) -> tuple[Any, Callable[[Any], Any]]:
        low, high = (np.broadcast_to(np.asarray(end, float), (size,)) for end in (item.lb, item.ub))
        equal = low == high
        above, below = ~equal & np.isfinite(low), ~equal & np.isfinite(high)
        at = [np.flatnonzero(mask) for mask in (equal, above, below)]

        def arrange(c: Any) -> Any:
            return fnp.concatenate([c[at[0]] - low[at[0]], c[at[1]] - low[at[1]], high[at[2]] - c[at[2]]])

        return np.repeat([True, False, False], [len(a) for a in at]), arrange

    return item.fun if matrix is None else products, (), rows
