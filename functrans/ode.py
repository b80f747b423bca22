"""Ordinary differential equations: ``odeint``, by the Dormand-Prince method with adaptive steps.

It is written with what any user of the package has: NumPy functions, ``lax.scan`` and ``lax.while_loop``, and
derivative rules of its own by ``custom_jvp`` and ``custom_vjp``. The rules call the solver on larger systems, whose
derivatives follow in turn: so derivatives of any order are those of the differential equation, not of its steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.api.arguments import flatten_arrays
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.api.custom import custom_jvp
from functrans.api.linear import jvp, vjp
from functrans.api.staging import closure_convert
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.core.tree import tree_flatten, tree_map
from functrans.core.treedef import PyTreeDef
from functrans.lax import scan, while_loop

__all__ = ["odeint"]

# J. R. Dormand and P. J. Prince, A family of embedded Runge-Kutta formulae, J. Comp. Appl. Math. 6 (1980) 19-26.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

# E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary Differential Equations I (2nd edition, 1993), section II.6:
# the interpolant of fourth order, and the control of the step.
_DENSE = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)
_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 10.0

Field = Callable[..., Any]


class _Options(NamedTuple):
    rtol: float
    atol: float
    mxstep: float
    hmax: float


class _State(NamedTuple):
    """The solver between two steps.

    Attributes:
        t, y, slope: the time reached, the solution there and its derivative.
        step: how far the next step goes.
        before, dense: where the last step began, and the coefficients of its interpolant.
    """

    t: Any
    y: Any
    slope: Any
    step: Any
    before: Any
    dense: Any


def _combined(weights: Sequence[float], slopes: Sequence[Any]) -> Any:
    total: Any = 0.0
    for w, k in zip(weights, slopes, strict=False):
        if w:
            total = total + w * k
    return total


def _norm(error: Any, y: Any, other: Any, options: _Options) -> Any:
    """The error in units of the tolerance, root mean square."""
    scale = options.atol + options.rtol * np.maximum(np.abs(y), np.abs(other))
    return np.sqrt(np.mean(np.abs(error / scale) ** 2))


def _first_step(f: Field, t: Any, y: Any, slope: Any, options: _Options) -> Any:
    """A step whose Euler error is small. Hairer, Norsett and Wanner, section II.4."""
    size, speed = _norm(y, y, y, options), _norm(slope, y, y, options)
    tiny = (size < 1e-5) | (speed < 1e-5)
    guess = np.where(tiny, 1e-6, 0.01 * size / np.where(tiny, 1.0, speed))
    bend = _norm(f(y + guess * slope, t + guess) - slope, y, y, options) / guess
    steepest = np.maximum(speed, bend)
    flat = steepest <= 1e-15
    better = np.where(flat, np.maximum(1e-6, guess * 1e-3), (0.01 / np.where(flat, 1.0, steepest)) ** 0.2)
    return np.minimum(100 * guess, better)


def _stepped(f: Field, state: _State, end: Any, options: _Options) -> _State:
    """The state after one attempt at a step."""
    t, y, dtype = state.t, state.y, aval_of(state.t).dtype
    reached = state.step >= end - t
    h = np.where(reached, end - t, state.step)
    slopes = [state.slope]
    new = y
    for node, weights in zip(_NODES, _STAGES, strict=True):
        new = y + h * _combined(weights, slopes)
        slopes.append(f(new, t + node * h))
    ratio = _norm(h * _combined(_ERROR, slopes), y, new, options)
    accepted = ratio <= 1.0
    # A NaN is no reason to go on, and shortens the step until that is given up.
    factor = np.where(ratio > 0, _SAFETY * np.where(ratio > 0, ratio, 1.0) ** -0.2, np.where(ratio == 0, _LARGEST, 0.0))
    factor = np.clip(factor, _SMALLEST, np.where(accepted, _LARGEST, 1.0))
    change = new - y
    first = h * slopes[0] - change
    dense = np.stack([y, change, first, change - h * slopes[-1] - first, h * _combined(_DENSE, slopes)])

    def chosen(yes: Any, no: Any) -> Any:
        return convert(np.where(accepted, yes, no), aval_of(no).dtype)

    return _State(
        chosen(np.where(reached, end, t + h), t),
        chosen(new, y),
        chosen(slopes[-1], state.slope),
        convert(np.minimum(h * factor, options.hmax), dtype),
        chosen(t, state.before),
        chosen(dense, state.dense),
    )


def _at(state: _State, t: Any) -> Any:
    """The solution at a time in the last step."""
    width = state.t - state.before
    x = (t - state.before) / np.where(width == 0, 1.0, width)
    y, change, first, second, third = (state.dense[i] for i in range(5))
    return y + x * (change + (1 - x) * (first + x * (second + (1 - x) * third)))


def _integrated(f: Field, y0: Any, ts: Any, options: _Options) -> Any:
    """The solution at increasing times."""
    start, end = ts[0], ts[-1]
    slope = f(y0, start)
    h = np.minimum(_first_step(f, start, y0, slope, options), options.hmax)
    zero = np.zeros_like(y0)
    dense = np.stack([y0, zero, zero, zero, zero])
    first = _State(start, y0, slope, convert(h, aval_of(start).dtype), start, dense)

    def advance(state: _State, target: Any) -> tuple[_State, Any]:
        def goes_on(carry: tuple[_State, Any]) -> Any:
            state, steps = carry
            return (state.t < target) & (steps < options.mxstep) & (state.t + state.step > state.t)

        def attempt(carry: tuple[_State, Any]) -> tuple[_State, Any]:
            return _stepped(f, carry[0], end, options), carry[1] + 1

        state, _ = while_loop(goes_on, attempt, (state, 0))
        return state, np.where(state.t >= target, _at(state, target), np.nan)

    return np.concatenate([y0[None], scan(advance, first, ts[1:])[1]])


# -- the solver with its derivatives ----------------------------------------------------------------------------------


def _solve(field: Field, options: _Options, y0: Any, ts: Any, *args: Any) -> Any:
    """The solution at times that increase or decrease."""
    sign = convert(np.where(ts[-1] >= ts[0], 1, -1), aval_of(ts).dtype)
    return _integrated(lambda y, t: sign * field(y, sign * t, *args), y0, sign * ts, options)


_solution: Any = custom_jvp(_solve, nondiff_argnums=(0, 1))


@_solution.defjvp  # type: ignore[untyped-decorator]
def _forward(field: Field, options: _Options, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The solution's derivative solves the linearised equation beside it."""
    (y0, ts, *args), (dy0, dts, *dargs) = primals, tangents
    n = aval_of(y0).shape[0]

    def both(state: Any, t: Any, args: Any, dargs: Any) -> Any:
        y, dy = state[:n], state[n:]
        slope, change = jvp(lambda y, *args: field(y, t, *args), (y, *args), (dy, *dargs))
        return np.concatenate([slope, change])

    # The initial value belongs to the first time: if that moves, the path that passes there is another one.
    begin = dy0 - dts[0] * field(y0, ts[0], *args)
    states = _solution(both, options, np.concatenate([y0, begin]), ts, args, dargs)
    ys, dys = states[:, :n], states[:, n:]

    def slope_at(_: None, pair: Any) -> tuple[None, Any]:
        return None, field(pair[0], pair[1], *args)

    slopes = scan(slope_at, None, (ys, ts))[1]
    dys = dys + dts[:, None] * slopes
    return ys, np.concatenate([dy0[None], dys[1:]])


def _kept(field: Field, options: _Options, y0: Any, ts: Any, *args: Any) -> tuple[Any, Any]:
    ys = _solution(field, options, y0, ts, *args)
    return ys, (ys, ts, args)


def _adjoint(field: Field, options: _Options, residuals: Any, cts: Any) -> tuple[Any, ...]:
    """The adjoint equation, backwards from time to time, where the cotangent of the result is added.

    L. S. Pontryagin et al., The Mathematical Theory of Optimal Processes (1962).
    """
    ys, ts, args = residuals
    n = aval_of(ys).shape[1]
    live, treedef = tree_flatten(args)
    moving = [i for i, x in enumerate(live) if dtypes.is_inexact(aval_of(x).dtype)]
    sizes = [math.prod(aval_of(live[i]).shape) for i in moving]

    def with_moving(values: Sequence[Any]) -> Any:
        leaves = list(live)
        for i, v in zip(moving, values, strict=True):
            leaves[i] = v
        return treedef.unflatten(leaves)

    def backwards(state: Any, t: Any, args: Any) -> Any:
        y, ct = state[:n], state[n : 2 * n]
        leaves = tree_flatten(args)[0]
        given = [leaves[i] for i in moving]

        def of_moving(y: Any, *values: Any) -> Any:
            full = list(leaves)
            for i, v in zip(moving, values, strict=True):
                full[i] = v
            return field(y, t, *treedef.unflatten(full))

        slope, pull = vjp(of_moving, y, *given)
        dy, *dargs = pull(ct)
        return np.concatenate([slope, -dy, *(-np.ravel(d) for d in dargs)])

    def interval(carry: Any, row: Any) -> Any:
        ct, sums = carry
        y, above, below, ct_here = row
        slope = field(y, above, *args)
        moved = np.real(np.sum(slope * ct_here))
        state = np.concatenate([y, ct + ct_here, sums])
        found = _solution(backwards, options, state, np.stack([above, below]), args)[1]
        return (found[n : 2 * n], found[2 * n :]), moved

    dtype = aval_of(ys).dtype
    zero = np.zeros(n, dtype), np.zeros(sum(sizes), dtype)
    rows = ys[1:], ts[1:], ts[:-1], cts[1:]
    (ct, sums), moved = scan(interval, zero, rows, reverse=True)
    first = -np.real(np.sum(field(ys[0], ts[0], *args) * ct))
    parts = np.split(sums, list(np.cumsum(sizes)[:-1])) if sizes else []
    found: list[Any] = [None] * len(live)
    for i, part in zip(moving, parts, strict=True):
        aval = aval_of(live[i])
        real = dtypes.is_complex(dtype) and not dtypes.is_complex(aval.dtype)
        found[i] = np.reshape(np.real(part) if real else part, aval.shape).astype(aval.dtype)
    ct_args = treedef.unflatten(
        [np.zeros(aval_of(x).shape, dtypes.float0) if c is None else c for x, c in zip(live, found, strict=True)]
    )
    ct_ts = np.concatenate([np.reshape(first, (1,)), moved]).astype(aval_of(ts).dtype)
    return ct + cts[0], ct_ts, *ct_args


_solution.defvjp(_kept, _adjoint)


# -- the public function ----------------------------------------------------------------------------------------------


def _raveled(leaves: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate([np.ravel(convert(x, dtype)) for x in leaves])


def _unraveler(avals: Sequence[Any], treedef: PyTreeDef) -> Callable[[Any], Any]:
    def unravel(flat: Any) -> Any:
        leaves, start = [], 0
        for a in avals:
            size = math.prod(a.shape)
            part = flat[..., start : start + size] if a.shape else flat[..., start]
            leaves.append(np.reshape(part, (*aval_of(flat).shape[:-1], *a.shape)) if a.shape else part)
            start += size
        return treedef.unflatten(leaves)

    return unravel


@boundary
def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    *args: Any,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    mxstep: float = math.inf,
    hmax: float = math.inf,
) -> Any:
    """The solution of ``dy/dt = func(y, t, *args)`` with ``y = y0`` at the first of the times ``t``.

    Dormand and Prince's method of order 5(4) with adaptive steps, and its interpolant at the given times. Reverse mode
    solves the adjoint equation backwards, with the memory of one state for each time; forward mode solves the
    linearised equation beside the other. Both go in ``y0``, ``t``, ``args`` and what ``func`` closes over, to any
    order, and under ``jit`` and ``vmap``.

    Args:
        func: the right hand side: a function of the state, the time and ``args`` that returns the derivative of the
            state, of its structure.
        y0: the initial state, a pytree of arrays.
        t: at least two times ``(n,)``, in increasing or in decreasing order. The steps do not go beyond the last one.
        args: further arguments of ``func``, pytrees of arrays.
        rtol, atol: a step's error is kept below ``atol + rtol * |y|``, in the root mean square over the state.
        mxstep: the largest number of steps between two times. Where it does not do, or where no step is short enough,
            the states from there on are NaN.
        hmax: the largest step.

    Returns:
        The states at the times: ``y0`` with a leading axis of ``n`` on each array, in their common floating dtype.

    Raises:
        ShapeError: ``t`` is not one axis of at least two times.
        TreeStructureError, ShapeError: ``func`` does not return a derivative of the state.

    >>> import numpy as np
    >>> odeint(lambda y, t, rate: -rate * y, 1.0, np.array([0.0, 1.0, 2.0]), 0.5).round(6)
    array([1.      , 0.606531, 0.367879])
    """
    check_callable("odeint", func)
    where = f"odeint({name_of(func)})"
    leaves, treedef = flatten_arrays(where, "y0", y0)
    flatten_arrays(where, "argument ", args)
    avals = [aval_of(x) for x in leaves]
    if not leaves:
        raise errors.ArgumentError(f"{where}: y0 has no arrays")
    dtype = np.result_type(
        np.float32 if all(a.dtype == np.float32 for a in avals) else np.float64, *[a.dtype for a in avals]
    )
    times = np.asarray(t) if isinstance(t, (list, tuple)) else t
    if aval_of(times).ndim != 1 or aval_of(times).shape[0] < 2:
        raise errors.ShapeError(
            f"{where}: t must be one axis of at least two times, got {aval_of(times)}. The first one is that of y0"
        )
    times = convert(times, dtypes.real_dtype(dtype))
    flat = _raveled(leaves, dtype)
    unravel = _unraveler(avals, treedef)

    def field(y: Any, t: Any, *args: Any) -> Any:
        state = unravel(y)
        slope = func(state, t, *args)
        found, found_tree = flatten_arrays(where, "the derivative", slope)
        if found_tree != treedef:
            raise errors.TreeStructureError(
                f"{where}: func must return a derivative of the state, of its structure {treedef}; got {found_tree}"
            )
        for leaf, a in zip(found, avals, strict=True):
            if aval_of(leaf).shape != a.shape:
                raise errors.ShapeError(
                    f"{where}: func returned an array of shape {aval_of(leaf).shape} as derivative of one of shape "
                    f"{a.shape}"
                )
        return _raveled(found, dtype)

    options = _Options(float(rtol), float(atol), float(mxstep), float(hmax))
    strong = tree_map(lambda x: convert(x, aval_of(x).dtype), args)
    converted, constants = closure_convert(field, flat, times[0], *strong)
    return unravel(_solution(converted, options, flat, times, *strong, *constants))
