"""functrans.numpy.fft against NumPy, with derivatives and batching, by table."""

from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_example

X = np.array([[0.3, -1.7, 2.4, 0.9], [1.25, 3.1, -0.75, 0.2], [0.6, -0.4, 1.5, -2.2]])
Z = X + 1j * X[::-1]
INT = np.array([[7, -3, 2], [15, 25, -35]])
HALF = X.astype(np.float16)

ONE_AXIS = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
REAL = ("rfft", "ihfft", "rfftn", "rfft2")


def _of(name: str) -> np.ndarray:
    return X if name in REAL else Z


EXAMPLES = [
    *[Example(f, lambda xp, x, f=f: getattr(xp.fft, f)(x), (_of(f),)) for f in ONE_AXIS],
    *[
        Example(
            f"{f} {n} {norm}", lambda xp, x, f=f, n=n, norm=norm: getattr(xp.fft, f)(x, n, 0, norm), (_of(f),), order=1
        )
        for f in ONE_AXIS
        for n, norm in ((2, "ortho"), (5, "forward"), (1, "backward"))
    ],
    *[
        Example(f"{f} {t}", lambda xp, x, f=f: getattr(xp.fft, f)(x, norm="ortho"), (_of(f).astype(t),), order=0)
        for f in ONE_AXIS
        for t in ("complex64" if f not in REAL else "float32",)
    ],
    *[
        Example(f"{f} {x.dtype}", lambda xp, x, f=f: getattr(xp.fft, f)(x), (x,), order=0)
        for f in ONE_AXIS
        for x in (INT, INT > 0)
    ],
    *[
        Example(
            f"{f} half {norm}",
            lambda xp, x, f=f, norm=norm: getattr(xp.fft, f)(x, 3, norm=norm),
            (HALF,),
            order=0,
            batch=False,
            digits=1,
        )
        for f in ONE_AXIS
        for norm in ("backward", "ortho", "forward")
    ],
    *[
        Example(f"{f} half", lambda xp, x, f=f: getattr(xp.fft, f)(x, norm="ortho"), (HALF,), order=0, digits=2)
        for f in ("fftn", "ifftn", "rfftn", "irfftn")
    ],
    Example("fft of reals", lambda xp, x: xp.fft.fft(x), (X,)),
    Example("irfft of reals", lambda xp, x: xp.fft.irfft(x), (X,)),
    Example("hfft of reals", lambda xp, x: xp.fft.hfft(x, 5), (X,)),
    *[
        Example(f"{f}", lambda xp, x, f=f: getattr(xp.fft, f)(x), (_of(f),), order=1)
        for f in ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
    ],
    *[
        Example(
            f"{f} sizes",
            lambda xp, x, f=f: getattr(xp.fft, f)(x, (5, 2), (1, 0), "ortho"),
            (_of(f),),
            order=1,
        )
        for f in ("fftn", "ifftn", "rfftn", "irfftn")
    ],
    *[
        Example(f"{f} axes", lambda xp, x, f=f: getattr(xp.fft, f)(x, axes=(-1,)), (_of(f),), order=1)
        for f in ("fftn", "rfftn", "irfft2")
    ],
    *[
        Example(f"{f} an axis again", lambda xp, x, f=f: getattr(xp.fft, f)(x, axes=(0, 1, 0)), (_of(f),), order=1)
        for f in ("fftn", "rfftn", "irfftn")
    ],
    Example("fftn whole axes", lambda xp, x: xp.fft.fftn(x, (-1, 2), (0, 1)), (Z,), order=0),
    Example("fftn no axes", lambda xp, x: xp.fft.fftn(x, axes=()), (X,), order=0),
    Example("fft of no rows", lambda xp, x: xp.fft.fft(x), (X[:0],), order=0, batch=False),
    Example("fftshift", lambda xp, x: xp.fft.fftshift(x), (X,)),
    Example("fftshift axis", lambda xp, x: xp.fft.fftshift(x, 1), (X[:, :3],)),
    Example("fftshift axes", lambda xp, x: xp.fft.fftshift(x, (0, -1)), (INT,)),
    Example("ifftshift", lambda xp, x: xp.fft.ifftshift(x), (X[:, :3],)),
    Example("fftfreq", lambda xp, d: xp.fft.fftfreq(5, d), (0.5,), batch=False, protocol=False),
    Example("rfftfreq", lambda xp, d: xp.fft.rfftfreq(6, d), (np.float64(0.3),), batch=False, protocol=False),
    Example(
        "low pass",
        lambda xp, x: xp.fft.irfft(xp.where(xp.fft.rfftfreq(4) < 0.3, xp.fft.rfft(x), 0), 4),
        (X,),
    ),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_fft(example: Example) -> None:
    check_example(example)


def test_every_transform_of_numpy_is_there() -> None:
    assert {n for n in dir(np.fft) if not n.startswith("_")} - {"helper", "test"} <= set(dir(fnp.fft))


def test_single_precision_stays() -> None:
    x = X.astype(np.float32)
    assert ft.jit(np.fft.fft)(x).dtype == np.complex64
    assert ft.grad(lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2))(x).dtype == np.float32


def test_parseval_by_gradient() -> None:
    # The energy is that of the signal times the number of points, so its gradient is twice that times the signal.
    for n in (4, 5):
        x = np.random.default_rng(n).normal(size=n)
        g = ft.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
        np.testing.assert_allclose(g, 2 * n * x, rtol=1e-13)
        g = ft.grad(lambda x: np.sum(np.abs(np.fft.rfft(x, norm="ortho")) ** 2))(x)
        mirrored = np.fft.irfft(np.fft.rfft(x) * np.r_[2.0, np.ones((n - 1) // 2), [2.0] * (1 - n % 2)], n)
        np.testing.assert_allclose(g, mirrored, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: fnp.fft.fft(x, 0), errors.ShapeError, "fft: a transform needs a point"),
        (lambda x: fnp.fft.irfft(x[:, :1]), errors.ShapeError, "irfft: a transform needs a point"),
        (lambda x: fnp.fft.fft(x, axis=2), errors.ShapeError, "fft: axis=2 is out of bounds"),
        (lambda x: fnp.fft.fft(x, norm="unit"), errors.ArgumentError, "fft: norm must be"),
        (lambda x: fnp.fft.rfft(x + 0j), errors.DTypeError, "rfft: real numbers are needed"),
        (lambda x: fnp.fft.fftn(x, (1, 2), (0,)), errors.ShapeError, "different lengths"),
        (lambda x: fnp.fft.fft(x, out=np.zeros((3, 4), complex)), errors.DetachedWriteError, "out="),
        (lambda x: fnp.fft.fft(x[0, 0]), errors.ShapeError, "an axis or more"),
    ],
)
def test_errors(f: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)


def test_sizes_without_axes_warn_as_numpy_does() -> None:
    with pytest.warns(DeprecationWarning, match="s without axes"):
        out = ft.jit(lambda x: fnp.fft.fftn(x, (2,)))(X)
    np.testing.assert_array_equal(out, np.fft.fftn(X, (2,), (-1,)))
