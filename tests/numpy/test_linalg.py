"""Factorisations, systems of equations and what is made of them, against NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, check_derivative, check_example, check_values

A = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
B = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
V = np.array([0.5, -1.5, 2.0])
TALL = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0], [-1.0, 0.5]])
P = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]])
H = A + A.T
Z = A + 0.5j * A.T
ZH = Z + Z.conj().T
STACK = np.stack([A, A.T + np.eye(3)])
CUBE = np.sin(np.arange(24.0) ** 1.5 + 0.4).reshape(2, 3, 4)
INTS = np.array([[3, -1], [5, 4]])
F32 = A.astype(np.float32)
TENSOR = np.cos(np.arange(36.0) ** 1.5).reshape(2, 3, 6)
LOWER_ONLY = np.tril(P) + np.triu(A, 1)

EXAMPLES = [
    Example("cholesky", lambda xp, x: xp.linalg.cholesky(x), (P,), batch=False),
    Example("cholesky upper", lambda xp, x: xp.linalg.cholesky(x, upper=True), (P,), batch=False, digits=4),
    Example("cholesky reads one triangle", lambda xp, x: xp.linalg.cholesky(x), (LOWER_ONLY,), batch=False),
    Example("cholesky complex", lambda xp, x: xp.linalg.cholesky(x), (ZH + 9 * np.eye(3),), batch=False),
    Example("cholesky ints", lambda xp, x: xp.linalg.cholesky(x), (np.array([[4, 1], [1, 3]]),), batch=False),
    Example("cholesky stack", lambda xp, x: xp.linalg.cholesky(x), (np.stack([P, 2 * P]),), 1, batch=False),
    Example("qr", lambda xp, x: xp.linalg.qr(x), (TALL,), digits=16),
    Example("qr wide", lambda xp, x: xp.linalg.qr(x), (TALL.T,), digits=16),
    Example("qr complete", lambda xp, x: xp.linalg.qr(x, mode="complete"), (TALL,), 0, digits=16),
    Example("qr complete square", lambda xp, x: xp.linalg.qr(x, "complete"), (A,), digits=16),
    Example("qr complete wide", lambda xp, x: xp.linalg.qr(x, "complete"), (TALL.T,), digits=16),
    Example("qr r", lambda xp, x: xp.linalg.qr(x, mode="r"), (TALL,), digits=16),
    Example("qr r wide", lambda xp, x: xp.linalg.qr(x, mode="r"), (TALL.T,), digits=16),
    Example("qr raw", lambda xp, x: xp.linalg.qr(x, mode="raw"), (TALL,), 0, digits=16),
    Example("qr complex", lambda xp, x: xp.linalg.qr(x), (Z,), digits=16),
    Example("qr complex wide", lambda xp, x: xp.linalg.qr(x), (TALL.T + 1j * TALL[::-1].T,), digits=16),
    Example("qr float32", lambda xp, x: xp.linalg.qr(x), (F32,), 0, digits=16),
    Example("eigh", lambda xp, x: xp.linalg.eigh(x), (H,), digits=16),
    Example("eigh U", lambda xp, x: xp.linalg.eigh(x, UPLO="U"), (A,), digits=16),
    Example("eigh complex", lambda xp, x: xp.linalg.eigh(x), (ZH,), 0, digits=16),
    Example("eigvalsh", lambda xp, x: xp.linalg.eigvalsh(x), (A,), digits=16),
    Example("eigvalsh complex U", lambda xp, x: xp.linalg.eigvalsh(x, "U"), (ZH,), digits=16),
    Example("eigvalsh stack", lambda xp, x: xp.linalg.eigvalsh(x), (STACK,), 1, digits=16),
    Example("eig complex", lambda xp, x: xp.linalg.eig(x), (Z,), batch=False),
    Example("eig", lambda xp, x: xp.linalg.eig(x), (np.array([[0.5, 2.0], [-1.0, 0.25]]),), batch=False),
    Example("eigvals complex", lambda xp, x: xp.linalg.eigvals(x), (Z,), batch=False),
    Example("svd", lambda xp, x: xp.linalg.svd(x, full_matrices=False), (TALL,), digits=32),
    Example("svd wide", lambda xp, x: xp.linalg.svd(x, full_matrices=False), (TALL.T,), digits=32),
    Example("svd square", lambda xp, x: xp.linalg.svd(x), (A,), digits=32),
    Example("svd full", lambda xp, x: xp.linalg.svd(x), (TALL,), 0, digits=32),
    Example("svd values", lambda xp, x: xp.linalg.svd(x, compute_uv=False), (CUBE,), 1, digits=32),
    Example("svd complex", lambda xp, x: xp.linalg.svd(x, False), (Z,), 0, digits=32),
    Example("svd hermitian", lambda xp, x: xp.linalg.svd(x, hermitian=True), (H,), digits=32),
    Example("svd hermitian values", lambda xp, x: xp.linalg.svd(x, True, False, True), (H,), digits=32),
    Example("svdvals", lambda xp, x: xp.linalg.svdvals(x), (TALL.T,), digits=32),
    Example("svdvals complex", lambda xp, x: xp.linalg.svdvals(x), (Z,), digits=32),
    Example("solve", lambda xp, x, y: xp.linalg.solve(x, y), (A, B), digits=64),
    Example("solve a vector", lambda xp, x, y: xp.linalg.solve(x, y), (A, V), digits=64),
    Example("solve stacks", lambda xp, x, y: xp.linalg.solve(x, y), (STACK, B), 1, digits=64),
    Example("solve many", lambda xp, x, y: xp.linalg.solve(x, y), (A, CUBE), 1, digits=64),
    Example("solve stack and vector", lambda xp, x, y: xp.linalg.solve(x, y), (STACK, V), 1, digits=64),
    Example("solve complex", lambda xp, x, y: xp.linalg.solve(x, y), (Z, B), digits=64),
    Example("solve promotes", lambda xp, x, y: xp.linalg.solve(x, y), (INTS.astype(np.int8), F32[0, :2]), 0),
    Example("solve lists", lambda xp, x: xp.linalg.solve([[x, 1.0], [1.0, 3.0]], [x, x]), (2.5,), protocol=False),
    Example("inv", lambda xp, x: xp.linalg.inv(x), (A,), digits=64),
    Example("inv stack", lambda xp, x: xp.linalg.inv(x), (STACK,), 1, digits=64),
    Example("inv complex", lambda xp, x: xp.linalg.inv(x), (Z,), digits=64),
    Example("inv ints", lambda xp, x: xp.linalg.inv(x), (INTS,)),
    Example("pinv", lambda xp, x: xp.linalg.pinv(x), (TALL,), digits=64),
    Example("pinv wide complex", lambda xp, x: xp.linalg.pinv(x), (TALL.T + 1j * TALL[::-1].T,), digits=64),
    Example("pinv rcond", lambda xp, x: xp.linalg.pinv(x, 1e-3), (CUBE,), 1, digits=64),
    Example("pinv rtol", lambda xp, x: xp.linalg.pinv(x, rtol=1e-3), (TALL,), 0, digits=64),
    Example("pinv hermitian", lambda xp, x: xp.linalg.pinv(x, hermitian=True), (H,), digits=64),
    Example("lstsq", lambda xp, x, y: xp.linalg.lstsq(x, y), (TALL, CUBE[0].T), batch=False, digits=64),
    Example("lstsq vector", lambda xp, x, y: xp.linalg.lstsq(x, y), (TALL, np.arange(4.0)), batch=False, digits=64),
    Example("lstsq wide", lambda xp, x, y: xp.linalg.lstsq(x, y, 1e-9), (TALL.T, B[:2]), batch=False, digits=64),
    Example("lstsq solution", lambda xp, x, y: xp.linalg.lstsq(x, y)[0], (TALL, TALL), digits=64),
    Example("det", lambda xp, x: xp.linalg.det(x), (A,), digits=64),
    Example("det stack", lambda xp, x: xp.linalg.det(x), (STACK,), digits=64),
    Example("det complex", lambda xp, x: xp.linalg.det(x), (Z,), digits=64),
    Example("det ints", lambda xp, x: xp.linalg.det(x), (INTS,)),
    Example("det of rank one", lambda xp, x: xp.linalg.det(x), (np.outer(V, V + 1),), batch=False, digits=64),
    Example("det of zeros", lambda xp, x: xp.linalg.det(x), (np.zeros((3, 3)),), batch=False, digits=64),
    Example("slogdet", lambda xp, x: xp.linalg.slogdet(x), (A,), digits=64),
    Example("slogdet complex", lambda xp, x: xp.linalg.slogdet(x), (np.stack([Z, ZH]),), digits=64),
    Example("cond", lambda xp, x: xp.linalg.cond(x), (A,), digits=64),
    Example("cond -2", lambda xp, x: xp.linalg.cond(x, -2), (TALL,), digits=64),
    Example("cond 1", lambda xp, x: xp.linalg.cond(x, 1), (STACK,), 1, digits=64),
    Example("cond fro", lambda xp, x: xp.linalg.cond(x, "fro"), (A,), digits=64),
    Example("norm 2", lambda xp, x: xp.linalg.norm(x, 2), (A,), digits=64),
    Example("norm -2 of axes", lambda xp, x: xp.linalg.norm(x, -2, axis=(2, 0)), (CUBE,), digits=64),
    Example("norm nuc", lambda xp, x: xp.linalg.norm(x, "nuc"), (TALL,), digits=64),
    Example("norm nuc kept", lambda xp, x: xp.linalg.norm(x, "nuc", (0, 1), True), (CUBE,), digits=64),
    Example("matrix_norm 2", lambda xp, x: xp.linalg.matrix_norm(x, ord=2), (CUBE,), digits=64),
    Example("matrix_rank", lambda xp, x: xp.linalg.matrix_rank(x), (A,)),
    Example("matrix_rank stack", lambda xp, x: xp.linalg.matrix_rank(x, tol=1.5), (STACK,)),
    Example("matrix_rank rtol", lambda xp, x: xp.linalg.matrix_rank(x, rtol=0.5), (A,)),
    Example("matrix_rank hermitian", lambda xp, x: xp.linalg.matrix_rank(x, hermitian=True), (H,)),
    Example("matrix_rank of a vector", lambda xp, x: xp.linalg.matrix_rank(x), (V,)),
    Example("matrix_power -2", lambda xp, x: xp.linalg.matrix_power(x, -2), (A,), digits=64),
    Example("matrix_power -1 ints", lambda xp, x: xp.linalg.matrix_power(x, -1), (INTS,)),
    Example("tensorinv", lambda xp, x: xp.linalg.tensorinv(x, ind=2), (TENSOR,), 1, digits=64),
    Example("tensorsolve", lambda xp, x, y: xp.linalg.tensorsolve(x, y), (TENSOR, CUBE[0, :2, :3]), 1, digits=64),
    Example(
        "tensorsolve axes",
        lambda xp, x, y: xp.linalg.tensorsolve(x, y, axes=(1,)),
        (np.moveaxis(CUBE[:, :2, :2], 0, 1).reshape(2, 2, 2)[:, :1] + np.eye(2)[:, None], V[:2]),
        0,
        digits=64,
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=[e.name for e in EXAMPLES])
def test_a_function_is_numpys(example: Example) -> None:
    check_example(example)


EMPTY = np.zeros((0, 0))
EMPTIES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "cholesky": (lambda xp, x: xp.linalg.cholesky(x), (EMPTY,)),
    "qr": (lambda xp, x: xp.linalg.qr(x), (np.zeros((0, 3)),)),
    "qr of none": (lambda xp, x: xp.linalg.qr(x), (np.zeros((0, 2, 2)),)),
    "eigh": (lambda xp, x: xp.linalg.eigh(x), (np.zeros((2, 0, 0)),)),
    "eigvals": (lambda xp, x: xp.linalg.eigvals(x), (EMPTY + 0j,)),
    "svd": (lambda xp, x: xp.linalg.svd(x), (np.zeros((3, 0)),)),
    "svd of none": (lambda xp, x: xp.linalg.svd(x), (np.zeros((0, 2, 2)),)),
    "solve": (lambda xp, x, y: xp.linalg.solve(x, y), (EMPTY, np.zeros((0, 2)))),
    "solve of none": (lambda xp, x, y: xp.linalg.solve(x, y), (np.zeros((0, 2, 2)), np.zeros((0, 2, 1)))),
    "solve for none": (lambda xp, x, y: xp.linalg.solve(x, y), (A, np.zeros((3, 0)))),
    "inv": (lambda xp, x: xp.linalg.inv(x), (EMPTY,)),
    "pinv": (lambda xp, x: xp.linalg.pinv(x), (np.zeros((0, 3)),)),
    "det": (lambda xp, x: xp.linalg.det(x), (EMPTY,)),
    "det of none": (lambda xp, x: xp.linalg.det(x), (np.zeros((0, 2, 2)),)),
    "slogdet": (lambda xp, x: xp.linalg.slogdet(x), (EMPTY,)),
    "matrix_rank": (lambda xp, x: xp.linalg.matrix_rank(x), (EMPTY,)),
    "lstsq": (lambda xp, x, y: xp.linalg.lstsq(x, y), (np.zeros((3, 0)), B)),
    "norm 2": (lambda xp, x: xp.linalg.norm(x, 2), (np.zeros((0, 3)),)),
    "norm nuc": (lambda xp, x: xp.linalg.norm(x, "nuc"), (np.zeros((3, 0)),)),
}


@pytest.mark.parametrize("name", EMPTIES)
def test_empty_matrices_and_empty_stacks(name: str) -> None:
    f, args = EMPTIES[name]
    check_values(Example(name, f, args))
    check_derivative(lambda *xs: f(fnp, *xs), args)


# -- where NumPy's result depends on data -----------------------------------------------------------------------------


def test_real_eigenvalues_are_real_where_they_are_known_to_be() -> None:
    x = np.array([[2.0, 1.0], [0.5, 3.0]])
    assert fnp.linalg.eigvals(x).dtype == np.float64
    gradient = ft.grad(lambda x: np.linalg.eigvals(x)[0])(x)
    v = np.linalg.eig(x)[1]
    left = np.linalg.inv(v)
    np.testing.assert_allclose(gradient, np.outer(left[0], v[:, 0]), rtol=1e-12)
    assert ft.jit(np.linalg.eigvals)(x).dtype == np.complex128
    assert ft.jit(np.linalg.eig)(x).eigenvectors.dtype == np.complex128
    check_derivative(lambda x: fnp.linalg.eig(x), (x,), 2)


def test_least_squares_of_deficient_rank() -> None:
    x = np.outer(np.arange(1.0, 5.0), [1.0, 2.0])
    b = np.arange(4.0) ** 2
    solution, total, rank, _ = np.linalg.lstsq(x, b)
    assert total.shape == (0,)
    assert rank == 1
    eager = ft.vjp(lambda x: np.linalg.lstsq(x, b)[1], x)[0]
    assert eager.shape == (0,)
    compiled = ft.jit(np.linalg.lstsq)(x, b)
    np.testing.assert_allclose(compiled[1], [np.sum((x @ solution - b) ** 2)])
    assert compiled[2] == 1

    def along(u: Any, v: Any) -> Any:
        return fnp.linalg.lstsq(fnp.outer(u, v), b)[0]

    check_derivative(along, (np.arange(1.0, 5.0), np.array([1.0, 2.0])), 2)
    check_derivative(lambda u, v: fnp.linalg.pinv(fnp.outer(u, v)), (np.arange(1.0, 5.0), np.array([1.0, 2.0])), 2)


# -- singular matrices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_gradient_of_det_is_the_adjugate_at_every_rank(rank: int) -> None:
    x = (TALL[:, :rank] @ TALL[:, ::-1][:, :rank].T)[:3, :3] + (0 if rank < 2 else 0.0)
    minors = np.array([[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(3)] for i in range(3)])
    signs = (-1.0) ** np.add.outer(np.arange(3), np.arange(3))
    np.testing.assert_allclose(ft.grad(np.linalg.det)(x), minors * signs, atol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.grad(np.linalg.det))(x), minors * signs, atol=1e-12)
    second = ft.hessian(np.linalg.det)(x)
    for i, j, k, m in np.ndindex(3, 3, 3, 3):
        # The determinant of three rows is linear in each entry: its second derivative is one entry of the matrix.
        free = [r for r in range(3) if r not in (i, k)], [c for c in range(3) if c not in (j, m)]
        expected = 0.0
        if i != k and j != m:
            order = (k - i) * (m - j)
            parity = (-1) ** (i + j + k + m) * (1 if order > 0 else -1)
            expected = parity * x[free[0][0], free[1][0]]
        np.testing.assert_allclose(second[i, j, k, m], expected, atol=1e-12)


def test_third_derivatives_of_det() -> None:
    e = np.cos(A)

    def along(t: Any) -> Any:
        return np.linalg.det(A + t * e)

    third = ft.grad(ft.grad(ft.grad(along)))(0.0)
    np.testing.assert_allclose(third, 6 * np.linalg.det(e), rtol=1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        ft.grad(ft.grad(ft.grad(lambda t: np.linalg.det(t * e))))(0.0)


SINGULAR: dict[str, Callable[[Any], Any]] = {
    "slogdet": lambda x: np.linalg.slogdet(x)[1],
    "solve": lambda x: np.linalg.solve(x, V[:2]).sum(),
    "inv": lambda x: np.linalg.inv(x).sum(),
    "qr": lambda x: np.linalg.qr(x)[0].sum(),
    "cholesky": lambda x: np.linalg.cholesky(x).sum(),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_matrices_raise_and_give_no_nan(name: str) -> None:
    for transformed in (ft.grad(SINGULAR[name]), ft.jit(ft.grad(SINGULAR[name]))):
        with pytest.raises(np.linalg.LinAlgError):
            transformed(np.zeros((2, 2)))


def test_condition_numbers_of_singular_matrices() -> None:
    x = np.outer([1.0, 2.0], [3.0, 4.0])
    assert ft.jit(np.linalg.cond)(np.zeros((2, 2))) == np.inf
    for p in (1, -1, "fro", np.inf):
        value, slope = ft.value_and_grad(lambda x, p=p: fnp.linalg.cond(x, p))(np.zeros((2, 2)))
        assert value == np.linalg.cond(np.zeros((2, 2)), p) == np.inf
        assert not slope.any()
    stack = np.stack([A[:2, :2], 0 * x, np.full((2, 2), np.nan)])
    np.testing.assert_allclose(ft.jit(lambda x: np.linalg.cond(x, 1))(stack), np.linalg.cond(stack, 1))


def test_norms_of_zero_have_no_slope() -> None:
    for ord in (2, -2, "nuc", "fro"):
        assert not ft.grad(lambda x, ord=ord: fnp.linalg.norm(x, ord))(np.zeros((2, 3))).any()
    np.testing.assert_allclose(ft.grad(lambda x: fnp.linalg.norm(x, 2))(np.eye(2)), np.eye(2) / 2)
    np.testing.assert_allclose(ft.grad(lambda x: fnp.linalg.norm(x, "nuc"))(np.diag([3.0, 0.0])), np.diag([1.0, 0.0]))


# -- errors -----------------------------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "cholesky": (lambda x: fnp.linalg.cholesky(x), errors.ShapeError, "equal in extent"),
    "eigh": (lambda x: fnp.linalg.eigh(x[0]), errors.ShapeError, "two axes or more"),
    "UPLO": (lambda x: fnp.linalg.eigh(x[:, :2], UPLO="X"), errors.ArgumentError, "'L' or 'U'"),
    "qr": (lambda x: fnp.linalg.qr(x, mode="full"), errors.ArgumentError, "'reduced'"),
    "half": (lambda x: fnp.linalg.inv(x.astype(np.float16)[:, :2]), errors.DTypeError, "float32"),
    "solve": (lambda x: fnp.linalg.solve(x[:, :2], x.T), errors.ShapeError, "2 rows and b 3"),
    "solve a number": (lambda x: fnp.linalg.solve(x[:, :2], x[0, 0]), errors.ShapeError, "axis or more"),
    "pinv": (lambda x: fnp.linalg.pinv(x, 1.0, rtol=1.0), errors.ArgumentError, "both"),
    "matrix_rank": (lambda x: fnp.linalg.matrix_rank(x, 1.0, rtol=1.0), errors.ArgumentError, "both"),
    "lstsq": (lambda x: fnp.linalg.lstsq(x, x.T), errors.ShapeError, "2 rows and b 3"),
    "tensorinv": (lambda x: fnp.linalg.tensorinv(x, 0), errors.ArgumentError, "positive"),
    "tensorinv shape": (lambda x: fnp.linalg.tensorinv(x, 1), errors.ShapeError, "as many elements"),
    "tensorsolve": (lambda x: fnp.linalg.tensorsolve(x, x[0]), errors.ShapeError, "as many elements"),
    "cond": (lambda x: fnp.linalg.cond(x[:0]), errors.ShapeError, "empty"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_arguments(name: str) -> None:
    f, kind, words = REJECTED[name]
    with pytest.raises(kind, match=words):
        ft.jit(f)(TALL[:2].repeat(2, 1)[:, :3])


def test_lapacks_errors_come_at_run_time() -> None:
    for f in (np.linalg.cholesky, lambda x: np.linalg.cholesky(x, upper=True)):
        compiled = ft.jit(f)
        compiled(np.eye(2))
        with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
            compiled(-np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        ft.jit(np.linalg.inv)(np.zeros((2, 2)))


def test_undetermined_vectors_have_no_derivative() -> None:
    projection = TALL @ np.linalg.pinv(TALL)
    for name, f in {
        "svd": lambda x: fnp.linalg.svd(x).U,
        "qr": lambda x: fnp.linalg.qr(x, "complete").Q,
    }.items():
        with pytest.raises(errors.NotDifferentiableError, match=f"{name}: .* behind the first 2 are any basis"):
            ft.grad(lambda x, f=f: f(x)[0, 3])(TALL)
        with pytest.raises(errors.NotDifferentiableError, match=name):
            ft.jvp(f, (TALL,), (np.ones_like(TALL),))
        used = ft.grad(lambda x, f=f: (f(x)[:, :2] @ f(x)[:, :2].T)[0, 1])(TALL)
        plain = ft.grad(lambda x: (x @ fnp.linalg.pinv(x))[0, 1])(TALL)
        np.testing.assert_allclose(used, plain, atol=1e-12)
        assert projection.shape == (4, 4)
    with pytest.raises(errors.NotDifferentiableError, match="geqrf"):
        ft.grad(lambda x: fnp.linalg.qr(x, "raw")[0].sum())(TALL)
    values = ft.grad(lambda x: fnp.linalg.svd(x).S.sum())(TALL)
    np.testing.assert_allclose(values, ft.grad(lambda x: fnp.linalg.norm(x, "nuc"))(TALL), atol=1e-12)


def test_results_have_numpys_names() -> None:
    assert type(ft.jit(np.linalg.slogdet)(A)) is type(np.linalg.slogdet(A))
    assert ft.grad(lambda x: np.linalg.eigh(x).eigenvalues.sum())(H).shape == (3, 3)
