from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_example

X = np.sin(np.arange(6.0)).reshape(2, 3)
Z = np.sin(np.arange(24.0)).reshape(2, 3, 4)
S = np.float64(1.5)
ZERO_D = np.array(2.5)
C = X + 1j * X[::-1]
ONES = np.sin(np.arange(3.0)).reshape(1, 3, 1)

BOXES = (("python", 2.5), ("numpy", S), ("0-d", ZERO_D))

EXAMPLES = [
    Example("reshape", lambda xp, x: xp.reshape(x, (3, -1)), (X,)),
    Example("reshape int", lambda xp, x: xp.reshape(x, 6), (X,)),
    Example("reshape F", lambda xp, x: xp.reshape(x, (3, 2), order="F"), (X,)),
    Example("reshape F -1", lambda xp, x: xp.reshape(x, (-1, 4), "F"), (Z,)),
    Example("reshape one element", lambda xp, x: xp.reshape(x, ()), (X[:1, :1],)),
    Example("method reshape", lambda xp, x: x.reshape(3, 2) + x.reshape((3, 2)), (X,)),
    Example("ravel", lambda xp, x: xp.ravel(x), (X,)),
    Example("ravel F", lambda xp, x: xp.ravel(x, "F"), (Z,)),
    Example("squeeze", lambda xp, x: xp.squeeze(x), (ONES,)),
    Example("squeeze axis", lambda xp, x: xp.squeeze(x, axis=(-1,)), (ONES,)),
    Example("expand_dims", lambda xp, x: xp.expand_dims(x, (0, -1)), (X,)),
    Example("expand_dims int", lambda xp, x: xp.expand_dims(x, 1), (C,)),
    Example("atleast_1d", lambda xp, x, y: xp.atleast_1d(x, y), (S, X)),
    Example("atleast_2d", lambda xp, x, y: xp.atleast_2d(x, y), (S, X[0])),
    Example("atleast_3d", lambda xp, x, y: xp.atleast_3d(x, y, 1.0), (X[0], X)),
    Example("atleast_1d alone", lambda xp, x: xp.atleast_1d(x), (2.5,)),
    Example("transpose", lambda xp, x: xp.transpose(x), (Z,)),
    Example("transpose axes", lambda xp, x: xp.transpose(x, (1, -1, 0)), (Z,)),
    Example("permute_dims", lambda xp, x: xp.permute_dims(x, (1, 2, 0)), (Z,)),
    Example("T", lambda xp, x: x.T, (Z,)),
    Example("matrix_transpose", lambda xp, x: xp.matrix_transpose(x), (Z,)),
    Example("mT", lambda xp, x: x.mT, (Z,)),
    Example("swapaxes", lambda xp, x: xp.swapaxes(x, 0, -1), (Z,)),
    Example("moveaxis", lambda xp, x: xp.moveaxis(x, 0, -1), (Z,)),
    Example("moveaxis several", lambda xp, x: xp.moveaxis(x, [0, 1], [-1, 0]), (Z,)),
    Example("rollaxis", lambda xp, x: xp.rollaxis(x, 2), (Z,)),
    Example("rollaxis start", lambda xp, x: xp.rollaxis(x, 0, 3), (Z,)),
    Example("rollaxis negative", lambda xp, x: xp.rollaxis(x, 0, -1), (Z,)),
    Example("broadcast_to", lambda xp, x: xp.broadcast_to(x, (4, 2, 3)), (X,)),
    Example("broadcast_to int", lambda xp, x: xp.broadcast_to(x, 3), (S,)),
    Example("broadcast_arrays", lambda xp, x, y: xp.broadcast_arrays(x, y), (X, X[:, :1])),
    Example("flip", lambda xp, x: xp.flip(x), (Z,)),
    Example("flip axis", lambda xp, x: xp.flip(x, (0, -1)), (Z,)),
    Example("flipud", lambda xp, x: xp.flipud(x), (X,)),
    Example("fliplr", lambda xp, x: xp.fliplr(x), (X,)),
    *[Example(f"rot90 {k}", lambda xp, x, k=k: xp.rot90(x, k), (X,)) for k in (-1, 0, 1, 2, 3)],
    Example("rot90 axes", lambda xp, x: xp.rot90(x, 1, (2, 0)), (Z,)),
    Example("roll", lambda xp, x: xp.roll(x, 2), (X,)),
    Example("roll axis", lambda xp, x: xp.roll(x, -1, axis=1), (X,)),
    Example("roll axes", lambda xp, x: xp.roll(x, (1, 2), axis=(0, 1)), (X,)),
    Example("roll one shift", lambda xp, x: xp.roll(x, 1, axis=(0, 1)), (X,)),
    Example("roll one axis", lambda xp, x: xp.roll(x, (1, 1), axis=1), (X,)),
    Example("tile", lambda xp, x: xp.tile(x, (2, 1, 2)), (X,)),
    Example("tile int", lambda xp, x: xp.tile(x, 2), (X,)),
    Example("repeat", lambda xp, x: xp.repeat(x, 2), (X,)),
    Example("repeat axis", lambda xp, x: xp.repeat(x, 2, axis=0), (X,)),
    Example("repeat each", lambda xp, x: xp.repeat(x, [2, 0, 1], axis=1), (X,)),
    Example("repeat none", lambda xp, x: xp.repeat(x, 0, axis=1), (X,)),
    Example("real", lambda xp, x: xp.real(x), (X,)),
    Example("real of complex", lambda xp, x: xp.real(x), (C,)),
    Example("imag", lambda xp, x: xp.imag(x), (X,)),
    Example("imag of complex", lambda xp, x: xp.imag(x), (C,)),
    Example("real and imag of 0-d", lambda xp, x: (xp.real(x), xp.imag(x)), (np.array(1 + 2j),)),
    Example("attributes", lambda xp, x: x.real * x.imag, (C,)),
    Example("astype", lambda xp, x: xp.astype(x, np.float32), (X,), 0),
    Example("astype to complex", lambda xp, x: xp.astype(x, np.complex128), (X,)),
    Example("astype method", lambda xp, x: x.astype(int), (X * 3,)),
    Example("resize", lambda xp, x: xp.resize(x, (3, 4)), (X,)),
    Example("resize smaller", lambda xp, x: xp.resize(x, 2), (X,)),
    Example("windows", lambda xp, x: np.lib.stride_tricks.sliding_window_view(x, (2, 2)), (X,)),
    Example("windows axis", lambda xp, x: np.lib.stride_tricks.sliding_window_view(x, 2, -1), (Z,)),
    Example("windows twice", lambda xp, x: np.lib.stride_tricks.sliding_window_view(x, (2, 1), (1, 1)), (X,)),
    Example("resize nothing", lambda xp, x: xp.resize(x, (2, 2)), (X[:0],)),
    *[
        Example(f"{name} of a {box} value", lambda xp, x, f=f: f(xp, x), (value,), 1)
        for box, value in BOXES
        for name, f in {
            "reshape": lambda xp, x: xp.reshape(x, ()),
            "reshape to a vector": lambda xp, x: xp.reshape(x, (1,)),
            "ravel": lambda xp, x: xp.ravel(x),
            "transpose": lambda xp, x: xp.transpose(x),
            "squeeze": lambda xp, x: xp.squeeze(x),
            "moveaxis": lambda xp, x: xp.moveaxis(x, (), ()),
            "expand_dims": lambda xp, x: xp.expand_dims(x, ()),
            "broadcast_to": lambda xp, x: xp.broadcast_to(x, ()),
            "broadcast_arrays": lambda xp, x: xp.broadcast_arrays(x, x),
            "flip": lambda xp, x: xp.flip(x),
            "roll": lambda xp, x: xp.roll(x, 1),
            "tile": lambda xp, x: xp.tile(x, ()),
            "repeat": lambda xp, x: xp.repeat(x, 2),
            "resize": lambda xp, x: xp.resize(x, ()),
            "real": lambda xp, x: xp.real(x),
            "imag": lambda xp, x: xp.imag(x),
            "real of complex": lambda xp, x: xp.real(x * 1j),
        }.items()
    ],
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_manipulation(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("xp", [np, fnp])
def test_shapes_are_static(xp: object) -> None:
    def f(x: object) -> object:
        assert xp.shape(x) == (2, 3, 4)
        assert xp.ndim(x) == 3
        assert xp.size(x) == 24
        assert xp.size(x, 1) == 3
        assert xp.size(x, (0, 2)) == 8
        return x

    ft.jit(f)(Z)
    assert fnp.broadcast_shapes((2, 1), 3) == (2, 3)


def test_trim_zeros_reads_known_values() -> None:
    x = np.array([0.0, 0.0, 2.0, 3.0, 0.0])
    np.testing.assert_array_equal(ft.grad(lambda v: fnp.sum(fnp.trim_zeros(v) ** 2))(x), 2 * x)
    with pytest.raises(errors.ConcretizationError, match="trim_zeros"):
        ft.vmap(fnp.trim_zeros)(np.stack([x, x]))


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: fnp.reshape(x, (4,)), errors.ShapeError, r"shape \(2, 3\) cannot have shape \(4,\)"),
        (lambda x: fnp.reshape(x, 6, order="A"), errors.ArgumentError, "order='A' depends on how an array lies"),
        (lambda x: fnp.squeeze(x, 0), errors.ShapeError, "only axes of extent 1 can be dropped"),
        (lambda x: fnp.transpose(x, (0, 0)), errors.ShapeError, "no permutation"),
        (lambda x: fnp.moveaxis(x, (0, 1), 0), errors.ShapeError, "must have one length"),
        (lambda x: fnp.moveaxis(x, (0, 0), (0, 1)), errors.ShapeError, "names an axis twice"),
        (lambda x: fnp.swapaxes(x, 0, 2), errors.ShapeError, "axis2=2 is out of bounds for an array with 2 axes"),
        (lambda x: fnp.broadcast_to(x, (2, 4)), errors.ShapeError, r"\(2, 3\) does not fit"),
        (lambda x: fnp.matrix_transpose(x[0]), errors.ShapeError, "two axes or more"),
        (lambda x: fnp.repeat(x, [1, 2, 3], axis=0), errors.ShapeError, "3 repeats were given for an axis of extent 2"),
        (lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 0), errors.ShapeError, "window of 3 does not fit"),
        (lambda x: fnp.repeat(x, -1), errors.ShapeError, "not be negative"),
        (lambda x: fnp.fliplr(x[0]), errors.ShapeError, "at least 2 axes"),
    ],
)
def test_errors(f: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(X)
