"""Writing at the places that index arrays name, with places named once and more than once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import errors, jit, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.lax.scatter import duplicate_links, scatter
from tests.lax.derivatives import gradients, mapped, tangent

UFUNCS: dict[str, Any] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
OPERATIONS = ("set", *UFUNCS)


def reference(x: Any, u: Any, i: Any, op: str) -> Any:
    """One update after the other."""
    out = x.copy()
    for place, value in zip(np.ravel(i), u.reshape(-1, *x.shape[1:]), strict=True):
        out[place] = value if op == "set" else UFUNCS[op](out[place], value)
    return out


@given(
    st.sampled_from(OPERATIONS),
    st.lists(st.integers(-4, 3), max_size=8),
    st.sampled_from([(4,), (4, 3)]),
    st.booleans(),
)
def test_updates_are_made_one_after_the_other(op: str, places: list[int], shape: Any, two_axes: bool) -> None:
    i = np.array(places, int)
    if two_axes:
        i = np.array([*places, *places], int).reshape(2, -1, order="F")
    x = np.sin(np.arange(np.prod(shape)) + 1.0).reshape(shape)
    u = np.cos(np.arange(i.size * np.prod(shape[1:], dtype=int)) * 2.0).reshape(*i.shape, *shape[1:])
    for given_i in (i, np.asfortranarray(i), np.flip(np.flip(i).copy())):
        out = scatter(x, u, [given_i], (0,), op=op)  # type: ignore[arg-type]
        np.testing.assert_allclose(out, reference(x, u, i, op), rtol=1e-14)


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int16, np.uint8])
def test_the_dtype_stays(op: Any, dtype: Any) -> None:
    if op in ("min", "max") and dtype is np.complex128:
        with pytest.raises(errors.DTypeError, match="order"):
            stage(lambda x, u: [scatter(x, u, [np.array([0])], (0,), op=op)], [aval_of(np.ones(1, dtype))] * 2)
        return
    x, u, i = np.arange(1, 4).astype(dtype), np.array([2, 3]).astype(dtype), np.array([2, 2])
    out = scatter(x, u, [i], (0,), op=op)
    np.testing.assert_array_equal(out, reference(x, u, i, op), strict=True)


def test_the_derivative_of_set_goes_to_the_update_that_was_written_last() -> None:
    i = np.array([1, 0, 1, 1])
    x, u = np.zeros(3), np.arange(1.0, 5.0)
    np.testing.assert_array_equal(scatter(x, u, [i], (0,)), [2.0, 4.0, 0.0])
    ct_x, ct_u = gradients(lambda x, u: scatter(x, u, [i], (0,)), x, u, cotangent=np.array([10.0, 20.0, 30.0]))
    np.testing.assert_array_equal(ct_x, [0.0, 0.0, 30.0])
    np.testing.assert_array_equal(ct_u, [0.0, 10.0, 0.0, 20.0])
    np.testing.assert_array_equal(tangent(lambda u: scatter(x, u, [i], (0,)), (u,), (u,)), [2.0, 4.0, 0.0])


def test_the_derivative_of_products_is_right_at_zeros_to_second_order() -> None:
    i = np.array([0, 0, 0, 1])
    x = np.array([2.0, 3.0])
    u = np.array([0.0, 5.0, 0.0, 0.0])

    def first(u: Any) -> Any:
        return gradients(lambda u: scatter(x, u, [i], (0,), op="mul"), u, cotangent=np.ones(2))[0]

    np.testing.assert_array_equal(first(u), [0.0, 0.0, 0.0, 3.0])
    hessian = np.stack([tangent(first, (u,), (e,)) for e in np.eye(4)])
    expected = np.zeros((4, 4))
    expected[0, 2] = expected[2, 0] = 2.0 * 5.0
    np.testing.assert_array_equal(hessian, expected)
    u = np.array([0.0, 5.0, 7.0, 1.0])
    np.testing.assert_array_equal(first(u), [70.0, 0.0, 0.0, 3.0])


def test_all_that_attain_an_extremum_share_the_derivative() -> None:
    i = np.array([0, 0, 1, 2])
    x, u = np.array([3.0, 1.0, 5.0, 2.0]), np.array([3.0, 3.0, 4.0, 0.0])
    ct_x, ct_u = gradients(lambda x, u: scatter(x, u, [i], (0,), op="max"), x, u)
    np.testing.assert_allclose(ct_x, [1 / 3, 0.0, 1.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(ct_u, [1 / 3, 1 / 3, 1.0, 0.0], rtol=1e-15)
    ct_x, ct_u = gradients(lambda x, u: scatter(x, u, [i], (0,), op="min"), x, u)
    np.testing.assert_allclose(ct_x, [1 / 3, 1.0, 0.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(ct_u, [1 / 3, 1 / 3, 0.0, 1.0], rtol=1e-15)


def test_a_nan_is_the_extremum_of_what_holds_it() -> None:
    x, u = np.array([np.nan, 1.0, 2.0]), np.array([np.nan])
    ct_x, ct_u = gradients(lambda x, u: scatter(x, u, [np.array([1])], (0,), op="max"), x, u)
    np.testing.assert_array_equal(ct_x, [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(ct_u, [1.0])


def test_a_promise_of_distinct_places_changes_nothing_where_it_is_kept() -> None:
    i = np.array([2, 0])
    x, u = np.arange(1.0, 4.0), np.array([5.0, -2.0])
    for op in OPERATIONS:
        slow = gradients(lambda x, u, op=op: scatter(x, u, [i], (0,), op=op), x, u)
        fast = gradients(lambda x, u, op=op: scatter(x, u, [i], (0,), op=op, unique=True), x, u)
        for a, b in zip(slow, fast, strict=True):
            np.testing.assert_array_equal(a, b)


def test_updates_out_of_bounds_raise_or_are_dropped() -> None:
    i = np.array([0, 7])
    x, u = np.ones(3), np.array([2.0, 3.0])
    for op in OPERATIONS:
        with pytest.raises(errors.IndexingError, match="index 7 is out of bounds for axis 0 with extent 3"):
            scatter(x, u, [i], (0,), op=op)  # type: ignore[arg-type]
        out = scatter(x, u, [i], (0,), op=op, mode="drop")  # type: ignore[arg-type]
        np.testing.assert_array_equal(out, reference(x, u[:1], i[:1], op))
        ct_x, ct_u = gradients(lambda x, u, op=op: scatter(x, u, [i], (0,), op=op, mode="drop"), x, u)
        kept_x, kept_u = gradients(lambda x, u, op=op: scatter(x, u, [i[:1]], (0,), op=op), x, u[:1])
        np.testing.assert_array_equal(ct_x, kept_x)
        np.testing.assert_array_equal(ct_u, [kept_u[0], 0.0])


@pytest.mark.parametrize("op", OPERATIONS)
def test_compiled_writes_of_one_place_agree_with_the_others(op: Any) -> None:
    x = np.sin(np.arange(12.0)).reshape(3, 4)
    for axes, at, u in [((0,), 0, np.arange(4.0)), ((1,), 1, np.arange(3.0)), ((0, 1), 0, np.array(2.0))]:
        compiled = jit(lambda x, u, i, axes=axes, at=at: scatter(x, u, [i] * len(axes), axes, at, op))
        for i in (1, -1, np.int32(2)):
            before = x.copy()
            np.testing.assert_array_equal(
                compiled(x, u, i),
                scatter(x, u, [i] * len(axes), axes, at, op),
                strict=True,
            )
            np.testing.assert_array_equal(x, before)
        with pytest.raises(errors.IndexingError, match=f"index 9 is out of bounds for axis {axes[0]} with extent"):
            compiled(x, u, 9)


def test_what_does_not_fit_is_named() -> None:
    aval = aval_of(np.ones(3))
    with pytest.raises(errors.ShapeError, match=r"scatter: updates have shape \(3,\).*places of shape \(2,\)"):
        stage(lambda x, u: [scatter(x, u, [np.array([0, 1])], (0,))], [aval, aval])
    with pytest.raises(errors.DTypeError, match="float64"):
        stage(lambda x: [scatter(x, np.ones(1, int), [np.array([0])], (0,))], [aval])


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize(
    "dims", [(0, 0, 0), (None, 1, 0), (1, None, 0), (None, None, 0), (0, None, None), (None, 2, None)]
)
def test_batches(op: Any, dims: tuple[Any, ...]) -> None:
    x = np.sin(np.arange(12.0)).reshape(4, 3)
    u = np.cos(np.arange(15.0)).reshape(5, 3)
    i = np.array([0, 3, 0, -1, 1])
    args = [
        np.stack([a, -a if n < 2 else a[::-1]], d) if d is not None else a
        for n, (a, d) in enumerate(zip((x, u, i), dims, strict=True))
    ]

    def gradient(x: Any, u: Any, i: Any) -> Any:
        def f(x: Any, u: Any) -> Any:
            return lax.sin(scatter(x, u, [i], (0,), op=op))

        ct_x, ct_u = gradients(f, x, u, cotangent=np.ones((4, 3)))
        return lax.concatenate([ct_x, ct_u], 0)

    out = mapped(lambda x, u, i: scatter(x, u, [i], (0,), op=op), 2, *args, dims=dims)
    cts = mapped(gradient, 2, *args, dims=dims)
    for k in range(2):
        one = [np.take(a, k, d) if d is not None else a for a, d in zip(args, dims, strict=True)]
        np.testing.assert_array_equal(out[k], reference(*one, op))
        np.testing.assert_allclose(cts[k], gradient(*one), rtol=1e-14, atol=1e-16)


def test_links_join_updates_of_one_place() -> None:
    previous, following = duplicate_links([np.array([[1, 0], [1, 1]])], (2,))
    np.testing.assert_array_equal(previous, [[-1, -1], [0, 2]])
    np.testing.assert_array_equal(following, [[2, -1], [3, -1]])
    previous, _ = duplicate_links([np.array([5, 5, 1])], (2,), mode="drop")
    np.testing.assert_array_equal(previous, [-1, -1, -1])
