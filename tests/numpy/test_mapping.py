from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_derivative, check_example, same

X = np.sin(np.arange(6.0)).reshape(2, 3)
Z = np.sin(np.arange(24.0)).reshape(2, 3, 4)
S = np.float64(1.5)


def outer_square(row: object) -> object:
    return row[:, None] * row[None, :]


EXAMPLES = [
    Example("apply_along_axis", lambda xp, x: xp.apply_along_axis(np.sum, 1, x), (X,)),
    Example("apply_along_axis vectors", lambda xp, x: xp.apply_along_axis(np.cumsum, 0, x), (X,)),
    Example("apply_along_axis matrices", lambda xp, x: xp.apply_along_axis(outer_square, 1, x), (Z,)),
    Example("apply_along_axis arguments", lambda xp, x: xp.apply_along_axis(np.clip, -1, x, -0.5, a_max=0.5), (X,)),
    Example("apply_along_axis of a vector", lambda xp, x: xp.apply_along_axis(np.flip, 0, x), (X[0],)),
    Example("apply_over_axes", lambda xp, x: xp.apply_over_axes(np.sum, x, (0, -1)), (Z,)),
    Example("apply_over_axes keeping", lambda xp, x: xp.apply_over_axes(np.cumsum, x, 1), (Z,)),
    Example("piecewise", lambda xp, x: xp.piecewise(x, [x < 0, x >= 0.5], [lambda v: -v, lambda v: v * v]), (X + 0.1,)),
    Example("piecewise else", lambda xp, x: xp.piecewise(x, [x < 0], [1.0, lambda v, a: a * v], 3.0), (X + 0.1,)),
    Example("piecewise one condition", lambda xp, x: xp.piecewise(x, x < 0, [-1.0, 1.0]), (X[0] + 0.1,)),
    Example("piecewise of a number", lambda xp, x: xp.piecewise(x, [x < 0, x > 1], [0.0, lambda v: v * 2]), (S,)),
    Example("insert", lambda xp, x: xp.insert(x, 1, 5.0, axis=1), (X,)),
    Example("insert flat", lambda xp, x: xp.insert(x, [1, 4], [5.0, 6.0]), (X,)),
    Example("insert traced", lambda xp, x, v: xp.insert(x, 1, v, axis=0), (X, X[0] * 2)),
    Example("insert several", lambda xp, x, v: xp.insert(x, [2, 0, 2], v, axis=1), (X, np.arange(3.0))),
    Example("insert at the end", lambda xp, x: xp.insert(x, 6, 1.0), (X,)),
    Example("insert from the end", lambda xp, x: xp.insert(x, -1, [1.0, 2.0], axis=1), (X,)),
    Example("insert vector index", lambda xp, x, v: xp.insert(x, [1], v, axis=1), (X, X[:, :1])),
    Example("insert slice", lambda xp, x: xp.insert(x, slice(0, 4, 2), 9.0), (X,)),
    Example("insert mask", lambda xp, x: xp.insert(x, np.array([True, False, True]), 9.0, axis=1), (X,), since=(2, 2)),
    Example("insert nothing", lambda xp, x: xp.insert(x, [], 9.0), (X,)),
    Example("insert int", lambda xp, x: xp.insert(x, 0, 2.7), (np.arange(3),)),
    Example("delete", lambda xp, x: xp.delete(x, 1, axis=1), (X,)),
    Example("delete flat", lambda xp, x: xp.delete(x, [0, -1]), (X,)),
    Example("delete slice", lambda xp, x: xp.delete(x, slice(None, None, -2), axis=1), (X,)),
    Example("delete mask", lambda xp, x: xp.delete(x, np.array([True, False, True]), axis=1), (X,)),
    Example("delete nothing", lambda xp, x: xp.delete(x, []), (X,)),
    Example("r_", lambda xp, x: xp.r_[x, 0.0, x[0]], (X[0],), protocol=False),
    Example("r_ ranges", lambda xp, x: xp.r_[0:3, 0:1:3j, x], (X[0],), protocol=False),
    Example("r_ scalars", lambda xp, x: xp.r_[x, 1, 2], (np.float32(1.5),), 0, protocol=False),
    Example("r_ axis", lambda xp, x: xp.r_["1", x, x], (X,), protocol=False),
    Example("r_ axes", lambda xp, x: xp.r_["0,2", x, x], (X[0],), protocol=False),
    Example("r_ lead", lambda xp, x: xp.r_["1,2,0", x, x], (X[0],), protocol=False),
    Example("r_ ranges lead", lambda xp, x: xp.r_["1,2,0", 0:3, x], (X[0],), protocol=False),
    Example("c_", lambda xp, x: xp.c_[x, x, x], (X[0],), protocol=False),
    Example("c_ of matrices", lambda xp, x: xp.c_[x, x[:, 0]], (X,), protocol=False),
    Example("s_", lambda xp, x: x[xp.s_[:, 1:]] + x[xp.index_exp[..., :2]], (X,), protocol=False),
    Example("mgrid", lambda xp, x: xp.mgrid[0:2, 0:1:3j] * x, (S,), protocol=False),
    Example("ogrid", lambda xp, x: xp.ogrid[0:2, 0:3], (S,), protocol=False),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_mapping(example: Example) -> None:
    check_example(example)


def smaller(a: object, b: object) -> object:
    """The difference."""
    return a - b * b


def check_vectorized(function: object, *args: object) -> None:
    expected = function(*args)
    same(ft.jit(function)(*args), expected, 2)
    check_derivative(function, args, 2)


def test_vectorize_broadcasts() -> None:
    f = fnp.vectorize(smaller)
    assert f.__doc__ == "The difference."
    assert f.__name__ == "smaller"
    check_vectorized(f, X, X[0])
    check_vectorized(f, Z, np.array(2.0))
    np.testing.assert_array_equal(ft.vmap(f)(X, X), np.vectorize(smaller)(X, X))


def test_vectorize_with_a_signature() -> None:
    check_vectorized(fnp.vectorize(np.dot, signature="(n,k),(k)->(n)"), Z, Z[0, :2, None, :])
    check_vectorized(fnp.vectorize(lambda v: (np.sum(v), v[::-1]), signature="(n)->(),(n)"), X)


def test_vectorize_excluded_and_named_arguments() -> None:
    f = fnp.vectorize(lambda x, power, scale=1.0: scale * x**power, excluded={1})
    np.testing.assert_allclose(ft.jit(lambda x: f(x, 3, scale=x))(X), X**4, rtol=1e-15)
    np.testing.assert_allclose(ft.jit(lambda x: f(x, 3))(X), X**3, rtol=1e-15)


def test_vectorize_otypes() -> None:
    f = fnp.vectorize(lambda x: x * 2, otypes=[np.float32])
    same(ft.jit(f)(X), f(X))


def test_vectorize_errors() -> None:
    with pytest.raises(errors.ArgumentError, match="is no signature"):
        fnp.vectorize(np.dot, signature="(n)->")
    with pytest.raises(errors.ShapeError, match="axis 'n' has extent 2 in argument 1"):
        ft.jit(fnp.vectorize(np.dot, signature="(n),(n)->()"))(np.zeros(3), np.zeros(2))
    with pytest.raises(errors.ShapeError, match="does not have the axes"):
        ft.jit(fnp.vectorize(lambda x: x, signature="(n)->()"))(np.zeros((2, 3)))
    with pytest.raises(errors.ArgumentError, match="is for 2 arguments, got 1"):
        ft.jit(fnp.vectorize(np.dot, signature="(n),(n)->()"))(np.zeros(3))


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: fnp.apply_along_axis(np.sum, 0, x[:, :0]), errors.ShapeError, "no vectors along axis 0"),
        (lambda x: fnp.apply_over_axes(lambda a, axis: np.sum(a), x, 0), errors.ShapeError, "must keep the axes"),
        (lambda x: fnp.piecewise(x, [x < 0], [1.0, 2.0, 3.0]), errors.ArgumentError, "1 conditions need as many"),
        (lambda x: fnp.insert(x, 9, 1.0), errors.IndexingError, "index 9 is out of bounds for an axis of extent 6"),
        (lambda x: fnp.delete(x, 6), errors.IndexingError, "out of bounds"),
        (lambda x: fnp.r_["x", x], errors.ArgumentError, "directive 'x'"),
    ],
)
def test_errors(f: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)
