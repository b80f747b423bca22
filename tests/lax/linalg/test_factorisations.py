"""Cholesky, triangular, LU and QR factors: values, conventions, errors, and what is computed once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.lax import linalg
from functrans.lax.linalg import common
from tests.numpy.agreement import check_derivative

A = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
B = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
P = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]])
Z = A + 0.5j * A.T
TALL = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0], [-1.0, 0.5]])


def _without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "lapack", lambda: None)


# -- cholesky ---------------------------------------------------------------------------------------------------------


def test_cholesky_symmetrizes() -> None:
    x = P + np.triu(np.ones((3, 3)), 1) - np.tril(np.ones((3, 3)), -1)
    np.testing.assert_allclose(linalg.cholesky(x), np.linalg.cholesky(P), rtol=1e-14)
    np.testing.assert_allclose(linalg.cholesky(x, symmetrize_input=False), np.linalg.cholesky(x))
    gradient = ft.grad(lambda x: 2 * np.sum(np.log(np.diagonal(linalg.cholesky(x)))))(P)
    np.testing.assert_allclose(gradient, np.linalg.inv(P), rtol=1e-12)
    check_derivative(linalg.cholesky, (P,), 2)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        linalg.cholesky(-P)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_cholesky_update(dtype: Any) -> None:
    r = np.linalg.cholesky(P.astype(dtype)).conj().T
    w = np.array([1.0, -2.0, 0.5]).astype(dtype) * (1 + (0.5j if np.dtype(dtype).kind == "c" else 0))
    updated = linalg.cholesky_update(r, w)
    np.testing.assert_allclose(updated.conj().T @ updated, P + np.outer(w, w.conj()), atol=1e-12)
    assert (np.diagonal(updated).real > 0).all()
    np.testing.assert_array_equal(np.tril(updated, -1), 0)
    check_derivative(linalg.cholesky_update, (r, w), 2)


# -- triangular systems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("op", ["", "t", "c", "tc"])
def test_triangular_solve_sides(left: bool, op: str) -> None:
    for lower in (True, False):
        x = linalg.triangular_solve(
            Z,
            B + 1j if left else (B + 1j).T,
            left_side=left,
            lower=lower,
            transpose_a="t" in op,
            conjugate_a="c" in op,
        )
        a = np.tril(Z) if lower else np.triu(Z)
        a = a.T if "t" in op else a
        a = a.conj() if "c" in op else a
        np.testing.assert_allclose(a @ x if left else x @ a, B + 1j if left else (B + 1j).T, atol=1e-13)


def test_triangular_solve_of_vectors() -> None:
    b, u = B[:, 0], np.triu(A)
    np.testing.assert_allclose(linalg.triangular_solve(A, b, left_side=True), np.linalg.solve(u, b))
    np.testing.assert_allclose(linalg.triangular_solve(A, b), np.linalg.solve(u.T, b))


@pytest.mark.parametrize("scipy", [True, False])
@pytest.mark.parametrize("n", [3, 45])
def test_triangular_solve_by_every_path(scipy: bool, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not scipy:
        _without_scipy(monkeypatch)
    rng = np.random.default_rng(n)
    a = rng.standard_normal((2, n, n)) / n + 2 * np.eye(n)
    b = rng.standard_normal((2, n, 3))
    for lower in (True, False):
        for unit in (True, False):
            x = linalg.triangular_solve(a, b, left_side=True, lower=lower, unit_diagonal=unit)
            t = np.tril(a) if lower else np.triu(a)
            if unit:
                t[:, range(n), range(n)] = 1
            np.testing.assert_allclose(t @ x, b, atol=1e-12)
        with pytest.raises(np.linalg.LinAlgError):
            linalg.triangular_solve(np.tril(np.ones((n, n)), -1), b[0], left_side=True, lower=lower)


def test_an_ill_conditioned_triangle_is_solved_to_rounding() -> None:
    n = 24
    a = np.tril(-np.ones((n, n)), -1) + np.eye(n)
    x = linalg.triangular_solve(a, np.ones((n, 1)), left_side=True, lower=True)
    np.testing.assert_array_equal(x[:, 0], 2.0 ** np.arange(n))


# -- lu ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scipy", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3), (45, 40), (40, 45)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex64])
def test_lu(scipy: bool, shape: tuple[int, ...], dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not scipy:
        _without_scipy(monkeypatch)
    rng = np.random.default_rng(0)
    a = (
        (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype, casting="unsafe")
        if np.dtype(dtype).kind == "c"
        else rng.standard_normal(shape)
    )
    packed, pivots, permutation = linalg.lu(a)
    k = min(shape[-2:])
    lower = np.tril(packed, -1)[..., :k] + np.eye(shape[-2], k, dtype=dtype)
    upper = np.triu(packed)[..., :k, :]
    rows = np.take_along_axis(a, permutation[..., None].astype(int), -2)
    tolerance = 1e-12 if dtype is np.float64 else 1e-4
    np.testing.assert_allclose(lower @ upper, rows, atol=tolerance)
    assert (abs(lower) <= 1.5).all()
    assert pivots.dtype == permutation.dtype == np.int32
    np.testing.assert_array_equal(linalg.lu_pivots_to_permutation(pivots, shape[-2]), permutation)


def test_lu_without_scipy_has_lapacks_pivots(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 40)) + 1j * rng.standard_normal((40, 40))
    expected = linalg.lu(a)
    _without_scipy(monkeypatch)
    for x, y in zip(linalg.lu(a), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11)


def test_lu_of_a_singular_matrix() -> None:
    packed, _, _ = linalg.lu(np.zeros((2, 2)))
    assert not packed.any()
    many = np.zeros((30, 2, 2))
    assert not linalg.lu(many)[0].any()


def test_a_solution_and_its_derivatives_factor_once() -> None:
    def loss(a: Any, b: Any) -> Any:
        return np.sum(linalg.solve(a, b) ** 2)

    for f in (ft.grad(loss, (0, 1)), ft.hessian(loss), lambda a, b: ft.jvp(ft.grad(loss), (a, b), (a, b))):
        text = str(ft.make_jaxpr(f)(A, B))
        assert text.count("= lu ") == 1, text
        assert "= solve " not in text


def test_many_right_hand_sides_share_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    lu = importlib.import_module("functrans.lax.linalg.lu")
    factor = lu.factor

    def watched(xp: Any, a: Any) -> Any:
        seen.append(a.shape)
        return factor(xp, a)

    monkeypatch.setattr(lu, "factor", watched)
    ft.jacobian(lambda b: linalg.solve(A, b))(B)
    many = np.stack([B, -B, 2 * B])
    ft.vmap(lambda b: ft.grad(lambda b: np.sum(linalg.solve(A, b)))(b))(many)
    assert seen == [(3, 3), (3, 3)]


@pytest.mark.parametrize("scipy", [True, False])
@pytest.mark.parametrize("batch", [(), (2,), (20,)])
def test_derivatives_of_solve_by_every_path(
    scipy: bool, batch: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not scipy:
        _without_scipy(monkeypatch)
    a = np.broadcast_to(Z, (*batch, 3, 3)) + 0.01 * np.arange(np.prod(batch, dtype=int)).reshape(*batch, 1, 1)
    b = np.broadcast_to(B + 1j, (*batch, 3, 2)).copy()
    check_derivative(linalg.solve, (a.copy(), b), 2)


# -- qr ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [TALL, TALL + 1j * TALL[::-1], np.stack([TALL, TALL[::-1]])])
def test_householder_product(x: Any) -> None:
    h, taus = linalg.geqrf(x)
    np.testing.assert_allclose(linalg.householder_product(h, taus), np.linalg.qr(x)[0], atol=1e-14)
    check_derivative(linalg.householder_product, (h, taus), 2)


def test_householder_product_of_few_and_of_trivial_reflections() -> None:
    h, taus = linalg.geqrf(TALL)
    one = linalg.householder_product(h, taus[:1])
    v = np.concatenate([[1.0], h[1:, 0]])
    np.testing.assert_allclose(one, (np.eye(4) - taus[0] * np.outer(v, v))[:, :2], atol=1e-15)
    np.testing.assert_array_equal(linalg.householder_product(h, 0 * taus), np.eye(4, 2))


def test_qr_is_reduced_or_complete() -> None:
    assert [o.shape for o in linalg.qr(TALL)] == [(4, 4), (4, 2)]
    assert [o.shape for o in linalg.qr(TALL, full_matrices=False)] == [(4, 2), (2, 2)]
    assert [o.shape for o in linalg.qr(TALL.T)] == [(2, 2), (2, 4)]
    q, r, order = linalg.qr(np.stack([TALL.T, TALL.T[::-1]]), pivoting=True)
    assert (np.diff(abs(np.diagonal(r, 0, 1, 2))) <= 0).all()
    np.testing.assert_allclose((q @ r)[0], TALL.T[:, order[0]], atol=1e-15)


def test_solving_is_linear() -> None:
    ct = np.cos(B)
    (found,) = ft.linear_transpose(lambda b: linalg.solve(A, b), B)(ct)
    np.testing.assert_allclose(found, np.linalg.solve(A.T, ct), rtol=1e-13)


def test_pivots_put_long_columns_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 9)) * np.arange(9)
    expected = linalg.pivoted_columns(x)
    _without_scipy(monkeypatch)
    np.testing.assert_array_equal(linalg.pivoted_columns(x), expected)
    r = np.linalg.qr(x[:, expected])[1]
    assert (np.diff(abs(np.diagonal(r))) <= 1e-12).all()


# -- tridiagonal systems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scipy", [True, False])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_tridiagonal_solve(scipy: bool, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not scipy:
        _without_scipy(monkeypatch)
    rng = np.random.default_rng(n)
    dl, d, du = rng.standard_normal((3, 2, n))
    # What is outside of the matrix is not read.
    dl[:, 0] = du[:, -1] = np.nan
    d[0, 0] = 0.01  # It calls for an exchange of rows.
    b = rng.standard_normal((2, n, 3))
    x = linalg.tridiagonal_solve(dl, d, du, b)
    for k in range(2):
        a = np.diag(d[k]) + np.diag(dl[k, 1:], -1) + np.diag(du[k, :-1], 1)
        np.testing.assert_allclose(a @ x[k], b[k], atol=1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        linalg.tridiagonal_solve(np.nan_to_num(dl), 0 * d, 0 * du, b)


# -- errors -----------------------------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "rank": (lambda: linalg.lu(B[0]), errors.ShapeError, "lu: a matrix"),
    "square": (lambda: linalg.cholesky(B), errors.ShapeError, "equal in extent"),
    "dtype": (lambda: linalg.qr(np.eye(2, dtype=int)), errors.DTypeError, "float32"),
    "one dtype": (lambda: linalg.solve(A, B.astype(np.float32)), errors.DTypeError, "one dtype"),
    "leading axes": (lambda: linalg.solve(A[None], B), errors.ShapeError, "before the last 2"),
    "rows": (lambda: linalg.triangular_solve(A, B[:2], left_side=True), errors.ShapeError, "3 rows"),
    "permutation": (lambda: linalg.lu_pivots_to_permutation(np.arange(3), 2), errors.ShapeError, "3 pivots"),
    "pivots": (lambda: linalg.lu_pivots_to_permutation(A, 3), errors.DTypeError, "integers"),
    "update": (lambda: linalg.cholesky_update(A, B[0]), errors.ShapeError, "as many elements"),
    "reflections": (lambda: linalg.householder_product(TALL.T, TALL[0]), errors.ShapeError, "at least as many rows"),
    "diagonals": (lambda: linalg.tridiagonal_solve(A[0], A[0], A[0, :2], B), errors.ShapeError, "du must have"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_operands(name: str) -> None:
    f, kind, words = REJECTED[name]
    with pytest.raises(kind, match=words):
        f()
