"""What a function of ``functrans.numpy`` must satisfy, checked for one example of its use at a time.

An example is a function of arrays ``f(xp, *arrays)`` where ``xp`` is NumPy or ``functrans.numpy``, so that the same
expression gives the expected value, and reaches the traced implementation by name and through NumPy's protocols.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import functrans as ft
import functrans.numpy as fnp


class Example(NamedTuple):
    """One use of a function.

    Attributes:
        name: what the test is called.
        f: ``f(xp, *arrays)``.
        args: the arrays and numbers that are traced.
        order: up to which order derivatives are compared with finite differences.
        protocol: whether NumPy itself hands the call to a tracer.
        batch: whether every array can be mapped over.
        digits: relative agreement of values, in units of the dtype's precision; 0 where the bits agree.
        since: the NumPy version that first has it.
        until: the NumPy version from which on it fails or warns.
    """

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    order: int = 2
    protocol: bool = True
    batch: bool = True
    digits: int = 0
    since: tuple[int, int] = (2, 0)
    until: tuple[int, int] | None = None


def available(examples: list[Example]) -> list[Example]:
    """The examples that the installed NumPy has."""
    version = tuple(int(part) for part in np.__version__.split(".")[:2])
    return [e for e in examples if version >= e.since and (e.until is None or version < e.until)]


def same(ours: Any, expected: Any, digits: int = 0) -> None:
    """Two results agree in structure, type, dtype, shape and value."""
    assert type(ours) is type(expected), f"{type(ours)} in place of {type(expected)}: {ours!r}, {expected!r}"
    if isinstance(expected, (tuple, list)):
        assert len(ours) == len(expected)
        for a, b in zip(ours, expected, strict=True):
            same(a, b, digits)
        return
    if isinstance(expected, (np.ndarray, np.generic)):
        assert ours.dtype == expected.dtype
        assert ours.shape == expected.shape
    if not digits:
        np.testing.assert_array_equal(ours, expected)
        if np.asarray(expected).dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(ours), np.signbit(expected))
        return
    kind = np.asarray(expected).dtype
    rounding = digits * float(np.finfo(kind).eps) if kind.kind in "fc" else 0.0
    np.testing.assert_allclose(ours, expected, rtol=rounding, atol=rounding)


def check_values(example: Example) -> None:
    """Eagerly it is NumPy; traced by name and through the protocols it gives the same."""
    f, args = example.f, example.args
    expected = f(np, *args)
    same(f(fnp, *args), expected)
    same(ft.jit(lambda *xs: f(fnp, *xs))(*args), expected, example.digits)
    if example.protocol:
        same(ft.jit(lambda *xs: f(np, *xs))(*args), expected, example.digits)


def _inexact(x: Any) -> bool:
    return np.asarray(x).dtype.kind in "fc"


def _directions(args: tuple[Any, ...]) -> tuple[Any, ...]:
    rng = np.random.default_rng(7)
    out = []
    for x in args:
        x = np.asarray(x)
        t = rng.standard_normal(x.shape)
        if x.dtype.kind == "c":
            t = t + 1j * rng.standard_normal(x.shape)
        out.append(t.astype(x.dtype)[()] if _inexact(x) else np.zeros(x.shape, ft.float0))
    return tuple(out)


def _leaves(out: Any) -> list[Any]:
    return [leaf for o in out for leaf in _leaves(o)] if isinstance(out, (tuple, list)) else [np.asarray(out)]


def _shifted(args: tuple[Any, ...], directions: tuple[Any, ...], step: float) -> tuple[Any, ...]:
    return tuple(
        np.asarray(x + np.asarray(step, np.asarray(x).dtype) * t)[()] if _inexact(x) else x
        for x, t in zip(args, directions, strict=True)
    )


def check_derivative(f: Callable[..., Any], args: tuple[Any, ...], order: int = 1) -> None:
    """Forward mode agrees with finite differences, reverse mode with forward mode, up to an order."""
    args = tuple(np.asarray(x, np.result_type(x, np.float64))[()] if _inexact(x) else x for x in args)
    directions = _directions(args)
    step = 1e-6
    _, forward = ft.jvp(f, args, directions)
    above, below = (_leaves(f(*_shifted(args, directions, s))) for s in (step, -step))
    for t, high, low in zip(_leaves(forward), above, below, strict=True):
        if not _inexact(high):
            continue
        slope = (high - low) / (2 * step)
        np.testing.assert_allclose(t, slope, rtol=1e-6, atol=1e-6 * max(1.0, float(np.max(np.abs(slope), initial=0))))
    out, pull = ft.vjp(f, *args)
    cotangents = ft.tree.map(lambda o: _directions((o,))[0] if _inexact(o) else np.zeros(np.shape(o), ft.float0), out)
    pulled = pull(cotangents)
    left = sum(np.sum(c * t) for c, t in zip(_leaves(cotangents), _leaves(forward), strict=True) if _inexact(c))
    right = sum(np.sum(g * t) for g, t, x in zip(pulled, directions, args, strict=True) if _inexact(x))
    # Between real and complex numbers cotangents are pulled back up to what the real part cannot see.
    np.testing.assert_allclose(np.real(left), np.real(right), rtol=1e-9, atol=1e-9)
    if order > 1:
        check_derivative(lambda *xs: ft.jvp(f, xs, directions)[1], args, order - 1)


def check_derivatives(example: Example) -> None:
    """The derivatives of the traced function, up to the example's order."""
    if example.order and any(map(_inexact, example.args)):
        check_derivative(lambda *xs: example.f(fnp, *xs), example.args, example.order)


def check_vmap(example: Example) -> None:
    """Mapped over any of the arguments, it gives what it gives for each example."""
    arrays = [i for i, x in enumerate(example.args) if isinstance(x, (np.ndarray, np.generic))]
    for mapped in {tuple(arrays), *((i,) for i in arrays)} if arrays else ():
        axes = tuple(0 if i in mapped else None for i in range(len(example.args)))
        batches = [
            np.stack([np.asarray(x), np.roll(np.asarray(x), 1), np.asarray(x)[::-1] if np.ndim(x) else np.asarray(x)])
            if i in mapped
            else x
            for i, x in enumerate(example.args)
        ]
        out = ft.vmap(lambda *xs: example.f(fnp, *xs), in_axes=axes)(*batches)
        rows = [example.f(np, *[b[k] if i in mapped else b for i, b in enumerate(batches)]) for k in range(3)]
        for ours, *each in zip(_leaves(out), *map(_leaves, rows), strict=True):
            expected = np.stack(each)
            assert ours.dtype == expected.dtype
            assert ours.shape == expected.shape
            digits = max(example.digits, 4)
            rounding = digits * float(np.finfo(ours.dtype).eps) if ours.dtype.kind in "fc" else 0.0
            scale = float(np.max(np.abs(expected), initial=1.0, where=np.isfinite(expected)))
            np.testing.assert_allclose(ours, expected, rtol=rounding, atol=rounding * scale)


def check_example(example: Example) -> None:
    """Everything above."""
    check_values(example)
    check_derivatives(example)
    if example.batch:
        check_vmap(example)
