"""Collectives over named axes: values against NumPy on the whole batch, derivatives, control flow, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.test_util import check_grads

X = np.array([[0.5, 2.0], [-1.0, 3.0], [4.0, 3.0]])
UNTIED = X + np.arange(3)[:, None] / 8
SQUARE = np.arange(18.0).reshape(3, 3, 2) / 7
GROUPS = [[0, 2], [3, 1]]
Y = np.array([[1.0, 5.0], [2.0, -3.0], [4.0, 0.5], [8.0, 1.5]])


def mapped(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return ft.vmap(f, axis_name="i", **options)


def tiles(x: np.ndarray, n: int) -> np.ndarray:
    return np.broadcast_to(x, (n, *x.shape))


def grouped(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    out = np.empty((4, *f(x[:2]).shape[1:]))
    for group in GROUPS:
        out[group] = f(x[group])
    return out


CASES: list[tuple[str, Callable[[Any], Any], np.ndarray, np.ndarray]] = [
    ("psum", lambda x: lax.psum(x, "i"), X, tiles(X.sum(0), 3)),
    ("pmean", lambda x: lax.pmean(x, "i"), X, tiles(X.mean(0), 3)),
    ("pmax", lambda x: lax.pmax(x, "i"), UNTIED, tiles(UNTIED.max(0), 3)),
    ("pmin", lambda x: lax.pmin(x, "i"), UNTIED, tiles(UNTIED.min(0), 3)),
    ("all_gather", lambda x: lax.all_gather(x, "i"), X, tiles(X, 3)),
    ("all_gather last", lambda x: lax.all_gather(x, "i", axis=-1), X, tiles(X.T, 3)),
    ("all_gather tiled", lambda x: lax.all_gather(x, "i", tiled=True), X, tiles(X.ravel(), 3)),
    ("all_gather tiled last", lambda x: lax.all_gather(x, "i", axis=1, tiled=True), SQUARE,
     tiles(np.concatenate(list(SQUARE), 1), 3)),
    ("psum_scatter", lambda x: lax.psum_scatter(x, "i"), SQUARE, SQUARE.sum(0)),
    ("psum_scatter tiled", lambda x: lax.psum_scatter(x, "i", scatter_dimension=1, tiled=True),
     np.swapaxes(np.concatenate([SQUARE, SQUARE + 1], 1), 1, 2),
     np.moveaxis(np.swapaxes(np.concatenate([SQUARE, SQUARE + 1], 1), 1, 2).sum(0).reshape(2, 3, 2), 1, 0)),
    ("all_to_all", lambda x: lax.all_to_all(x, "i", 0, 0), SQUARE, np.swapaxes(SQUARE, 0, 1)),
    ("all_to_all moved", lambda x: lax.all_to_all(x, "i", 0, 1), SQUARE, np.transpose(SQUARE, (1, 2, 0))),
    ("all_to_all tiled", lambda x: lax.all_to_all(x, "i", 0, 1, tiled=True), SQUARE,
     np.stack([np.concatenate([SQUARE[j, k : k + 1] for j in range(3)], 1) for k in range(3)])),
    ("pswapaxes", lambda x: lax.pswapaxes(x, "i", 0), SQUARE, np.swapaxes(SQUARE, 0, 1)),
    ("ppermute", lambda x: lax.ppermute(x, "i", [(0, 1), (2, 0)]), X, np.stack([X[2], X[0], 0 * X[0]])),
    ("ppermute all", lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2), (2, 0)]), X, np.roll(X, 1, 0)),
    ("pshuffle", lambda x: lax.pshuffle(x, "i", [2, 0, 1]), X, X[[2, 0, 1]]),
    ("axis_index", lambda x: x * lax.axis_index("i"), X, X * np.arange(3)[:, None]),
    ("axis_size", lambda x: x * lax.axis_size("i"), X, 3 * X),
    ("psum groups", lambda x: lax.psum(x, "i", axis_index_groups=GROUPS), Y, grouped(lambda g: tiles(g.sum(0), 2), Y)),
    ("pmean groups", lambda x: lax.pmean(x, "i", axis_index_groups=GROUPS), Y,
     grouped(lambda g: tiles(g.mean(0), 2), Y)),
    ("pmax groups", lambda x: lax.pmax(x, "i", axis_index_groups=GROUPS), Y, grouped(lambda g: tiles(g.max(0), 2), Y)),
    ("all_gather groups", lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS), Y,
     grouped(lambda g: tiles(g, 2), Y)),
    ("psum_scatter groups", lambda x: lax.psum_scatter(x, "i", axis_index_groups=GROUPS), Y,
     grouped(lambda g: g.sum(0), Y)),
    ("all_to_all groups", lambda x: lax.all_to_all(x, "i", 0, 0, axis_index_groups=GROUPS), Y,
     grouped(lambda g: g.T, Y)),
]  # fmt: skip
by_name = pytest.mark.parametrize(("f", "x", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


@by_name
def test_values(f: Callable[..., Any], x: np.ndarray, expected: np.ndarray) -> None:
    for g in (mapped(f), ft.jit(mapped(f)), mapped(ft.jit(f)), mapped(lambda x: lax.cond(True, f, f, x))):
        out = g(x)
        np.testing.assert_allclose(out, expected, rtol=1e-14)
        assert out.dtype == expected.dtype and out.shape == expected.shape
    last = ft.vmap(f, in_axes=x.ndim - 1, axis_name="i")
    np.testing.assert_allclose(last(np.moveaxis(x, 0, -1)), expected, rtol=1e-14)
    # Another batch, inside of the named one and around it.
    both = np.stack([x, 2 * x], 1)
    np.testing.assert_allclose(mapped(ft.vmap(f))(both)[:, 1], mapped(f)(2 * x), rtol=1e-14)
    np.testing.assert_allclose(ft.vmap(mapped(f))(np.stack([x, 2 * x]))[1], mapped(f)(2 * x), rtol=1e-14)
    # What every example shares is a batch of equal values.
    shared = mapped(lambda _, y: f(y), in_axes=(0, None))(x, x[0])
    np.testing.assert_allclose(shared, mapped(f)(tiles(x[0], len(x))), rtol=1e-14)


@by_name
def test_derivatives(f: Callable[..., Any], x: np.ndarray, expected: np.ndarray) -> None:
    check_grads(mapped(f), (x,), order=2)
    jac = ft.jacobian(mapped(f))(x)
    # With grad inside, each example gets its part of the derivative of the sum over all of them.
    weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
    whole = np.tensordot(weights, jac, expected.ndim)
    for wrap in (lambda g: g, ft.jit):
        inside = wrap(mapped(ft.grad(lambda x, w: np.sum(f(x) * w))))(x, weights)
        np.testing.assert_allclose(inside, whole, rtol=1e-12, atol=1e-12)
    pushed = mapped(lambda x, t: ft.jvp(f, (x,), (t,))[1])(x, np.sin(x))
    np.testing.assert_allclose(pushed, np.tensordot(jac, np.sin(x), x.ndim), rtol=1e-12, atol=1e-12)


def test_the_transpose_of_psum_is_psum() -> None:
    """The convention: the cotangents of all examples come back to each."""
    np.testing.assert_array_equal(mapped(ft.grad(lambda x: lax.psum(x, "i")))(np.ones(5)), np.full(5, 5.0))
    np.testing.assert_array_equal(mapped(ft.grad(lambda x: lax.pmean(x, "i")))(np.ones(5)), np.ones(5))
    total = ft.grad(lambda x: mapped(lambda x: lax.psum(x, "i"))(x)[0])
    np.testing.assert_array_equal(total(np.ones(5)), np.ones(5))
    second = mapped(ft.grad(ft.grad(lambda x: lax.psum(x**3, "i"))))
    np.testing.assert_array_equal(second(np.ones(2)), [12.0, 12.0])


def test_ties_share_the_derivative() -> None:
    for f, value in ((lax.pmax, 3.0), (lax.pmin, 1.0)):
        x = np.array([value, 2.0, value])
        np.testing.assert_array_equal(ft.grad(lambda x: mapped(lambda x: f(x, "i"))(x)[0])(x), [0.5, 0.0, 0.5])  # noqa: B023


def test_several_axes() -> None:
    x = np.arange(12.0).reshape(2, 3, 2)

    def nested(f: Callable[..., Any]) -> Callable[..., Any]:
        return ft.vmap(ft.vmap(f, axis_name="j"), axis_name="i")

    np.testing.assert_array_equal(nested(lambda x: lax.psum(x, ("i", "j")))(x)[1, 2], x.sum((0, 1)))
    np.testing.assert_array_equal(nested(lambda x: lax.psum(x, "i"))(x)[1], x.sum(0))
    np.testing.assert_array_equal(nested(lambda x: lax.psum(x, "j"))(x)[1, 0], x.sum(1)[1])
    np.testing.assert_array_equal(nested(lambda x: lax.pmean(x, ("j", "i")))(x)[0, 0], x.mean((0, 1)))
    np.testing.assert_array_equal(nested(lambda x: lax.pmax(x, ("j", "i")))(x)[0, 0], x.max((0, 1)))
    np.testing.assert_array_equal(nested(lambda x: lax.all_gather(x, ("i", "j")))(x)[0, 0], x.reshape(6, 2))
    np.testing.assert_array_equal(
        nested(lambda x: lax.all_gather(x, ("j", "i")))(x)[0, 0].reshape(3, 2, 2)[2, 1], x[1, 2]
    )
    np.testing.assert_array_equal(nested(lambda x: lax.axis_index(("i", "j")))(x), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(nested(lambda x: lax.axis_index(("j", "i")))(x), [[0, 2, 4], [1, 3, 5]])
    assert nested(lambda x: lax.axis_size(("i", "j")) * np.ones(()))(x)[0, 0] == 6
    wide = np.arange(36.0).reshape(2, 3, 6)
    scattered = nested(lambda x: lax.psum_scatter(x, ("i", "j")))(wide)
    np.testing.assert_array_equal(scattered.ravel(), wide.sum((0, 1)))
    # The inner of two axes of one name is meant.
    np.testing.assert_array_equal(ft.vmap(mapped(lambda x: lax.psum(x, "i")), axis_name="i")(x)[1, 0], x[1].sum(0))
    check_grads(nested(lambda x: lax.psum(x**2, ("i", "j")) * x), (x,), order=1)


def test_pytrees_numbers_and_dtypes() -> None:
    out = mapped(lambda x: lax.psum({"a": x, "b": (1, 2.5, True)}, "i"))(X)
    np.testing.assert_array_equal(out["a"], tiles(X.sum(0), 3))
    assert [leaf[0] for leaf in out["b"]] == [3, 7.5, 3]
    sizes: list[Any] = []
    mapped(lambda x: sizes.append(lax.psum(1, "i")) or x)(X)
    assert sizes == [3]
    for dtype in (np.float32, np.int8, np.complex128):
        assert mapped(lambda x: lax.psum(x, "i"))(X.astype(dtype)).dtype == dtype
        assert mapped(lambda x: lax.all_gather(x, "i"))(X.astype(dtype)).dtype == dtype
    np.testing.assert_array_equal(mapped(lambda x: lax.psum(x > 0, "i"))(X), tiles((X > 0).sum(0), 3))
    np.testing.assert_array_equal(mapped(lambda x: lax.pmean(x, "i"))(np.array([1, 2, 4])), np.full(3, 7 / 3))
    np.testing.assert_array_equal(mapped(lambda x: lax.pmax(x, "i"))(np.array([True, False])), [True, True])


def test_in_control_flow() -> None:
    def scanned(x: Any) -> Any:
        return lax.scan(lambda c, _: (0.5 * c + lax.pmean(c, "i"), lax.axis_index("i")), x, length=3)

    def by_hand(x: Any) -> Any:
        for _ in range(3):
            x = 0.5 * x + x.mean(0)
        return x

    for g in (mapped(scanned), ft.jit(mapped(scanned)), mapped(ft.jit(scanned))):
        carry, ys = g(X)
        np.testing.assert_allclose(carry, by_hand(X), rtol=1e-14)
        np.testing.assert_array_equal(ys, np.repeat(np.arange(3)[:, None], 3, 1))
    check_grads(mapped(lambda x: scanned(x)[0]), (X,), order=2)
    np.testing.assert_allclose(
        ft.jit(mapped(ft.grad(lambda x: np.sum(scanned(x)[0]))))(X),
        ft.grad(lambda x: np.sum(by_hand(x)))(X),
        rtol=1e-12,
    )
    # Unbatched carries become batches, or stay shared, as the collective says.
    index, total = mapped(
        lambda x: lax.fori_loop(0, 2, lambda i, c: (lax.axis_index("i"), c[1] + lax.psum(x, "i")), (0, 0.0))
    )(np.arange(3.0))
    assert index.tolist() == [0, 1, 2] and total.tolist() == [6.0] * 3


def test_in_batched_branches_and_loops_all_examples_take_part() -> None:
    x = np.array([1.0, -2.0, 3.0])
    f = mapped(lambda x: lax.cond(x > 0, lambda x: lax.psum(x, "i"), lambda x: 10 * lax.psum(x, "i"), x))
    np.testing.assert_array_equal(f(x), [2.0, 20.0, 2.0])
    g = mapped(lambda x: lax.while_loop(lambda c: c < 4, lambda c: c + lax.pmax(c, "i"), x))
    np.testing.assert_array_equal(g(x), [4.0, 7.0, 6.0])


def test_programs_are_kept_by_the_size_of_the_axis() -> None:
    f = ft.jit(lambda x: lax.all_gather(x, "i") / lax.axis_size("i"))
    for n in (3, 2, 3):
        x = np.arange(float(n))
        np.testing.assert_array_equal(mapped(f)(x), tiles(x / n, n))
    assert f.trace_count == 2
    step = lambda c, _: (c, lax.all_gather(c, "i"))
    for n in (3, 2):
        assert mapped(lambda x: lax.scan(step, x, length=1)[1])(np.arange(float(n))).shape == (n, 1, n)


def test_with_custom_rules_and_checkpoint() -> None:
    @ft.custom_vjp
    def synchronised(x: Any) -> Any:
        return lax.pmean(x, "i")

    synchronised.defvjp(lambda x: (synchronised(x), None), lambda _, ct: (lax.pmean(ct, "i"),))
    x = np.array([1.0, 2.0, 6.0])
    for g in (mapped(synchronised), ft.jit(mapped(synchronised))):
        np.testing.assert_array_equal(g(x), [3.0] * 3)
    for g in (mapped(ft.grad(synchronised)), ft.jit(mapped(ft.grad(synchronised)))):
        np.testing.assert_array_equal(g(x), [1.0] * 3)
    np.testing.assert_array_equal(mapped(lambda x: x + synchronised(2.0))(x), x + 2)
    f = ft.checkpoint(lambda x: np.sin(lax.psum(np.cos(x), "i")))
    plain = lambda x: np.sin(lax.psum(np.cos(x), "i"))
    np.testing.assert_allclose(mapped(ft.grad(f))(x), mapped(ft.grad(plain))(x), rtol=1e-14)
    np.testing.assert_allclose(ft.jit(mapped(ft.grad(f)))(x), mapped(ft.grad(plain))(x), rtol=1e-14)


def test_data_parallel_training_step() -> None:
    """Each example of the axis holds a shard of the data; the gradients are averaged."""
    rng = np.random.default_rng(0)
    data, target, w = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5)), rng.normal(size=3)

    def loss(w: Any, x: Any, y: Any) -> Any:
        return np.mean((x @ w - y) ** 2)

    @ft.jit
    def step(w: Any, x: Any, y: Any) -> Any:
        return ft.vmap(
            lambda x, y: w - 0.1 * lax.pmean(ft.grad(loss)(w, x, y), "shard"), axis_name="shard", out_axes=None
        )(x, y)

    expected = w - 0.1 * ft.grad(loss)(w, data.reshape(20, 3), target.ravel())
    np.testing.assert_allclose(step(w, data, target), expected, rtol=1e-12)


def test_errors() -> None:
    with pytest.raises(errors.AxisNameError, match=r"psum.*'j'.*'i'.*axis_name='j'"):
        mapped(lambda x: lax.psum(x, "j"))(X)
    with pytest.raises(errors.AxisNameError, match=r"axis_index.*no axis here has a name"):
        lax.axis_index("i")
    with pytest.raises(NameError, match="axis_size"):
        ft.jit(lambda x: x * lax.axis_size("i"))(1.0)
    cases: list[tuple[Callable[..., Any], Any, type[Exception], str]] = [
        (lambda x: lax.psum(x, ("i", "i")), X, errors.ArgumentError, "different"),
        (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1]]), X, errors.ArgumentError, "axis_index_groups"),
        (lambda x: lax.psum(x, "i", axis_index_groups=[[0], [1, 2]]), X, errors.ArgumentError, "one length"),
        (lambda x: lax.all_gather(x, "i", axis=3), X, errors.ArgumentError, "axis=3"),
        (lambda x: lax.all_to_all(x, "i", 0, 0), X, errors.ShapeError, r"\(2,\).*3 is needed.*tiled"),
        (lambda x: lax.psum_scatter(x, "i", tiled=True), X, errors.ShapeError, "multiple of 3"),
        (lambda x: lax.psum_scatter(x, "i", scatter_dimension=2), X, errors.ArgumentError, "scatter_dimension=2"),
        (lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)]), X, errors.ArgumentError, "twice"),
        (lambda x: lax.ppermute(x, "i", [(0, 3)]), X, errors.ArgumentError, "from 0 to 2"),
        (lambda x: lax.pshuffle(x, "i", [0, 0, 1]), X, errors.ArgumentError, "permutation"),
    ]
    for f, x, kind, message in cases:
        with pytest.raises(kind, match=message):
            mapped(f)(x)
    with pytest.raises(errors.ArgumentError, match="one axis"):
        ft.vmap(mapped(lambda x: lax.ppermute(x, ("i", "j"), [(0, 1)])), axis_name="j")(SQUARE)
    with pytest.raises(errors.ArgumentError, match="hashable"):
        ft.vmap(lambda x: x, axis_name=["i"])
