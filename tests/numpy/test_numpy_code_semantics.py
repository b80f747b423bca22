"""``numpy_code``: masks that are not known while tracing, whose arrays may be written to, and what stores cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.test_util import check_grads

X = np.array([0.7, 1.3, -0.4, 2.1])
SHARED = np.zeros(4)

TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: lambda x: ft.vjp(f, x)[0],
    "jit": ft.jit,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x,))[0],
    "jit_jvp": lambda f: ft.jit(lambda x: ft.jvp(f, (x,), (x,))[0]),
    "vmap": lambda f: lambda x: ft.tree.map(lambda leaf: leaf[1], ft.vmap(f)(np.stack([2 * x, x]))),
}
every_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


def assert_same_leaves(found: Any, expected: Any) -> None:
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# -- masks whose contents depend on traced values ------------------------------------------------------------------


@ft.numpy_code
def masked_stores(x: Any) -> Any:
    out = x * 1.0
    out[x > 0] += 1.0
    out[x > 1] = 5 * x[0]
    out[x < 0] = np.sqrt(-x[x < 0])
    mask = (out > 0.5) & (out < 3.0)
    out[mask] = np.log(out[mask]) * x[1] + out[mask]
    out[~mask] *= 2.0
    rows = np.ones((4, 3))
    rows[mask] *= np.array([1.0, 2.0, 3.0])
    rows[mask] -= x[0]
    return out, rows


@ft.numpy_code
def masked_reductions(x: Any) -> Any:
    grid = x[:, None] * np.array([1.0, 2.0])
    return x[x > 0].sum(), np.mean(x[x > 0] ** 2), np.sum(grid[x > 0], axis=0), x[x > 5].sum(), np.var(x[x > 0], ddof=1)


@pytest.mark.parametrize("f", [masked_stores, masked_reductions], ids=lambda f: f.__name__)
@every_transform
def test_masks(f: Any, transform: Callable[[Any], Any]) -> None:
    assert_same_leaves(transform(f)(X), f(X))


@pytest.mark.parametrize("f", [masked_stores, masked_reductions], ids=lambda f: f.__name__)
def test_masks_differentiated(f: Any) -> None:
    check_grads(f, (X,), order=2)
    for compiled in (ft.jit(ft.jacrev(f)), ft.jit(ft.jacfwd(f))):
        assert_same_leaves(compiled(X), ft.jacfwd(f)(X))


def test_what_a_mask_leaves_out_spoils_no_derivative() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        positive = x > 0
        out[positive] = np.log(x[positive]) / x[positive] + np.arccosh(1.0 + x[positive])
        root = np.zeros(4)
        np.sqrt(x, out=root, where=positive)
        return np.sum(out) + np.sum(root)

    x = np.array([0.5, 0.0, -1.0, 2.0])
    a, b = x[[0, 3]], 1.0 + x[[0, 3]]
    expected = np.zeros(4)
    expected[[0, 3]] = (1 - np.log(a)) / a**2 + 1 / np.sqrt(b**2 - 1) + 0.5 / np.sqrt(a)
    for gradient in (ft.grad(f), ft.jit(ft.grad(f)), lambda x: ft.vmap(ft.grad(f))(x[None])[0]):
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-12)


def test_a_known_mask_decides_shapes() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        return x[x > 0] * 2

    np.testing.assert_array_equal(ft.vjp(f, X)[0], 2 * X[X > 0])
    np.testing.assert_array_equal(ft.vjp(f, X)[1](np.ones(3))[0], [2.0, 2.0, 0.0, 2.0])


@pytest.mark.parametrize(
    "use",
    [
        lambda picked, x: picked,
        lambda picked, x: len(picked),
        lambda picked, x: picked[0],
        lambda picked, x: picked.shape,
        lambda picked, x: picked + x,
        lambda picked, x: picked * x[x < 1],
        lambda picked, x: np.sort(picked),
        lambda picked, x: [v for v in picked],
        lambda picked, x: x.__setitem__(x < 1, picked),
    ],
)
def test_the_number_of_masked_elements_is_not_known(use: Callable[[Any, Any], Any]) -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        x = x.copy()
        return use(x[x > 0], x)

    with pytest.raises(errors.IndexingError, match=r"np\.where\(mask, x, 0\)"):
        ft.jit(f)(X)


def test_a_captured_mask_decides_shapes_under_jit() -> None:
    mask = np.array([True, False, False, True])

    @ft.numpy_code
    def f(x: Any) -> Any:
        return x[mask] * 2

    g = ft.jit(f)
    np.testing.assert_array_equal(g(X), 2 * X[mask])
    mask[1] = True
    np.testing.assert_array_equal(g(X), 2 * X[mask])


# -- indices that are not known ---------------------------------------------------------------------------------------


@ft.numpy_code
def computed_indices(x: Any) -> Any:
    i = np.argmax(x)
    order = np.argsort(x)
    out = np.zeros((4, 2))
    out[i] = x[:2]
    out[order[0], 1] += x[i]
    out[order[:2], 0] *= 3.0
    np.add.at(out, order % 2, x[0])
    table = np.arange(8.0).reshape(4, 2)
    return out, table[i], table[order, 1], x[order], np.array([1.0, 2.0, 3.0, 4.0])[i]


@every_transform
def test_computed_indices(transform: Callable[[Any], Any]) -> None:
    assert_same_leaves(transform(computed_indices)(X), computed_indices(X))


def test_computed_indices_differentiated() -> None:
    check_grads(computed_indices, (X,), order=2)
    assert_same_leaves(ft.jit(ft.jacrev(computed_indices))(X), ft.jacfwd(computed_indices)(X))


def test_a_traced_bound_of_a_slice_names_the_mend() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        out[: np.argmax(x)] = 1.0
        return out

    with pytest.raises(errors.IndexingError, match="dynamic_slice"):
        ft.jit(f)(X)
    np.testing.assert_array_equal(ft.jvp(f, (X,), (X,))[0], f(X))


def test_a_python_number_becomes_static_where_an_extent_needs_it() -> None:
    @ft.numpy_code
    def f(x: Any, n: int) -> Any:
        out = np.zeros(n)
        for i in range(n):
            out[i] = x[i] * n
        return out

    g = ft.jit(f)
    for n in (2, 3, 2):
        np.testing.assert_array_equal(g(X, n), f(X, n))
    assert g.trace_count == 2


# -- who may write ----------------------------------------------------------------------------------------------------


def store_into_global(x: Any) -> Any:
    SHARED[0] = x[0]
    return SHARED.sum()


def store_into_argument(x: Any) -> Any:
    x[0] = 1.0
    return x


def store_through_view_of_argument(x: Any) -> Any:
    row = x[1:]
    row *= 2.0
    return row


def store_into_other_argument(x: Any, b: Any = SHARED) -> Any:
    b[1:] += x[1:]
    return b


def ufunc_out_into_global(x: Any) -> Any:
    return np.sin(x, out=SHARED)


def ufunc_at_global(x: Any) -> Any:
    np.add.at(SHARED, [0], x[0])
    return SHARED


def copyto_global(x: Any) -> Any:
    np.copyto(SHARED, x)
    return SHARED


@pytest.mark.parametrize(
    "f",
    [
        store_into_global,
        store_into_argument,
        store_through_view_of_argument,
        store_into_other_argument,
        ufunc_out_into_global,
        ufunc_at_global,
        copyto_global,
    ],
    ids=lambda f: f.__name__,
)
@every_transform
def test_what_the_function_did_not_make_takes_no_traced_values(f: Any, transform: Callable[[Any], Any]) -> None:
    x = X.copy()
    with pytest.raises(errors.DetachedWriteError, match=r"b = b\.copy\(\)"):
        transform(ft.numpy_code(f))(x)
    np.testing.assert_array_equal(SHARED, np.zeros(4))
    np.testing.assert_array_equal(x, X)


def test_the_error_names_what_was_written_to() -> None:
    table = np.zeros(3)

    @ft.numpy_code
    def f(x: Any) -> Any:
        table[0] = x[0]
        return table

    with pytest.raises(errors.DetachedWriteError, match="'table'"):
        ft.grad(lambda x: f(x).sum())(X)
    with pytest.raises(errors.DetachedWriteError, match="argument 0 of store_into_argument"):
        ft.jit(ft.numpy_code(store_into_argument))(X)


def test_concrete_values_are_stored_as_numpy_stores_them() -> None:
    log = np.zeros(3)

    @ft.numpy_code
    def f(x: Any) -> Any:
        log[1] = 5.0
        return x.sum()

    ft.grad(f)(X)
    np.testing.assert_array_equal(log, [0.0, 5.0, 0.0])


def test_an_inner_transformation_reads_but_does_not_write() -> None:
    @ft.numpy_code
    def reads(x: Any) -> Any:
        out = np.zeros(4)
        out[:2] = x[:2]
        total = ft.vmap(lambda t: t * out.sum() + out[0])(x).sum()
        out[2] = x[2]
        return total + ft.grad(lambda t: t * t * out[2])(x[3])

    a, b, c, d = X
    expected = (a + b + c + d) * (a + b) + 4 * a + 2 * d * c
    np.testing.assert_allclose(ft.vjp(reads, X)[0], expected)
    gradient = ft.jit(ft.grad(reads))(X)
    s = X.sum()
    np.testing.assert_allclose(gradient, [a + b + s + 4, a + b + s, a + b + 2 * d, a + b + 2 * c])


@pytest.mark.parametrize(
    "inner",
    [
        lambda body, x: ft.vmap(body)(x).sum(),
        lambda body, x: ft.grad(body)(x[0]),
        lambda body, x: ft.jit(body)(x[0]),
        lambda body, x: ft.jvp(body, (x[0],), (1.0,))[1],
    ],
)
@pytest.mark.parametrize("concrete", [True, False])
def test_an_inner_transformation_that_writes_raises(inner: Any, concrete: bool) -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        if not concrete:
            out[1] = x[1]

        def body(t: Any) -> Any:
            out[0] = 1.0 if concrete else t
            return t * 2.0

        return inner(body, x) + out.sum()

    for transform in (ft.jit, ft.grad):
        with pytest.raises(
            errors.DetachedWriteError, match="make the array a part of the carry"
        ):
            transform(f)(X)


@ft.numpy_code
def fills_in_loops(x: Any) -> Any:
    start = np.zeros(3)
    start[0] = x[0]

    @ft.numpy_code
    def step(carry: Any, t: Any) -> Any:
        following = carry.copy()
        following[1] += t
        following[2] = np.sum(carry) * x[1]
        out = np.zeros(2)
        out[0] = t * start[0]
        return following, out

    last, rows = ft.lax.scan(step, start, x)
    rows[0] = 5.0
    powers = ft.lax.fori_loop(0, 3, ft.numpy_code(lambda i, a: np.array([a[0] + i, a[1] * x[1]])), np.ones(2))
    chosen = ft.lax.cond(x[0] > 0, ft.numpy_code(lambda a: np.array([a[0], 1.0])), lambda a: a[:2] * 0.0, x)
    return last, rows, powers, chosen


def test_loop_bodies_fill_their_own_arrays() -> None:
    a, b, c, d = X
    third = [0.0, a * b]
    second = [0.0, a, a + b, a + b + c]
    for k in range(1, 4):
        third.append((a + second[k] + third[k]) * b)
    last = np.array([a, X.sum(), third[4]])
    rows = np.array([[5.0, 5.0], [b * a, 0], [c * a, 0], [d * a, 0]])
    expected = (last, rows, np.array([4.0, b**3]), np.array([a, 1.0]))
    for transform in (lambda f: f, *TRANSFORMS.values()):
        assert_same_leaves(transform(fills_in_loops)(X), expected)
    check_grads(fills_in_loops, (X,), order=2)


def test_a_loop_body_that_writes_to_an_outer_array_raises() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)

        def body(i: Any, total: Any) -> Any:
            out[i] = x[0]
            return total

        return ft.lax.fori_loop(0, 4, body, 0.0) + out.sum()

    for transform in (ft.jit, ft.grad):
        with pytest.raises(errors.DetachedWriteError, match=r"the array 'out' was made outside.*part of the carry"):
            transform(f)(X)


def test_an_inner_function_fills_its_own_arrays() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        @ft.numpy_code
        def row(t: Any) -> Any:
            out = np.zeros(3)
            out[0] = t
            out[1:] = t * t
            return out

        rows = ft.vmap(row)(x)
        rows[0] = 0.0
        return rows

    expected = np.stack([X, X**2, X**2], axis=1)
    expected[0] = 0
    np.testing.assert_allclose(f(X), expected)
    np.testing.assert_allclose(ft.jit(f)(X), expected)
    check_grads(f, (X,), order=2)


def test_an_inner_jit_sees_later_stores() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        g = ft.jit(lambda y: (y + out.sum()) * out[0])
        results = [g(x)]
        out[0] = 2.0
        results.append(g(x))
        out[1] = x[1]
        results.append(g(x))
        out[0] = x[2]
        return [*results, g(x)]

    assert_same_leaves(ft.jit(f)(X), f(X))
    assert_same_leaves(ft.vjp(f, X)[0], f(X))
    check_grads(f, (X,), order=2)


def test_values_read_before_a_store_do_not_change() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        buffer = np.ones(4)
        y = x * buffer
        buffer[:] = 5.0
        z = x * buffer
        part = buffer[1:3]
        w = x[1:3] * part
        part += 1.0
        return y + z, w

    # What a store changes is copied first, so that the pending derivatives are of the values at the time.
    np.testing.assert_array_equal(ft.vjp(f, X)[1]((np.ones(4), np.zeros(2)))[0], [6.0] * 4)
    np.testing.assert_array_equal(ft.vjp(f, X)[1]((np.zeros(4), np.ones(2)))[0], [0.0, 5.0, 5.0, 0.0])
    assert_same_leaves(ft.jit(f)(X), f(X))


def test_results_are_plain_arrays_of_their_own() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.arange(4.0)
        return {"a": out, "b": (out[1:], x, None)}, [out.T]

    for transform in TRANSFORMS.values():
        arrays = ft.tree.leaves(transform(f)(X))
        assert all(type(a) is np.ndarray and a.flags.writeable for a in arrays)
    first, second, _, third = ft.tree.leaves(ft.jit(f)(X))
    assert not np.shares_memory(first, second) and not np.shares_memory(first, third)


def test_the_shape_can_be_set() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        alias = out[1:]
        out.shape = (2, 2)
        out[1, 0] = x[0]
        alias[0] = x[1]
        with pytest.raises(AttributeError, match="reshape"):
            out.T.shape = (4,)
        return out, alias

    # NumPy itself deprecates it, so the expected values are written out.
    out, alias = ft.jit(f)(X)
    np.testing.assert_array_equal(out, [[0.0, X[1]], [X[0], 0.0]])
    np.testing.assert_array_equal(alias, [X[1], X[0], 0.0])


@pytest.mark.parametrize("kind", [float, int])
def test_conversions_to_python_numbers_still_raise(kind: Any) -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(2)
        out[0] = x[0]
        return kind(out[0]) * 1.0

    with pytest.raises(errors.TracerConversionError):
        ft.jit(f)(X)
    with pytest.raises(errors.TracerConversionError):
        ft.grad(f)(X)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (lambda out, x: out.__setitem__(0, x[:2]), ValueError),
        (lambda out, x: out.__setitem__(slice(None), x[:3]), ValueError),
        (lambda out, x: out.__setitem__(9, x[0]), IndexError),
        (lambda out, x: out.__setitem__((0, 0), x[0]), IndexError),
        (lambda out, x: out.__setitem__(0, x[0] + 1j), TypeError),
        (lambda out, x: out.__iadd__(x * 1j), TypeError),
        (lambda out, x: np.arange(4).__iadd__(x), TypeError),
        (lambda out, x: np.sin(x, out=np.zeros(4, int)), TypeError),
        (lambda out, x: np.sin(x, out=np.zeros(2)), ValueError),
        (lambda out, x: np.broadcast_to(out, (2, 4)).__setitem__(0, x), ValueError),
        (lambda out, x: np.diagonal(np.zeros((4, 4))).__setitem__(0, x[0]), ValueError),
        (lambda out, x: (x + 1j).real.__setitem__(0, x[0]), errors.DetachedWriteError),
        (lambda out, x: out.resize(8), errors.ArgumentError),
        (lambda out, x: np.logaddexp.at(out, [0, 0], x[0]), errors.MissingRuleError),
        (lambda out, x: np.sin(x, where=x > 0), errors.ArgumentError),
        (lambda out, x: np.r_["r", x], errors.ArgumentError),
        (lambda out, x: np.vectorize(lambda v: v, signature="()->()")(x), errors.ArgumentError),
    ],
)
def test_what_numpy_rejects_is_rejected(statement: Callable[[Any, Any], Any], error: type[Exception]) -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        statement(out, x)
        return out

    with pytest.raises(error):
        ft.jit(f)(X)
    with pytest.raises(error):
        ft.jvp(f, (X,), (X,))


# -- what stores cost -------------------------------------------------------------------------------------------------


@ft.numpy_code
def element_by_element(x: Any, n: int) -> Any:
    out = np.zeros(n)
    out[0] = 1.0
    for i in range(1, n):
        out[i] = out[i - 1] * x[0]
    return out


@ft.numpy_code
def row_by_row(x: Any, n: int) -> Any:
    out = np.zeros((n, 4))
    for i in range(n):
        out[i] = x
        out[i] += 1.0
        out[i, 0] *= 2.0
    return out


@ft.numpy_code
def accumulated(x: Any, n: int) -> Any:
    out = np.zeros(n)
    for i in range(n):
        np.add.at(out, [i, (i + 1) % n], x[:2])
    return out


@pytest.mark.parametrize("f", [element_by_element, row_by_row, accumulated], ids=lambda f: f.__name__)
def test_stores_cost_time_in_proportion_to_their_number(f: Any) -> None:
    def work(n: int) -> int:
        """The elements that all operations of the program make."""
        jaxpr = ft.make_jaxpr(f, static_argnums=1)(X, n)
        return sum(out.aval.size for eqn in jaxpr.eqns for out in eqn.outs)

    assert work(800) < 2.5 * work(400)
    np.testing.assert_allclose(ft.jvp(lambda x: f(x, 50), (X,), (X,))[0], f(X, 50), rtol=1e-12)


def test_a_hundred_thousand_stores() -> None:
    n = 100_000

    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(n)
        t = x[0]
        for i in range(n):
            out[i] = t
        return np.sum(out)

    assert ft.grad(f)(X)[0] == n


def test_concrete_stores_make_no_operations() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(50)
        for i in range(50):
            out[i] = i * 0.5
            out[::2] += 1.0
        return out[:4] * x

    assert len(ft.make_jaxpr(f)(X).eqns) == 1


def test_a_large_constant_is_made_by_the_program() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(10_000)
        out[5] = x[0]
        return out * np.linspace(0, 1, 10_000)

    assert all(constant.size == 1 for constant in ft.make_jaxpr(f)(X).consts)
    np.testing.assert_array_equal(ft.jit(f)(X), f(X))


def test_updates_as_new_arrays_take_filled_ones() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        out[1] = x[0]
        new = ft.numpy.at(out)[[0, 0]].add(x[1:3])
        new[2] = x[0]
        return out, new, ft.numpy.at(new)[::-1].set(x[0])

    for ours, expected in zip(ft.jit(f)(X), f(X), strict=True):
        np.testing.assert_array_equal(ours, expected)
    check_grads(f, (X,), order=2)
