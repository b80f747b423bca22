"""Einstein summation: NumPy's syntax and values, contraction orders, derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.lax.contraction import dot_general_p
from tests.lax.derivatives import gradients, mapped, tangent

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


CASES = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("ij,kj", (2, 3), (4, 3)),
    ("i,i", (3,), (3,)),
    ("i,j->ij", (3,), (4,)),
    ("i,j->", (3,), (4,)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ji->ij", (2, 3), (3, 2)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("bij,jk->ibk", (5, 2, 3), (3, 4)),
    ("abc,cbd->da", (2, 3, 4), (4, 3, 5)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ba", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("iii->i", (3, 3, 3)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("ii,i->", (3, 3), (3,)),
    ("ii,jj->ij", (3, 3), (2, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij,...jk", (5, 1, 2, 3), (6, 3, 4)),
    ("i...,j...->ij...", (2, 5), (3, 1)),
    ("...,...->...", (2, 3), (3,)),
    ("i...->...", (2, 3, 4)),
    ("...ii->...i", (4, 3, 3)),
    ("b...a,a...->b...", (2, 3, 4), (4, 3)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("ij,ij->i", (3, 1), (3, 4)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("i,i->", (1,), (4,)),
    ("Ab,bA->A", (2, 3), (3, 2)),
    (",ij->ij", (), (2, 3)),
    (",->", (), ()),
    ("->", ()),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,jk,kl,lm->mi", (2, 3), (3, 4), (4, 5), (5, 2)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("i,i,i->", (3,), (3,), (3,)),
    ("bhqd,bhkd,bhkv->bqhv", (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)),
    ("ij,jk->ik", (2, 0), (0, 4)),
]


@pytest.mark.parametrize("optimize", [True, "greedy"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_values_are_numpys(case: Any, optimize: Any) -> None:
    subscripts, *shapes = case
    operands = [normal(*shape) if shape else np.array(RNG.normal()) for shape in shapes]
    expected = np.einsum(subscripts, *operands)
    out = lax.einsum(subscripts, *operands, optimize=optimize)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    assert type(out) is type(expected) and out.shape == expected.shape


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.complex64])
def test_values_of_every_dtype(dtype: Any) -> None:
    x, y = (3 * np.abs(normal(2, 3))).astype(dtype), (3 * np.abs(normal(3, 4))).astype(dtype)
    for subscripts in ("ij,jk->ik", "ij,jk->k", "ij,jk->ijk", "ij,jk->"):
        out, expected = lax.einsum(subscripts, x, y), np.einsum(subscripts, x, y)
        np.testing.assert_allclose(out, expected, rtol=2e-3 if dtype is np.float16 else 1e-6)
        assert out.dtype == expected.dtype


def test_python_scalars_are_operands() -> None:
    out = lax.einsum(",i->i", 2.0, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(out, [2.0, 4.0])


def test_matrix_products_are_one_matmul() -> None:
    x, y = normal(2, 3), normal(3, 4)
    np.testing.assert_array_equal(lax.einsum("ij,jk->ik", x, y), x @ y, strict=True)
    np.testing.assert_array_equal(lax.einsum("ij,kj->ik", x, x), x @ x.T, strict=True)
    for subscripts in ("ij,jk->ik", "ij,jk->ki"):
        jaxpr = stage(lambda x, y, s=subscripts: [lax.einsum(s, x, y)], [aval_of(x), aval_of(y)])
        assert [e.prim for e in jaxpr.eqns] == [dot_general_p]


def test_a_permutation_and_a_diagonal_are_views() -> None:
    x = normal(3, 3)
    assert np.shares_memory(lax.einsum("ij->ji", x), x)
    assert np.shares_memory(lax.einsum("ii->i", x), x)


def work(subscripts: str, *operands: Any, optimize: Any = True) -> int:
    """How many products the matrix products of an einsum form."""
    jaxpr = stage(lambda *xs: [lax.einsum(subscripts, *xs, optimize=optimize)], [aval_of(x) for x in operands])
    total = 0
    for e in jaxpr.eqns:
        if e.prim is dot_general_p:
            (lc, _), _ = e.params["dimension_numbers"]
            total += e.outs[0].aval.size * int(np.prod([e.inputs[0].aval.shape[a] for a in lc]))
    return total


def test_the_order_has_the_fewest_products() -> None:
    a, b, v = normal(20, 20), normal(20, 20), normal(20)
    assert work("ij,jk,k->i", a, b, v) == 2 * 400
    assert work("ij,jk,k->i", a, b, v, optimize="greedy") == 2 * 400
    assert work("ij,jk,k->i", a, b, v, optimize=["einsum_path", (0, 1), (0, 1)]) == 8000 + 400


def test_optimal_finds_what_greedy_misses() -> None:
    operands = [normal(2, 9), normal(9, 3), normal(3, 8), normal(8, 2)]
    best = min(
        work("ab,bc,cd,de->ae", *operands, optimize=[first, second, (0, 1)])
        for first in [(0, 1), (1, 2), (2, 3)]
        for second in [(0, 1), (0, 2), (1, 2)]
    )
    assert work("ab,bc,cd,de->ae", *operands, optimize="optimal") == best


@pytest.mark.parametrize(
    "path",
    [["einsum_path", (0, 1), (0, 1), (0, 1)], [(0, 1, 2), (0, 1)], ["einsum_path", (1, 3), (0, 1, 2)], [(0, 1, 2, 3)]],
)
def test_paths_in_numpys_form(path: Any) -> None:
    a, b, c, d = normal(2, 3), normal(3, 4), normal(4, 5), normal(5, 2)
    np.testing.assert_allclose(lax.einsum("ij,jk,kl,lm->im", a, b, c, d, optimize=path), a @ b @ c @ d, rtol=1e-12)
    given = np.einsum_path("ij,jk,kl,lm->im", a, b, c, d)[0]
    np.testing.assert_allclose(lax.einsum("ij,jk,kl,lm->im", a, b, c, d, optimize=given), a @ b @ c @ d, rtol=1e-12)


def test_many_operands_stay_quick() -> None:
    n = 20
    letters = "abcdefghijklmnopqrstuvwxyz"
    subscripts = ",".join(letters[i : i + 2] for i in range(n)) + f"->a{letters[n]}"
    matrices = [normal(2, 2) for _ in range(n)]
    np.testing.assert_allclose(lax.einsum(subscripts, *matrices), np.linalg.multi_dot(matrices), rtol=1e-10)


# -- derivatives -----------------------------------------------------------------------------------------------------


def test_gradients_of_a_trace() -> None:
    a, b = normal(3, 4), normal(4, 3)
    ga, gb = gradients(lambda a, b: lax.einsum("ij,ji->", a, b), a, b)
    np.testing.assert_array_equal(ga, b.T)
    np.testing.assert_array_equal(gb, a.T)
    (g,) = gradients(lambda a: lax.einsum("ii", a), normal(3, 3))
    np.testing.assert_array_equal(g, np.eye(3))


def test_second_derivative_of_a_bilinear_form() -> None:
    a, x, t = normal(3, 3), normal(3), normal(3)

    def gradient(x: Any) -> Any:
        return gradients(lambda x: lax.einsum("i,ij,j->", x, a, x), x)[0]

    np.testing.assert_allclose(gradient(x), (a + a.T) @ x, rtol=1e-12)
    np.testing.assert_allclose(tangent(gradient, (x,), (t,)), (a + a.T) @ t, rtol=1e-12)


def test_vmap() -> None:
    xs, w = normal(5, 2, 3), normal(3, 2)
    out = mapped(lambda x, w: lax.einsum("ij,ji->j", x, w), 5, xs, w, dims=(0, None))
    np.testing.assert_allclose(out, np.einsum("bij,ji->bj", xs, w), rtol=1e-12)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("ij,jk", np.ones((2, 3))), errors.ArgumentError, "describe 2 operands, but 1 were given"),
        (("ijk", np.ones((2, 3))), errors.ShapeError, "'ijk' .* names 3 axes, but there are 2"),
        (("i", np.ones((2, 3))), errors.ShapeError, r"names 1 axes, but there are 2; '\.\.\.' stands for the others"),
        (("ij->ik", np.ones((2, 3))), errors.ArgumentError, "label 'k' of the result .* is no operand's"),
        (("ij->ii", np.ones((2, 3))), errors.ArgumentError, "has the label 'i' twice"),
        (("i%->i", np.ones((2, 3))), errors.ArgumentError, "'%' in the subscripts"),
        (("i..->i", np.ones((2, 3))), errors.ArgumentError, "is no label"),
        (("...i->i", np.ones((2, 3))), errors.ArgumentError, "has no ellipsis"),
        (("ii", np.ones((2, 3))), errors.ShapeError, "axes of extents 2 and 3 of one operand"),
        (("ij,jk", np.ones((2, 3)), np.ones((4, 5))), errors.ShapeError, "label 'j' .* extent 3 in one operand and 4"),
        (("i,i", np.ones(2), np.ones(2, np.float32)), errors.DTypeError, "one dtype"),
        ((["i"], np.ones(2)), errors.ArgumentError, "must be a string .* got list"),
    ],
)
def test_what_cannot_be_read(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        lax.einsum(*arguments)


def test_bad_orders() -> None:
    with pytest.raises(errors.ArgumentError, match="optimize must be a bool"):
        lax.einsum("i,i", np.ones(2), np.ones(2), optimize="fastest")
    with pytest.raises(errors.ArgumentError, match="does not name distinct ones of 2 operands"):
        lax.einsum("i,i", np.ones(2), np.ones(2), optimize=[(0, 2)])
