"""Native calls of jitted functions: what they take, what they leave to Python, and what they give."""

from __future__ import annotations

import collections
import copy
import functools
import gc
import inspect
import pickle
import resource
import sys
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans import backends
from functrans.backends.llvm import arrays
from functrans.backends.llvm.caller_tables import ENTRY, NO_LOCK
from functrans.config import config
from functrans.util import vectorcall

X = np.arange(8.0)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Weights:
    w: Any
    b: Any
    name: str = ft.tree.static()


@ft.tree_util.register_pytree_node_class
class Box:
    def __init__(self, value: Any) -> None:
        self.value = value

    def tree_flatten(self) -> Any:
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Box:
        return cls(*children)


def jit(f: Any, **options: Any) -> Any:
    made = ft.jit(f, backend="llvm", **options)
    made.clear_cache()  # Functions of the same code share their programs.
    return made


def calls(f: Any) -> int:
    """How many calls of a jitted function were native."""
    return 0 if f.settled is None else sum(t.calls for t in f.settled.tables.values())


def alike(a: Any, b: Any) -> None:
    """Two results are of the same types, dtypes, shapes and values, containers too."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            alike(a[key], b[key])
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            alike(x, y)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6 if a.dtype in (np.float32, np.complex64) else 1e-13)
        if isinstance(a, np.ndarray):
            assert a.flags.num == b.flags.num and a.base is None and a.strides == b.strides
    elif isinstance(a, (Box, Weights)):
        assert vars(a).keys() == vars(b).keys()
        for key in vars(a):
            alike(vars(a)[key], vars(b)[key])
    else:
        assert a == b


def check(function: Any, *args: Any, native: bool = True, **kwargs: Any) -> Any:
    """Native calls give what the NumPy backend does."""
    fast = jit(function)
    expected = ft.jit(function, backend="numpy")(*args, **kwargs)
    for _ in range(4):
        alike(fast(*args, **kwargs), expected)
    assert calls(fast) == (2 if native else 0)
    return fast


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        (X, X + 1.0),
        [X, X + 1.0, X],
        {"b": X, "a": X + 1.0},
        {"b": (X, [X + 2.0]), "a": {"c": X, "d": None}},
        Pair(X, [X, X]),
        Pair({"k": X}, Pair(X, X)),
        collections.OrderedDict(b=X, a=X + 1.0),
        collections.defaultdict(list, b=X, a=X + 1.0),
        {1: X, 0: X + 1.0},
        Box(X),
        [Box((X, X)), {"a": Box(X)}],
        Weights(X, X + 1.0, "relu"),
        (X, None, (), [], {}),
    ],
    ids=lambda t: type(t).__name__,
)
def test_structures_of_arguments_and_results(tree: Any) -> None:
    def f(tree: Any, x: Any) -> Any:
        total = sum(leaf * (i + 2.0) for i, leaf in enumerate(ft.tree_util.tree_leaves(tree)))
        return ft.tree_util.tree_map(lambda leaf: leaf * x + 1.0, tree), total

    check(f, tree, X)


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "f4", "f8", "c8", "c16"])
def test_dtypes(dtype: str) -> None:
    x = np.array([0, 1, 3, 7], dtype)
    check(lambda x, y: (np.where(x == y, x, y), x != y), x, x[::-1].copy())


@pytest.mark.parametrize(
    "value", [2.5, 1 + 2j, np.float64(2.5), np.float32(2.5), np.complex64(1 + 2j), np.int32(3), np.array(2.5)]
)
def test_numbers(value: Any) -> None:
    check(lambda x, a: (x * a + a, x), X, value)


def test_boxes_of_results() -> None:
    check(lambda x, a: (x.sum(), np.reshape(x.sum(), ()), x > 3.0, x.sum() > 3.0, x.astype(np.float32).sum()), X, 2.0)


def test_keywords_in_any_order() -> None:
    def f(x: Any, y: Any = X, *, scale: Any = 2.0) -> Any:
        return x * scale + y

    fast = jit(f)
    for _ in range(4):
        alike(fast(X, y=X + 1.0, scale=3.0), f(X, y=X + 1.0, scale=3.0))
        alike(fast(X, scale=3.0, y=X + 1.0), f(X, y=X + 1.0, scale=3.0))
        alike(fast(X, **{"scale": 3.0, "y": X}), f(X, X, scale=3.0))
        alike(fast(X), f(X))
    assert calls(fast) >= 6 and fast.trace_count <= 3


def test_static_arguments() -> None:
    @functools.partial(jit, static_argnums=1, static_argnames="mode")
    def f(x: Any, n: Any, mode: Any = "a") -> Any:
        return x * n + (1.0 if mode == "a" else 2.0)

    for _ in range(4):
        for n, mode in ((3, "a"), (3.0, "a"), (3, "b"), (4.5, "b")):
            alike(f(X, n, mode=mode), X * n + (1.0 if mode == "a" else 2.0))
            alike(f(X, n, mode), X * n + (1.0 if mode == "a" else 2.0))
    assert calls(f) >= 16


def test_static_objects_compare_by_value() -> None:
    class Static:
        def __init__(self, n: int) -> None:
            self.n = n

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Static) and self.n == other.n

        def __hash__(self) -> int:
            return hash(self.n)

    f = jit(lambda x, s: x * s.n + 1.0, static_argnums=1)
    for _ in range(3):
        assert f(X, Static(2))[1] == 3.0 and f(X, Static(3))[1] == 4.0
    assert f.trace_count == 2 and calls(f) == 2


def test_a_static_argument_whose_comparison_fails_is_no_crash() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self is other:
                return True
            raise ValueError("no")

    f = jit(lambda x, s: x * 2.0 + 1.0, static_argnums=1)
    one = Odd()
    for _ in range(3):
        assert f(X, one)[1] == 3.0
    with pytest.raises(ValueError, match="no"):
        f(X, Odd())


def test_a_static_array_compares_by_contents() -> None:
    f = jit(lambda x, s: x * s.sum() + 1.0, static_argnums=1)
    s = np.array([1.0, 2.0])
    for _ in range(4):
        assert f(X, s)[1] == 4.0
    assert calls(f) == 2
    s[0] = 2.0
    assert f(X, s)[1] == 5.0
    assert f(X, np.array([1.0, 2.0]))[1] == 4.0


def test_strings_bools_and_none_among_the_arguments() -> None:
    f = jit(lambda x, mode, flag, nothing: x * 2.0 + 1.0 if mode == "double" and flag else x + 1.0 + x)
    for _ in range(4):
        assert f(X, "double", True, None)[1] == 3.0
        assert f(X, "".join(["dou", "ble"]), False, None)[2] == 5.0
        assert f(X, "other", True, None)[2] == 5.0
    assert calls(f) == 6


def test_numbers_that_decide() -> None:
    f = jit(lambda x, n, a: np.tile(x, n) * (2.0 if a > 0.5 else 3.0) + 1.0)
    for _ in range(4):
        for n in (1, 2):
            for a in (0.0, -0.0, 1.0, float("nan")):
                assert f(X, n, a).shape == (8 * n,) and f(X, n, a)[1] == (3.0 if a > 0.5 else 4.0)


def test_int_arguments_out_of_range() -> None:
    f = jit(lambda x, n: x * 2.0 + np.float64(n))
    for _ in range(4):
        assert f(X, 3)[0] == 3.0
    for n in (2**63, -(2**70)):
        with pytest.raises(OverflowError):
            ft.jit(lambda x, n: x * 2 + n, backend="numpy")(np.arange(3), n)
        with pytest.raises(OverflowError):
            jit(lambda x, n: x * 2 + n)(np.arange(3), n)


def test_bound_arguments_of_a_partial() -> None:
    def f(x: Any, n: Any, y: Any, *, k: Any) -> Any:
        return x * n + y * k

    bound = jit(functools.partial(f, X, 3, k=X))
    for _ in range(4):
        alike(bound(X), f(X, 3, X, k=X))
        alike(bound(X, k=X + 1.0), f(X, 3, X, k=X + 1.0))
    assert calls(bound) >= 4


# -- odd arrays ------------------------------------------------------------------------------------------------------


def _unaligned(x: np.ndarray) -> np.ndarray:
    raw = np.empty(x.nbytes + 1, np.uint8)
    made = raw[1:].view(x.dtype).reshape(x.shape)
    made[...] = x
    return made


def _read_only(x: np.ndarray) -> np.ndarray:
    made = x.copy()
    made.flags.writeable = False
    return made


ODD: dict[str, Any] = {
    "unaligned": _unaligned,
    "swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": _read_only,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "strided": lambda x: np.repeat(x, 2)[::2],
    "fortran": lambda x: np.asfortranarray(x.reshape(2, 4)).reshape(8, order="A") * 0.0 + x,
    "broadcast": lambda x: np.broadcast_to(x[3], (8,)) * 0.0 + x,
    "metadata": lambda x: x.astype(np.dtype(x.dtype, metadata={"unit": "m"})),
    "pickled": lambda x: pickle.loads(pickle.dumps(x)),
    "subclass": lambda x: x.view(np.recarray),
    "memmap": lambda x: x.view(np.memmap),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_arrays(kind: str) -> None:
    f = jit(lambda x, y: x * 2.0 + y)
    alike(f(X, X), X * 3.0)
    alike(f(X, X), X * 3.0)
    odd = ODD[kind](X.copy())
    for _ in range(3):
        alike(f(odd, X), X * 3.0)
        alike(f(X, odd), X * 3.0)
        assert np.array_equal(odd, X)


@pytest.mark.parametrize("kind", ["unaligned", "swapped", "read-only", "reversed", "strided", "metadata"])
def test_odd_arrays_stay_native(kind: str) -> None:
    f = jit(lambda x, y: x * 2.0 + y)
    odd = ODD[kind](X.copy())
    f(X, X)
    f(X, X)
    count = sys.getrefcount(odd)
    for _ in range(3):
        alike(f(odd, X), X * 3.0)
    assert calls(f) == 3 and sys.getrefcount(odd) == count


def test_two_dimensional_layouts() -> None:
    x = np.arange(12.0).reshape(3, 4)
    f = jit(lambda x: x * 2.0 + 1.0)
    for array in (x, x, x, np.asfortranarray(x), x.T.copy().T, x[::-1], np.broadcast_to(x[:1], (3, 4)), x):
        alike(f(array), np.ascontiguousarray(array) * 2.0 + 1.0)
    assert calls(f) >= 5


def test_longlong_is_another_type_number() -> None:
    x = np.arange(4, dtype=np.dtype("q"))
    check(lambda x: x * x + 1, x, native=np.dtype("q") is np.dtype("l") or np.dtype("q").num == np.dtype("l").num)
    f = jit(lambda x: x * x + 1)
    for a in (np.arange(4), np.arange(4), x, np.arange(4)):
        assert f(a).tolist() == [1, 2, 5, 10]


def test_empty_arrays() -> None:
    for x in (np.zeros(0), np.zeros((3, 0)), np.zeros((0, 3))):
        fast, plain = jit(lambda x: (x * 2.0 + 1.0, x.sum())), ft.jit(lambda x: (x * 2.0 + 1.0, x.sum()))
        for _ in range(4):
            alike(fast(x), plain(x))


def test_another_number_of_axes_or_extent_is_another_signature() -> None:
    f = jit(lambda x: x * 2.0 + 1.0)
    for _ in range(3):
        for shape in ((8,), (2, 4), (4, 2), (1, 8), (), (9,), (1, 1, 8)):
            alike(f(np.ones(shape)), np.multiply(np.ones(shape), 2.0) + 1.0 if shape else np.float64(3.0))
    assert f.trace_count == 7 and calls(f) >= 6


def test_many_signatures() -> None:
    f = jit(lambda x: x * 2.0 + 1.0)
    for _ in range(3):
        for n in range(1, 24):
            assert f(np.ones(n)).tolist() == [3.0] * n
    assert f.trace_count == 23 and len(f.settled.tables) == 16


def test_results_do_not_share_memory() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * 2.0 + y
        return x, z, z, x, y[2:5], z

    fast = jit(f)
    for _ in range(4):
        outs = fast(X, X)
        assert not any(np.may_share_memory(a, b) for i, a in enumerate(outs) for b in (*outs[:i], X))
    assert calls(fast) == 2


# -- what the function captures --------------------------------------------------------------------------------------

SCALE = 2.0
TABLE = np.arange(8.0)
SETTINGS = {"a": 2.0, "b": [1.0, 2.0]}


def helper(x: Any) -> Any:
    return x * SCALE


def test_globals_are_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    f = jit(lambda x: helper(x) + SCALE + TABLE)
    for _ in range(4):
        alike(f(X), X * 2.0 + 2.0 + TABLE)
    assert calls(f) == 2
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    for _ in range(4):
        alike(f(X), X * 3.0 + 3.0 + TABLE)
    other = np.ones(8)
    monkeypatch.setitem(globals(), "TABLE", other)
    for _ in range(4):
        alike(f(X), X * 3.0 + 3.0 + 1.0)
    other[:] = 5.0
    for _ in range(2):
        alike(f(X), X * 3.0 + 3.0 + 5.0)
    monkeypatch.setitem(globals(), "TABLE", np.ones((1, 8)))
    alike(f(X), (X * 3.0 + 3.0 + 1.0)[None].copy())
    assert calls(f) >= 6


def test_closure_cells_are_looked_at_each_time() -> None:
    weights, factor = np.ones(8), 2.0

    def f(x: Any) -> Any:
        return x * weights * factor + 1.0

    fast = jit(f)
    for _ in range(4):
        alike(fast(X), X * 2.0 + 1.0)
    assert calls(fast) == 2
    weights = np.full(8, 3.0)
    alike(fast(X), X * 6.0 + 1.0)
    assert calls(fast) == 3
    factor = 4.0
    for _ in range(3):
        alike(fast(X), X * 12.0 + 1.0)
    weights = None
    with pytest.raises(TypeError):
        fast(X)


def test_an_equal_captured_number_settles_again() -> None:
    factor = float("2.0")

    def f(x: Any) -> Any:
        return x * factor + 1.0

    fast = jit(f)
    for _ in range(4):
        fast(X)
    before = calls(fast)
    factor = float("2.0")
    for _ in range(6):
        alike(fast(X), X * 2.0 + 1.0)
    assert fast.trace_count == 1 and before + calls(fast) > 4


def test_captured_containers_are_compared_by_what_they_hold() -> None:
    settings = {"scale": 2.0, "shape": [1.0, (3.0,)]}

    def f(x: Any) -> Any:
        return x * settings["scale"] + settings["shape"][0]

    fast = jit(f)
    for _ in range(4):
        alike(fast(X), X * 2.0 + 1.0)
    assert calls(fast) == 2
    settings["shape"][0] = 5.0
    for _ in range(4):
        alike(fast(X), X * 2.0 + 5.0)
    settings["extra"] = 1.0
    alike(fast(X), X * 2.0 + 5.0)


def test_contents_that_decide_are_left_to_python() -> None:
    table = np.array([1, 2])

    def f(x: Any) -> Any:
        return np.tile(x, int(table[1])) * 2.0 + 1.0

    fast = jit(f)
    for _ in range(4):
        assert fast(X).shape == (16,)
    table[1] = 3
    assert fast(X).shape == (24,) and calls(fast) == 0


def test_defaults_may_be_replaced() -> None:
    def f(x: Any, y: Any = 2.0, *, z: Any = 1.0) -> Any:
        return x * y + z

    fast = jit(f)
    for _ in range(4):
        alike(fast(X), X * 2.0 + 1.0)
    f.__defaults__ = (3.0,)
    for _ in range(4):
        alike(fast(X), X * 3.0 + 1.0)
    f.__kwdefaults__ = {"z": 4.0}
    alike(fast(X), X * 3.0 + 4.0)


def test_methods_and_attributes() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = X + 1.0
            self.scale = 2.0

        @functools.partial(ft.jit, backend="llvm")
        def method(self, x: Any) -> Any:
            return x * self.w * self.scale

        def __call__(self, x: Any) -> Any:
            return x * self.scale + 1.0

    model = Model()
    for _ in range(3):
        alike(model.method(X), X * (X + 1.0) * 2.0)
    bound = model.method
    fast = jit(model)
    for _ in range(4):
        alike(bound(X), X * (X + 1.0) * 2.0)
        alike(fast(X), X * 2.0 + 1.0)
    assert calls(fast) == 2
    model.scale = 3.0
    for _ in range(4):
        alike(bound(X), X * (X + 1.0) * 3.0)
        alike(fast(X), X * 3.0 + 1.0)
    model.__dict__ = {"scale": 4.0, "w": X}
    alike(fast(X), X * 4.0 + 1.0)
    alike(bound(X), X * X * 4.0)


# -- what surrounds the call -----------------------------------------------------------------------------------------


def test_under_transformations() -> None:
    f = jit(lambda x: np.sin(x) * x + 1.0)
    for _ in range(4):
        f(X)
        f(1.0)
    before = calls(f)
    alike(ft.vmap(f)(X), f(X))
    assert ft.grad(lambda x: f(x).sum())(X).shape == (8,)
    assert ft.make_jaxpr(f)(X).eqns
    outer = ft.jit(lambda x: f(x) + f(X), backend="numpy")
    alike(outer(X), f(X) * 2.0)

    def constant(x: Any) -> Any:
        return x * f(X)[1]  # a call with arrays alone, under a trace

    alike(ft.jit(constant, backend="numpy")(X), X * f(X)[1])
    assert calls(f) >= before


def test_modes_are_respected() -> None:
    class Seen:
        types: tuple[type, ...] = ()

    def f(x: Any) -> Any:
        Seen.types += (type(x),)
        return np.log(x) * 2.0 + 1.0

    fast = jit(f)
    for _ in range(4):
        fast(X + 1.0)
    assert calls(fast) == 2 and len(Seen.types) == 1
    with ft.disable_jit():
        fast(X + 1.0)
    assert Seen.types[1:] == (np.ndarray,)
    with ft.debug_nans(True), pytest.raises(FloatingPointError):
        fast(X - 100.0)
    with np.errstate(all="ignore"):
        assert np.isnan(fast(X - 100.0)).all()
    assert calls(fast) == 3


def test_settings_of_the_backend_and_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    f = ft.jit(lambda x: np.sin(x) * 2.0 + 1.0)
    before = config.backend
    try:
        config.backend = "llvm"
        for _ in range(4):
            f(X)
        assert calls(f) == 2
        config.backend = "numpy"
        for _ in range(4):
            f(X)
        assert calls(f) == 2
        config.backend = "llvm"
        for _ in range(6):
            f(X)
        assert calls(f) >= 3
    finally:
        config.backend = before


def test_clearing() -> None:
    f = jit(lambda x: x * 2.0 + 1.0)
    for _ in range(4):
        f(X)
    program = weakref.ref(next(iter(f.settled.tables))[0])
    assert calls(f) == 2
    f.clear_cache()
    gc.collect()
    assert program() is None and calls(f) == 0
    for _ in range(4):
        f(X)
    assert f.trace_count == 2 and calls(f) == 2
    ft.clear_caches()
    assert calls(f) == 0
    alike(f(X), X * 2.0 + 1.0)


def test_a_function_goes_with_its_code() -> None:
    f = jit(lambda x: x * 2.0 + 1.0)
    for _ in range(4):
        f(X)
    ref, table = weakref.ref(f), weakref.ref(next(iter(f.settled.tables.values())))
    del f
    gc.collect()
    assert ref() is None and table() is None


def test_the_object_stays_what_it_was() -> None:
    def f(x: Any) -> Any:
        """Says something."""
        return x * 2.0 + 1.0

    fast = jit(f)
    for _ in range(4):
        fast(X)
    assert isinstance(fast, ft.api.jit.Jitted) and callable(fast)
    assert fast.__name__ == "f" and fast.__doc__ == "Says something." and fast.__wrapped__ is f
    assert inspect.signature(fast) == inspect.signature(f)
    assert fast.lower(X).as_text("jaxpr") and "traced 1 time" in fast.explain() and repr(fast).startswith("<jit of")
    assert fast.trace_count == 1
    fast.note = 1
    assert vars(fast)["note"] == 1 and hash(fast) == hash(fast) and fast == fast
    assert type(copy.copy(fast)) is type(fast)
    assert functools.partial(fast, X)().shape == (8,) and next(map(fast, [X])).shape == (8,)
    assert fast.__call__(X).shape == (8,) and fast(*[X], **{}).shape == (8,)
    shown = pickle.loads(pickle.dumps(jit(module_level)))
    alike(shown(X), module_level(X))


def module_level(x: Any) -> Any:
    return x * 2.0 + 1.0


def test_errors_of_calls_are_those_of_python() -> None:
    f = jit(lambda x, y: x * y + 1.0)
    for _ in range(3):
        f(X, X)
    for args, kwargs in (((X,), {}), ((X, X, X), {}), ((X,), {"z": X})):
        with pytest.raises(TypeError):
            f(*args, **kwargs)
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        f(X, np.ones(3))
    with pytest.raises(ft.errors.ArgumentError, match="object"):
        f(X, object())
    alike(f(X, X), X * X + 1.0)


def test_an_error_while_a_class_is_flattened() -> None:
    class Strange:
        def __init__(self, value: Any, fails: bool = False) -> None:
            self.value, self.fails = value, fails

    def flatten(s: Strange) -> Any:
        if s.fails:
            raise RuntimeError("cannot be flattened")
        return (s.value,), None

    ft.tree_util.register_pytree_node(Strange, flatten, lambda aux, c: Strange(*c))
    f = jit(lambda s, x: s.value * x + 1.0)
    for _ in range(4):
        alike(f(Strange(X), X), X * X + 1.0)
    assert calls(f) == 2
    with pytest.raises(RuntimeError, match="cannot be flattened"):
        f(Strange(X, True), X)


def test_an_error_of_native_code_shows_the_users_lines_alone() -> None:
    f = jit(lambda x, i: ft.numpy.take(x, i) * 2.0 + 1.0)
    x, inside, outside = X.copy(), np.array([1, 2]), np.array([1, 20])
    for _ in range(4):
        alike(f(x, inside), x[1:3] * 2.0 + 1.0)
    assert calls(f) == 2
    count = sys.getrefcount(x)
    for _ in range(3):
        with pytest.raises(IndexError, match="index 20 is out of bounds") as caught:
            f(x, outside)
        files = [entry.path.name for entry in caught.traceback]
        assert set(files) == {"test_dispatch.py"} and caught.value.__context__ is None
        del caught
    gc.collect()
    assert sys.getrefcount(x) == count
    alike(f(x, inside), x[1:3] * 2.0 + 1.0)


def test_structures_at_random() -> None:
    rng = np.random.default_rng(0)

    def tree(depth: int) -> Any:
        kind = rng.integers(8) if depth else 7
        size = int(rng.integers(0, 4))
        if kind == 0:
            return tuple(tree(depth - 1) for _ in range(size))
        if kind == 1:
            return [tree(depth - 1) for _ in range(size)]
        if kind in (2, 3):
            return {f"k{rng.integers(100)}": tree(depth - 1) for _ in range(size)}
        if kind == 4:
            return Pair(tree(depth - 1), tree(depth - 1))
        if kind == 5:
            return Box(tree(depth - 1))
        if kind == 6:
            return None
        return [X, X + 1.0, 2.5, np.float32(1.5), np.arange(3), X[::-1]][rng.integers(6)]

    def f(t: Any) -> Any:
        leaves, structure = ft.tree_util.tree_flatten(t)
        return structure.unflatten([leaf * 2.0 for leaf in leaves]), t

    fast, plain = jit(f), ft.jit(f, backend="numpy")
    native = 0
    for _ in range(10):
        some, other = tree(4), tree(3)
        for _ in range(4):
            for t in (some, other, (some, other)):
                alike(fast(t), plain(t))
        native += calls(fast)
        fast.clear_cache()
    assert native > 30


def test_containers_that_change_between_calls() -> None:
    f = jit(lambda p, x: [leaf * x + 1.0 for leaf in ft.tree_util.tree_leaves(p)])
    p: Any = {"a": X, "b": [X, X]}
    for _ in range(4):
        assert len(f(p, X)) == 3
    before = calls(f)
    p["b"].append(X)
    assert len(f(p, X)) == 4
    p["b"] = (X,)
    assert len(f(p, X)) == 2
    p["c"] = None
    assert len(f(p, X)) == 2
    del p["b"], p["c"]
    assert len(f(p, X)) == 1 and calls(f) == before
    with pytest.raises(ft.errors.ArgumentError):
        f({"a": "text" and object()}, X)
    assert len(f(collections.OrderedDict(a=X, b=[X, X]), X)) == 3
    assert len(f({"a": X, "b": [X, X]}, X)) == 3 and calls(f) == before + 1


def test_donated_arguments() -> None:
    f = jit(lambda x, y: x * 2.0 + y, donate_argnums=0)
    for _ in range(4):
        given = X.copy()
        alike(f(given, X), X * 3.0)


def test_threads() -> None:
    f = jit(lambda p, x: {"a": p["a"] * x + 1.0, "s": (p["a"] * x).sum()})
    large = np.arange(200_000.0)
    g = jit(lambda p: np.sin(p[0]) * p[1] + 1.0)
    f({"a": X}, X)
    g([large, large])
    expected = np.sin(large) * large + 1.0
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            p = {"a": X + n}
            for i in range(300):
                out = f(p, X)
                assert out["a"][1] == (1 + n) * 1.0 + 1.0
                if i % 30 == 0:
                    box = [large, large]
                    np.testing.assert_allclose(g(box), expected, rtol=1e-12)
                    box.clear()
                if i % 100 == 50:
                    f.clear_cache()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_the_lock_is_dropped_above_a_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    def flags(f: Any) -> int:
        (table,) = f.settled.tables.values()
        return int(table.words[ENTRY.index("flags")])

    f = jit(lambda x: np.sin(x) * 2.0 + 1.0)
    for x in (X, np.arange(16384.0)):
        f.clear_cache()
        for _ in range(3):
            f(x)
        assert bool(flags(f) & NO_LOCK) == (x.size > 8)


# -- leaks -----------------------------------------------------------------------------------------------------------


def _references(objects: list[Any]) -> list[int]:
    gc.collect()
    return [sys.getrefcount(o) for o in objects]


def test_references_over_many_calls() -> None:
    weights = X + 1.0

    def f(p: Any, x: Any, a: Any, mode: Any) -> Any:
        return {"w": p["w"] * x + a, "n": [p["b"].sum(), (x * weights, None)], "p": Pair(x + a, Box(x * a))}

    fast = jit(f)
    p = {"w": X, "b": X + 1.0}
    odd = np.repeat(X, 2)[::2]
    key = "mode"
    many: list[Any] = [
        p, p["w"], p["b"], X, odd, weights, key, None, True, np.ndarray, np.float64, X.dtype, dict, list, tuple, Pair,
        Box, fast, fast.settled,
    ]  # fmt: skip
    for _ in range(100):
        fast(p, X, 2.5, key)
    before = _references(many)
    for _ in range(2000):
        fast(p, X, 2.5, key)
        fast(p, odd, 2.5, key)
    assert calls(fast) >= 4000
    drift = [abs(a - b) for a, b in zip(before, _references(many), strict=True)]
    assert max(drift) <= 4


def test_memory_over_a_million_calls() -> None:
    f = jit(lambda x, y: x * 2.0 + y)
    f(X, X)
    f(X, X)
    for _ in range(1000):
        f(X, X)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1_000_000):
        f(X, X)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert calls(f) == 1_001_000 and grown < 2048


# -- objects elsewhere -----------------------------------------------------------------------------------------------


def test_the_objects_lie_where_they_should() -> None:
    assert arrays.mismatch() is None


def test_a_mismatch_turns_the_backend_off(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays.mismatch.cache_clear()
    monkeypatch.setattr(arrays, "DTYPE", arrays.DTYPE + 8)
    monkeypatch.setattr(backends, "_loaded", {"numpy": backends.find("numpy")})
    with pytest.warns(RuntimeWarning, match="'llvm' is turned off: NumPy .* keeps the fields of an array elsewhere"):
        f = ft.jit(lambda x: x * 2.0 + 1.0, backend="llvm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            alike(f(X), X * 2.0 + 1.0)
        assert calls(f) == 0 and backends.find("llvm") is backends.find("numpy")
    monkeypatch.undo()
    arrays.mismatch.cache_clear()
    assert arrays.mismatch() is None


def test_a_class_called_natively_only_where_types_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        native = False

        def __call__(self, x: Any) -> Any:
            return x

    made = vectorcall.natively_callable(Plain)
    assert issubclass(made, Plain) and made.native and made()(3) == 3
    monkeypatch.setattr(vectorcall, "_is_known", lambda: False)
    assert vectorcall.natively_callable.__wrapped__(Plain) is Plain
