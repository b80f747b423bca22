from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.core.trace import Tracer
from tests.numpy.agreement import Example, available, check_example, same

X = np.sin(np.arange(6.0)).reshape(2, 3)
F32 = X.astype(np.float32)
INT = np.arange(6).reshape(2, 3)
C = X + 1j * X[::-1]
S = np.float64(1.5)

EXAMPLES = [
    Example("zeros_like", lambda xp, x: xp.zeros_like(x), (X,)),
    Example("zeros_like dtype", lambda xp, x: xp.zeros_like(x, dtype=int, shape=(4,)), (X,)),
    Example("ones_like", lambda xp, x: xp.ones_like(x), (F32,), 0),
    Example("ones_like of a number", lambda xp, x: xp.ones_like(x), (2.5,)),
    Example("empty_like", lambda xp, x: xp.empty_like(x) * 0, (INT,)),
    Example("full_like", lambda xp, x: xp.full_like(x, 3), (F32,), 0),
    Example("full_like traced", lambda xp, x, y: xp.full_like(x, y), (X, S), protocol=False),
    Example("full_like int", lambda xp, x: xp.full_like(x, 2.7), (INT,)),
    Example("full", lambda xp, x: xp.full((2, 3), x), (S,), protocol=False),
    Example("full number", lambda xp, x: xp.full(2, x), (2.5,), protocol=False),
    Example("full row", lambda xp, x: xp.full((2, 3), x), (X[0],), protocol=False),
    Example("full dtype", lambda xp, x: xp.full((2,), x, np.complex64), (S,), 0, protocol=False),
    Example("array", lambda xp, x: xp.array(x), (X,), protocol=False),
    Example("array of numbers", lambda xp, x, y: xp.array([x, y, 1.0]), (2.5, S), protocol=False),
    Example("array nested", lambda xp, x, y: xp.array([[x, y], [y, 2]]), (S, np.float32(2.0)), protocol=False),
    Example("array of rows", lambda xp, x: xp.array([x[0], x[1], [1, 2, 3]]), (X,), protocol=False),
    Example("array ints", lambda xp, x, y: xp.array([x, y]), (1, np.int8(2)), protocol=False),
    Example("array dtype", lambda xp, x: xp.array([x, 1], dtype=np.float32), (2.5,), 0, protocol=False),
    Example("array ndmin", lambda xp, x: xp.array(x, ndmin=3), (X,), protocol=False),
    Example("array constant", lambda xp, x: xp.array([[1, 2], [3, 4]]) * x, (S,), protocol=False),
    Example("asarray", lambda xp, x: xp.asarray(x), (S,), protocol=False),
    Example("asarray of a number", lambda xp, x: xp.asarray(x), (2.5,), protocol=False),
    Example("asarray dtype", lambda xp, x: xp.asarray(x, np.complex128), (X,), protocol=False),
    Example("asanyarray", lambda xp, x: xp.asanyarray(x), (2,), protocol=False),
    Example("ascontiguousarray", lambda xp, x: xp.ascontiguousarray(x), (S,), protocol=False),
    Example("copy", lambda xp, x: xp.copy(x), (X,)),
    Example("copy of a number", lambda xp, x: xp.copy(x), (S,)),
    Example("arange", lambda xp, x: xp.arange(2, 9, 3) * x, (S,), protocol=False),
    Example("arange float", lambda xp, x: xp.arange(0.5, 2.0, 0.25) + x, (S,), protocol=False),
    Example("arange dtype", lambda xp, x: xp.arange(4, dtype=np.float32) * x, (np.float32(1.0),), 0, protocol=False),
    Example("linspace", lambda xp, x, y: xp.linspace(x, y, 7), (S, 2.5)),
    Example("linspace open", lambda xp, x, y: xp.linspace(x, y, 5, endpoint=False), (X, X[0])),
    Example("linspace axis", lambda xp, x: xp.linspace(x, 2.0, 4, axis=-1), (X,)),
    Example("linspace step", lambda xp, x: xp.linspace(x, 3.0, 5, retstep=True), (S,)),
    Example("linspace of one", lambda xp, x: xp.linspace(x, 3.0, 1), (S,)),
    Example("linspace none", lambda xp, x: xp.linspace(x, 3.0, 0), (S,)),
    Example("linspace float32", lambda xp, x: xp.linspace(x, 2.0, 5), (np.float32(1.0),), 0),
    Example("linspace int", lambda xp, x: xp.linspace(x, 9, 4), (2,)),
    Example("linspace to int", lambda xp, x: xp.linspace(x, 9.0, 4, dtype=int), (S,)),
    Example("linspace complex", lambda xp, x: xp.linspace(x, 1j, 3), (C,)),
    Example("logspace", lambda xp, x: xp.logspace(x, 2.0, 4), (S,)),
    Example("logspace base", lambda xp, x, b: xp.logspace(x, 2.0, 4, base=b), (S, 2.0)),
    Example("geomspace", lambda xp, x, y: xp.geomspace(x, y, 5), (S, 24.0), digits=4),
    Example("geomspace negative", lambda xp, x: xp.geomspace(x, -3.0, 4), (-S,), digits=4),
    Example("geomspace open", lambda xp, x: xp.geomspace(x, 3.0, 4, endpoint=False), (S,), digits=4),
    Example("geomspace axis", lambda xp, x: xp.geomspace(x, 3.0, 4, axis=1), (np.abs(X) + 1,), 1, digits=4),
    Example("geomspace complex", lambda xp, x: xp.geomspace(x, 8j, 4), (1 + 1j,), 0, digits=8),
    Example("meshgrid", lambda xp, x, y: xp.meshgrid(x, y), (X[0], X[:, 0])),
    Example("meshgrid ij", lambda xp, x, y: xp.meshgrid(x, y, X[0], indexing="ij"), (X[0], X[:, 0])),
    Example("meshgrid sparse", lambda xp, x, y: xp.meshgrid(x, y, sparse=True), (X[0], X[:, 0])),
    Example("meshgrid of one", lambda xp, x: xp.meshgrid(x), (X[0],)),
    Example("indices", lambda xp, x: xp.indices((2, 3)) * x, (S,), protocol=False),
    Example("indices sparse", lambda xp, x: xp.indices((2, 3), dtype=float, sparse=True), (S,), protocol=False),
    Example("fromfunction", lambda xp, x: xp.fromfunction(lambda i, j: i + j * x, (2, 3)), (S,), protocol=False),
    Example("eye", lambda xp, x: xp.eye(2, 3, 1) * x, (S,), protocol=False),
    Example("identity", lambda xp, x: xp.identity(3, np.float32) * x, (np.float32(2),), 0, protocol=False),
    Example("tri", lambda xp, x: xp.tri(3, 4, -1) * x, (S,), protocol=False),
    Example("tril", lambda xp, x: xp.tril(x), (X,)),
    Example("tril above", lambda xp, x: xp.tril(x, 1), (np.stack([X, -X]),)),
    Example("triu", lambda xp, x: xp.triu(x, -1), (X,)),
    Example("tril of a vector", lambda xp, x: xp.tril(x), (X[0],)),
    Example("triu int", lambda xp, x: xp.triu(x), (INT,)),
    Example("diag", lambda xp, x: xp.diag(x), (X[0],)),
    Example("diag offset", lambda xp, x: xp.diag(x, -2), (X[0],)),
    Example("diag of a matrix", lambda xp, x: xp.diag(x, 1), (X,)),
    Example("diagflat", lambda xp, x: xp.diagflat(x, 1), (X,)),
    Example("vander", lambda xp, x: xp.vander(x), (X[0],)),
    Example("vander increasing", lambda xp, x: xp.vander(x, 2, increasing=True), (X[0],)),
    Example("vander int", lambda xp, x: xp.vander(x, 1), (np.arange(3, dtype=np.int8),)),
    Example("zeros", lambda xp, x: xp.zeros((2, 3)) + x, (X,), protocol=False),
    Example("ones", lambda xp, x: xp.ones(3, np.int8) * x, (X,), protocol=False),
    Example("bartlett", lambda xp, x: xp.bartlett(5) * x, (S,), protocol=False),
    Example("windows", lambda xp, x: xp.hanning(4) * xp.hamming(4) * xp.blackman(4) * x, (S,), protocol=False),
    Example("kaiser", lambda xp, x: xp.kaiser(4, 2.0) * x, (S,), protocol=False),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_creation(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fnp.zeros((2, 2)),
        lambda: fnp.ones(2, np.int8),
        lambda: fnp.empty(2),
        lambda: fnp.full(3, 1.5),
        lambda: fnp.arange(5),
        lambda: fnp.linspace(0.0, 1.0, 3),
        lambda: fnp.eye(3),
        lambda: fnp.identity(2),
        lambda: fnp.tri(2),
        lambda: fnp.indices((2, 2)),
        lambda: fnp.array([1.0, 2.0]),
        lambda: fnp.asarray([1, 2]),
        lambda: fnp.frombuffer(b"ab", np.uint8),
        lambda: fnp.fromiter(range(3), int),
        lambda: fnp.hanning(3),
        lambda: fnp.zeros_like(np.ones(2)),
        lambda: fnp.mgrid[:2, :3],
    ],
)
def test_creation_under_jit_is_traced(make: object) -> None:
    kinds: list[type] = []

    def f() -> object:
        out = make()
        kinds.append(type(out))
        return out

    result = ft.jit(f)()
    assert kinds == [Tracer]
    same(result, make())


def test_arange_of_known_traced_ends_has_derivatives() -> None:
    def f(start: float, step: float) -> object:
        return fnp.sum(fnp.arange(start, start + 4 * step, step) ** 2)

    numbers = [1.0, 1.5, 2.0, 2.5]
    assert ft.grad(f, argnums=(0, 1))(1.0, 0.5) == (2 * sum(numbers), 2 * sum(k * v for k, v in enumerate(numbers)))
    jitted = ft.jit(f)
    assert [jitted(1.0, 0.5), jitted(2.0, 1.0), jitted(1.0, 0.5)] == [13.5, 54.0, 13.5]
    with pytest.raises(errors.TracerConversionError, match="the length of arange"):
        ft.vmap(f)(np.ones(2), np.ones(2))


@pytest.mark.parametrize("transform", [ft.jit, ft.vmap])
def test_a_table_made_by_asarray_takes_traced_indices(transform: object) -> None:
    table = np.array([10.0, 20.0, 30.0])
    picked = transform(lambda i: fnp.asarray(table)[i])(np.array([2, 0]))
    np.testing.assert_array_equal(picked, [30.0, 10.0])
    nested = ft.vmap(ft.grad(lambda x, i: x * fnp.asarray(table)[i]))(np.ones(2), np.array([2, 0]))
    np.testing.assert_array_equal(nested, [30.0, 10.0])


@pytest.mark.parametrize("transform", [ft.jit, lambda f: ft.vmap(f, in_axes=1, out_axes=1), lambda f: f])
def test_a_mask_written_as_a_list_is_known_while_tracing(transform: object) -> None:
    def f(x: object) -> object:
        mask = fnp.array([True, False, True])
        if fnp.asarray(True):
            return x[mask]
        return x

    x = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(transform(f)(x), x[[0, 2]])


def test_array_makes_a_copy() -> None:
    x = np.ones(2)
    ft.grad(lambda t: fnp.sum(fnp.array(x)) * t)(1.0)
    out = ft.vmap(lambda i: fnp.array(x), axis_size=2, in_axes=None)(0)
    out[0] = 5.0
    np.testing.assert_array_equal(x, [1.0, 1.0])


def test_errors() -> None:
    with pytest.raises(errors.ArgumentError, match="indexing must be"):
        ft.jit(lambda x: fnp.meshgrid(x, indexing="yx"))(X[0])
    with pytest.raises(errors.ShapeError, match="a vector or a matrix"):
        ft.jit(fnp.diag)(np.zeros((1, 1, 1)))
    with pytest.raises(errors.ShapeError, match="differ in shape"):
        ft.jit(lambda x: fnp.array([x, x[:1]]))(X[0])
    with pytest.raises(ValueError, match="start must not be zero"):
        ft.jit(lambda x: fnp.geomspace(0.0, x))(2.0)
    with pytest.raises(ValueError, match="NaN or an infinity"):
        ft.grad(lambda x: fnp.sum(fnp.asarray_chkfinite(x)))(np.array([np.nan]))
