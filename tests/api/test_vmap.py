"""vmap: axes, prefixes, sizes, nesting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors

A = np.arange(24.0).reshape(2, 3, 4)


def test_axes_in_and_out() -> None:
    f = lambda x, y: x * 2 + y
    y = np.arange(4.0)
    for axis in (0, 1, 2, -1, -3):
        moved = np.moveaxis(A, axis, 0)
        expected = np.stack([np.sum(row) for row in moved])
        np.testing.assert_array_equal(ft.vmap(np.sum, in_axes=axis)(A), expected)
    np.testing.assert_array_equal(ft.vmap(ft.vmap(f, (0, None)), (0, None))(A, y), A * 2 + y)
    for out in (0, 1, 2, -1):
        result = ft.vmap(lambda x: x, out_axes=out)(A)
        np.testing.assert_array_equal(result, np.moveaxis(A, 0, out))


def test_prefixes_of_pytrees() -> None:
    def f(d: Any, c: Any) -> Any:
        return {"p": d["a"] + d["b"], "q": c}

    d = {"a": A, "b": A[0]}
    out = ft.vmap(f, in_axes=({"a": 0, "b": None}, None), out_axes={"p": 1, "q": None})(d, 5.0)
    np.testing.assert_array_equal(out["p"], np.moveaxis(A + A[0], 0, 1))
    assert out["q"] == 5.0


def test_results_that_do_not_depend_on_the_example_are_repeated() -> None:
    out = ft.vmap(lambda x: np.ones(2))(A)
    assert out.shape == (2, 2) and out.flags.writeable
    np.testing.assert_array_equal(ft.vmap(lambda: 3.0, axis_size=4)(), np.full(4, 3.0))


def test_keyword_arguments_are_mapped_over_their_first_axis() -> None:
    out = ft.vmap(lambda x, *, y: x + y)(np.arange(3.0), y=np.ones(3))
    np.testing.assert_array_equal(out, [1.0, 2.0, 3.0])


def test_per_example_gradients() -> None:
    loss = lambda w, x: np.tanh(w @ x)
    w, xs = np.ones(4), A[0]
    g = ft.vmap(ft.grad(loss), in_axes=(None, 0))(w, xs)
    expected = np.stack([ft.grad(loss)(w, x) for x in xs])
    np.testing.assert_allclose(g, expected)
    np.testing.assert_allclose(ft.grad(lambda w: ft.vmap(loss, (None, 0))(w, xs).sum())(w), expected.sum(0))
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.jit(ft.grad(loss)), in_axes=(None, 0)))(w, xs), expected)


def test_empty_batches() -> None:
    assert ft.vmap(lambda x: np.sum(x**2))(np.zeros((0, 3))).shape == (0,)
    assert ft.vmap(ft.grad(lambda x: np.sum(x**2)))(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ft.vmap(np.add)(np.ones(3), np.ones(4)), "got 3 for argument 0.*4 for argument 1"),
        (lambda: ft.vmap(np.sin, in_axes=2)(np.ones((2, 2))), "has no axis 2"),
        (lambda: ft.vmap(np.sin)(1.0), "has no axis 0"),
        (lambda: ft.vmap(np.add, in_axes=(0,))(A, A), "1 members for 2"),
        (lambda: ft.vmap(np.add, in_axes=(None, None))(A, A), "axis_size"),
        (lambda: ft.vmap(np.sin, axis_size=5)(A), "axis_size=5"),
        (lambda: ft.vmap(np.sin, out_axes=None)(A), "out_axes is None"),
        (lambda: ft.vmap(np.sin, out_axes=7)(A), "out_axes=7"),
        (lambda: ft.vmap(lambda d: d["a"], in_axes=({"b": 0},))({"a": A}), "in_axes"),
        (lambda: ft.vmap(np.sin, in_axes="a")(A), "in_axes"),
        (lambda: ft.vmap(lambda x: (x, x), out_axes=(0,))(A), "out_axes"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(errors.BatchAxisError, match=message):
        call()


def test_a_branch_on_an_example_raises() -> None:
    with pytest.raises(errors.TracerBoolError, match="where"):
        ft.vmap(lambda x: x if x > 0 else -x)(np.arange(3.0))


def test_what_is_no_array_is_shared_by_every_example() -> None:
    apply = ft.vmap(lambda f, x, options: f(x) * options["scale"], in_axes=(None, 0, None))
    assert apply(np.square, np.array([1.0, 2.0]), {"scale": 3.0, "name": "s"}).tolist() == [3.0, 12.0]
    with pytest.raises(errors.BatchAxisError, match="argument 0 is an object of type ufunc"):
        ft.vmap(lambda f, x: f(x))(np.square, np.ones(2))
