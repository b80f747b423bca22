from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_derivative, check_example

X = np.sin(np.arange(6.0)).reshape(2, 3)
INT = np.array([[3, 1, 4], [1, 5, 9]])
WIDTHS = ((1, 2), (2, 1))

EXAMPLES = [
    Example("default", lambda xp, x: xp.pad(x, 1), (X,)),
    Example("constant", lambda xp, x: xp.pad(x, WIDTHS, constant_values=2), (X,)),
    Example("constant pair", lambda xp, x: xp.pad(x, (1, 2), constant_values=(3, 4)), (X,)),
    Example("constant pairs", lambda xp, x: xp.pad(x, WIDTHS, constant_values=((1, 2), (3, 4))), (X,)),
    Example("constant each axis", lambda xp, x: xp.pad(x, ((1,), (2,)), constant_values=((1,), (3,))), (X,)),
    Example("constant dict", lambda xp, x: xp.pad(x, {1: (2, 1)}), (X,), since=(2, 2)),
    Example("constant int", lambda xp, x: xp.pad(x, 1, constant_values=2.7), (INT,)),
    Example("empty", lambda xp, x: xp.pad(x, 1, mode="empty")[1:-1, 1:-1], (X,)),
    Example("nothing of nothing", lambda xp, x: xp.pad(x, ((0, 0), (1, 1)), "edge"), (X[:0],)),
    *[
        Example(f"{mode} {kind}", lambda xp, x, mode=mode, w=w: xp.pad(x, w, mode), (x,), digits=1)
        for mode in ("edge", "linear_ramp", "maximum", "minimum", "mean", "median", "reflect", "symmetric", "wrap")
        for kind, x, w in (("float", X, WIDTHS), ("wide", X, (4, 9)), ("int", INT, WIDTHS), ("one", X[:, :1], (0, 2)))
    ],
    Example("linear_ramp ends", lambda xp, x: xp.pad(x, WIDTHS, "linear_ramp", end_values=((1, 2), (3, 4))), (X,)),
    Example("maximum length", lambda xp, x: xp.pad(x, (2, 1), "maximum", stat_length=2), (X,)),
    Example("mean lengths", lambda xp, x: xp.pad(x, 1, "mean", stat_length=((1, 2), (2, 1))), (X,), digits=1),
    Example("reflect odd", lambda xp, x: xp.pad(x, WIDTHS, "reflect", reflect_type="odd"), (X,)),
    Example("reflect odd wide", lambda xp, x: xp.pad(x, (4, 9), "reflect", reflect_type="odd"), (X,)),
    Example("symmetric odd", lambda xp, x: xp.pad(x, (4, 9), "symmetric", reflect_type="odd"), (X,)),
    Example("reflect odd int", lambda xp, x: xp.pad(x, 3, "reflect", reflect_type="odd"), (INT,)),
    Example("reflect odd one", lambda xp, x: xp.pad(x, 3, "reflect", reflect_type="odd"), (X[:, :1],)),
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_pad(example: Example) -> None:
    check_example(example)


def test_traced_values_around_the_array() -> None:
    check_derivative(lambda x, v: fnp.pad(x, 1, constant_values=v), (X, np.float64(2.0)), 2)
    check_derivative(lambda x, v: fnp.pad(x, 1, constant_values=(v, 2 * v)), (X, np.float64(2.0)), 2)
    check_derivative(lambda x, v: fnp.pad(x, 2, "linear_ramp", end_values=(v, 1.0)), (X, np.float64(2.0)), 2)
    check_derivative(lambda x, v: fnp.pad(x, 1, constant_values=v), (X, X[:, :2]), 2)


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: fnp.pad(x, -1), errors.ShapeError, "not be negative"),
        (lambda x: fnp.pad(x, 1.5), errors.ArgumentError, "pad_width must hold integers"),
        (lambda x: fnp.pad(x, ((1, 1),) * 3), errors.ShapeError, "pad_width of shape .* does not fit"),
        (lambda x: fnp.pad(x, 1, "mirror"), errors.ArgumentError, "mode='mirror' is not known; the modes are constant"),
        (lambda x: fnp.pad(x, 1, "edge", constant_values=1), errors.ArgumentError, "takes no argument"),
        (lambda x: fnp.pad(x, 1, "reflect", reflect_type="up"), errors.ArgumentError, "'even' or 'odd'"),
        (lambda x: fnp.pad(x, 1, "maximum", stat_length=0), errors.ShapeError, "stat_length=0"),
        (lambda x: fnp.pad(x[:, :0], 1, "edge"), errors.ShapeError, "axis 1 is empty"),
        (lambda x: fnp.pad(x, 1, lambda v, w, i, k: None), errors.ArgumentError, "a function as mode"),
    ],
)
def test_errors(f: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)
