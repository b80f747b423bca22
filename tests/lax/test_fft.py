"""lax.fft: its kinds and lengths, the weights of real transforms, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.lax import FftType

X = np.random.default_rng(0).normal(size=(3, 4, 5))
Z = X + 1j * X[::-1]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_kinds(axes: int) -> None:
    last = tuple(range(-axes, 0))
    lengths = X.shape[-axes:]
    np.testing.assert_array_equal(lax.fft(Z, "fft", lengths), np.fft.fftn(Z, axes=last), strict=True)
    np.testing.assert_array_equal(lax.fft(Z, FftType.IFFT, lengths), np.fft.ifftn(Z, axes=last), strict=True)
    np.testing.assert_array_equal(lax.fft(X, FftType.RFFT, lengths), np.fft.rfftn(X, axes=last), strict=True)
    for n in (8, 9):
        found = lax.fft(Z, "IRFFT", (*lengths[:-1], n))
        expected = np.fft.irfftn(Z, (*lengths[:-1], n), last)
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
def test_the_transposes_of_real_transforms_are_their_matrices(n: int) -> None:
    m = n // 2 + 1
    matrix = np.exp(-2j * np.pi * np.outer(np.arange(m), np.arange(n)) / n)
    ct = Z[0, 0, :1] if m == 1 else np.resize(Z, m)
    _, pull = ft.vjp(lambda x: lax.fft(x, "RFFT", n), np.ones(n))
    np.testing.assert_allclose(pull(ct)[0], np.real(matrix.T @ ct), atol=1e-13)
    back = np.array([np.fft.irfft(row, n) for row in np.eye(m)]), np.array([np.fft.irfft(1j * r, n) for r in np.eye(m)])
    ct = np.resize(X, n)
    _, pull = ft.vjp(lambda z: lax.fft(z, "IRFFT", n), np.ones(m, complex))
    np.testing.assert_allclose(pull(ct)[0], back[0] @ ct - 1j * (back[1] @ ct), atol=1e-13)


@pytest.mark.parametrize("kind", list(FftType))
def test_linear_transpose_twice_is_the_transform(kind: FftType) -> None:
    x: Any = {FftType.RFFT: np.ones(6), FftType.IRFFT: np.ones(4, complex)}.get(kind, np.ones(6, complex))
    f = lambda x: lax.fft(x, kind, 6)
    once = ft.linear_transpose(f, x)
    twice = ft.linear_transpose(lambda y: once(y)[0], f(x))
    y = np.resize(Z, x.shape).astype(x.dtype) if x.dtype.kind == "c" else np.resize(X, x.shape)
    np.testing.assert_allclose(twice(y)[0], f(y), atol=1e-13)


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match=r"last axes must have extents \(4,\)"):
        lax.fft(Z, "FFT", (4,))
    with pytest.raises(errors.ShapeError, match="4 fft_lengths for an array"):
        lax.fft(Z, "FFT", (1, 3, 4, 5))
    with pytest.raises(errors.ShapeError, match="must be positive"):
        lax.fft(Z, "IRFFT", 0)
    with pytest.raises(errors.ShapeError, match="names no axis"):
        lax.fft(Z, "FFT", ())
    with pytest.raises(errors.DTypeError, match="fft: operand 0"):
        lax.fft(X, "FFT", 5)
    with pytest.raises(errors.DTypeError, match="rfft: operand 0"):
        lax.fft(Z, "RFFT", 5)
    with pytest.raises(errors.ArgumentError, match="must be one of FFT, IFFT, RFFT, IRFFT"):
        lax.fft(Z, "DCT", 5)
