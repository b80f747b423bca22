"""Polynomials, windows, packed bits: NumPy's values, derivatives, and what depends on values."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.test_util import check_grads
from tests.numpy.agreement import Example, available, check_example, same

X = np.array([[0.3, -1.7, 2.4, 0.9], [1.25, 3.1, -0.75, 0.2]])
PLACES = np.array([0.0, 0.4, 1.1, 1.3, 2.0, 2.2])
VALUES = np.array([2.0, -1.0, 0.5, 3.0])
BYTES = np.array([[3, 200, 7], [255, 0, 129]], np.uint8)

EXAMPLES = [
    Example("polyval", lambda xp, p, x: xp.polyval(p, x), (VALUES, X)),
    Example("polyval of one", lambda xp, p, x: xp.polyval(p, x), (VALUES, 1.5)),
    Example("polyval int", lambda xp, p: xp.polyval(p, 3), (np.array([1, 2, 3]),)),
    Example("polyval float32", lambda xp, p, x: xp.polyval(p, x), (VALUES, X.astype(np.float32)), 0),
    Example("polyadd", lambda xp, p, q: xp.polyadd(p, q), (VALUES, PLACES[:2])),
    Example("polysub", lambda xp, p, q: xp.polysub(p, q), (PLACES[:2], VALUES)),
    Example("polyder", lambda xp, p: xp.polyder(p, 2), (VALUES,)),
    Example("polyint", lambda xp, p: xp.polyint(p), (VALUES,)),
    Example("polyint constants", lambda xp, p, k: xp.polyint(p, 2, k), (VALUES, PLACES[:2])),
    Example("polyint one constant", lambda xp, p: xp.polyint(p, 2, 3.0), (VALUES,)),
    Example("poly", lambda xp, r: xp.poly(r), (VALUES,), digits=8),
    Example("poly of ints", lambda xp, r: xp.poly(r), (np.array([1, 2, 3]),)),
    Example("poly float32", lambda xp, r: xp.poly(r), (VALUES.astype(np.float32),), 0, digits=8),
    Example("poly complex", lambda xp, r: xp.poly(r), (VALUES * (1 + 2j),), digits=8),
    Example("packbits", lambda xp, x: xp.packbits(x), (X > 0,)),
    Example("packbits axis", lambda xp, x: xp.packbits(x, axis=0), (BYTES,)),
    Example("packbits little", lambda xp, x: xp.packbits(x, axis=-1, bitorder="little"), (np.arange(20) % 3,)),
    Example("packbits nothing", lambda xp, x: xp.packbits(x), (np.zeros(0, bool),), batch=False),
    Example("unpackbits", lambda xp, x: xp.unpackbits(x), (BYTES,)),
    Example("unpackbits axis", lambda xp, x: xp.unpackbits(x, axis=0, count=13), (BYTES,)),
    Example("unpackbits more", lambda xp, x: xp.unpackbits(x, count=60, bitorder="little"), (BYTES,)),
    Example("unpackbits less", lambda xp, x: xp.unpackbits(x, axis=1, count=-5), (BYTES,)),
    Example("i0", lambda xp, x: xp.i0(x), (X * 5,), digits=8),
    Example("i0 at 0", lambda xp, x: xp.i0(x), (np.zeros(2),), 0, digits=4),
    Example("i0 int", lambda xp, x: xp.i0(x), (np.arange(12),), digits=8),
    Example("i0 float32", lambda xp, x: xp.i0(x), (X.astype(np.float32),), 0, digits=8),
    Example("bartlett", lambda xp, x: x * xp.bartlett(4), (X,)),
    Example("kaiser", lambda xp, x: x * xp.kaiser(4, 2.5), (X,)),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


# -- what depends on values -----------------------------------------------------------------------------------------

POINTS = (PLACES, np.sin(3.0 * PLACES))
KNOWN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "polymul": (lambda xp, p, q: xp.polymul(p, q), (VALUES, PLACES[1:3])),
    "polymul of leading zeros": (lambda xp, p, q: xp.polymul(p, q), (PLACES, np.array([0.0, 0.0]))),
    "polydiv": (lambda xp, p, q: xp.polydiv(p, q), (VALUES, PLACES[1:3])),
    "polydiv exact": (lambda xp, p: xp.polydiv(p, [1.0, 1.0]), (np.array([1.0, 3.0, 2.0]),)),
    "polydiv by a longer one": (lambda xp, p, q: xp.polydiv(q, p), (VALUES, PLACES[1:3])),
    "roots": (lambda xp, p: xp.sort_complex(xp.roots(p)), (np.array([2.0, -1.0, 0.5, 3.0]),)),
    "roots at zero": (lambda xp, p: xp.sort_complex(xp.roots(p)), (np.array([0.0, 1.0, 1.0, 2.0, 0.0, 0.0]),)),
    "roots of a constant": (lambda xp, p: xp.roots(p), (np.array([3.0]),)),
    "roots of nothing": (lambda xp, p: xp.roots(p), (np.zeros(2),)),
    "poly of a matrix": (lambda xp, a: xp.poly(a), (X @ X.T,)),
    "poly of conjugate pairs": (lambda xp, a: xp.poly(a), (np.array([1 + 2j, 1 - 2j]),)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_values_that_are_known_while_tracing(name: str) -> None:
    f, args = KNOWN[name]
    expected = f(np, *args)
    same(f(fnp, *args), expected)
    for xp in (fnp, np):
        primal, _ = ft.jvp(functools.partial(f, xp), args, tuple(np.ones_like(a) for a in args))
        for ours, wanted in zip(ft.tree.leaves(primal), ft.tree.leaves(expected), strict=True):
            assert ours.shape == wanted.shape
            np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)


def test_zeros_stay_in_where_the_shape_must_be_known() -> None:
    p, q = VALUES, PLACES[1:3]
    product, (quotient, rest) = np.polymul(p, q), np.polydiv(p, q)
    np.testing.assert_allclose(ft.jit(lambda p, q: fnp.polymul(p, q, trim_leading_zeros=False))(p, q), product)
    divided = ft.jit(lambda p, q: fnp.polydiv(p, q, trim_leading_zeros=False))(p, q)
    np.testing.assert_allclose(divided[0], quotient)
    np.testing.assert_allclose(divided[1], [0.0, 0.0, 0.0, *rest], atol=1e-13)
    found = ft.jit(lambda p: fnp.roots(p, strip_zeros=False))(p)
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(np.roots(p)))
    for f in (lambda p: fnp.polymul(p, p), lambda p: fnp.polydiv(p, p), fnp.roots):
        with pytest.raises(errors.ConcretizationError, match="_zeros=False"):
            ft.jit(f)(p)


def test_derivatives_of_products_quotients_and_roots() -> None:
    p, q = VALUES, PLACES[1:3]
    check_grads(lambda p, q: fnp.polymul(p, q, trim_leading_zeros=False), (p, q), order=2)
    check_grads(lambda p, q: fnp.polydiv(p, q, trim_leading_zeros=False), (p, q), order=2)
    check_grads(lambda p: fnp.abs(fnp.roots(p, strip_zeros=False)), (np.array([1.0, -6.0, 11.0, -6.5]),), order=1)
    slope = ft.grad(lambda r: fnp.polyval(fnp.poly(r), 2.0))(np.array([1.0, 3.0]))
    np.testing.assert_allclose(slope, [1.0, -1.0])


# -- fits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"w": np.arange(1.0, 7.0)}, {"full": True}, {"cov": True}, {"cov": "unscaled"}, {"rcond": 1e-3}],
    ids=str,
)
@pytest.mark.parametrize("columns", [False, True])
def test_polyfit(options: dict[str, Any], columns: bool) -> None:
    x, y = POINTS
    y = np.stack([y, y**2], 1) if columns else y
    expected = np.polyfit(x, y, 2, **options)
    for found in (ft.jit(lambda x, y: fnp.polyfit(x, y, 2, **options))(x, y), fnp.polyfit(x, y, 2, **options)):
        for ours, wanted in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-10)
    if not options:
        check_grads(lambda x, y: fnp.polyfit(x, y, 2), (x, y), order=2)


def test_what_cannot_be_fitted() -> None:
    x, y = POINTS
    for call in (lambda x: fnp.polyfit(x, y[:3], 1), lambda x: fnp.polyfit(x, y, -1)):
        with pytest.raises(errors.ShapeError, match="polyfit"):
            ft.jit(call)(x)
    with pytest.raises(errors.ShapeError, match="weights"):
        ft.jit(lambda x: fnp.polyfit(x, y, 1, w=np.ones(2)))(x)
    with pytest.raises(ValueError, match="too few"):
        ft.jit(lambda x: fnp.polyfit(x, y, 5, cov=True))(x)


# -- windows and bits -------------------------------------------------------------------------------------------------


def test_a_window_is_differentiated_in_its_parameter() -> None:
    for count in (0, 1, 2, 7):
        np.testing.assert_allclose(ft.jit(lambda b, n=count: fnp.kaiser(n, b))(2.5), np.kaiser(count, 2.5), rtol=1e-14)
    check_grads(lambda beta: fnp.kaiser(6, beta), (2.5,), order=2)


def test_i0_has_a_slope_at_0_and_far_out() -> None:
    assert ft.grad(fnp.i0)(0.0) == 0.0
    assert ft.grad(ft.grad(fnp.i0))(0.0) == pytest.approx(0.5)
    assert np.isfinite(ft.jit(fnp.i0)(712.0))
    with pytest.raises(errors.DTypeError, match="i0"):
        ft.jit(fnp.i0)(1j)


def test_bits_that_are_none() -> None:
    with pytest.raises(errors.DTypeError, match="packbits"):
        ft.jit(fnp.packbits)(X)
    with pytest.raises(errors.DTypeError, match="uint8"):
        ft.jit(fnp.unpackbits)(np.arange(3))
    with pytest.raises(ValueError, match="bitorder"):
        ft.jit(lambda x: fnp.packbits(x, bitorder="middle"))(BYTES)
    with pytest.raises(ValueError, match="count=-49"):
        ft.jit(lambda x: fnp.unpackbits(x, count=-49))(BYTES)
