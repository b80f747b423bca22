"""Roots and fixed points, found by SciPy and differentiable by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.grad import elementwise_grad
from functrans.api.jacobian import jacfwd
from functrans.api.jit import jit
from functrans.api.staging import ShapeDtypeStruct, eval_shape
from functrans.core.structural import is_traced
from functrans.lax.selection import stop_gradient
from functrans.scipy.library import needed
from functrans.scipy.optimize.implicit import called_back, dense, elementwise, implicit
from functrans.scipy.optimize.minimization import FACTS, Facts, facts_of, plain
from functrans.scipy.optimize.problem import Function, Point, check_args
from functrans.scipy.optimize.results import OptimizeResults, RootResults

WITH_JACOBIAN = ("hybr", "lm")


def root(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    method: str = "hybr",
    jac: Any = None,
    tol: float | None = None,
    callback: Any = None,
    options: dict[str, Any] | None = None,
) -> OptimizeResults:
    """A root of a function of several variables with as many values, by ``scipy.optimize.root``.

    The Jacobian that the methods ``hybr`` and ``lm`` want is found by differentiation. The root is differentiable with
    respect to ``args`` and everything that ``fun`` closes over, in both modes and to any order, where the Jacobian is
    regular; ``x0`` has no influence on it.

    Args:
        fun: ``fun(x, *args)``, a pytree of arrays with as many entries as ``x0``.
        x0: where to start: an array, a list of numbers, or any pytree of arrays.
        args: a tuple of further arguments.
        method: a method of SciPy's.
        jac: False for SciPy's finite differences; otherwise differentiation gives the Jacobian.
        tol, callback, options: as SciPy has them.

    Returns:
        ``OptimizeResults`` with the values of ``fun`` at the root in ``fun``.

    >>> import numpy as np, functrans as ft
    >>> side = lambda area: root(lambda x: x**2 - area, np.ones(1), tol=1e-12).x[0]
    >>> float(ft.grad(side)(9.0).round(9))
    0.166666667
    """
    args = check_args("root", args)
    if not (jac is None or isinstance(jac, bool)):
        raise errors.ArgumentError(
            f"root: jac must be None (differentiation gives the Jacobian) or False (finite differences), got {jac!r}"
        )
    point = Point("root", x0, dtype=np.float64)
    function = Function("root", fun, point, args)
    found = eval_shape(function.vector, point.vector, *function.operands).shape if is_traced() else (point.size,)
    if found != (point.size,):
        raise errors.ShapeError(f"root: the function has {found[0]} values for {point.size} variables")
    staged = is_traced()

    def host(start: Any, *operands: Any) -> tuple[Any, Facts]:
        fast = jit if staged else plain
        value = fast(lambda v: function.vector(v, *operands))
        keywords: dict[str, Any] = {}
        if jac is not False and method in WITH_JACOBIAN:
            slope = fast(lambda v: jacfwd(function.vector)(v, *operands))
            keywords["jac"] = lambda v: np.array(slope(v), np.float64)
        solver = needed("scipy.optimize", "root").root
        result = solver(
            lambda v: np.array(value(v), np.float64),
            start, method=method, tol=tol, callback=callback, options=options, **keywords,
        )  # fmt: skip
        return np.array(result.x, np.float64), facts_of(result)

    def run(start: Any, *operands: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((point.size,), np.float64), FACTS), start, *operands)

    v, facts = implicit(run, function.vector, function.operands, [stop_gradient(point.vector)])
    x = point.unravel(v)
    values = function(v, *function.operands)
    return OptimizeResults(x, facts.success, facts.status, values, None, None, facts.nfev, facts.njev, facts.nit)


# -- roots of functions of one number ------------------------------------------------------------------------------

_INT = ShapeDtypeStruct((), np.int64)
_FACTS = RootResults(ShapeDtypeStruct((), np.float64), _INT, _INT, ShapeDtypeStruct((), np.bool_))


def _scalar(
    where: str, f: Callable[..., Any], args: Any, solver: Callable[..., Any], *start: Any, **derivatives: Any
) -> tuple[Any, RootResults]:
    """``solver(f, *start)`` with derivatives of its result; ``derivatives`` are functions of ``f``'s arguments too."""
    args = check_args(where, args)
    point = Point(where, np.float64(0.0))
    function = Function(where, f, point, args)
    given = {n: Function(f"{where}: {n}", d, point, args) for n, d in derivatives.items() if callable(d)}
    wanted = [n for n, d in derivatives.items() if d is True]
    staged = is_traced()
    operands = [*function.operands, *(x for d in given.values() for x in d.operands)]
    n, n_start = len(function.operands), len(start)

    def value(v: Any, *mine: Any) -> Any:
        return fnp.reshape(function.number(v, *mine), (1,))

    def host(*arrays: Any) -> tuple[Any, RootResults]:
        fast = jit if staged else plain
        begin, mine, rest = arrays[:n_start], arrays[n_start : n_start + n], list(arrays[n_start + n :])
        number = fast(lambda x: function.number(fnp.reshape(x, (1,)), *mine))
        keywords: dict[str, Any] = {}
        slope: Any = number
        for name in wanted:
            slope = fast(elementwise_grad(slope))
            keywords[name] = _floating(slope)
        for name, d in given.items():
            own, rest = rest[: len(d.operands)], rest[len(d.operands) :]
            keywords[name] = _floating(fast(lambda x, d=d, own=own: d.number(fnp.reshape(x, (1,)), *own)))
        x, r = solver(_floating(number), *map(float, begin), **keywords)
        counts = np.int64(r.iterations), np.int64(r.function_calls), np.bool_(r.converged)
        return np.reshape(np.float64(x), (1,)), RootResults(np.float64(x), *counts)

    def run(*arrays: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((1,), np.float64), _FACTS), *arrays)

    begin = [stop_gradient(fnp.asarray(s, dtype=np.float64)) for s in start]
    v, facts = implicit(run, lambda v, *arrays: value(v, *arrays[:n]), operands, begin)
    x = v[0]
    return x, facts._replace(root=x)


def _floating(f: Callable[[Any], Any]) -> Callable[[Any], float]:
    return lambda x: float(f(np.float64(x)))


def _bracketing(name: str) -> Callable[..., Any]:
    def find(
        f: Callable[..., Any],
        a: Any,
        b: Any,
        args: tuple[Any, ...] = (),
        xtol: float = 2e-12,
        rtol: float = 4 * float(np.finfo(float).eps),
        maxiter: int = 100,
        full_output: bool = False,
        disp: bool = True,
    ) -> Any:
        method = getattr(needed("scipy.optimize", name), name)

        def solver(f: Any, a: float, b: float) -> Any:
            return method(f, a, b, xtol=xtol, rtol=rtol, maxiter=maxiter, full_output=True, disp=disp)

        x, facts = _scalar(name, f, args, solver, a, b)
        return (x, facts) if full_output else x

    find.__name__ = find.__qualname__ = name
    find.__doc__ = (
        f"A root of a function of one number between ``a`` and ``b``, by ``scipy.optimize.{name}``.\n\n"
        f"    It is differentiable in ``args`` and in what ``f`` closes over; ``a`` and ``b`` have no influence.\n"
        f"    With ``full_output`` the second result is a ``RootResults``.\n    "
    )
    return find


bisect = _bracketing("bisect")
brentq = _bracketing("brentq")
brenth = _bracketing("brenth")
ridder = _bracketing("ridder")


def root_scalar(
    f: Callable[..., Any],
    args: tuple[Any, ...] = (),
    method: str | None = None,
    bracket: Any = None,
    fprime: Any = None,
    fprime2: Any = None,
    x0: Any = None,
    x1: Any = None,
    xtol: float | None = None,
    rtol: float | None = None,
    maxiter: int | None = None,
    options: dict[str, Any] | None = None,
) -> RootResults:
    """A root of a function of one number, by ``scipy.optimize.root_scalar``.

    The derivatives that ``newton`` and ``halley`` want are found by differentiation where they are not given. The root
    is differentiable in ``args`` and in what ``f`` closes over.

    >>> import functrans as ft
    >>> float(ft.grad(lambda a: root_scalar(lambda x: x**3 - a, x0=1.5, method="newton").root)(8.0).round(9))
    0.083333333
    """
    if method is None:
        method = "brentq" if bracket is not None else "newton" if x1 is None else "secant"
    derivatives = {"newton": ("fprime",), "halley": ("fprime", "fprime2")}.get(method, ())
    given = {"fprime": fprime, "fprime2": fprime2}
    solver = needed("scipy.optimize", "root_scalar").root_scalar
    start = list(bracket) if bracket is not None else [x for x in (x0, x1) if x is not None]

    def solve(f: Any, *start: float, **keywords: Any) -> Any:
        if bracket is not None:
            keywords["bracket"] = start
        else:
            keywords.update(zip(("x0", "x1"), start, strict=False))
        result = solver(f, method=method, xtol=xtol, rtol=rtol, maxiter=maxiter, options=options, **keywords)
        return result.root, result

    chosen = {n: given[n] if callable(given[n]) else True for n in derivatives}
    return _scalar("root_scalar", f, args, solve, *start, **chosen)[1]


def newton(
    func: Callable[..., Any],
    x0: Any,
    fprime: Any = None,
    args: tuple[Any, ...] = (),
    tol: float = 1.48e-08,
    maxiter: int = 50,
    fprime2: Any = None,
    x1: Any = None,
    rtol: float = 0.0,
    full_output: bool = False,
    disp: bool = True,
) -> Any:
    """A root near ``x0`` by ``scipy.optimize.newton``: Newton's method, or Halley's with ``fprime2``.

    Where ``fprime`` is not given it is found by differentiation, unless ``x1`` asks for the secant method; True for
    ``fprime2`` has that found too. For an array ``x0`` the function is one of each element apart, and so is the root.

    The root is differentiable in ``args`` and in what ``func`` closes over.
    """
    solver = needed("scipy.optimize", "newton").newton
    chosen = {"fprime": fprime if callable(fprime) else (x1 is None or None), "fprime2": fprime2}
    derivatives = {n: d for n, d in chosen.items() if d is not None}
    if np.ndim(x0) == 0:
        start = [x0] if x1 is None else [x0, x1]

        def solve(f: Any, *start: float, **keywords: Any) -> Any:
            keywords.update(zip(("x0", "x1"), start, strict=False))
            return solver(f, tol=tol, maxiter=maxiter, rtol=rtol, full_output=True, disp=disp, **keywords)

        x, facts = _scalar("newton", func, args, solve, *start, **derivatives)
        return (x, facts) if full_output else x
    if full_output or x1 is not None or any(callable(d) for d in derivatives.values()):
        raise errors.ArgumentError("newton: an array x0 goes with derivatives by differentiation and one result only")
    args = check_args("newton", args)
    point = Point("newton", x0)
    function = Function("newton", func, point, args)
    staged = is_traced()

    def host(begin: Any, *operands: Any) -> tuple[Any, None]:
        fast = jit if staged else plain

        def value(v: Any) -> Any:
            return function.vector(v, *operands)

        keywords: dict[str, Any] = {}
        slope: Any = value
        for name in derivatives:
            slope = elementwise_grad(slope)
            keywords[name] = fast(slope)
        return solver(fast(value), np.array(begin), tol=tol, maxiter=maxiter, rtol=rtol, disp=disp, **keywords), None

    def run(begin: Any, *operands: Any) -> tuple[Any, Any]:
        shape = ShapeDtypeStruct((point.size,), point.vector.dtype)
        return called_back(host, (shape, None), begin, *operands)

    v, _ = implicit(run, function.vector, function.operands, [stop_gradient(point.vector)], elementwise)
    return point.unravel(v)


def fixed_point(
    func: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    xtol: float = 1e-8,
    maxiter: int = 500,
    method: str = "del2",
) -> Any:
    """A point ``x`` with ``func(x, *args) == x``, by ``scipy.optimize.fixed_point``.

    It is differentiable in ``args`` and in what ``func`` closes over.

    >>> import numpy as np, functrans as ft
    >>> heron = lambda a: fixed_point(lambda x: (x + a / x) / 2, 1.0)
    >>> float(ft.grad(heron)(4.0).round(9))
    0.25
    """
    args = check_args("fixed_point", args)
    point = Point("fixed_point", x0, dtype=np.float64)
    function = Function("fixed_point", func, point, args)
    solver = needed("scipy.optimize", "fixed_point").fixed_point
    staged = is_traced()

    def host(begin: Any, *operands: Any) -> tuple[Any, None]:
        value = (jit if staged else plain)(lambda v: function.vector(v, *operands))
        return np.array(solver(value, begin, xtol=xtol, maxiter=maxiter, method=method), np.float64), None

    def run(begin: Any, *operands: Any) -> tuple[Any, Any]:
        return called_back(host, (ShapeDtypeStruct((point.size,), np.float64), None), begin, *operands)

    def residual(v: Any, *operands: Any) -> Any:
        return function.vector(v, *operands) - v

    v, _ = implicit(run, residual, function.operands, [stop_gradient(point.vector)], dense)
    return point.unravel(v)
