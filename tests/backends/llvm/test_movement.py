"""Native movements: gathers, scatters, slices, transposes, arrays put together, places of extrema, random words.

All are compared with the NumPy backend, bit for bit where nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.backends.llvm import emit, nest, program
from functrans.backends.llvm.lower import lowered
from functrans.backends.llvm.segment import Segment, segmented
from functrans.backends.llvm.sorting import network
from functrans.config import override
from functrans.core.trace import aval_of
from functrans.lax.gather import scatter_add
from functrans.passes import default

RNG = np.random.default_rng(0)
DTYPES = ["float64", "float32", "int8", "uint16", "int64", "bool", "complex128", "float16"]
SHAPES = [(1, 1), (3, 2), (5, 17), (37, 64), (130, 9)]


def array(shape: tuple[int, ...], dtype: str = "float64") -> Any:
    return (RNG.standard_normal(shape) * 20).astype(dtype)


def agree(f: Callable[..., Any], *args: Any, rtol: float = 0.0) -> None:
    """The same values and types as from NumPy."""
    found, expected = ft.jit(f, backend="llvm")(*args), ft.jit(f, backend="numpy")(*args)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def nodes(f: Callable[..., Any], *args: Any) -> list[Any]:
    jaxpr = lowered(default(ft.jit(f).lower(*args).jaxpr))
    return segmented(jaxpr, program.nodes_of(jaxpr))[1]


def kernels(f: Callable[..., Any], *args: Any) -> int:
    text: str = ft.jit(f, backend="llvm").lower(*args).as_text("kernels")
    return text.count("kernel ")


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small blocks and tiles, on several threads."""
    monkeypatch.setattr(emit, "PARALLEL_COST", 1)
    for name, value in {
        "BLOCK": 8,
        "CHUNK": 4,
        "COLUMNS": 8,
        "FEW_UNITS": 4,
        "TILE_LANES": 16,
        "TILE_LENGTH": 32,
    }.items():
        monkeypatch.setattr(nest, name, value)
    with override("threads", 3):
        yield


# -- gathers --------------------------------------------------------------------------------------------------------

INDEX_TYPES = ["int64", "int8", "uint8", "uint64", "int32"]


@pytest.mark.parametrize("mode", [None, "clip", "wrap", "fill"])
@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_take(kind: str, mode: str | None) -> None:
    x = array((11, 5))
    low, high = (0 if kind[0] == "u" else -11, 11) if mode is None else (0 if kind[0] == "u" else -40, 40)
    for shape in ((), (1,), (19,), (2, 9)):
        i = np.asarray(RNG.integers(low, high, shape)).astype(kind)
        agree(lambda x, i: lax.take(x, i, 0, mode=mode), x, i)
        agree(lambda x, i: lax.take(x, i, 0, mode=mode) * 2.0 + 1.0, x, i)
    i = np.asarray(RNG.integers(0 if kind[0] == "u" else -5, 5, (40,))).astype(kind)
    agree(lambda x, i: -lax.take(x, i, 1, mode=mode), x, i)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gathers_of_all_dtypes(dtype: str) -> None:
    x, i = array((23, 6), dtype), RNG.integers(-23, 23, 50)
    agree(lambda x, i: x[i], x, i)
    agree(lambda x, i: (x[i], x[:, i % 6] == x[:, :1]), x, i)
    agree(lambda x, i: x.ravel()[i * 5], x, i)


GATHERS: dict[str, Callable[..., Any]] = {
    "two arrays": lambda x, i: x[i, i % 7] + 1.0,
    "with slices": lambda x, i: x[1:, i % 7][:, ::-1] * 2.0,
    "apart": lambda x, i: x[None, i][0, :, i % 7] * 2.0,
    "twice": lambda x, i: x[i[i % 9]] + x[i],
    "of what is computed": lambda x, i: (x * 3.0)[i[:2]] + 1.0,
    "of a transpose": lambda x, i: x.T[:, i] * 2.0,
    "transposed": lambda x, i: x[i].T * 2.0,
    "of a reshape": lambda x, i: x.reshape(-1)[i * 5] * 2.0,
    "of a padded array": lambda x, i: np.pad(x, 1)[i] * 2.0,
    "reduced": lambda x, i: np.sum(x[i], 1),
    "running": lambda x, i: np.cumsum(x[i], 1),
    "along an axis": lambda x, i: np.take_along_axis(x, i[: x.shape[0] * 0 + 1, None] % 7, 1) * 2.0,
    "at the largest": lambda x, i: np.take_along_axis(x, np.argmax(x, 1)[:, None], 1) * 2.0,
    "of one place": lambda x, i: x[i[0]] * 2.0 + x[0],
    "of a counter": lambda x, i: x[np.arange(11) // 2, np.arange(11) % 7] * 2.0,
}


@pytest.mark.parametrize("name", GATHERS)
def test_gathers(name: str) -> None:
    agree(GATHERS[name], array((13, 7)), RNG.integers(-11, 11, 9), rtol=1e-13)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("name", GATHERS)
def test_gathers_on_threads(name: str) -> None:
    agree(GATHERS[name], array((13, 7)), RNG.integers(-11, 11, 9), rtol=1e-13)


def test_a_gather_is_read_where_it_is_used() -> None:
    x, i = array((300, 40)), RNG.integers(0, 300, 500)
    assert kernels(lambda x, i: x[(i * 7) % 300] * 2.0 + 1.0, x, i) == 1
    assert kernels(lambda x, i: lax.take(x, i, 0, mode="fill") * 2.0, x, i) == 1
    assert kernels(lambda x: x[np.arange(300), np.argmax(x, 1)] * 2.0 + 1.0, x) == 1
    assert isinstance(nodes(lambda x, i: x[i], x, i)[0], Segment)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_index_out_of_bounds_is_an_error(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[Callable[..., Any]] = [
        lambda x, i: x[i] * 2.0,
        lambda x, i: x[i],
        lambda x, i: np.sum(x[i]),
        lambda x, i: x[:, None][i] + 1.0,
        lambda x, i: lax.at(x)[i].add(1.0),
        lambda x, i: lax.at(x)[i].set(0.0) * 2.0,
    ]
    if threads > 1:
        monkeypatch.setattr(emit, "PARALLEL_COST", 1)
    with override("threads", threads):
        for f in programs:
            g = ft.jit(f, backend="llvm")
            for n in (1, 70):
                x, i = array((n,)), np.zeros(n + 40, int)
                g(x, i)
                for bad in (n, -n - 1, 1 << 40):
                    i[n + 17] = bad
                    with pytest.raises(
                        errors.IndexingError, match=f"index {bad} is out of bounds for axis 0 with extent {n}"
                    ):
                        g(x, i)
                i[n + 17] = 0
                g(x, i)


def test_an_axis_of_one_place_has_bounds() -> None:
    f = ft.jit(lambda x, i: x[i] * 2.0, backend="llvm")
    x = array((1, 30))
    f(x, np.array([0, -1, 0]))
    with pytest.raises(errors.IndexingError, match="index 1 is out of bounds for axis 0 with extent 1"):
        f(x, np.array([0, 1, 0]))


def test_empty_gathers() -> None:
    none = np.zeros(0, int)
    agree(lambda x, i: x[i] * 2.0, array((5, 3)), none)
    agree(lambda x, i: lax.take(x, i, 0, mode="fill"), np.zeros((0, 2)), np.array([0, 1]))
    agree(lambda x, i: lax.at(x)[i].add(1.0), array((5,)), none)
    agree(lambda x, i: lax.at(x)[i].add(1.0, mode="drop"), np.zeros(0), np.array([0, 1]))


# -- scatters -------------------------------------------------------------------------------------------------------

SCATTERS: dict[str, Callable[..., Any]] = {
    "rows": lambda p, u, i: p[i].set(u),
    "sums of rows": lambda p, u, i: p[i].add(u),
    "products": lambda p, u, i: p[i].multiply(u),
    "largest": lambda p, u, i: p[i].max(u),
    "smallest": lambda p, u, i: p[i].min(u),
    "columns": lambda p, u, i: p[:, i % 6].add(u[:1, :1]),
    "elements": lambda p, u, i: p[i, i % 6].set(u[:, 0]),
    "sums of elements": lambda p, u, i: p[i, i % 6].add(u[:, 0]),
    "dropped": lambda p, u, i: p[i * 3].add(u, mode="drop"),
    "dropped elements": lambda p, u, i: p[i * 3, i].set(u[:, 0], mode="drop"),
    "one row": lambda p, u, i: p[i[0]].set(u[0]),
    "a static place": lambda p, u, i: p[1:8:3, ::-2].set(u[:3, :3]),
    "a number": lambda p, u, i: p[2].set(u[0, 0]),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint16", "bool", "complex64", "float16"])
@pytest.mark.parametrize("name", SCATTERS)
def test_scatters(name: str, dtype: str) -> None:
    if dtype == "complex64" and name in ("largest", "smallest"):
        return
    x, u, i = array((9, 6), dtype), array((12, 6), dtype), RNG.integers(-9, 9, 12)
    if dtype == "complex64" and name == "products":
        u = np.sign(u.real) + 1j * np.sign(u.imag)
        u = u.astype(dtype)
    if dtype == "float16":
        u = np.clip(u, -2, 2)
    agree(lambda x, u, i: SCATTERS[name](lax.at(x), u, i), x, u, i)


def test_scatters_are_native_and_write_over_what_dies() -> None:
    x, u, i = array((300, 40)), array((20, 40)), RNG.integers(0, 300, 20)

    def f(x: Any, u: Any, i: Any) -> Any:
        y = lax.at(np.sin(x))[i].add(u)
        y = lax.dynamic_update_slice(y, u, (i[0], 0))
        return np.sum(lax.at(y)[3:5].set(1.0) * x)

    (segment,) = nodes(f, x, u, i)
    homes = [home.kind for home in segment.block.homes.values()]
    assert homes.count("over") >= 3 and segment.block.arena < 2 * x.nbytes
    np.testing.assert_allclose(ft.jit(f, backend="llvm")(x, u, i), f(x, u, i), rtol=1e-13)


def test_the_operand_of_a_scatter_that_is_read_later_stays() -> None:
    x, i = array((30,)), RNG.integers(0, 30, 9)

    def f(x: Any, i: Any) -> Any:
        y = np.sin(x)
        z = lax.at(y)[i].set(0.0)
        return z + y, lax.at(x)[i].set(1.0)

    given = x.copy()
    agree(f, x, i)
    np.testing.assert_array_equal(x, given)


def test_the_gradient_of_an_embedding() -> None:
    table, i, c = array((50, 8)), RNG.integers(0, 50, (4, 9)), array((4, 9, 8))
    f = ft.grad(lambda table, i, c: np.sum(np.tanh(table[i]) * c))
    found, expected = ft.jit(f, backend="llvm")(table, i, c), f(table, i, c)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
    assert len(nodes(f, table, i, c)) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_sums_of_many_updates_are_made_as_doubles(dtype: str) -> None:
    i = RNG.integers(-3, 3, 50000)
    f = ft.grad(lambda x, i: np.sum(x[i] * np.ones((), dtype)))
    found = ft.jit(f, backend="llvm")(np.zeros(3, dtype), i)
    np.testing.assert_array_equal(found, np.bincount(i % 3).astype(dtype))
    assert found.dtype == dtype
    agree(lambda x, i: scatter_add(x, (3, 2), [i % 3], (0,)), array((20, 2), dtype), i[:20])


# -- slices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INDEX_TYPES)
@pytest.mark.parametrize("start", [(0, 0), (2, 5), (120, 7), (100, 100)])
def test_dynamic_slices(start: tuple[int, int], kind: str) -> None:
    x, u = array((9, 20)), array((3, 20))
    for sign in (1,) if kind[0] == "u" else (1, -1):
        i = (sign * np.array(start)).astype(kind)
        agree(lambda x, i: lax.dynamic_slice(x, (i[0], i[1]), (3, 7)) * 2.0, x, i)
        agree(lambda x, u, i: lax.dynamic_update_slice(x, u, (i[0], i[1])), x, u, i)


def test_dynamic_slices_in_loops() -> None:
    def f(x: Any) -> Any:
        def body(k: Any, y: Any) -> Any:
            row = lax.dynamic_index_in_dim(y, k, 0, keepdims=False)
            return lax.dynamic_update_index_in_dim(y, row * 2.0 + 1.0, k + 1, 0)

        return ft.lax.fori_loop(0, x.shape[0] - 1, body, x)

    agree(f, array((12, 5)))


# -- transposes and other orders --------------------------------------------------------------------------------------

ORDERS: dict[str, Callable[[Any], Any]] = {
    "transpose": lambda x: x.T,
    "transposed and straight": lambda x: x.T[: min(x.shape), : min(x.shape)] == x[: min(x.shape), : min(x.shape)],
    "three axes": lambda x: np.transpose(np.stack([x, x, x], 1), (2, 1, 0)),
    "middle": lambda x: np.transpose(np.stack([x, x], 0), (0, 2, 1)),
    "backwards": lambda x: x[::-1, ::-1],
    "by twos": lambda x: (x[::2], x[:, ::2] == x[:, ::2], x[:, 1::3]),
    "rolled": lambda x: np.roll(x, 3, 1),
    "turned": lambda x: np.rot90(x),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ORDERS)
def test_orders(name: str, shape: tuple[int, int]) -> None:
    for dtype in ("float64", "int8", "complex128"):
        agree(ORDERS[name], array(shape, dtype))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(70, 130), (64, 48), (33, 17)])
def test_transposes_in_tiles(shape: tuple[int, int], dtype: str) -> None:
    x, y = array(shape, dtype), array(shape[::-1], dtype)
    agree(lambda x: x.T, x)
    agree(lambda x, y: x.T - y if dtype != "bool" else x.T, x, y)
    agree(lambda x, y: (x.T * y[0], x * y.T[:, :1]), x, y)
    agree(lambda x, i: np.stack([x, x])[:, i].transpose(0, 2, 1) + x.dtype.type(1), x, RNG.integers(0, shape[0], 40))


# -- arrays put together ----------------------------------------------------------------------------------------------

TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "rows": lambda x, y: np.concatenate([x, y, x]),
    "columns": lambda x, y: np.concatenate([x, x[:, :1], x], 1),
    "used": lambda x, y: np.concatenate([x, y], 0) == np.concatenate([y, x], 0),
    "columns used": lambda x, y: -np.concatenate([x[:, 1:], x, x[:, :1]], 1).astype(np.float32),
    "many": lambda x, y: np.concatenate([x] * 7, 1),
    "with a counter": lambda x, y: np.concatenate([x[0].astype(int), np.arange(9)]) * 2,
    "stacked": lambda x, y: (np.stack([x, x], 0), np.stack([x, x, x], 1), np.stack([x, x], 2)),
    "stacked and used": lambda x, y: np.stack([x, x], 1) == x[:, None, :1],
    "split": lambda x, y: np.split(x, [1, 1], 1),
    "padded": lambda x, y: (np.pad(x, 2), np.pad(x, ((0, 0), (3, 0))), np.pad(x, ((1, 2), (0, 0)))),
    "padded with": lambda x, y: lax.pad(x, x.dtype.type(1), ((1, 0, 2), (-1, 5, 0))),
    "padded around": lambda x, y: lax.pad(x, x.dtype.type(1), ((1, 0, 0), (4, 19, 0))),
    "patterns": lambda x, y: np.eye(5, 7, 1) + np.tri(5, 7, -1) + x[0, 0].astype(float).real,
}


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("dtype", ["float64", "int8", "complex64", "bool"])
def test_put_together(dtype: str, name: str) -> None:
    if dtype == "bool" and name == "columns used":
        return
    if dtype == "complex64" and name in ("columns used", "with a counter", "patterns"):
        return
    for shape in ((3, 2), (9, 37)):
        agree(TOGETHER[name], array(shape, dtype), array((4, shape[1]), dtype))


@pytest.mark.parametrize("axis", [0, 1])
def test_permutations(axis: int) -> None:
    x = array((20, 33))
    agree(lambda x: lax.permute(x, lax.argsort(x, axis), axis) * 2.0, x)
    np.testing.assert_allclose(
        ft.jit(ft.grad(lambda x: np.sum(np.sort(x, axis) ** 2 * np.arange(33.0))), backend="llvm")(x),
        ft.grad(lambda x: np.sum(np.sort(x, axis) ** 2 * np.arange(33.0)))(x),
        rtol=1e-13,
    )


# -- sorting ----------------------------------------------------------------------------------------------------------


def test_networks_sort() -> None:
    for n in range(1, 11):
        for bits in range(1 << n):  # what sorts all zeros and ones sorts everything
            row = [bits >> k & 1 for k in range(n)]
            for i, j in network(n):
                row[i], row[j] = min(row[i], row[j]), max(row[i], row[j])
            assert row == sorted(row)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint64", "uint32", "bool", "float16"])
@pytest.mark.parametrize("shape", [(2,), (64,), (37, 18), (4, 20, 17)])
def test_short_rows_are_sorted(shape: tuple[int, ...], dtype: str) -> None:
    x = array(shape, dtype)
    if x.dtype.kind == "f":
        for value in (np.nan, 0.0, -0.0, np.inf, -np.inf):
            x[RNG.random(shape) < 0.12] = value
    for axis in range(len(shape)):
        f = ft.jit(lambda x, a=axis: (lax.sort(x, a), lax.sort(x, a, stable=False), lax.argsort(x, a)), backend="llvm")
        stable, values, order = f(x)
        expected = np.sort(x, axis, kind="stable")
        np.testing.assert_array_equal(stable, expected)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(order, np.argsort(x, axis, kind="stable"))
        if x.dtype.kind == "f":
            numbers = expected == expected
            np.testing.assert_array_equal(np.signbit(stable[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint16", "bool", "float16"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_searches(side: Any, dtype: str) -> None:
    for n, m in ((0, 3), (1, 1), (7, 33), (100, 9)):
        a, v = np.sort(array((n,), dtype)), array((m,), dtype)
        if a.dtype.kind == "f" and n > 4:
            v[::3], v[1], a[-2:] = np.nan, a[n // 2], np.nan
        found = ft.jit(lambda a, v: lax.searchsorted(a, v, side), backend="llvm")(a, v)
        np.testing.assert_array_equal(found, np.searchsorted(a, v, side))
    agree(ft.vmap(lambda a, v: lax.searchsorted(a, v, side)), np.sort(array((4, 9)), 1), array((4, 13)))


def test_parts_of_an_order() -> None:
    x = array((30, 21))
    values, places = ft.jit(lambda x: lax.top_k(x, 4), backend="llvm")(x)
    np.testing.assert_array_equal(values, np.sort(x, 1)[:, :-5:-1])
    np.testing.assert_array_equal(np.take_along_axis(x, places, 1), values)
    agree(lambda x: np.median(x, 1), x, rtol=1e-15)
    assert len(nodes(lambda x: np.sort(x, 1) * 2.0, x)) == 1


# -- places of extrema, running results -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint64", "bool", "complex128", "float16"])
@pytest.mark.parametrize("shape", [(1, 3), (40, 33), (7, 150), (150, 7)])
def test_places_of_extrema(shape: tuple[int, int], dtype: str) -> None:
    x = array(shape, dtype)
    given = [x, np.zeros(shape, dtype)]
    if x.dtype.kind == "f":
        with_nan = x.copy()
        with_nan[RNG.random(shape) < 0.2] = np.nan
        given += [with_nan, np.full(shape, -np.inf, dtype), np.full(shape, np.inf, dtype)]
    elif x.dtype.kind in "iu":
        given += [np.full(shape, np.iinfo(dtype).min, dtype), np.full(shape, np.iinfo(dtype).max, dtype)]
    for axis in (0, 1):
        f = ft.jit(lambda x, axis=axis: (np.argmax(x, axis) * 1, np.argmin(x, axis)), backend="llvm")
        for x in given:
            largest, smallest = f(x)
            np.testing.assert_array_equal(largest, np.argmax(x, axis))
            np.testing.assert_array_equal(smallest, np.argmin(x, axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_results(axis: int) -> None:
    x = array((5, 6, 19))
    for f in (lax.cumsum, lax.cummax, lax.cummin):
        for reverse in (False, True):
            agree(lambda x, f=f, r=reverse: f(x, axis, reverse=r) * 2.0, x)
    y = 1.0 + array((5, 6, 19)) / 1000.0
    agree(lambda x: lax.cumprod(x, axis) * 2.0, y)


# -- counters and random words ----------------------------------------------------------------------------------------


def test_counters_are_not_stored() -> None:
    x = array((40, 30))
    assert kernels(lambda x: x * np.arange(30) + np.arange(40)[:, None], x) == 1
    agree(lambda x: x * np.arange(3000.0)[:30] + lax.iota(np.uint8, (40, 30), 0), x)
    agree(lambda x: (np.arange(5000), np.arange(5000)[::-1] * 2, x), x)
    agree(lambda i: lax.one_hot(i, 300) * 2.0, RNG.integers(-3, 310, 20))


def test_random_words_are_computed_where_they_are_used() -> None:
    key = ft.random.key(3)
    agree(lambda key: ft.random.bits(key, (1001,)), key)
    agree(lambda key: ft.random.bits(key, (3, 5), np.uint8), key)
    agree(lambda key: ft.random.uniform(key, (70,), minval=2.0, maxval=3.0), key)
    agree(lambda key: ft.random.key_data(ft.random.split(key, 3)), key)
    found = ft.jit(lambda key: ft.random.normal(key, (999,)), backend="llvm")(key)
    np.testing.assert_allclose(found, ft.random.normal(key, (999,)), rtol=1e-13)
    assert kernels(lambda key: ft.random.normal(key, (10000,)), key) == 1
