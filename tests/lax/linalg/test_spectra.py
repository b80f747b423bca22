"""Eigenvalues, singular values and functions of matrices: conventions for phases and for what coincides."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.lax import linalg
from functrans.lax.linalg import common
from functrans.lax.linalg.schur import complex_schur
from tests.numpy.agreement import check_derivative

A = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
Z = A + 0.5j * A.T
H = Z + Z.conj().T
TALL = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0], [-1.0, 0.5]])
ZTALL = TALL + 1j * TALL[::-1]
C = np.cos(np.arange(9.0)).reshape(3, 3)
TURN = np.linalg.qr(A)[0]
TWICE = TURN @ np.diag([1.0, 1.0, 2.0]) @ TURN.T


def _mH(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


# -- functions that do not depend on phases ---------------------------------------------------------------------------

INVARIANT: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "eigh": (lambda x: (lambda v, w: (v * np.exp(w)) @ _mH(v))(*linalg.eigh(x)), H),
    "eigh projection": (lambda x: (lambda v: v[:, :1] @ _mH(v[:, :1]))(linalg.eigh(x)[0]), H),
    "svd": (lambda x: (lambda u, s, vh: (u * s**2) @ vh)(*linalg.svd(x)), Z),
    "svd tall": (lambda x: (lambda u, s, vh: (u * s**2) @ vh)(*linalg.svd(x, full_matrices=False)), ZTALL),
    "svd wide": (lambda x: (lambda u, s, vh: (u / s) @ vh)(*linalg.svd(x, full_matrices=False)), ZTALL.T),
    "eig": (lambda x: (lambda w, v: (v * w * w) @ np.linalg.inv(v))(*np.linalg.eig(x)), Z),
}


@pytest.mark.parametrize("name", INVARIANT)
def test_functions_without_phases_have_their_derivatives(name: str) -> None:
    f, x = INVARIANT[name]
    check_derivative(f, (x,), 2)


def test_the_complete_decomposition_in_reverse_mode() -> None:
    """Reverse mode asks for nothing of the vectors that are undetermined; forward mode needs them."""
    weights = np.cos(np.arange(8.0)).reshape(4, 2)

    def loss(x: Any, full: bool) -> Any:
        u, s, vh = linalg.svd(x, full_matrices=full)
        return np.sum(weights * np.real((u[:, :2] * s**2) @ vh))

    np.testing.assert_allclose(ft.grad(loss)(ZTALL, True), ft.grad(loss)(ZTALL, False), rtol=1e-12)


def test_eig_gives_left_and_right_eigenvectors() -> None:
    for x in (A, Z, np.array([[0.5, 2.0], [-1.0, 0.25]])):
        w, vl, vr = linalg.eig(x)
        np.testing.assert_allclose(x @ vr, vr * w, atol=1e-13)
        np.testing.assert_allclose(_mH(vl) @ x, w[:, None] * _mH(vl), atol=1e-13)
        np.testing.assert_allclose(np.linalg.norm(vl, axis=0), 1)
        top = np.take_along_axis(vl, np.argmax(abs(vl), 0)[None], 0)
        np.testing.assert_allclose(top.imag, 0, atol=1e-15)
        check_derivative(linalg.eig, (x,), 2)
    assert [o.shape for o in linalg.eig(A, compute_left_eigenvectors=False)] == [(3,), (3, 3)]
    (w,) = linalg.eig(A, compute_left_eigenvectors=False, compute_right_eigenvectors=False)
    assert w.shape == (3,)
    scipy_linalg = pytest.importorskip("scipy.linalg")
    expected = scipy_linalg.eig(Z, left=True)
    for ours, theirs in zip(linalg.eig(Z), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_eigh_symmetrizes() -> None:
    gradient = ft.grad(lambda x: linalg.eigh(x)[1][0])(A)
    v = np.linalg.eigh((A + A.T) / 2)[1][:, 0]
    np.testing.assert_allclose(gradient, np.outer(v, v), atol=1e-14)
    one_triangle = ft.grad(lambda x: linalg.eigh(x, symmetrize_input=False)[1][0])(A + A.T)
    v = np.linalg.eigh(A + A.T)[1][:, 0]
    np.testing.assert_allclose(one_triangle, np.tril(2 * np.outer(v, v)) - np.diag(v**2), atol=1e-14)
    upper = linalg.eigh(A, lower=False, symmetrize_input=False)[1]
    np.testing.assert_allclose(upper, np.linalg.eigvalsh(A, "U"), rtol=1e-14)


# -- what coincides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [np.eye(3), np.zeros((3, 3)), TWICE])
def test_sums_over_whole_eigenspaces_have_their_derivatives(x: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = ft.grad(lambda x: np.sum(linalg.eigh(x)[1] ** 3))(x)
        np.testing.assert_allclose(values, 3 * x @ x, atol=1e-13)
        singular = ft.grad(lambda x: np.sum(linalg.svd(x, compute_uv=False) ** 2))(x)
        np.testing.assert_allclose(singular, 2 * x, atol=1e-13)


def test_projections_on_whole_eigenspaces_have_their_derivatives() -> None:
    def projection(x: Any) -> Any:
        v, _ = linalg.eigh(x)
        return np.sum(C * (v[:, :2] @ v[:, :2].T))

    def other(x: Any) -> Any:
        # The projection on the rest, whose eigenvalue is simple.
        v, _ = linalg.eigh(x)
        return np.sum(C * (np.eye(3) - v[:, 2:] @ v[:, 2:].T))

    with pytest.warns(linalg.DegenerateSpectrumWarning, match="whole eigenspaces"):
        gradient = ft.grad(projection)(TWICE)
    np.testing.assert_allclose(gradient, ft.grad(other)(TWICE), atol=1e-12)


def test_vectors_that_do_not_matter_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(ft.grad(lambda x: np.sum(C * np.outer(*[linalg.eigh(x)[0][:, 2]] * 2)))(TWICE)).all()


def test_what_is_dropped_warns() -> None:
    def rebuilt(x: Any) -> Any:
        v, w = linalg.eigh(x)
        return np.sum(C * ((v * w) @ v.T))

    for f in (ft.grad(rebuilt), ft.jit(ft.grad(rebuilt)), lambda x: ft.jvp(rebuilt, (x,), (C,))):
        with pytest.warns(linalg.DegenerateSpectrumWarning, match="coincide"):
            assert np.isfinite(ft.tree.leaves(f(np.eye(3)))[-1]).all()
    with pytest.warns(linalg.DegenerateSpectrumWarning, match="second derivatives"):
        ft.hessian(lambda x: np.sum(linalg.eigh(x)[1] ** 2))(np.eye(2))
    with pytest.warns(linalg.DegenerateSpectrumWarning):
        ft.grad(lambda x: np.sum(C[:, :2] * linalg.svd(x, full_matrices=False)[0]))(np.outer(C[0], [1.0, 2.0]))


def test_the_product_of_singular_vectors_of_equal_values() -> None:
    def turn(x: Any) -> Any:
        u, _, vh = linalg.svd(x)
        return u @ vh

    x = 2 * TURN
    _, pull = ft.vjp(turn, x)
    expected = ft.vjp(linalg.unitary_factor, x)[1](C)[0]
    with pytest.warns(linalg.DegenerateSpectrumWarning):
        np.testing.assert_allclose(pull(C)[0], expected, atol=1e-12)
    check_derivative(linalg.unitary_factor, (x,), 2)


# -- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [A, Z, np.stack([A, A.T]), np.zeros((3, 3)), np.eye(2), np.array([[1.0]])])
def test_hessenberg(x: Any) -> None:
    packed, taus = linalg.hessenberg(x)
    h = np.triu(packed, -1)
    n = x.shape[-1]
    q = np.zeros(x.shape, x.dtype)
    q[..., 0, 0] = 1
    q[..., 1:, 1:] = linalg.householder_product(packed[..., 1:, :-1], taus) if n > 1 else q[..., 1:, 1:]
    np.testing.assert_allclose(q @ h @ _mH(q), x, atol=1e-13)


@pytest.mark.parametrize("lower", [True, False])
def test_tridiagonal(lower: bool) -> None:
    x = np.cos(np.arange(25.0) ** 2).reshape(5, 5) + 1j * np.sin(np.arange(25.0) ** 1.5).reshape(5, 5)
    packed, d, e, taus = linalg.tridiagonal(x, lower=lower)
    t = np.diag(d) + np.diag(e, 1) + np.diag(e, -1)
    np.testing.assert_allclose(np.linalg.eigvalsh(t), np.linalg.eigvalsh(x if lower else x.conj().T), atol=1e-13)
    lapack = common.routine("hetrd", x.dtype)
    expected = lapack(x, lower=int(lower))
    for ours, theirs in zip((packed, d, e, taus), expected, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)


@pytest.mark.parametrize("x", [A, Z, np.eye(3), np.zeros((2, 2)), np.roll(np.eye(4), 1, 0), np.triu(np.ones((5, 5)))])
def test_the_schur_form_without_scipy(x: Any) -> None:
    t, z = complex_schur(x)
    np.testing.assert_allclose(z @ t @ _mH(z), x, atol=1e-13)
    np.testing.assert_allclose(z @ _mH(z), np.eye(len(x)), atol=1e-13)
    np.testing.assert_array_equal(np.tril(t, -1), 0)


def test_a_large_schur_form_without_scipy() -> None:
    x = np.random.default_rng(0).standard_normal((30, 30))
    t, z = complex_schur(x)
    np.testing.assert_allclose(z @ t @ _mH(z), x, atol=1e-12)


def test_schur_sorts() -> None:
    t, z = linalg.schur(A, sort_eig_vals=True, select_callable=lambda re, im=0.0: re < 0)
    assert t[0, 0] < 0
    np.testing.assert_allclose(z @ t @ z.T, A, atol=1e-13)
    assert np.shape(linalg.schur(Z, compute_schur_vectors=False)) == (3, 3)
    with pytest.raises(errors.ArgumentError, match="select_callable"):
        linalg.schur(A, sort_eig_vals=True)


@pytest.fixture
def no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "scipy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(common, "lapack", lambda: None)


@pytest.mark.usefixtures("no_scipy")
def test_without_scipy() -> None:
    with pytest.raises(errors.MissingBackendError, match="pip install scipy"):
        linalg.schur(A)
    t, z = linalg.schur(Z)
    np.testing.assert_allclose(z @ t @ _mH(z), Z, atol=1e-13)
    root = linalg.sqrtm(A @ A.T)
    np.testing.assert_allclose(root @ root, A @ A.T, atol=1e-12)
    q = linalg.solve_sylvester(A, A + 9 * np.eye(3), C)
    np.testing.assert_allclose(A @ q + q @ (A + 9 * np.eye(3)), C, atol=1e-13)
    many = np.stack([A, 20 * A, 0 * A])
    v, w = np.linalg.eig(A)[::-1]
    exact = (v * np.exp(w)) @ np.linalg.inv(v)
    np.testing.assert_allclose(linalg.expm(many)[0], exact.real, rtol=1e-12)
    np.testing.assert_allclose(linalg.expm(many)[2], np.eye(3))
    np.testing.assert_allclose(linalg.expm(20 * A), linalg.expm(many)[1], rtol=1e-12)
    assert np.isnan(linalg.expm(np.full((2, 2), np.nan))).all()
    check_derivative(linalg.expm, (A,), 2)
    check_derivative(linalg.sqrtm, (A @ A.T,), 2)


def test_third_derivatives_of_expm() -> None:
    f = ft.grad(ft.grad(ft.grad(lambda t: linalg.expm(t * A)[0, 1])))
    np.testing.assert_allclose(f(0.3), (A @ A @ A @ linalg.expm(0.3 * A))[0, 1], rtol=1e-10)


def test_singular_equations_raise() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="coincide"):
        linalg.solve_sylvester(A, -A, C)
    for f in (linalg.sqrtm, linalg.unitary_factor):
        with pytest.raises(np.linalg.LinAlgError):
            ft.grad(lambda x, f=f: np.sum(np.real(f(x))))(np.zeros((2, 2)))
    assert np.isnan(linalg.sqrtm(np.full((2, 2), np.nan))).all()
    assert np.isnan(linalg.solve_sylvester(np.full((3, 3), np.nan), A, C)).all()
    with pytest.raises(np.linalg.LinAlgError, match="no square root"):
        linalg.sqrtm(np.array([[0.0, 1.0], [0.0, 0.0]]))
