from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_derivative, check_example, same

X = np.sin(np.arange(12.0)).reshape(3, 4)
Z = np.sin(np.arange(24.0)).reshape(2, 3, 4)
PICKS = np.array([[2, 0], [1, -1]])
ROWS = np.array([[1], [0], [3]])

EXAMPLES = [
    Example("take", lambda xp, x, i: xp.take(x, i), (X, PICKS), batch=False),
    Example("take axis", lambda xp, x, i: xp.take(x, i, axis=1), (X, PICKS)),
    Example("take one", lambda xp, x, i: xp.take(x, i, axis=-1), (X, 2)),
    Example("take scalar", lambda xp, x: xp.take(x, 1), (X[0],)),
    Example("take clip", lambda xp, x, i: xp.take(x, i, axis=0, mode="clip"), (X, PICKS * 3)),
    Example("take wrap", lambda xp, x, i: xp.take(x, i, axis=0, mode="wrap"), (X, PICKS * 3)),
    Example("take list", lambda xp, x: xp.take(x, [0, 2, 2], 0), (X,)),
    Example("take booleans", lambda xp, x: xp.take(x, [True, False], 0), (X,)),
    Example("take nothing", lambda xp, x: xp.take(x, [], 0), (X,)),
    Example("method take", lambda xp, x: x.take([1, 0], axis=1), (X,)),
    Example("take_along_axis", lambda xp, x, i: xp.take_along_axis(x, i, axis=1), (X, ROWS)),
    Example("take_along_axis 0", lambda xp, x, i: xp.take_along_axis(x, i, 0), (X, np.array([[2, 0, 1, 1]]))),
    Example("take_along_axis flat", lambda xp, x: xp.take_along_axis(x, np.array([5, 0]), None), (X,)),
    Example("diagonal", lambda xp, x: xp.diagonal(x, 1), (X,)),
    Example("diagonal axes", lambda xp, x: xp.diagonal(x, 0, 2, 0), (Z,)),
    Example("diag_indices", lambda xp, x: x[xp.diag_indices(3)], (X,), protocol=False),
    Example("tril_indices", lambda xp, x: x[xp.tril_indices(3, -1)], (X,), protocol=False),
    Example("triu_indices", lambda xp, x: x[xp.triu_indices(3, m=4)], (X,), protocol=False),
    Example("mask_indices", lambda xp, x: x[xp.mask_indices(3, np.triu)], (X,), protocol=False),
    Example("diag_indices_from", lambda xp, x: x[xp.diag_indices_from(x)], (X[:, :3],)),
    Example("tril_indices_from", lambda xp, x: x[xp.tril_indices_from(x)], (X,)),
    Example("triu_indices_from", lambda xp, x: x[xp.triu_indices_from(x, 1)], (X,)),
    Example("ix_", lambda xp, x: x[xp.ix_([0, 2], [1, 3])], (X,), protocol=False),
    Example("ix_ traced", lambda xp, x, i: x[xp.ix_(i, [1, 3])], (X, np.array([2, 0])), batch=False),
    Example("unravel_index", lambda xp, i: xp.unravel_index(i, (3, 4)), (np.array([[5, 0], [11, 7]]),)),
    Example("unravel_index F", lambda xp, i: xp.unravel_index(i, (3, 4), order="F"), (np.array([5, 11]),)),
    Example("unravel_index of one", lambda xp, i: xp.unravel_index(i, (3, 4)), (5,)),
    Example("ravel_multi_index", lambda xp, i, j: xp.ravel_multi_index((i, j), (3, 4)), (PICKS % 3, PICKS % 4)),
    Example("ravel_multi_index F", lambda xp, i, j: xp.ravel_multi_index((i, j), (3, 4), order="F"), (PICKS % 3, 1)),
    Example(
        "ravel_multi_index modes",
        lambda xp, i, j: xp.ravel_multi_index((i, j), (3, 4), mode=("wrap", "clip")),
        (PICKS * 5, PICKS * 5),
    ),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_indexing(example: Example) -> None:
    check_example(example)


def _written(original: object, *args: object, **kwargs: object) -> object:
    first = np.array(args[0])
    original(first, *args[1:], **kwargs)
    return first


WRITES = [
    ("put_along_axis", np.put_along_axis, (X, ROWS, 5.0, 1)),
    ("put_along_axis rows", np.put_along_axis, (X, ROWS, X[:, :1] * 2, 1)),
    ("put", np.put, (X, [1, -1, 5], [7.0, 8.0])),
    ("put clip", np.put, (X, [1, -1, 50], [7.0, 8.0, 9.0], "clip")),
    ("put wrap", np.put, (X, [1, 13], 7.0, "wrap")),
    ("place", np.place, (X, X > 0, [1.0, 2.0])),
    ("putmask", np.putmask, (X, X > 0, X * 2)),
    ("putmask short", np.putmask, (X, X > 0, np.array([1.0, 2.0, 3.0]))),
    ("copyto", np.copyto, (X, X[0])),
    ("copyto where", np.copyto, (X, 2.0, "same_kind", X > 0)),
    ("fill_diagonal", np.fill_diagonal, (X, 3.0)),
    ("fill_diagonal values", np.fill_diagonal, (X, [1.0, 2.0])),
    ("fill_diagonal tall", np.fill_diagonal, (X.reshape(6, 2), 3.0)),
    ("fill_diagonal wrap", np.fill_diagonal, (X.reshape(6, 2), 3.0, True)),
    ("fill_diagonal cube", np.fill_diagonal, (Z[:, :2, :2], 3.0)),
]


@pytest.mark.parametrize(("name", "original", "args"), WRITES, ids=[w[0] for w in WRITES])
def test_writes_have_a_functional_form(name: str, original: object, args: tuple[object, ...]) -> None:
    ours = getattr(fnp, original.__name__)
    expected = _written(original, *args)
    before = np.array(args[0])
    same(ours(*args, inplace=False), expected)
    same(ft.jit(lambda x: ours(x, *args[1:], inplace=False))(args[0]), expected)
    np.testing.assert_array_equal(args[0], before)
    check_derivative(lambda x: ours(x, *args[1:], inplace=False), (args[0],), 2)
    values = (
        2
        if original is np.put_along_axis or original is np.put
        else 1
        if original in (np.copyto, np.fill_diagonal)
        else 2
    )
    if isinstance(args[values], (float, np.ndarray)):
        rest = list(args)

        def by_value(v: object) -> object:
            rest[values] = v
            return ours(*rest, inplace=False)

        check_derivative(by_value, (np.asarray(args[values], float)[()],), 2)


@pytest.mark.parametrize(("name", "original", "args"), WRITES, ids=[w[0] for w in WRITES])
def test_writes_into_arrays_are_rejected_when_traced(name: str, original: object, args: tuple[object, ...]) -> None:
    message = rf"{original.__name__}: a traced value cannot be written .* inplace=False"
    for function in (original, getattr(fnp, original.__name__)):
        with pytest.raises(errors.DetachedWriteError, match=message):
            ft.grad(lambda x, function=function: function(x, *args[1:]))(args[0])


def test_a_traced_value_written_into_an_array_is_rejected() -> None:
    with pytest.raises(errors.DetachedWriteError, match="copyto"):
        ft.grad(lambda t: np.sum(np.full((2,), t, float)))(1.0)
    with pytest.raises(errors.DetachedWriteError, match="putmask"):
        ft.jit(lambda t: np.putmask(np.zeros(2), np.array([True, False]), t))(1.0)


def test_eager_writes_are_those_of_numpy() -> None:
    x = np.zeros((2, 2))
    assert fnp.fill_diagonal(x, 1.0) is None
    np.testing.assert_array_equal(x, np.eye(2))


def test_at_gives_new_arrays() -> None:
    x = np.zeros(3)
    np.testing.assert_array_equal(fnp.at(x)[1].add(2.0), [0.0, 2.0, 0.0])
    assert ft.grad(lambda t: fnp.at(fnp.zeros(3))[1].add(t).sum())(1.0) == 1.0


def test_errors() -> None:
    with pytest.raises(errors.IndexingError, match="out of bounds"):
        ft.jit(lambda x: fnp.take(x, 7, axis=0))(X)
    with pytest.raises(errors.ShapeError, match="at least two axes"):
        ft.jit(lambda x: fnp.fill_diagonal(x, 1.0, inplace=False))(X[0])
    with pytest.raises(errors.ShapeError, match="no values"):
        ft.jit(lambda x: fnp.put(x, [1], [], inplace=False))(X)
    with pytest.raises(errors.ShapeError, match="argument 1 must be a vector"):
        ft.jit(lambda i: fnp.ix_(i, np.zeros((2, 2), int)))(np.array([1]))
    with pytest.raises(errors.DTypeError, match="cannot be cast"):
        ft.jit(lambda x: fnp.copyto(x, X, inplace=False))(np.arange(12).reshape(3, 4))
