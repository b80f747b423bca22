"""functrans.scipy.interpolate against SciPy: values in and out of range, derivatives in data and places, pytrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate

import functrans as ft
import functrans.scipy.interpolate as ours
from functrans import errors
from tests.scipy.agreement import Use, check_use

X = np.array([0.1, 0.9, 1.4, 2.6, 3.1, 4.0])
Y = np.array([0.5, 2.0, 1.0, 1.5, 3.5, 2.5])
WIDE = np.stack([Y, Y[::-1], np.cos(Y)])
AT = np.array([[-0.4, 0.55, 1.1], [2.0, 3.7, 4.3]])
GRID = (np.array([0.0, 0.7, 1.0, 2.2]), np.array([0.0, 1.1, 1.5, 2.0]))
VALUES = np.random.default_rng(0).normal(size=(4, 4, 2))
PLACES = np.array([[0.3, 1.2], [1.63, 0.4], [2.0, 1.9]])
OUT = np.concatenate([PLACES, [[-0.5, 1.0], [1.03, 2.5]]])

USES = [
    *[
        Use(
            f"CubicSpline {bc}",
            lambda xp, x, y, a, bc=bc: xp.CubicSpline(x, y, bc_type=bc)(a),
            (X, Y, AT),
            1,
            400,
            (1, 2),
        )
        for bc in ("not-a-knot", "natural", "clamped", ((1, 0.5), (2, -1.0)))
    ],
    Use("CubicSpline of second order", lambda xp, y, a: xp.CubicSpline(X, y)(a), (Y, AT), 2, 400),
    Use("CubicSpline axis", lambda xp, y: xp.CubicSpline(X, y, axis=1)(AT), (WIDE,), 1, 400),
    Use("CubicSpline slope", lambda xp, y, a: xp.CubicSpline(X, y)(a, 1), (Y, AT), 1, 400),
    Use("CubicSpline integral", lambda xp, y: xp.CubicSpline(X, y).integrate(0.3, 3.3), (Y,), 1, 400),
    Use("CubicSpline of two", lambda xp, y: xp.CubicSpline(X[:2], y)(AT), (Y[:2],), 1, 100),
    Use("CubicSpline of three", lambda xp, y: xp.CubicSpline(X[:3], y)(AT), (Y[:3],), 1, 100),
    Use(
        "periodic",
        lambda xp, y: xp.CubicSpline(X, y - (y - Y) * (X == 4.0) - (Y[5] - y[0]) * (X == 4.0), bc_type="periodic")(AT),
        (Y,),
        1,
        400,
        (),
    ),
    Use("CubicHermiteSpline", lambda xp, y, s: xp.CubicHermiteSpline(X, y, s)(AT), (Y, Y[::-1].copy()), 1, 100),
    Use("PchipInterpolator", lambda xp, x, y, a: xp.PchipInterpolator(x, y)(a), (X, Y, AT), 1, 400, (1, 2)),
    Use("PchipInterpolator of two", lambda xp, y: xp.PchipInterpolator(X[:2], y)(AT), (Y[:2],), 1, 100),
    *[
        Use(
            f"Akima {m}",
            lambda xp, x, y, m=m: xp.Akima1DInterpolator(x, y, method=m, extrapolate=True)(AT),
            (X, Y),
            1,
            400,
            (1,),
        )
        for m in ("akima", "makima")
    ],
    *[
        Use(
            f"make_interp_spline {k}",
            lambda xp, x, y, a, k=k: xp.make_interp_spline(x, y, k)(a),
            (X, Y, AT),
            1,
            4000,
            (1, 2),
        )
        for k in (0, 1, 2, 3, 5)
    ],
    Use("make_interp_spline natural", lambda xp, y: xp.make_interp_spline(X, y, bc_type="natural")(AT), (Y,), 1, 4000),
    Use(
        "make_interp_spline ends",
        lambda xp, y: xp.make_interp_spline(X, y, bc_type=([(1, 0.3)], [(2, 0.1)]))(AT),
        (Y,),
        1,
        4000,
    ),
    Use("BSpline slope", lambda xp, y, a: xp.make_interp_spline(X, y).derivative()(a), (Y, AT), 1, 4000),
    Use("BSpline integral", lambda xp, y: xp.make_interp_spline(X, y).integrate(0.5, 2.0), (Y,), 1, 4000),
    Use(
        "BSpline antiderivative", lambda xp, y, a: xp.make_interp_spline(X, y, 2).antiderivative()(a), (Y, AT), 1, 4000
    ),
    *[
        Use(
            f"interp1d {k}",
            lambda xp, y, a, k=k: xp.interp1d(X, y, k, fill_value="extrapolate")(a),
            (Y, AT[0, 1:]),
            1,
            4000,
        )
        for k in ("linear", "nearest", "nearest-up", "zero", "slinear", "quadratic", "cubic", "previous", "next")
    ],
    Use("interp1d sides", lambda xp, y: xp.interp1d(X, y, bounds_error=False, fill_value=(1.0, 2.0))(AT), (WIDE,), 1),
    Use("interp1d unsorted", lambda xp, x, y: xp.interp1d(x[::-1], y[..., ::-1])(1.7), (X, Y), 1, 100, (1,)),
    *[
        Use(
            f"grid {m} {f}",
            lambda xp, v, a, m=m, f=f: xp.RegularGridInterpolator(GRID, v, m, False, f)(a),
            (VALUES, OUT),
            1,
            4000,
        )
        for m in ("linear", "nearest")
        for f in (None, 3.0)
    ],
    Use("grid of second order", lambda xp, v, a: xp.RegularGridInterpolator(GRID, v)(a), (VALUES, PLACES), 2, 100),
    Use(
        "grid in one dimension",
        lambda xp, v: xp.RegularGridInterpolator(GRID[:1], v)([0.5, 1.5]),
        (VALUES[:, 0, 0],),
        1,
    ),
    Use(
        "grid at tuples",
        lambda xp, v: xp.RegularGridInterpolator(GRID, v)((np.array([[0.5], [1.0]]), 1.5)),
        (VALUES,),
        1,
    ),
    Use(
        "grid descending",
        lambda xp, v: xp.RegularGridInterpolator((GRID[0][::-1], GRID[1]), v)(PLACES),
        (VALUES,),
        1,
        100,
    ),
    Use("interpn", lambda xp, v, a: xp.interpn(GRID, v, a), (VALUES, PLACES), 1, 100),
]


@pytest.mark.parametrize("use", USES, ids=lambda u: u.name)
def test_agrees_with_scipy(use: Use) -> None:
    check_use(use, scipy.interpolate, ours)


def test_derivatives_in_the_grid() -> None:
    f = lambda p: ours.RegularGridInterpolator((p, GRID[1]), VALUES[..., 0])(PLACES)
    ft.test_util.check_grads(f, (GRID[0],), order=1)


def test_splines_on_a_grid() -> None:
    # SciPy solves for the coefficients iteratively unless it is given another solver; ours are exact.
    from scipy.sparse.linalg import spsolve

    for fill in (None, 3.0):
        theirs = scipy.interpolate.RegularGridInterpolator(GRID, VALUES, "cubic", False, fill, solver=spsolve)
        f = lambda v, a, fill=fill: ours.RegularGridInterpolator(GRID, v, "cubic", False, fill)(a)
        np.testing.assert_allclose(ft.jit(f)(VALUES, OUT), theirs(OUT), rtol=1e-10)
        ft.test_util.check_grads(f, (VALUES, OUT), order=1)


def test_interpolators_are_pytrees() -> None:
    for f in (
        ours.CubicSpline(X, Y),
        ours.make_interp_spline(X, Y),
        ours.interp1d(X, Y, "cubic", fill_value="extrapolate"),
        ours.RegularGridInterpolator((X,), Y, "cubic", False, None),
    ):
        expected = f(AT[0])
        np.testing.assert_allclose(ft.jit(lambda f, a: f(a))(f, AT[0]), expected, rtol=1e-13)
        np.testing.assert_allclose(ft.jit(f)(AT[0]), expected, rtol=1e-13)
        assert type(ft.grad(lambda f: np.sum(f(AT[0])))(f)) is type(f)


def test_piecewise_polynomials() -> None:
    c = np.random.default_rng(1).normal(size=(3, 5, 2))
    theirs, p = scipy.interpolate.PPoly(c, X), ours.PPoly(c, X)
    for a, b in (
        (theirs(AT), p(AT)),
        (theirs(AT, 1), p(AT, 1)),
        (theirs(AT, 3), p(AT, 3)),
        (theirs.derivative(2)(AT), p.derivative(2)(AT)),
        (theirs.antiderivative(2)(AT), p.antiderivative(2)(AT)),
        (theirs(AT, extrapolate=False), p(AT, extrapolate=False)),
        (theirs(AT, extrapolate="periodic"), p(AT, extrapolate="periodic")),
        (theirs([np.nan]), p([np.nan])),
    ):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)
    ft.test_util.check_grads(lambda c, x: ours.PPoly(c, x)(AT), (c, X), order=2)


def test_places_out_of_bounds_raise_where_they_are_known() -> None:
    f = ours.RegularGridInterpolator((X,), Y)
    with pytest.raises(ValueError, match="out of bounds in dimension 0"):
        f([5.0])
    with pytest.raises(ValueError, match="out of bounds"):
        ft.grad(lambda a: f([a])[0])(5.0)
    assert np.isnan(ft.jit(lambda a: f(a))(np.array([5.0])))
    with pytest.raises(ValueError, match="above the range"):
        ours.interp1d(X, Y)(5.0)


def test_the_linear_slope_at_a_grid_point_is_that_to_the_right() -> None:
    f = ours.RegularGridInterpolator((np.arange(3.0),), np.array([0.0, 1.0, 5.0]))
    assert ft.grad(lambda a: f(a)[0])(np.array([1.0])) == [4.0]


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda: ours.CubicSpline(X[::-1], Y), errors.ArgumentError, "increase strictly"),
        (lambda: ours.CubicSpline(X, Y[:3]), errors.ShapeError, "6 places for 3 values"),
        (lambda: ours.CubicSpline(X, Y, bc_type="free"), errors.ArgumentError, "bc_type must be"),
        (lambda: ours.CubicSpline(X, Y, bc_type=((3, 0.0), "natural")), errors.ArgumentError, "order of an end"),
        (lambda: ours.PchipInterpolator(X[:1], Y[:1]), errors.ShapeError, "2 places or more"),
        (lambda: ours.Akima1DInterpolator(X, Y, method="b"), errors.ArgumentError, "method must be"),
        (lambda: ours.make_interp_spline(X[:3], Y[:3]), errors.ShapeError, "4 places or more"),
        (lambda: ours.make_interp_spline(X, Y, bc_type="periodic"), errors.ArgumentError, "CubicSpline"),
        (lambda: ours.make_interp_spline(X, Y, t=np.arange(11.0)), errors.ArgumentError, "1 derivatives at the ends"),
        (lambda: ours.BSpline(X, Y, 3), errors.ShapeError, "8 knots or more"),
        (lambda: ours.CubicSpline(X, Y)(0.5, -1), errors.ArgumentError, "nu must not be negative"),
        (lambda: ours.PPoly(np.ones((2, 3)), X), errors.ShapeError, "3 pieces for 6 breakpoints"),
        (lambda: ours.interp1d(X, Y, "spline"), errors.ArgumentError, "kind must be"),
        (lambda: ours.interp1d(X, Y, fill_value="nan"), errors.ArgumentError, "fill_value must be"),
        (lambda: ours.RegularGridInterpolator((X, X), Y), errors.ShapeError, "2 vectors of points"),
        (lambda: ours.RegularGridInterpolator((X,), Y[:3]), errors.ShapeError, "6 places for 3 values"),
        (lambda: ours.RegularGridInterpolator((X,), Y, "pchip"), errors.ArgumentError, "method must be one of"),
        (lambda: ours.RegularGridInterpolator((X[[0, 2, 1]],), Y[:3]), errors.ArgumentError, "increase or decrease"),
        (lambda: ours.RegularGridInterpolator((X,), Y)(np.ones((2, 3))), errors.ShapeError, "3 coordinates"),
        (lambda: ours.RegularGridInterpolator((X,), Y, fill_value=1j), errors.DTypeError, "fill_value of dtype"),
        (lambda: ours.RegularGridInterpolator((X[:3],), Y[:3], "cubic"), errors.ShapeError, "4 places or more"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f()
