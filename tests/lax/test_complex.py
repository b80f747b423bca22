"""Parts of complex numbers, and the convention of their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

Z = np.array([[1 + 2j, -3j], [0.5, -1 - 1j]])


def test_parts_are_views() -> None:
    assert np.shares_memory(lax.real(Z), Z)
    assert np.shares_memory(lax.imag(Z), Z)
    np.testing.assert_array_equal(lax.real(Z), Z.real)
    np.testing.assert_array_equal(lax.imag(Z), Z.imag)
    assert type(lax.real(1 + 2j)) is np.float64
    assert type(lax.imag(np.complex64(1 + 2j))) is np.float32
    assert type(lax.imag(np.array(1 + 2j))) is np.ndarray


@pytest.mark.parametrize("function", [lax.real, lax.imag])
def test_real_arrays_are_refused(function: object) -> None:
    with pytest.raises(errors.DTypeError, match="takes complex numbers"):
        mapped(function, 2, np.ones(2), dims=(0,))  # type: ignore[arg-type]


def test_complex_keeps_infinite_parts_apart() -> None:
    out = lax.complex(np.array([np.inf, 1.0]), np.array([[2.0], [np.inf]]))
    np.testing.assert_array_equal(out.real, [[np.inf, 1.0], [np.inf, 1.0]])
    np.testing.assert_array_equal(out.imag, [[2.0, 2.0], [np.inf, np.inf]])


@pytest.mark.parametrize(
    ("re", "im", "dtype"),
    [
        (np.float32(1), np.float32(2), np.complex64),
        (np.float32(1), 2.0, np.complex64),
        (1, np.float32(2), np.complex64),
        (1.0, 2, np.complex128),
        (1, 2.0, np.complex128),
        (np.float64(1), 2, np.complex128),
        (np.float16(1), np.float16(2), np.complex64),
    ],
)
def test_dtypes_of_complex(re: object, im: object, dtype: type) -> None:
    out = lax.complex(re, im)
    assert type(out) is dtype
    assert out == 1 + 2j


def test_cotangents_are_transposed_and_not_conjugated() -> None:
    for function, expected in ((lax.real, 1.0), (lax.imag, -1j)):
        (ct,) = gradients(function, Z)
        np.testing.assert_array_equal(ct, np.full((2, 2), expected))
    (ct,) = gradients(lax.conj, Z, cotangent=np.full((2, 2), 1 + 2j))
    np.testing.assert_array_equal(ct, np.full((2, 2), 1 - 2j))
    re, im = gradients(lax.complex, Z.real.copy(), Z.imag[0].copy(), cotangent=np.full((2, 2), 1 + 2j))
    np.testing.assert_array_equal(re, np.ones((2, 2)))
    np.testing.assert_array_equal(im, [-4.0, -4.0])


def test_a_real_loss_has_the_conjugate_of_the_steepest_ascent() -> None:
    (ct,) = gradients(lambda z: lax.add(lax.square(lax.real(z)), lax.square(lax.imag(z))), Z)
    np.testing.assert_allclose(ct, 2 * Z.conj())


def test_holomorphic_functions_have_complex_derivatives() -> None:
    (ct,) = gradients(lambda z: lax.mul(lax.exp(z), z), Z)
    np.testing.assert_allclose(ct, np.exp(Z) * (Z + 1))
    np.testing.assert_allclose(tangent(lax.square, (Z,), (np.full((2, 2), 1j),)), 2j * Z)


def test_conj_of_reals_is_a_copy() -> None:
    x = np.array([1.0, -2.0])
    assert not np.shares_memory(lax.conj(x), x)
    np.testing.assert_array_equal(lax.conj(x), x)
