"""Products, norms and what else of linear algebra needs no factorisation, against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, check_example

V = np.array([0.5, -1.5, 2.0])
W = np.array([1.25, 0.75, -0.5])
A = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
S = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75], [0.25, -1.0, 0.5]])
CUBE = np.sin(np.arange(24.0) * 1.3 + 0.4).reshape(2, 3, 4)
LAST = np.cos(np.arange(40.0) * 0.7).reshape(2, 4, 5)
CV = V + 1j * W
CA = A - 0.5j * A[::-1]
INTS = np.array([[3, -1, 2], [5, 4, -6]])
F32 = A.astype(np.float32)

PRODUCTS = [
    Example("dot of vectors", lambda xp, x, y: xp.dot(x, y), (V, W)),
    Example("dot of matrices", lambda xp, x, y: xp.dot(x, y), (A, S)),
    Example("dot of matrix and vector", lambda xp, x, y: xp.dot(x, y), (A, V)),
    Example("dot with a number", lambda xp, x, y: xp.dot(x, y), (2.5, A)),
    Example("dot with a float32", lambda xp, x, y: xp.dot(x, y), (2.5, F32), 0),
    Example("dot of numbers", lambda xp, x, y: xp.dot(x, y), (2.5, 3)),
    Example("dot of 3-d", lambda xp, x, y: xp.dot(x, y), (CUBE, LAST), digits=8),
    Example("dot of 3-d and 1-d", lambda xp, x, y: xp.dot(x, y), (CUBE, LAST[0, :, 0]), digits=8),
    Example("dot promotes", lambda xp, x, y: xp.dot(x, y), (INTS, V)),
    Example("dot ints", lambda xp, x, y: xp.dot(x, y), (INTS.astype(np.int8), INTS.T.astype(np.int16))),
    Example("dot bools", lambda xp, x, y: xp.dot(x, y), (INTS > 0, INTS.T > 0)),
    Example("dot complex", lambda xp, x, y: xp.dot(x, y), (CA, V)),
    Example("dot of lists", lambda xp, x: xp.dot([x, x], [[x, 1.0], [2.0, x]]), (1.5,), protocol=False),
    Example("dot method", lambda xp, x, y: x.dot(y), (A, V), batch=False),
    Example("matmul", lambda xp, x, y: xp.matmul(x, y), (A, S)),
    Example("matmul operator", lambda xp, x, y: x @ y, (A, V)),
    Example("matmul broadcasts", lambda xp, x, y: xp.matmul(x, y), (CUBE[:, None], LAST), digits=4),
    Example("matmul promotes", lambda xp, x, y: xp.matmul(x, y), (F32, V), 0),
    Example("matmul of lists", lambda xp, x: xp.matmul([[1.0, x], [2.0, 3.0]], [x, x]), (1.5,), protocol=False),
    Example("vdot", lambda xp, x, y: xp.vdot(x, y), (A, A[::-1]), digits=2),
    Example("vdot complex", lambda xp, x, y: xp.vdot(x, y), (CV, CV[::-1]), digits=2),
    Example("vdot of numbers", lambda xp, x, y: xp.vdot(x, y), (2.5, 1.5)),
    Example("inner", lambda xp, x, y: xp.inner(x, y), (V, W)),
    Example("inner of matrices", lambda xp, x, y: xp.inner(x, y), (A, S)),
    Example("inner of cubes", lambda xp, x, y: xp.inner(x, y), (CUBE, CUBE[0]), digits=8),
    Example("inner with a number", lambda xp, x, y: xp.inner(x, y), (2.5, A)),
    Example("outer", lambda xp, x, y: xp.outer(x, y), (V, W)),
    Example("outer flattens", lambda xp, x, y: xp.outer(x, y), (A, V)),
    Example("outer of numbers", lambda xp, x, y: xp.outer(x, y), (2.0, F32[0]), 0),
    Example("tensordot", lambda xp, x, y: xp.tensordot(x, y), (A, A), digits=2),
    Example("tensordot axes", lambda xp, x, y: xp.tensordot(x, y, axes=([1, 2], [0, 1])), (CUBE, CUBE[1]), digits=8),
    Example("tensordot of nothing", lambda xp, x, y: xp.tensordot(x, y, axes=0), (V, W)),
    Example("kron", lambda xp, x, y: xp.kron(x, y), (A, S)),
    Example("kron of ranks", lambda xp, x, y: xp.kron(x, y), (V, A)),
    Example("kron with a number", lambda xp, x, y: xp.kron(x, y), (2.5, A)),
    Example("kron ints", lambda xp, x, y: xp.kron(x, y), (INTS, INTS[0].astype(np.int8))),
    Example("cross", lambda xp, x, y: xp.cross(x, y), (V, W)),
    Example("cross broadcasts", lambda xp, x, y: xp.cross(x, y), (S, W)),
    Example("cross axes", lambda xp, x, y: xp.cross(x, y, axisa=0, axisb=1, axisc=0), (S, S)),
    Example("cross axis", lambda xp, x, y: xp.cross(x, y, axis=0), (S, S)),
    Example("cross promotes", lambda xp, x, y: xp.cross(x, y), (INTS, V)),
    Example("vecdot", lambda xp, x, y: xp.vecdot(x, y), (S, V), digits=4),
    Example("vecdot complex", lambda xp, x, y: xp.vecdot(x, y), (CV, CV[::-1]), digits=4),
    Example("vecdot axis", lambda xp, x, y: xp.vecdot(x, y, axis=0), (A, A[::-1]), digits=4),
    Example("trace", lambda xp, x: xp.trace(x), (S,)),
    Example("trace offset", lambda xp, x: xp.trace(x, offset=1), (A,)),
    Example("trace of 3-d", lambda xp, x: xp.trace(x, 0, 1, 2), (CUBE,)),
    Example("trace int8", lambda xp, x: xp.trace(x), (INTS.astype(np.int8),)),
    Example("trace dtype", lambda xp, x: xp.trace(x, dtype=np.float32), (A,), 0),
]

# Functions of NumPy 2.2.
LATER = [
    Example("matvec", lambda xp, x, y: xp.matvec(x, y), (CUBE, LAST[0, :, 1]), digits=4),
    Example("matvec broadcasts", lambda xp, x, y: xp.matvec(x, y), (CUBE, LAST[:, :, 1]), digits=4),
    Example("vecmat", lambda xp, x, y: xp.vecmat(x, y), (CUBE[0], LAST[0]), digits=4),
    Example("vecmat complex", lambda xp, x, y: xp.vecmat(x, y), (CV[:2], CA), digits=4),
]

EINSUM = [
    Example("einsum matmul", lambda xp, x, y: xp.einsum("ij,jk->ik", x, y), (A, S), digits=4),
    Example("einsum implicit", lambda xp, x, y: xp.einsum("ij,kj", x, y), (A, S), digits=4),
    Example("einsum trace", lambda xp, x: xp.einsum("ii", x), (S,), digits=2),
    Example("einsum diagonal", lambda xp, x: xp.einsum("ii->i", x), (S,)),
    Example("einsum transpose", lambda xp, x: xp.einsum("ijk->kji", x), (CUBE,)),
    Example("einsum sum", lambda xp, x: xp.einsum("ij->i", x), (A,), digits=4),
    Example("einsum ellipsis", lambda xp, x, y: xp.einsum("...ij,...jk->...ik", x, y), (CUBE, LAST), digits=8),
    Example("einsum three", lambda xp, x, y, z: xp.einsum("i,ij,j->", x, y, z), (A[:, 0], A, V), digits=8),
    Example("einsum optimize", lambda xp, x, y: xp.einsum("ij,jk", x, y, optimize="greedy"), (A, S), digits=4),
    Example("einsum promotes", lambda xp, x, y: xp.einsum("ij,j", x, y), (INTS, V), digits=4),
    Example("einsum dtype", lambda xp, x, y: xp.einsum("ij,j", x, y, dtype=float), (F32, F32[0]), 0, digits=4),
    Example("einsum int8", lambda xp, x: xp.einsum("ij->i", x), (INTS.astype(np.int8),)),
    Example("einsum number", lambda xp, x, y: xp.einsum(",i", x, y), (2.5, V)),
    Example("einsum interleaved", lambda xp, x, y: xp.einsum(x, [0, 1], y, [1, 2], [2, 0]), (A, S), digits=4),
    Example("einsum interleaved, implicit", lambda xp, x, y: xp.einsum(x, [7, 5], y, [5]), (A, V), digits=4),
    Example("einsum interleaved, ellipsis", lambda xp, x: xp.einsum(x, [..., 0, 1], [..., 1]), (CUBE,), digits=4),
    Example("einsum of lists", lambda xp, x: xp.einsum("i,i", [x, 2.0], [x, x]), (1.5,), protocol=False, digits=4),
    Example("einsum_path", lambda xp, x, y: xp.einsum_path("ij,jk,kl", x, y, y)[0][1:], (A, S), 0, batch=False),
]

NORMS = [
    *[
        Example(f"norm {ord} of a vector", lambda xp, x, ord=ord: xp.linalg.norm(x, ord), (V,), digits=4)
        for ord in (None, 1, 2, 3, 0.5, -1, -2.5, np.inf, -np.inf)
    ],
    *[
        Example(f"norm {ord} of a matrix", lambda xp, x, ord=ord: xp.linalg.norm(x, ord), (A,), digits=4)
        for ord in (None, "fro", 1, -1, np.inf, -np.inf)
    ],
    *[
        Example(f"norm {ord} of rows", lambda xp, x, o=ord: xp.linalg.norm(x, o, axis=1, keepdims=True), (A,), digits=4)
        for ord in (None, 1, 2, 3.5, np.inf)
    ],
    *[
        Example(f"norm {ord} of matrices", lambda xp, x, o=ord: xp.linalg.norm(x, o, axis=(2, 0)), (CUBE,), digits=4)
        for ord in (None, "fro", 1, -1, np.inf, -np.inf)
    ],
    Example("norm in its order", lambda xp, x, p: xp.linalg.norm(x, p), (V, 2.5), digits=4),
    Example("norm in its order, rows", lambda xp, x, p: xp.linalg.norm(x, p, axis=1), (A, 1.5), digits=4),
    Example("norm 0", lambda xp, x: xp.linalg.norm(x, 0), (np.array([0.0, 1.5, 0.0, 2.0]),), 0),
    Example("norm of all", lambda xp, x: xp.linalg.norm(x, keepdims=True), (CUBE,), digits=4),
    Example("norm kept", lambda xp, x: xp.linalg.norm(x, 1, axis=(0, 1), keepdims=True), (CUBE,), digits=4),
    Example("norm complex", lambda xp, x: xp.linalg.norm(x), (CA,), digits=4),
    Example("norm complex rows", lambda xp, x: xp.linalg.norm(x, 3, axis=1), (CA,), digits=4),
    Example("norm ints", lambda xp, x: xp.linalg.norm(x), (INTS,), digits=4),
    Example("norm float32", lambda xp, x: xp.linalg.norm(x, 3, axis=0), (F32,), 0, digits=4),
    Example("norm float16", lambda xp, x: xp.linalg.norm(x), (A.astype(np.float16),), 0, digits=4),
    Example("norm of a number", lambda xp, x: xp.linalg.norm(x), (-2.5,)),
    Example("norm of a list", lambda xp, x: xp.linalg.norm([x, 2.0]), (1.5,), protocol=False),
    Example("vector_norm", lambda xp, x: xp.linalg.vector_norm(x), (A,), digits=4),
    Example("vector_norm axes", lambda xp, x: xp.linalg.vector_norm(x, axis=(0, 2), keepdims=True), (CUBE,), digits=4),
    Example("vector_norm ord", lambda xp, x: xp.linalg.vector_norm(x, axis=0, ord=1), (A,)),
    Example("vector_norm of a number", lambda xp, x: xp.linalg.vector_norm(x), (2.5,)),
    Example("matrix_norm", lambda xp, x: xp.linalg.matrix_norm(x), (CUBE,), digits=4),
    Example("matrix_norm 1", lambda xp, x: xp.linalg.matrix_norm(x, ord=1, keepdims=True), (CUBE,), digits=4),
]

LINALG = [
    Example("linalg.matmul", lambda xp, x, y: xp.linalg.matmul(x, y), (A, S)),
    Example("linalg.tensordot", lambda xp, x, y: xp.linalg.tensordot(x, y, axes=1), (A, S)),
    Example("linalg.vecdot", lambda xp, x, y: xp.linalg.vecdot(x, y, axis=0), (A, A[::-1]), digits=4),
    Example("linalg.outer", lambda xp, x, y: xp.linalg.outer(x, y), (V, W)),
    Example("linalg.cross", lambda xp, x, y: xp.linalg.cross(x, y), (V, W)),
    Example("linalg.matrix_transpose", lambda xp, x: xp.linalg.matrix_transpose(x), (CUBE,)),
    Example("linalg.diagonal", lambda xp, x: xp.linalg.diagonal(x, offset=1), (CUBE,)),
    Example("linalg.trace", lambda xp, x: xp.linalg.trace(x), (CUBE,), digits=2),
    Example("multi_dot of two", lambda xp, x, y: xp.linalg.multi_dot([x, y]), (A, S), protocol=False),
    Example("multi_dot of three", lambda xp, x, y: xp.linalg.multi_dot([x, y, x.T]), (A, S), digits=4, batch=False),
    Example("multi_dot of four", lambda xp, x, y: xp.linalg.multi_dot([x, y, y, y]), (A, S), digits=4),
    Example("multi_dot to a vector", lambda xp, x, y: xp.linalg.multi_dot([y, y, y, x]), (V, S), digits=4),
    Example("multi_dot to a number", lambda xp, x, y: xp.linalg.multi_dot([x, y, x]), (V, S), digits=4),
    *[
        Example(f"matrix_power {n}", lambda xp, x, n=n: xp.linalg.matrix_power(x, n), (S,), 2 if n else 0, digits=4)
        for n in (0, 1, 2, 3, 5, 8)
    ],
    Example("matrix_power ints", lambda xp, x: xp.linalg.matrix_power(x, 3), (INTS[:, :2],)),
]


EXAMPLES = [*PRODUCTS, *EINSUM, *NORMS, *LINALG, *(LATER if hasattr(np, "matvec") else [])]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("ord", [None, 1, 2, 3, 0.5, np.inf])
def test_the_norm_of_zero_has_the_derivative_zero(ord: Any) -> None:
    norm = lambda x: fnp.linalg.norm(x, ord)
    np.testing.assert_array_equal(ft.grad(norm)(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(ft.jacfwd(norm)(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(ft.hessian(norm)(np.zeros(3)), np.zeros((3, 3)))


def test_the_order_of_a_norm_may_be_traced() -> None:
    assert ft.value_and_grad(lambda p: fnp.linalg.norm(V, p))(np.inf)[0] == 2.0
    assert ft.value_and_grad(lambda p: fnp.linalg.norm(V, p))(0.0)[0] == 3.0


def test_the_norm_of_nothing() -> None:
    norm = ft.jit(lambda x: fnp.linalg.norm(x, np.inf, axis=0))
    np.testing.assert_array_equal(norm(np.zeros((0, 2))), np.zeros(2))


def test_norms_of_zero_beside_others() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    slope = ft.grad(lambda x: fnp.sum(fnp.linalg.norm(x, axis=1)))(x)
    np.testing.assert_allclose(slope, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-15)


def test_the_negative_norm_with_a_zero() -> None:
    x = np.array([3.0, 0.0])
    with np.errstate(divide="ignore"):
        assert np.linalg.norm(x, -1) == 0.0
    assert ft.jit(lambda x: fnp.linalg.norm(x, -1))(x) == 0.0


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "inner": (lambda x: fnp.inner(x, x[:, :2]), errors.ShapeError, "last axes must agree"),
    "matmul of a number": (lambda x: fnp.matmul(x, 2.0), errors.ShapeError, "x \\* y"),
    "matmul axes": (lambda x: fnp.matmul(x, x, axes=[(0, 1)] * 3), errors.ArgumentError, "moveaxis"),
    "matmul.reduce": (lambda x: fnp.matmul.reduce(x), errors.ArgumentError, "no reduce"),
    "vecdot of numbers": (lambda x: fnp.vecdot(x[0, 0], 2.0), errors.ShapeError, "operand 0"),
    "matvec of a vector": (lambda x: fnp.matvec(x[0], x[0]), errors.ShapeError, "two axes"),
    "cross": (lambda x: fnp.cross(x, fnp.ones(4)), errors.ShapeError, "2 or 3 elements"),
    "linalg.cross": (lambda x: fnp.linalg.cross(x[:, :2], x), errors.ShapeError, "3 elements"),
    "linalg.outer": (lambda x: fnp.linalg.outer(x, x), errors.ShapeError, "two vectors"),
    "trace": (lambda x: fnp.trace(x[0]), errors.ShapeError, "two axes"),
    "nothing": (lambda x: fnp.einsum(), errors.ArgumentError, "got nothing"),
    "einsum cast": (lambda x: fnp.einsum("ij", x, dtype=np.float32), errors.DTypeError, "'safe'"),
    "einsum labels": (lambda x: fnp.einsum(x, [0, -1]), errors.ArgumentError, "Ellipsis"),
    "norm 3 of a matrix": (lambda x: fnp.linalg.norm(x, 3), errors.ArgumentError, "no norm of matrices"),
    "fro of a vector": (lambda x: fnp.linalg.norm(x[0], "fro"), errors.ArgumentError, "no norm of vectors"),
    "matrix norm in its order": (
        lambda x: ft.grad(lambda p: fnp.linalg.norm(x, p))(1.0),
        errors.ArgumentError,
        "cannot be traced",
    ),
    "norm axis twice": (lambda x: fnp.linalg.norm(x, axis=(0, -2)), errors.ShapeError, "twice"),
    "norm of a cube": (lambda x: fnp.linalg.norm(x[None], 1), errors.ShapeError, "gives 3"),
    "multi_dot": (lambda x: fnp.linalg.multi_dot([x]), errors.ArgumentError, "two arrays or more"),
    "multi_dot rank": (lambda x: fnp.linalg.multi_dot([x, x[0], x]), errors.ShapeError, "array 1"),
    "matrix_power of a rectangle": (lambda x: fnp.linalg.matrix_power(x, 2), errors.ShapeError, "equal in extent"),
    "np.is_busday": (lambda x: np.is_busday(x), errors.MissingRuleError, "is_busday cannot be traced"),
    "out": (lambda x: fnp.dot(x, x.T, out=np.zeros((2, 2))), errors.DetachedWriteError, "dot"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        ft.jit(f)(A)
