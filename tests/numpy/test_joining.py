from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_example

X = np.sin(np.arange(6.0)).reshape(2, 3)
Y = np.cos(np.arange(6.0)).reshape(2, 3)
Z = np.sin(np.arange(12.0)).reshape(2, 3, 2)
F32 = X.astype(np.float32)
INT = np.arange(6).reshape(2, 3)

EXAMPLES = [
    Example("concatenate", lambda xp, x, y: xp.concatenate((x, y)), (X, Y)),
    Example("concatenate axis", lambda xp, x, y: xp.concatenate([x, y], axis=-1), (X, Y)),
    Example("concatenate flat", lambda xp, x, y: xp.concatenate([x, y], axis=None), (X, Y[0])),
    Example("concatenate promotes", lambda xp, x, y: xp.concatenate([x, y]), (F32, INT)),
    Example("concatenate dtype", lambda xp, x, y: xp.concatenate([x, y], dtype=np.complex64), (F32, F32), 0),
    Example("concatenate casting", lambda xp, x: xp.concatenate([x, x], dtype=int, casting="unsafe"), (X * 5,), 0),
    Example("concatenate rows", lambda xp, x: xp.concatenate(x), (Z,)),
    Example("concatenate constant", lambda xp, x: xp.concatenate([[[1, 2, 3]], x]), (X,)),
    Example("concat", lambda xp, x, y: xp.concat((x, y)), (X, Y)),
    Example("stack", lambda xp, x, y: xp.stack([x, y]), (X, Y)),
    Example("stack last", lambda xp, x, y: xp.stack((x, y), -1), (X, Y)),
    Example("stack scalars", lambda xp, x, y: xp.stack([x, y]), (np.float64(1.5), 2.5)),
    Example("stack numbers", lambda xp, x, y: xp.stack([x, y]), (np.float32(1.5), 2.5)),
    Example("stack promotes", lambda xp, x, y: xp.stack([x, y]), (INT, F32)),
    Example("stack of an array", lambda xp, x: xp.stack(x, 1), (X,)),
    Example("stack dtype", lambda xp, x: xp.stack([x, x], dtype=np.float32), (X,), 0),
    Example("vstack", lambda xp, x, y: xp.vstack([x, y]), (X[0], Y)),
    Example("vstack scalars", lambda xp, x: xp.vstack([x, x]), (1.5,)),
    Example("hstack", lambda xp, x, y: xp.hstack([x, y]), (X, Y)),
    Example("hstack vectors", lambda xp, x, y: xp.hstack((x, y, y)), (X[0], np.float64(2.0))),
    Example("dstack", lambda xp, x, y: xp.dstack([x, y]), (X, Y)),
    Example("dstack vectors", lambda xp, x, y: xp.dstack([x, y]), (X[0], Y[0])),
    Example("dstack numbers", lambda xp, x, y: xp.dstack([x, y]), (1.5, np.float64(2.0))),
    Example("column_stack", lambda xp, x, y: xp.column_stack([x, y]), (X[:, 0], Y)),
    Example("block", lambda xp, x, y: xp.block([[x, y], [y, x]]), (X, Y)),
    Example("block of ranks", lambda xp, x, y: xp.block([x[0], y[:1], x[1]]), (X, Y)),
    Example("block numbers", lambda xp, x, y: xp.block([[x, y], [1.0, x]]), (2.5, np.float64(3.0))),
    Example("block alone", lambda xp, x: xp.block(x), (X,)),
    Example("append", lambda xp, x, y: xp.append(x, y), (X, 1.5)),
    Example("append axis", lambda xp, x, y: xp.append(x, y, axis=0), (X, INT)),
    Example("split", lambda xp, x: xp.split(x, 3, axis=1), (X,)),
    Example("split at", lambda xp, x: xp.split(x, [1, 2], axis=-1), (X,)),
    Example("split out of order", lambda xp, x: xp.split(x, [2, 1, 7]), (X[0],)),
    Example("array_split", lambda xp, x: xp.array_split(x, 4), (np.arange(10.0),)),
    Example("array_split more than there are", lambda xp, x: xp.array_split(x, 5), (np.arange(3.0),)),
    Example("hsplit", lambda xp, x: xp.hsplit(x, 3), (X,)),
    Example("hsplit vector", lambda xp, x: xp.hsplit(x, [1]), (X[0],)),
    Example("vsplit", lambda xp, x: xp.vsplit(x, 2), (X,)),
    Example("dsplit", lambda xp, x: xp.dsplit(x, 2), (Z,)),
    Example("unstack", lambda xp, x: xp.unstack(x), (X,), since=(2, 1)),
    Example("unstack axis", lambda xp, x: xp.unstack(x, axis=1), (X,), since=(2, 1)),
    Example("unstack vector", lambda xp, x: xp.unstack(x), (X[0],), since=(2, 1)),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_joining(example: Example) -> None:
    check_example(example)


def test_nested_lists_of_tracers_are_arrays() -> None:
    def f(x: float, y: float) -> object:
        return fnp.sum(fnp.asarray([[x, 2.0], [y, x * y]]))

    assert ft.grad(f, argnums=(0, 1))(3.0, 4.0) == (5.0, 4.0)


def test_members_of_different_shape_are_named() -> None:
    with pytest.raises(errors.ShapeError, match=r"stack: array 1 has shape \(2,\), and array 0 has shape \(3,\)"):
        ft.jit(lambda x: fnp.stack([x, x[:2]]))(np.arange(3.0))


def test_concatenate_of_numbers_names_stack() -> None:
    with pytest.raises(errors.ShapeError, match="stack"):
        ft.jit(lambda x: fnp.concatenate([x, x]))(1.0)


def test_split_into_unequal_parts_names_array_split() -> None:
    with pytest.raises(errors.ShapeError, match=r"extent 3 cannot be split into 2 equal parts\. array_split"):
        ft.jit(lambda x: fnp.split(x, 2))(np.arange(3.0))


def test_out_is_rejected() -> None:
    with pytest.raises(errors.DetachedWriteError, match=r"concatenate\(..., out=...\)"):
        ft.jit(lambda x: fnp.concatenate([x, x], out=np.zeros(6)))(np.arange(3.0))


def test_a_lossy_cast_is_rejected() -> None:
    with pytest.raises(errors.DTypeError, match="array 0 of type f64"):
        ft.jit(lambda x: fnp.concatenate([x], dtype=np.int64))(np.arange(3.0))
