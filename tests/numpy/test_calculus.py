from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_example

X = np.array([[0.3, -1.7, 2.4, 0.9], [1.25, 3.1, -0.75, 0.2]])
INT = np.array([[7, -3, 2, 9], [15, 25, -35, 0]])
C = X + 1j * X[::-1]
S = np.float64(1.3)
PLACES = np.array([0.0, 0.4, 1.1, 1.3])
VALUES = np.array([2.0, -1.0, 0.5, 3.0])
AT = np.array([[-0.5, 0.1, 0.75], [1.2, 2.5, 0.3]])
PHASES = np.array([0.0, 1.0, 5.5, 0.2, -6.5, 3.0])

EXAMPLES = [
    Example("diff", lambda xp, x: xp.diff(x), (X,)),
    Example("diff 2", lambda xp, x: xp.diff(x, 2, axis=0), (X.T,)),
    Example("diff 0", lambda xp, x: xp.diff(x, 0), (X,)),
    Example("diff ends", lambda xp, x, y: xp.diff(x, prepend=0.0, append=y), (X, X[:, :1])),
    Example("diff int", lambda xp, x: xp.diff(x), (INT,)),
    Example("diff booleans", lambda xp, x: xp.diff(x), (X > 0,)),
    Example("ediff1d", lambda xp, x: xp.ediff1d(x), (X,)),
    Example("ediff1d ends", lambda xp, x, y: xp.ediff1d(x, to_end=y, to_begin=[1, 2]), (X, S)),
    Example("gradient", lambda xp, x: xp.gradient(x), (X,)),
    Example("gradient axis", lambda xp, x: xp.gradient(x, axis=1), (X,)),
    Example("gradient axes", lambda xp, x: xp.gradient(x, 2.0, PLACES, axis=(0, 1)), (X,), digits=1),
    Example("gradient spacing", lambda xp, x, h: xp.gradient(x, h, axis=-1), (X, S)),
    Example("gradient spacings", lambda xp, x, h: xp.gradient(x, h, 2.0), (X, S)),
    Example("gradient places", lambda xp, x, p: xp.gradient(x, p, axis=1), (X, PLACES), digits=1),
    Example("gradient even places", lambda xp, x: xp.gradient(x, np.arange(4.0), axis=1), (X,)),
    Example("gradient edge 2", lambda xp, x: xp.gradient(x, axis=1, edge_order=2), (X,)),
    Example("gradient edge 2 places", lambda xp, x, p: xp.gradient(x, p, axis=1, edge_order=2), (X, PLACES), digits=1),
    Example("gradient int", lambda xp, x: xp.gradient(x), (INT,)),
    Example("gradient complex", lambda xp, x: xp.gradient(x, axis=1), (C,)),
    Example("gradient float32", lambda xp, x: xp.gradient(x, S), (X.astype(np.float32),), 0),
    Example("trapezoid", lambda xp, x: xp.trapezoid(x), (X,)),
    Example("trapezoid dx", lambda xp, x, h: xp.trapezoid(x, dx=h, axis=0), (X, S)),
    Example("trapezoid places", lambda xp, x, p: xp.trapezoid(x, p), (X, PLACES)),
    Example("trapezoid all places", lambda xp, x, p: xp.trapezoid(x, p), (X, np.sort(X))),
    Example("trapezoid of a vector", lambda xp, x: xp.trapezoid(x), (X[0],)),
    Example("interp", lambda xp, x, p, v: xp.interp(x, p, v), (AT, PLACES, VALUES), batch=False),
    Example("interp of one", lambda xp, x, v: xp.interp(x, PLACES, v), (np.float64(0.75), VALUES)),
    Example("interp at samples", lambda xp, v: xp.interp(PLACES, PLACES, v), (VALUES,)),
    Example("interp sides", lambda xp, x, v: xp.interp(x, PLACES, v, left=-1.0, right=7.0), (AT, VALUES)),
    Example("interp one sample", lambda xp, x, v: xp.interp(x, [0.5], v, left=1.0), (AT, VALUES[:1])),
    Example("interp period", lambda xp, x, v: xp.interp(x, [0.15, 1.4, 0.7, 3.3], v, period=2.0), (AT, VALUES)),
    Example("interp complex", lambda xp, x, v: xp.interp(x, PLACES, v), (AT, VALUES * (1 + 1j)), digits=1),
    Example("interp int", lambda xp, x: xp.interp(x, [0, 10], [0, 5]), (INT,)),
    Example("unwrap", lambda xp, x: xp.unwrap(x), (PHASES,)),
    Example("unwrap discont", lambda xp, x: xp.unwrap(x, 4.0), (PHASES,)),
    Example("unwrap axis", lambda xp, x: xp.unwrap(x, axis=0), (PHASES.reshape(3, 2),)),
    Example("unwrap period", lambda xp, x: xp.unwrap(x, period=4), (PHASES,)),
    Example("unwrap int", lambda xp, x: xp.unwrap(x, period=4), (np.array([0, 1, 2, 5, 7, 1]),)),
    Example("unwrap half", lambda xp, x: xp.unwrap(x, period=4.0), (np.array([0.0, 2.0, 0.0, 1.0]),), 0),
    *[
        Example(f"{f} {mode} {n}", lambda xp, x, y, f=f, m=mode: getattr(xp, f)(x, y, m), (x, y), digits=4)
        for f in ("convolve", "correlate")
        for mode in ("full", "same", "valid")
        for n, x, y in (
            ("short", VALUES, PLACES[:3]),
            ("even", VALUES, PLACES[:2]),
            ("long", PLACES[:2], X.ravel()),
            ("complex", C[0], C[1, :2]),
            ("longer complex", C[1, :2], C[0]),
            ("int", INT[0], INT[1, :3]),
        )
    ],
    Example("convolve numbers", lambda xp, x: xp.convolve(x, x), (1.5,)),
    Example("cov", lambda xp, x: xp.cov(x), (X,), digits=4),
    Example("cov of two", lambda xp, x, y: xp.cov(x, y), (X[0], X[1]), digits=4),
    Example("cov columns", lambda xp, x: xp.cov(x, rowvar=False, bias=True), (X,), digits=4),
    Example("cov ddof", lambda xp, x: xp.cov(x, ddof=2), (X,), digits=4),
    Example("cov weights", lambda xp, x, w: xp.cov(x, aweights=w), (X, np.abs(VALUES)), digits=8),
    Example("cov frequencies", lambda xp, x: xp.cov(x, fweights=[1, 2, 3, 1]), (X,), digits=8),
    Example("cov both", lambda xp, x, w: xp.cov(x, fweights=[1, 2, 3, 1], aweights=w), (X, np.abs(VALUES)), digits=8),
    Example("cov of a vector", lambda xp, x: xp.cov(x), (VALUES,), digits=4),
    Example("cov complex", lambda xp, x: xp.cov(x), (C,), digits=4),
    Example("corrcoef", lambda xp, x: xp.corrcoef(x), (X[:, :3],), 1, digits=8),
    Example("corrcoef of two", lambda xp, x, y: xp.corrcoef(x, y)[0, 1], (X[0], X[1]), digits=8),
    Example("corrcoef of a vector", lambda xp, x: xp.corrcoef(x), (VALUES,), 0),
    Example("corrcoef complex", lambda xp, x: xp.corrcoef(x)[0, 1], (C,), digits=8),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_calculus(example: Example) -> None:
    check_example(example)


def test_interp_beside_infinite_samples() -> None:
    x = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, np.nan])

    def f(x: object) -> object:
        return fnp.interp(x, [0.0, 1.0, 2.0, 3.0], [np.inf, np.inf, 1.0, -np.inf])

    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ft.jit(f)(x), f(x))


def test_interp_has_the_slope_to_the_right_at_a_sample_and_none_outside() -> None:
    slope = ft.elementwise_grad(lambda x: fnp.interp(x, [0.0, 1.0, 3.0], [0.0, 2.0, 4.0]))
    np.testing.assert_array_equal(slope(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])), [0, 2, 2, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: fnp.diff(x, -1), errors.ArgumentError, "the order must not be negative"),
        (lambda x: fnp.diff(x[0, 0]), errors.ShapeError, "an axis or more"),
        (lambda x: fnp.gradient(x, [1.0, 2.0], axis=1), errors.ShapeError, "along axis 1 must be 4 numbers"),
        (lambda x: fnp.gradient(x, 1.0, 2.0, 3.0), errors.ArgumentError, "3 spacings were given for 2 axes"),
        (lambda x: fnp.gradient(x[:1], axis=0), errors.ShapeError, "2 samples are needed"),
        (lambda x: fnp.gradient(x, edge_order=3), errors.ArgumentError, "edge_order must be 1 or 2"),
        (lambda x: fnp.interp(x, [0.0, 1.0], [1.0]), errors.ShapeError, "vectors of one length"),
        (lambda x: fnp.convolve(x, x), errors.ShapeError, "vectors with an element or more"),
        (lambda x: fnp.convolve(x[0], x[1], "both"), errors.ArgumentError, "mode must be"),
        (lambda x: fnp.cov(x, aweights=[1.0]), errors.ShapeError, "4 weights are needed"),
        (lambda x: fnp.ediff1d(x, to_end=1j), errors.DTypeError, "to_end of type"),
        (lambda x: fnp.polyint(x[0], 3, [1.0, 2.0]), errors.ShapeError, "3 constants are needed"),
    ],
)
def test_errors(f: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)


def test_covariance_without_degrees_of_freedom_warns() -> None:
    with pytest.warns(RuntimeWarning, match="degrees of freedom"), np.errstate(all="ignore"):
        assert np.isnan(ft.jit(fnp.cov)(np.ones(1)))
