"""Derivatives compared with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.boundary import name_of
from functrans.api.linear import jvp, vjp
from functrans.core import dtypes
from functrans.core.trace import aval_of
from functrans.core.tree import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten

# Steps of a fourth-order central difference, and the tolerances that it allows: truncation falls with the fourth
# power of the step and rounding grows with its inverse, so the best step is near the fifth root of the precision.
_STEP = {2: 5e-2, 4: 5e-3, 8: 1e-3, 16: 1e-3}
_TOLERANCE = {2: 1e-1, 4: 5e-3, 8: 2e-7, 16: 2e-7}
_STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


def _real_itemsize(dtype: np.dtype[Any]) -> int:
    return int(dtypes.real_dtype(dtype).itemsize)


def _finest(values: Sequence[Any]) -> int:
    """The coarsest precision among inexact values, in bytes: it decides the step and the tolerance."""
    sizes = [_real_itemsize(aval_of(v).dtype) for v in values if dtypes.is_inexact(aval_of(v).dtype)]
    return min(sizes, default=8)


def _random_like(rng: np.random.Generator, value: Any) -> Any:
    """A random direction; for what has no derivative, a float0 zero."""
    aval = aval_of(value)
    if not dtypes.is_inexact(aval.dtype):
        return np.zeros(aval.shape, dtypes.float0)
    sample = rng.standard_normal(aval.shape)
    if dtypes.is_complex(aval.dtype):
        sample = sample + 1j * rng.standard_normal(aval.shape)
    array = np.asarray(sample).astype(aval.dtype)
    return array if aval.shape else array[()] if aval.box != "python" else array.item()


def _moved(value: Any, direction: Any, step: float) -> Any:
    if not dtypes.is_inexact(aval_of(value).dtype):
        return value
    moved = value + step * direction
    if isinstance(value, (float, complex)) and not isinstance(value, np.generic):
        return complex(moved) if isinstance(value, complex) else float(moved)
    return np.asarray(moved, aval_of(value).dtype)[()]


def _difference_quotient(f: Callable[..., Any], args: Any, directions: Any, eps: float) -> Any:
    """The directional derivative of ``f`` by a fourth-order central difference, in double precision."""
    leaves, treedef = tree_flatten(args)
    steps = tree_flatten(directions)[0]
    total: list[Any] | None = None
    out_tree = None
    for offset, weight in _STENCIL:
        moved = [_moved(x, d, offset * eps) for x, d in zip(leaves, steps, strict=True)]
        outs, out_tree = tree_flatten(f(*tree_unflatten(treedef, moved)))
        wide = [
            np.asarray(o).astype(np.result_type(o, np.float64)) * (weight / eps)
            if dtypes.is_inexact(aval_of(o).dtype)
            else np.zeros(aval_of(o).shape, dtypes.float0)
            for o in outs
        ]
        total = (
            wide
            if total is None
            else [a if a.dtype == dtypes.float0 else a + b for a, b in zip(total, wide, strict=True)]
        )
    assert out_tree is not None
    return out_tree.unflatten(total or [])


def _compare(where: str, automatic: Any, numerical: Any, atol: float, rtol: float) -> None:
    """Raise for the worst entry that differs by more than the tolerance."""
    found = tree_flatten_with_path(automatic)[0]
    expected = tree_flatten(numerical)[0]
    worst: tuple[float, str] | None = None
    for (path, a), n in zip(found, expected, strict=True):
        if aval_of(a).dtype == dtypes.float0:
            continue
        x, y = np.asarray(a), np.asarray(n)
        if x.shape != y.shape:
            raise AssertionError(f"{where}: the shape of result{keystr(path)} is {x.shape}, expected {y.shape}")
        if x.size == 0:
            continue
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        with np.errstate(invalid="ignore"):
            excess = np.where(same, 0.0, np.abs(x - y) - (atol + rtol * np.abs(y)))
        excess = np.where(np.isnan(excess), np.inf, excess)
        index = np.unravel_index(int(np.argmax(excess)), excess.shape)
        if excess[index] > 0 and (worst is None or excess[index] > worst[0]):
            entry = f"[{', '.join(map(str, index))}]" if index else ""
            worst = (
                float(excess[index]),
                f"{where}: result{keystr(path)}{entry}: automatic {x[index]!r}, numerical {y[index]!r} (atol={atol:g}, "
                f"rtol={rtol:g})",
            )
    if worst is not None:
        raise AssertionError(worst[1])


def _tolerances(
    leaves: Sequence[Any], atol: float | None, rtol: float | None, eps: float | None
) -> tuple[float, float, float]:
    size = _finest(leaves)
    tolerance = _TOLERANCE.get(size, 2e-7)
    return (
        tolerance if atol is None else atol,
        tolerance if rtol is None else rtol,
        _STEP.get(size, 1e-3) if eps is None else eps,
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
    seed: int = 0,
) -> None:
    """Compare a forward derivative with finite differences in a random direction.

    Args:
        f: a function of arrays and pytrees.
        f_jvp: ``f_jvp(primals, tangents)`` gives ``(value, tangent)``, as ``partial(jvp, f)`` does.
        args: the point.
        atol, rtol: tolerances; by default what the finite difference reaches in the coarsest dtype involved.
        eps: the step of the finite difference; by default chosen by that dtype.
        err_msg: put before the message.
        seed: of the random direction.

    Raises:
        AssertionError: with the worst entry, by its path: the automatic and the numerical derivative.

    >>> import functrans as ft
    >>> check_jvp(np.sin, partial(ft.jvp, np.sin), (0.5,))
    """
    args = tuple(args)
    rng = _generator(seed)
    leaves, treedef = tree_flatten(args)
    directions = treedef.unflatten([_random_like(rng, x) for x in leaves])
    value, tangent = f_jvp(args, directions)
    outs = tree_flatten(value)[0]
    atol, rtol, eps = _tolerances([*leaves, *outs], atol, rtol, eps)
    where = f"{err_msg}: check_jvp({name_of(f)})" if err_msg else f"check_jvp({name_of(f)})"
    _compare(f"{where}, value", value, f(*args), atol, rtol)
    _compare(f"{where}, tangent", tangent, _difference_quotient(f, args, directions, eps), atol, rtol)


def _inner(a: Any, b: Any) -> Any:
    """The real bilinear product of two pytrees, in double precision."""
    total = 0.0
    for x, y in zip(tree_flatten(a)[0], tree_flatten(b)[0], strict=True):
        if np.asarray(x).dtype == dtypes.float0 or np.asarray(y).dtype == dtypes.float0:
            continue
        wide = np.result_type(x, y, np.float64)
        total = total + np.sum(np.asarray(x).astype(wide) * np.asarray(y).astype(wide))
    return np.real(total)


def check_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
    seed: int = 0,
) -> None:
    """Compare a reverse derivative with finite differences, entry by entry where the input is small.

    Args:
        f_vjp: ``f_vjp(*args)`` gives ``(value, pullback)``, as ``partial(vjp, f)`` does.

    The other arguments and the errors are those of ``check_jvp``. Inputs of more than 64 entries are compared by
    their product with random directions.

    >>> import functrans as ft
    >>> check_vjp(np.sin, partial(ft.vjp, np.sin), (0.5,))
    """
    args = tuple(args)
    rng = _generator(seed)
    leaves, treedef = tree_flatten(args)
    value, pullback = f_vjp(*args)
    outs, out_tree = tree_flatten(value)
    atol, rtol, eps = _tolerances([*leaves, *outs], atol, rtol, eps)
    where = f"{err_msg}: check_vjp({name_of(f)})" if err_msg else f"check_vjp({name_of(f)})"
    _compare(f"{where}, value", value, f(*args), atol, rtol)
    cotangent = out_tree.unflatten([_random_like(rng, x) for x in outs])
    pulled = pullback(cotangent)
    size = sum(np.size(x) for x in leaves)
    if size > 64:
        for _ in range(2):
            directions = treedef.unflatten([_random_like(rng, x) for x in leaves])
            numerical = _inner(cotangent, _difference_quotient(f, args, directions, eps))
            scale = np.sqrt(size)
            _compare(f"{where}, cotangent . direction", _inner(pulled, directions), numerical, atol * scale, rtol)
        return
    numerical_leaves: list[Any] = []
    for i, leaf in enumerate(leaves):
        aval = aval_of(leaf)
        if not dtypes.is_inexact(aval.dtype):
            numerical_leaves.append(np.zeros(aval.shape, dtypes.float0))
            continue
        entries = np.zeros(aval.shape, np.result_type(aval.dtype, np.float64))
        for index in np.ndindex(aval.shape):
            for unit in (1, 1j) if dtypes.is_complex(aval.dtype) else (1,):
                direction = np.zeros(aval.shape, np.result_type(aval.dtype, type(unit)))
                direction[index] = unit
                steps = [
                    (direction if k == i else np.zeros(np.shape(x), np.asarray(x).dtype)) for k, x in enumerate(leaves)
                ]
                quotient = _difference_quotient(f, args, treedef.unflatten(steps), eps)
                # df = real(sum(ct * dx)): the derivative along i is minus the imaginary part of the cotangent.
                entries[index] += _inner(cotangent, quotient) * (1 if unit == 1 else -1j)
        numerical_leaves.append(entries)
    _compare(f"{where}, cotangent", pulled, treedef.unflatten(numerical_leaves), atol, rtol)


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] | str = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Compare the derivatives of ``f`` with finite differences, in forward and reverse mode and to a given order.

    Args:
        f: a function of arrays and pytrees, real or complex.
        args: the point, a tuple of arguments.
        order: how many derivatives to check: 2 checks the derivatives of the derivatives as well.
        modes: ``"fwd"``, ``"rev"`` or both.
        atol, rtol, eps: see ``check_jvp``.
        seed: of the random directions.

    Raises:
        AssertionError: with the mode and order that failed, and the worst entry by its path: the automatic and the
            numerical derivative.

    >>> check_grads(lambda x: np.sin(x) * x, (np.array([0.5, 2.0]),), order=2)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if unknown := set(modes) - {"fwd", "rev"}:
        raise errors.ArgumentError(f"check_grads: modes are 'fwd' and 'rev', got {sorted(unknown)}")
    if not isinstance(args, (tuple, list)):
        raise errors.ArgumentError(f"check_grads: args must be a tuple of arguments, got {type(args).__name__}")
    if order < 1:
        raise errors.ArgumentError(f"check_grads: order must be at least 1, got {order}")

    def check(g: Callable[..., Any], point: tuple[Any, ...], left: int, history: str) -> None:
        for mode in modes:
            label = f"{history}{mode}"
            if mode == "fwd":
                check_jvp(g, partial(jvp, g), point, atol, rtol, eps, label, seed)
            else:
                check_vjp(g, partial(vjp, g), point, atol, rtol, eps, label, seed)
            if left > 1:
                leaves, treedef = tree_flatten(point)
                live = [dtypes.is_inexact(aval_of(x).dtype) for x in leaves]
                inexact = tuple(x for x, a in zip(leaves, live, strict=True) if a)
                derivative = _derivative(g, mode, leaves, treedef, live, seed)
                check(derivative, inexact, left - 1, f"{label} of ")

    check(f, tuple(args), order, "")


def _derivative(
    g: Callable[..., Any], mode: str, leaves: list[Any], treedef: Any, live: Sequence[bool], seed: int
) -> Callable[..., Any]:
    """A derivative of ``g`` as a function of its inexact leaves, in fixed random directions."""
    rng = _generator(seed + 1)

    def rebuilt(inexact: Sequence[Any]) -> Any:
        given = iter(inexact)
        return treedef.unflatten([next(given) if a else x for x, a in zip(leaves, live, strict=True)])

    if mode == "fwd":
        directions = treedef.unflatten([_random_like(rng, x) for x in leaves])

        def pushed(*inexact: Any) -> Any:
            return _inexact(jvp(g, rebuilt(inexact), directions)[1])

        return pushed
    outs, out_tree = tree_flatten(g(*treedef.unflatten(leaves)))
    cotangent = out_tree.unflatten([_random_like(rng, x) for x in outs])

    def pulled(*inexact: Any) -> Any:
        return _inexact(vjp(g, *rebuilt(inexact))[1](cotangent))

    return pulled


def _inexact(tree: Any) -> list[Any]:
    return [x for x in tree_flatten(tree)[0] if dtypes.is_inexact(aval_of(x).dtype)]
