"""``numpy_code``: which functions are rebuilt, and that nothing else about them changes."""

from __future__ import annotations

import abc
import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.test_util import check_grads
from tests.numpy import numpy_helpers
from tests.numpy.numpy_helpers import even, filled

X = np.array([0.7, 1.3, -0.4, 2.1])
TABLE = np.array([2.0, 3.0, 5.0])
state = 0.0


def agree(f: Callable[..., Any], *args: Any) -> None:
    """The function's values and derivatives under transformations are those of the function run as it stands."""
    expected = ft.tree.leaves(f(*args))
    for found in (ft.jit(f)(*args), ft.vjp(f, *args)[0], ft.jvp(f, args, args)[0]):
        for a, b in zip(ft.tree.leaves(found), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    check_grads(f, args, order=2)
    check_grads(ft.jit(f), args, order=1)


# -- functions --------------------------------------------------------------------------------------------------------


@ft.numpy_code
def calls_helpers(x: Any) -> Any:
    return filled(3, x[0]).sum() + numpy_helpers.filled(4, x[1])[2] + numpy_helpers.doubled_in_place(x * 1.0)


@ft.numpy_code
def calls_each_other(x: Any) -> Any:
    return even(5, x)


@ft.numpy_code
def calls_itself(x: Any, n: int = 5) -> Any:
    if n < 2:
        out = np.zeros(2)
        out[n] = x[n]
        return out
    return calls_itself(x, n - 1) + x[0] * calls_itself(x, n - 2)


@ft.numpy_code
def uses_modules_table(x: Any) -> Any:
    i = np.argmax(x) - 1
    return numpy_helpers.scaled(x, i) + numpy_helpers.SCALES[i] + TABLE[i]


def scale_by(x: Any, factor: Any, *, offset: Any = TABLE) -> Any:
    out = np.zeros(3)
    out += x[:3] * factor
    return out + offset


halved = functools.partial(scale_by, factor=0.5)


@ft.numpy_code
def calls_a_partial(x: Any) -> Any:
    return halved(x) + functools.partial(scale_by, x)(2.0)


@ft.numpy_code
def nested_functions(x: Any) -> Any:
    out = np.zeros(4)

    def put(i: int, value: Any) -> None:
        out[i] = value

    for i in range(4):
        put(i, x[i] ** 2)
    square = lambda v: np.array([v, v * v])
    return (
        out,
        square(x[0]),
        [np.full(2, v) for i, v in enumerate(x) if i > 1],
        {i: np.array([v]) for i, v in enumerate(x)},
    )


def pieces(x: Any) -> Iterator[Any]:
    for i in range(3):
        out = np.zeros(2)
        out[0] = x[i]
        yield out


@ft.numpy_code
def generators(x: Any) -> Any:
    total = np.zeros(2)
    for piece in pieces(x):
        total += piece
    return total, sum(np.array([v, 1.0]).sum() for v in x)


@ft.numpy_code
def imports_inside(x: Any) -> Any:
    import math

    import numpy as renamed
    from numpy import zeros_like
    from numpy.linalg import norm

    out = zeros_like(x)
    out[1] = x[0] * math.exp(x[1])
    table = renamed.ones(4)
    table[0] = x[2]
    return out * table, norm(out)


@contextlib.contextmanager
def array_of(x: Any) -> Iterator[Any]:
    out = np.zeros(2)
    out[0] = x[0]
    yield out


@ft.numpy_code
def context_managers(x: Any) -> Any:
    with array_of(x) as out, np.errstate(all="ignore"):
        out[1] = x[1]
    return out


def twice(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any) -> Any:
        return f(*args) + f(*args)

    return wrapper


@twice
def decorated_helper(x: Any) -> Any:
    out = np.zeros(2)
    out[:] = x[:2]
    return out


@ft.numpy_code
def calls_decorated(x: Any) -> Any:
    return decorated_helper(x)


@ft.jit
def jitted_helper(x: Any) -> Any:
    out = np.zeros(3)
    out[0] = x[0] ** 2
    return out


@ft.numpy_code
def numpy_helper(a: Any) -> Any:
    a[0] = 2 * a[1]
    return a


@ft.numpy_code
def calls_transformed(x: Any) -> Any:
    out = jitted_helper(x)
    out[1] = x[1]
    numpy_helper(out)
    slopes = ft.grad(lambda t: np.array([t, t * t]).sum())(x[0])
    rows = ft.vmap(jitted_helper)(np.stack([x, 2 * x]))
    rows[0] += out
    return out, slopes, rows, ft.lax.sin(out), ft.numpy.cos(out), out.at[2].set(x[3])


@ft.numpy_code
def custom_rules(x: Any) -> Any:
    @ft.custom_jvp
    def f(a: Any) -> Any:
        return np.array([a[0], a[1]])

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (a,), (t,) = primals, tangents
        return f(a), np.array([t[0], t[1]])

    return f(x) * x[0]


@pytest.mark.parametrize(
    "f",
    [
        calls_helpers,
        calls_each_other,
        calls_itself,
        uses_modules_table,
        calls_a_partial,
        nested_functions,
        generators,
        imports_inside,
        context_managers,
        calls_decorated,
        custom_rules,
    ],
    ids=lambda f: f.__name__,
)
def test_functions(f: Any) -> None:
    agree(f, X)


def test_transformed_functions_are_rebuilt_inside() -> None:
    def by_hand(x: Any) -> Any:
        first = np.array([2 * x[1], x[1], 0.0])
        rows = np.stack([np.array([x[0] ** 2, 0.0, 0.0]) + first, np.array([4 * x[0] ** 2, 0.0, 0.0])])
        return first, 1 + 2 * x[0], rows, np.sin(first), np.cos(first), np.array([2 * x[1], x[1], x[3]])

    for found in (ft.jit(calls_transformed)(X), ft.jvp(calls_transformed, (X,), (X,))[0]):
        for a, b in zip(found, by_hand(X), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    pick = lambda x: calls_transformed(x)[2].sum()
    np.testing.assert_allclose(ft.grad(pick)(X), [2 * X[0] + 8 * X[0], 3.0, 0.0, 0.0])


def test_a_transformed_function_can_be_decorated() -> None:
    def f(x: Any) -> Any:
        out = np.zeros(2)
        out[0] = x[0] ** 3
        return out.sum()

    expected = np.array([3 * X[0] ** 2, 0.0, 0.0, 0.0])
    # Eagerly the inner transformation runs on its own, so that what it calls has to be decorated.
    np.testing.assert_allclose(ft.jit(ft.numpy_code(ft.grad(f)))(X), expected)
    np.testing.assert_allclose(ft.grad(ft.numpy_code(ft.jit(f)))(X), expected)
    np.testing.assert_allclose(ft.numpy_code(ft.grad(ft.numpy_code(f)))(X), expected)


def test_nothing_is_rebuilt_where_nothing_is_transformed() -> None:
    seen = []

    @ft.numpy_code
    def f(x: Any) -> Any:
        seen.append((np, type(x), f.__name__))
        return np.zeros(2)

    assert type(f(X)) is np.ndarray
    assert seen[0][0] is np and seen[0][1] is np.ndarray


def test_metadata_is_kept() -> None:
    def f(x: Any, *, n: int = 2) -> Any:
        """Doc."""
        return x * n

    g = ft.numpy_code(f)
    assert (g.__name__, g.__doc__, g.__wrapped__) == ("f", "Doc.", f)
    assert inspect.signature(g) == inspect.signature(f)
    assert ft.jit(g)(X, n=3)[0] == 3 * X[0]


def test_rebound_globals_are_seen() -> None:
    global TABLE

    @ft.numpy_code
    def f(x: Any) -> Any:
        return x[0] * TABLE[1]

    old = TABLE
    assert ft.grad(f)(X)[0] == 3.0
    TABLE = np.array([1.0, 7.0])
    try:
        assert ft.grad(f)(X)[0] == 7.0
        assert ft.jit(f)(X) == 7.0 * X[0]
    finally:
        TABLE = old
    assert ft.jit(ft.grad(f))(X)[0] == 3.0


def test_globals_that_the_function_sets_are_set() -> None:
    @ft.numpy_code
    def f(x: Any) -> Any:
        global state
        state = state + 1.0
        return x.sum()

    ft.grad(f)(X)
    ft.grad(f)(X)
    assert state == 2.0
    before = numpy_helpers.calls
    ft.grad(ft.numpy_code(lambda x: numpy_helpers.counted(x).sum()))(X)
    assert numpy_helpers.calls == before + 1
    assert numpy_helpers.xp is np


def test_closures_keep_their_cells() -> None:
    count = 0
    weights = np.arange(4.0)
    total = np.zeros(())

    def outer() -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            nonlocal count, total
            count += 1
            total = total + 1.0
            return (x * weights).sum() + helper(x)

        def helper(x: Any) -> Any:
            out = np.zeros(2)
            out[0] = x[0] * weights[2]
            return out.sum()

        return f

    f = ft.numpy_code(outer())
    np.testing.assert_array_equal(ft.grad(f)(X), [2.0, 1.0, 2.0, 3.0])
    assert count == 1 and total == 1.0 and type(total) is not ft.numpy.ndarray
    weights[0] = 10.0
    np.testing.assert_array_equal(ft.grad(f)(X), [12.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(ft.jit(f)(X), (X * weights).sum() + 2 * X[0])
    assert count == 3


def test_recursion_through_a_closure() -> None:
    def make() -> Any:
        @ft.numpy_code
        def power(x: Any, n: int) -> Any:
            out = np.ones(1)
            if n:
                out[0] = (power(x, n - 1) * x[0])[0]
            return out

        return power

    agree(lambda x: make()(x, 4), X)


def test_a_jitted_function_is_traced_once() -> None:
    traces = 0

    @ft.jit
    @ft.numpy_code
    def f(x: Any) -> Any:
        nonlocal traces
        traces += 1
        return filled(3, x[0]) + TABLE

    for _ in range(3):
        np.testing.assert_allclose(f(X), [2.0, 3.0 + 2 * X[0], 5.0 + 4 * X[0]])
    assert traces == f.trace_count == 1


def test_library_code_runs_as_it_is() -> None:
    special = pytest.importorskip("scipy.special")

    @ft.numpy_code
    def f(x: Any) -> Any:
        nodes = special.roots_legendre(3)[0]
        return np.interp(0.5, nodes, np.arange(3.0)) * x[0]

    assert ft.grad(f)(X)[0] == f(np.array([1.0]))
    with pytest.raises(errors.MissingRuleError, match="wright_bessel"):
        ft.grad(ft.numpy_code(lambda x: special.wright_bessel(1.0, 1.0, x).sum()))(X)


# -- methods ----------------------------------------------------------------------------------------------------------


class Base(abc.ABC):
    @abc.abstractmethod
    def size(self) -> int: ...

    def scratch(self) -> Any:
        return np.zeros(self.size())


class Model(Base):
    def __init__(self) -> None:
        self.table = np.arange(5.0)
        self.gain = 2.0
        self.calls = 0
        self.last: Any = None

    def size(self) -> int:
        return 3

    def helper(self, x: Any) -> Any:
        out = self.scratch()
        out[0] = x[0] * self.gain
        out[1] = self.table[np.argmax(x)]
        return out

    @property
    def pair(self) -> Any:
        return np.full(2, self.gain)

    @staticmethod
    def doubled(a: Any) -> Any:
        out = np.empty_like(a)
        out[:] = 2 * a
        return out

    @ft.numpy_code
    def loss(self, x: Any) -> Any:
        self.calls += 1
        out = self.helper(x)
        out[2] = x[1] * self.pair[0]
        return np.sum(self.doubled(out) ** 2)

    @ft.jit
    @ft.numpy_code
    def compiled(self, x: Any) -> Any:
        return self.loss(x) * 2

    @ft.numpy_code
    def writes(self, x: Any) -> Any:
        self.table[0] = x[0]
        return x.sum()

    @ft.numpy_code
    def remembers(self, x: Any) -> Any:
        self.last = np.zeros(2)
        self.last[0] = 1.0
        return x.sum() + self.last[0]

    def undecorated(self, x: Any) -> Any:
        return self.helper(x).sum()

    def __call__(self, x: Any) -> Any:
        return self.undecorated(x)


class Derived(Model):
    def helper(self, x: Any) -> Any:
        out = super().helper(x * 1.0)
        out[1] = x[3]
        return out

    def scratch(self) -> Any:
        return super().scratch()


def test_methods() -> None:
    model = Model()
    agree(model.loss, X)
    agree(ft.numpy_code(model.undecorated), X)
    agree(ft.numpy_code(model), X)
    before = model.calls
    value = model.compiled(X)
    assert model.compiled(X) == value == 2 * model.loss(X)
    assert model.compiled.trace_count == 1
    # Once while it was traced, once when it ran as it stands.
    assert model.calls == before + 2


def test_arrays_in_attributes_belong_to_the_object() -> None:
    model = Model()
    with pytest.raises(errors.DetachedWriteError, match="the attribute 'table'"):
        ft.grad(model.writes)(X)
    np.testing.assert_array_equal(ft.grad(model.remembers)(X), np.ones(4))
    assert type(model.last) is np.ndarray and model.last[0] == 1.0


def test_what_super_reaches_runs_as_it_is() -> None:
    model = Derived()
    assert model.loss(X) > 0
    # The parent's own arrays take no traced values; the error says what would let them.
    with pytest.raises(errors.FunctransError, match="numpy_code"):
        ft.grad(model.loss)(X)

    class Sized(Derived):
        def scratch(self) -> Any:
            return np.zeros(self.size())

    agree(Sized().loss, X)


@dataclass
class Grid:
    values: Any
    spacing: float

    @ft.numpy_code
    def gradient(self) -> Any:
        out = np.zeros_like(self.values)
        out[1:-1] = (self.values[2:] - self.values[:-2]) / (2 * self.spacing)
        return Grid(out, self.spacing)


def test_pytrees_of_the_users() -> None:
    f = lambda x: Grid(x, 0.5).gradient().values
    agree(f, X)
    g = ft.numpy_code(lambda grid: {"a": grid.values.copy(), "b": [grid.values[:2]]})
    found = ft.jit(g)(Grid(X, 1.0))
    assert set(found) == {"a", "b"} and type(found["b"][0]) is np.ndarray


def test_arguments_in_containers() -> None:
    @ft.numpy_code
    def f(params: Any, pair: Any) -> Any:
        w = params["w"].copy()
        w[0] = pair[1][0]
        bias, *_ = params["b"]
        return w * bias + pair[0]

    params = {"w": X, "b": [np.array(2.0)]}
    pair = (1.0, np.array([3.0]))
    expected = f(params, pair)
    np.testing.assert_array_equal(ft.jit(f)(params, pair), expected)
    gradient = ft.grad(lambda p, q: f(p, q).sum(), (0, 1))(params, pair)
    np.testing.assert_array_equal(gradient[0]["w"], [0.0, 2.0, 2.0, 2.0])
    np.testing.assert_allclose(gradient[0]["b"][0], 3.0 + X[1:].sum())
    np.testing.assert_array_equal(gradient[1][1], [2.0])


def test_leaks_are_not_made() -> None:
    model = Model()
    weights = np.arange(4.0)

    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        out[:] = x * weights
        return out.sum() + model.loss(x)

    with ft.checking_leaks():
        ft.grad(f)(X)
        ft.jit(f)(X)
        ft.vmap(f)(np.stack([X, X]))


def test_a_leaked_array_raises_when_it_is_used() -> None:
    kept = []

    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(3)
        out[0] = x[0]
        kept.append(out)
        return x.sum()

    ft.vjp(f, X)
    with pytest.raises(errors.LeakedTracerError):
        kept[0] + 1.0
    with pytest.raises(errors.LeakedTracerError):
        ft.jit(f)(X)


def test_what_cannot_be_decorated() -> None:
    for bad in (np.sin, len, 3.0, Model):
        with pytest.raises(errors.ArgumentError, match="numpy_code"):
            ft.numpy_code(bad)
    with pytest.raises(errors.ArgumentError, match="outside"):
        ft.numpy_code(staticmethod(lambda x: x))


def test_threads() -> None:
    import threading

    @ft.numpy_code
    def f(x: Any) -> Any:
        out = np.zeros(4)
        for i in range(4):
            out[i] = x[i] * TABLE[1]
        return out.sum()

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(ft.grad(f)(X))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    for g in found:
        np.testing.assert_array_equal(g, [3.0] * 4)
