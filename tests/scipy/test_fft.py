"""functrans.scipy.fft against SciPy, by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft

import functrans as ft
import functrans.scipy.fft
from functrans import errors
from tests.scipy.agreement import Use, check_use

X = np.array([[0.3, -1.7, 2.4, 0.9], [1.25, 3.1, -0.75, 0.2], [0.6, -0.4, 1.5, -2.2]])
Z = X + 1j * X[::-1]
FOURIER = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
TRIGONOMETRIC = ["dct", "idct", "dst", "idst"]


def _of(name: str) -> np.ndarray:
    return X if name.startswith(("rfft", "ihfft")) else Z


USES = [
    *[Use(f, lambda xp, x, f=f: getattr(xp, f)(x, 5, 0, "ortho"), (_of(f),), 1) for f in FOURIER],
    *[Use(f"{f} half", lambda xp, x, f=f: getattr(xp, f)(x), (X.astype(np.float16),), 0) for f in FOURIER],
    *[Use(f"{f} int", lambda xp, x, f=f: getattr(xp, f)(x), (X.astype(np.int16),), 0) for f in FOURIER],
    *[Use(f"{f}2", lambda xp, x, f=f: getattr(xp, f + "2")(x), (_of(f),), 1) for f in FOURIER],
    *[Use(f"{f}n", lambda xp, x, f=f: getattr(xp, f + "n")(x, (5,), norm="forward"), (_of(f),), 1) for f in FOURIER],
    Use("fftshift", lambda xp, x: xp.fftshift(x, 1), (X,), 1),
    Use("rfftfreq", lambda xp, d: xp.rfftfreq(5, d), (0.5,), 0),
    *[
        Use(f"{f} {k} {n}", lambda xp, x, f=f, k=k, n=n: getattr(xp, f)(x, k, n, 0), (X,), 2 if n == 3 else 0)
        for f in TRIGONOMETRIC
        for k in (1, 2, 3, 4)
        for n in (2, 3, 4, 6)
    ],
    *[
        Use(
            f"{f} {k} {norm} {o}",
            lambda xp, x, f=f, k=k, m=norm, o=o: getattr(xp, f)(x, k, None, -1, m, orthogonalize=o),
            (X,),
            0,
        )
        for f in TRIGONOMETRIC
        for k in (1, 2, 3, 4)
        for norm, o in (("ortho", None), ("ortho", False), ("forward", True))
    ],
    *[
        Use(f"{f} single", lambda xp, x, f=f: getattr(xp, f)(x, norm="ortho"), (X.astype(np.float32),), 0)
        for f in TRIGONOMETRIC
    ],
    *[Use(f"{f} of one", lambda xp, x, f=f: getattr(xp, f)(x), (X[:, :1],), 0) for f in TRIGONOMETRIC],
    *[Use(f"{f}n", lambda xp, x, f=f: getattr(xp, f + "n")(x, 2, (4, -1), (1, 0)), (X,), 1) for f in TRIGONOMETRIC],
    Use("dct complex", lambda xp, x: xp.dct(x, norm="ortho"), (Z,), 1),
    Use("dct int", lambda xp, x: xp.dct(x), (np.arange(5),), 0),
    Use("dctn all", lambda xp, x: xp.dctn(x, norm="ortho"), (X,), 1),
]


@pytest.mark.parametrize("use", USES, ids=lambda u: u.name)
def test_agrees_with_scipy(use: Use) -> None:
    check_use(use, scipy.fft, functrans.scipy.fft)


def test_without_scipy_the_same_primitives_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    from functrans.scipy import library

    monkeypatch.setattr(library, "installed", lambda module: None)
    fresh = library.implements("scipy.fft")(functrans.scipy.fft.dct.__wrapped__)
    np.testing.assert_allclose(fresh(X, 3), scipy.fft.dct(X, 3), rtol=1e-14)
    with pytest.raises(errors.MissingBackendError, match="prev_fast_len calls SciPy"):
        library.needed("scipy.fft", "prev_fast_len")


def test_lengths() -> None:
    assert functrans.scipy.fft.next_fast_len(97) == scipy.fft.next_fast_len(97)
    assert functrans.scipy.fft.prev_fast_len(97, real=True) == scipy.fft.prev_fast_len(97, real=True)


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda xp, x: xp.dct(x, 5), errors.ArgumentError, "dct: type must be 1, 2, 3 or 4"),
        (lambda xp, x: xp.dct(x[:, :1], 1), errors.ShapeError, "dct: type 1 needs 2 points"),
        (lambda xp, x: xp.idst(x, norm="half"), errors.ArgumentError, "idst: norm must be"),
        (lambda xp, x: xp.dctn(x, axes=(0, 0)), errors.ShapeError, "names an axis twice"),
        (lambda xp, x: xp.dctn(x, s=(2, 2), axes=(0,)), errors.ShapeError, "different lengths"),
        (lambda xp, x: xp.fft(x, plan=1), errors.ArgumentError, "plan is reserved"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(lambda x: f(functrans.scipy.fft, x))(X)
