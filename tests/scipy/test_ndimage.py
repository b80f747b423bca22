"""functrans.scipy.ndimage against SciPy, by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import functrans as ft
import functrans.scipy.ndimage as ours
from functrans import errors
from tests.scipy.agreement import Use, check_use

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 5))
VECTOR = RNG.normal(size=9)
AT = np.array([[0.3, 1.6, 2.2, 3.9, -0.7], [3.3, 0.2, 1.7, 4.4, 2.1]])
FAR = RNG.uniform(-12, 20, size=(1, 30))
W, W1 = RNG.normal(size=(2, 3)), RNG.normal(size=4)
MATRIX = np.array([[0.8, 0.3], [-0.2, 1.1]])
MODES = ("constant", "grid-constant", "nearest", "mirror", "reflect", "grid-mirror", "wrap", "grid-wrap")

INTERPOLATION = [
    *[
        Use(
            f"map_coordinates {k} {m}",
            lambda xp, x, c, k=k, m=m: xp.map_coordinates(x, c, order=k, mode=m, cval=1.5),
            (VECTOR, FAR),
            0,
            400,
        )
        for k in range(6)
        for m in MODES
    ],
    *[
        Use(
            f"map_coordinates of order {k}",
            lambda xp, x, c, k=k: xp.map_coordinates(x, c, order=k, mode="reflect"),
            (X, AT),
            2 if k == 3 else 1,
            400,
        )
        for k in range(6)
    ],
    Use(
        "map_coordinates unfiltered",
        lambda xp, x, c: xp.map_coordinates(x, c, prefilter=False, mode="nearest"),
        (X, AT),
        1,
        400,
    ),
    *[
        Use(
            f"map_coordinates {t}",
            lambda xp, x: xp.map_coordinates(x, AT, order=1, mode="wrap"),
            ((20 * X).astype(t),),
            0,
            400,
        )
        for t in ("int8", "uint16", "float32", "complex64")
    ],
    Use(
        "map_coordinates to int", lambda xp, x: xp.map_coordinates(x, AT, np.int16, order=1, mode="wrap"), (20 * X,), 0
    ),
    Use("map_coordinates of one", lambda xp, x: xp.map_coordinates(x, FAR, mode="mirror"), (VECTOR[:1],), 0),
    *[
        Use(f"spline_filter {k}", lambda xp, x, k=k: xp.spline_filter(x, k), (X,), 1 if k == 3 else 0, 400)
        for k in (2, 3, 4, 5)
    ],
    *[Use(f"spline_filter1d {m}", lambda xp, x, m=m: xp.spline_filter1d(x, 3, 0, mode=m), (X,), 0, 400) for m in MODES],
    *[
        Use(
            f"shift {k}",
            lambda xp, x, s, k=k: xp.shift(x, s, order=k, mode="nearest"),
            (X, np.array([0.7, -1.2])),
            1,
            400,
        )
        for k in (1, 3)
    ],
    Use("shift of all axes", lambda xp, x: xp.shift(x, 0.4, cval=2.0), (X,), 0, 400),
    Use("zoom", lambda xp, x: xp.zoom(x, (1.6, 0.7), order=2), (X,), 1, 400),
    Use("zoom on a grid", lambda xp, x: xp.zoom(x, 2, mode="grid-constant", grid_mode=True), (X,), 0, 400),
    Use("zoom by one", lambda xp, x: xp.zoom(x, 1), (X,), 0),
    Use(
        "affine_transform",
        lambda xp, x, m, b: xp.affine_transform(x, m, b, order=3, mode="mirror"),
        (X, MATRIX, np.array([0.4, -0.3])),
        1,
        4000,
        (0,),
    ),
    Use(
        "affine_transform diagonal",
        lambda xp, x: xp.affine_transform(x, [0.7, 1.2], 0.3, (3, 6), order=1),
        (X,),
        0,
        400,
    ),
    Use(
        "affine_transform homogeneous",
        lambda xp, x: xp.affine_transform(x, [[0.7, 0.1, 0.3], [0.2, 1, 0], [0, 0, 1]]),
        (X,),
        0,
        400,
    ),
    *[Use(f"rotate {a}", lambda xp, x, a=a: xp.rotate(x, a, order=1), (X,), 0, 400) for a in (90, -33.0, 180)],
    Use(
        "rotate in place",
        lambda xp, x, a: xp.rotate(x, a, reshape=False, mode="nearest"),
        (X, np.float64(20.0)),
        1,
        4000,
    ),
    Use("rotate planes", lambda xp, x: xp.rotate(x, 30, (0, 2), order=1), (RNG.normal(size=(3, 2, 4)),), 0, 400),
]

FILTERS = [
    *[
        Use(
            f"{f} {m}",
            lambda xp, x, w, f=f, m=m: getattr(xp, f)(x, w, mode=m, cval=0.5),
            (X, W),
            1 if m == "reflect" else 0,
            64,
        )
        for f in ("correlate", "convolve")
        for m in MODES
    ],
    *[
        Use(f"{f} origin", lambda xp, x, w, f=f: getattr(xp, f)(x, w, origin=(-1, 1)), (X, W), 0, 64)
        for f in ("correlate", "convolve")
    ],
    *[
        Use(f"{f}1d", lambda xp, x, w, f=f: getattr(xp, f + "1d")(x, w, 0, origin=-1), (X, W1), 1, 64)
        for f in ("correlate", "convolve")
    ],
    *[
        Use(f"{f} complex", lambda xp, x, w, f=f: getattr(xp, f)(x, w), (X, W + 1j), 0, 64)
        for f in ("correlate", "convolve")
    ],
    *[
        Use(f"correlate {t}", lambda xp, x: xp.correlate(x, W), ((20 * X).astype(t),), 0, 64)
        for t in ("int16", "float32", "complex64")
    ],
    *[
        Use(
            f"uniform_filter {m}",
            lambda xp, x, m=m: xp.uniform_filter(x, (3, 2), mode=m),
            (X,),
            1 if m == "wrap" else 0,
            64,
        )
        for m in MODES
    ],
    Use("uniform_filter1d", lambda xp, x: xp.uniform_filter1d(x, 4, 0, origin=1), (X,), 0, 64),
    Use("uniform_filter int", lambda xp, x: xp.uniform_filter(x), ((50 * X).astype(int),), 0),
    *[
        Use(f"gaussian_filter {k}", lambda xp, x, k=k: xp.gaussian_filter(x, 0.8, k), (X,), 1 if k == 1 else 0, 64)
        for k in range(4)
    ],
    Use("gaussian_filter sigma", lambda xp, x, s: xp.gaussian_filter(x, s, (1, 0), radius=2), (X, 0.8), 1, 64),
    Use("gaussian_filter axes", lambda xp, x: xp.gaussian_filter(x, (0.5, 1.0), mode=("wrap", "nearest")), (X,), 0, 64),
    Use("gaussian_filter uint8", lambda xp, x: xp.gaussian_filter(x, 1.0), ((40 * np.abs(X)).astype(np.uint8),), 0),
    *[Use(f, lambda xp, x, f=f: getattr(xp, f)(x), (X,), 1, 64) for f in ("sobel", "prewitt", "laplace")],
    Use("sobel uint8", lambda xp, x: xp.sobel(x, 0), ((40 * np.abs(X)).astype(np.uint8),), 0),
    Use("gaussian_laplace", lambda xp, x: xp.gaussian_laplace(x, 0.7), (X,), 0, 64),
    Use("gaussian_gradient_magnitude", lambda xp, x: xp.gaussian_gradient_magnitude(x, 0.7), (X,), 1, 64),
    *[
        Use(f, lambda xp, x, f=f: getattr(xp, f)(x, (2, 3), origin=(0, 1)), (X,), 1)
        for f in ("maximum_filter", "minimum_filter")
    ],
]


@pytest.mark.parametrize("use", [*INTERPOLATION, *FILTERS], ids=lambda u: u.name)
def test_agrees_with_scipy(use: Use) -> None:
    check_use(use, scipy.ndimage, ours)


def test_few_and_many_elements_of_a_reflected_spline() -> None:
    for n in (2, 5, 24, 25, 60):
        x = RNG.normal(size=n)
        for order in (2, 3, 4, 5):
            found = ft.jit(lambda x, k=order: ours.spline_filter1d(x, k, mode="reflect"))(x)
            np.testing.assert_allclose(
                found, scipy.ndimage.spline_filter1d(x, order, mode="reflect"), rtol=1e-12, atol=1e-12
            )


def test_empty_images() -> None:
    empty = np.zeros((0, 3), np.float32)
    for f in (lambda x: ours.gaussian_filter(x, 1.0), ours.uniform_filter, lambda x: ours.correlate(x, W)):
        out = ft.jit(f)(empty)
        assert (out.shape, out.dtype) == ((0, 3), np.float32)


def test_sequences_of_traced_coordinates() -> None:
    f = lambda r: ours.map_coordinates(X, [r, np.ones(2)], order=1)
    np.testing.assert_allclose(
        ft.jit(f)(np.array([0.5, 1.5])), scipy.ndimage.map_coordinates(X, [[0.5, 1.5], [1, 1]], order=1)
    )


def test_linear_interpolation_has_the_slope_to_the_right_at_a_pixel() -> None:
    ramp = np.array([0.0, 1.0, 4.0])
    assert ft.grad(lambda c: ours.map_coordinates(ramp, c[None], order=1)[0])(np.array([1.0])) == [3.0]
    assert ft.grad(lambda c: ours.map_coordinates(ramp, c[None], order=0)[0])(np.array([1.2])) == [0.0]


def test_the_gradient_magnitude_of_a_flat_image_has_slope_zero() -> None:
    g = ft.grad(lambda x: np.sum(ours.gaussian_gradient_magnitude(x, 1.0)))(np.zeros((4, 4)))
    np.testing.assert_array_equal(g, np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: ours.map_coordinates(x, AT, order=6), errors.ArgumentError, "order must be an integer from 0 to 5"),
        (lambda x: ours.map_coordinates(x, AT, mode="edge"), errors.ArgumentError, "mode must be one of"),
        (lambda x: ours.map_coordinates(x, AT[:1]), errors.ShapeError, r"must have shape \(2, \.\.\.\)"),
        (lambda x: ours.map_coordinates(x, AT + 1j), errors.DTypeError, "must be real"),
        (lambda x: ours.map_coordinates(x, AT, np.zeros(5)), errors.DetachedWriteError, "out="),
        (lambda x: ours.shift(x, [1.0, 2.0, 3.0]), errors.ShapeError, "shift must be a number or 2"),
        (lambda x: ours.zoom(x, x[0, 0]), errors.ConcretizationError, "Resize to a fixed shape"),
        (lambda x: ours.rotate(x, x[0, 0]), errors.ConcretizationError, "Pass reshape=False"),
        (lambda x: ours.rotate(x, 20.0, (1, 1)), errors.ShapeError, "two different axes"),
        (lambda x: ours.affine_transform(x, np.eye(4)), errors.ShapeError, "a matrix of shape"),
        (lambda x: ours.spline_filter(x, 1), errors.ArgumentError, "a spline of order 1"),
        (lambda x: ours.correlate(x, W[0]), errors.ShapeError, "weights must have 2 axes"),
        (lambda x: ours.correlate(x, W, origin=5), errors.ArgumentError, "origin=5 lies outside"),
        (lambda x: ours.correlate(x, W, mode="edge"), errors.ArgumentError, "mode must be one of"),
        (lambda x: ours.gaussian_filter(x, x[0, 0]), errors.ConcretizationError, "Pass radius"),
        (lambda x: ours.gaussian_filter(x, [1.0, 2.0, 3.0]), errors.ArgumentError, "for each of 2 axes"),
        (lambda x: ours.uniform_filter1d(x, 0), errors.ArgumentError, "size must be positive"),
        (lambda x: ours.maximum_filter(x, footprint=W), errors.ArgumentError, "footprint"),
        (lambda x: ours.maximum_filter(x + 1j, 3), errors.DTypeError, "complex numbers have no order"),
        (lambda x: ours.laplace(x[0, 0]), errors.ShapeError, "an axis or more"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)
