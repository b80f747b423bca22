"""Contraction: which NumPy function computes it, to the bit; layouts of gradients; batching; errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.evaluate import PythonSource
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.interpreters.linearize import linearize_flat, pull
from functrans.lax.contraction import dot_general_p
from tests.lax.derivatives import gradients, mapped, tangent

RNG = np.random.default_rng(0)
DTYPES = [bool, np.int8, np.uint64, np.float16, np.float32, np.float64, np.longdouble, np.complex64, np.complex128]


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert type(actual) is type(expected)


# -- values ----------------------------------------------------------------------------------------------------------

MATMUL_SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((1, 3), (3, 1)),
    ((2, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((1, 2, 3), (6, 3, 4)),
    ((6, 2, 3), (1, 3, 4)),
    ((1, 2, 3), (3, 4)),
    ((5, 1, 7, 2, 3), (1, 6, 7, 3, 4)),
    ((1, 6, 2, 3), (5, 1, 3, 1)),
    ((0, 2, 3), (1, 3, 4)),
]


@pytest.mark.parametrize(("left", "right"), MATMUL_SHAPES)
def test_matmul_is_numpys_to_the_bit(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = normal(*left), normal(*right)
    same(lax.matmul(x, y), np.matmul(x, y))
    jaxpr = stage(lambda x, y: [lax.matmul(x, y)], [aval_of(x), aval_of(y)])
    same(PythonSource(jaxpr, np).function("program")(x, y)[0], np.matmul(x, y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_every_dtype(dtype: Any) -> None:
    x, y = (4 * np.abs(normal(5, 7))).astype(dtype), (4 * np.abs(normal(7, 6))).astype(dtype)
    same(lax.matmul(x, y), np.matmul(x, y))
    same(lax.matmul(x.T, x), np.matmul(x.T, x))
    same(lax.matmul(x, x.T), np.matmul(x, x.T))
    same(lax.dot(x[0], x[0]), np.dot(x[0], x[0]))
    same(lax.tensordot(x, y, 1), np.tensordot(x, y, 1))


def test_strided_operands_give_matmuls_bits() -> None:
    big = normal(40, 60)
    for x in (
        big[::2, ::3],
        big[::-1, 5:25],
        np.asfortranarray(big)[3:23, :20],
        np.broadcast_to(big[0, :20], (20, 20)),
    ):
        for y in (big[:20, :20], big[20:0:-1, :40:2], big.T[:20, ::2]):
            same(lax.matmul(x[:, :20], y), np.matmul(x[:, :20], y))
            same(lax.matmul(x[0, :20], y), np.matmul(x[0, :20], y))
            same(lax.matmul(x[:, :20], y[:, 0]), np.matmul(x[:, :20], y[:, 0]))


def test_a_broadcast_operand_is_not_repeated() -> None:
    x, y = normal(5, 1, 2, 3), normal(7, 3, 4)
    jaxpr = stage(lambda x, y: [lax.matmul(x, y)], [aval_of(x), aval_of(y)])
    assert [e.prim.name for e in jaxpr.eqns] == ["squeeze", "dot_general", "transpose"]
    sizes = [out.aval.size for e in jaxpr.eqns for out in e.outs]
    assert max(sizes) == 5 * 7 * 2 * 4


@pytest.mark.parametrize(
    ("left", "right", "axes"),
    [
        ((3, 4, 5), (4, 3, 2), ([1, 0], [0, 1])),
        ((3, 4, 5), (5, 4, 2), ([1, 2], [1, 0])),
        ((3, 4), (4, 3), 2),
        ((3, 4), (4, 3), 1),
        ((3, 4), (5,), 0),
        ((3, 4, 5), (5, 2), 1),
        ((3, 4), (4, 2), (1, 0)),
        ((3, 4), (2, 4), (-1, -1)),
        ((0, 4), (4, 2), 1),
    ],
)
def test_tensordot_is_numpys_to_the_bit(left: tuple[int, ...], right: tuple[int, ...], axes: Any) -> None:
    x, y = normal(*left), normal(*right)
    if axes == 2:
        y = y.T.copy()
    same(lax.tensordot(x, y, axes), np.tensordot(x, y, axes))


def test_dot_follows_numpy() -> None:
    x, y = normal(2, 3), normal(5, 3, 4)
    np.testing.assert_allclose(lax.dot(x, y), np.dot(x, y), rtol=1e-13)
    same(lax.dot(x, y[0]), np.dot(x, y[0]))
    same(lax.dot(x, 2.0), np.dot(x, 2.0))
    same(lax.dot(2.0, 3.0), np.dot(2.0, 3.0))


def test_dot_general_orders_axes_batch_left_right() -> None:
    x, y = normal(2, 3, 4, 5), normal(5, 6, 2, 4)
    out = lax.dot_general(x, y, (((3,), (0,)), ((2, 0), (3, 2))))
    np.testing.assert_allclose(out, np.einsum("abck,kdac->cabd", x, y), rtol=1e-12)
    assert out.shape == (4, 2, 3, 6)
    same(lax.dot_general(x, y, (((-1,), (0,)), ((-2, 0), (3, -2)))), out)


def test_without_a_contracted_axis_it_is_the_product() -> None:
    x, y = normal(2, 3), normal(3, 4)
    same(lax.dot_general(x, y, (((), ()), ((), ()))), np.multiply.outer(x, y))
    same(lax.dot_general(x, y, (((), ()), ((1,), (0,)))), x.T[:, :, None] * y[:, None, :])
    same(
        lax.dot_general(np.array([True, False]), np.array([True, True]), (((), ()), ((0,), (0,)))),
        np.array([True, False]),
    )
    same(lax.dot_general(2.0, 3.0, (((), ()), ((), ()))), np.float64(6.0))


def test_negative_zero_survives_a_product() -> None:
    out = lax.dot_general(np.array([-0.0]), np.array([1.0]), (((), ()), ((), ())))
    assert np.signbit(out).all()


def test_preferred_element_type_is_where_sums_are_formed() -> None:
    x = np.full(4, 100, np.int8)
    dims = (((0,), (0,)), ((), ()))
    same(lax.dot_general(x, x, dims), np.dot(x, x))
    same(lax.dot_general(x, x, dims, None, np.int32), np.int32(40000))
    h = np.full(3, 300, np.float16)
    same(lax.dot_general(h, h, dims, None, np.float32), np.float32(270000))
    same(lax.dot_general(np.ones(3), np.ones(3), dims, None, np.float32), np.float32(3))
    same(lax.dot(h, h, preferred_element_type=np.float64), np.float64(270000))


# -- derivatives -----------------------------------------------------------------------------------------------------


def test_gradients_of_a_product_call_matmul_with_transposed_views() -> None:
    x, w, ct = normal(5, 3), normal(3, 4), normal(5, 4)
    gx, gw = gradients(lax.matmul, x, w, cotangent=ct)
    same(gx, ct @ w.T)
    same(gw, x.T @ ct)
    assert gx.flags.c_contiguous and gw.flags.c_contiguous


@pytest.mark.parametrize(("lc", "rc"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gradients_of_transposed_products_need_no_permutation(lc: int, rc: int) -> None:
    x, y = normal(4, 4), normal(4, 4)
    dims = (((lc,), (rc,)), ((), ()))
    for linear in (0, 1):

        def f(z: Any, linear: int = linear) -> list[Any]:
            return [lax.dot_general(*((z, y) if linear == 0 else (x, z)), dims)]

        tape = linearize_flat(f, [(x, y)[linear]])
        jaxpr = stage(lambda ct, tape=tape: pull(tape, [ct]), [aval_of(normal(4, 4))])
        assert [e.prim for e in jaxpr.eqns] == [dot_general_p]


def test_complex_cotangents_are_not_conjugated() -> None:
    x, y = np.array([1 + 2j, 3j]), np.array([2 - 1j, 1 + 1j])
    gx, gy = gradients(lax.dot, x, y)
    same(gx, y)
    same(gy, x)


def test_second_derivative_of_a_quadratic_form() -> None:
    a, x, t = normal(3, 3), normal(3), normal(3)

    def f(x: Any) -> Any:
        return lax.dot(x, lax.matmul(a, x))

    (g,) = gradients(f, x)
    np.testing.assert_allclose(g, (a + a.T) @ x, rtol=1e-12)
    np.testing.assert_allclose(tangent(lambda x: gradients(f, x)[0], (x,), (t,)), (a + a.T) @ t, rtol=1e-12)


def test_integer_products_have_no_tangent() -> None:
    def f(x: Any) -> Any:
        n = lax.convert_element_type(x, np.int64)
        return lax.mul(x, lax.convert_element_type(lax.matmul(n, n), np.float64))

    same(tangent(f, (np.array([1.5, 2.5]),), (np.ones(2),)), np.array([5.0, 5.0]))


# -- batching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (1, None), (None, 1), (1, 0), (2, 2)])
def test_vmap_of_matmul(dims: tuple[int | None, int | None]) -> None:
    xs, ys = normal(6, 2, 3), normal(6, 3, 4)
    x = xs[0] if dims[0] is None else np.moveaxis(xs, 0, dims[0])
    y = ys[0] if dims[1] is None else np.moveaxis(ys, 0, dims[1])
    expected = np.stack([(xs[0 if dims[0] is None else i]) @ (ys[0 if dims[1] is None else i]) for i in range(6)])
    np.testing.assert_allclose(mapped(lax.matmul, 6, x, y, dims=dims), expected, rtol=1e-12)


def test_a_batch_of_vectors_is_one_matrix_product() -> None:
    w, xs = normal(4, 3), normal(6, 3)
    same(mapped(lax.matmul, 6, w, xs, dims=(None, 0)), xs @ w.T)
    jaxpr = stage(lambda w, xs: [mapped(lax.matmul, 6, w, xs, dims=(None, 0))], [aval_of(w), aval_of(xs)])
    assert [e.prim for e in jaxpr.eqns] == [dot_general_p]


def test_per_example_gradients_are_outer_products() -> None:
    w, xs, cts = normal(3, 4), normal(6, 3), normal(6, 4)

    def gradient(x: Any, ct: Any) -> Any:
        tape = linearize_flat(lambda w: [lax.matmul(x, w)], [w])
        return pull(tape, [ct])[0]

    same(mapped(gradient, 6, xs, cts, dims=(0, 0)), xs[:, :, None] * cts[:, None, :])


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda: lax.matmul(np.ones((2, 3)), np.ones((4, 5))), r"shapes \(2, 3\) and \(4, 5\) do not fit"),
        (lambda: lax.matmul(np.ones(()), np.ones(3)), r"matmul: the first operand is 0-d.*written x \* y"),
        (lambda: lax.matmul(np.ones(3), 2.0), r"matmul: the second operand is 0-d"),
        (lambda: lax.matmul(np.ones((2, 1, 3)), np.ones((3, 3, 1))), r"shapes \(2,\) and \(3,\) do not broadcast"),
        (lambda: lax.batch_matmul(np.ones((2, 1, 3)), np.ones((3, 3, 1))), "must agree in all axes but the last two"),
        (lambda: lax.dot(np.ones(2), np.ones(3)), "last axis of the first operand has extent 2, axis 0 .* has 3"),
        (lambda: lax.tensordot(np.ones((2, 3)), np.ones((2, 3)), 1), r"axes \(1,\) of shape \(2, 3\)"),
        (lambda: lax.tensordot(np.ones(2), np.ones(2), 2), r"axes=2 is more axes than shapes \(2,\) and \(2,\)"),
        (
            lambda: lax.dot_general(np.ones(2), np.ones(3), (((0,), (0,)), ((), ()))),
            "contracted axes must have one extent",
        ),
        (lambda: lax.dot_general(np.ones(2), np.ones(3), (((), ()), ((0,), (0,)))), "batch axes must have one extent"),
        (lambda: lax.dot_general(np.ones(2), np.ones(2), (((0,), ()), ((), ()))), "must name equally many axes"),
        (
            lambda: lax.dot_general(np.ones(2), np.ones(2), (((0,), (0,)), ((0,), (0,)))),
            "must be distinct axes of the lhs",
        ),
        (lambda: lax.dot_general(np.ones(2), np.ones(2), (((1,), (0,)), ((), ()))), "lhs_contract=1 is out of bounds"),
    ],
)
def test_shapes_that_do_not_fit(f: Any, message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        f()


@pytest.mark.parametrize("f", [lax.matmul, lax.dot, lambda x, y: lax.tensordot(x, y, 1)])
def test_operands_have_one_dtype(f: Any) -> None:
    with pytest.raises(errors.DTypeError, match="must have one dtype"):
        f(np.ones((2, 2), np.float32), np.ones((2, 2)))
