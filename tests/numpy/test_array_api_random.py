"""Random arrays for the ground of the array API: traced functions give NumPy's values, dtypes and shapes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import functrans as ft
import functrans.numpy as fnp

INTEGERS = [np.int8, np.int32, np.int64, np.uint8, np.uint16]
FLOATS = [np.float32, np.float64]
REAL = [*INTEGERS, *FLOATS]
NUMERIC = [*REAL, np.complex64, np.complex128]
ALL = [np.bool_, *NUMERIC]


def elements(dtype: Any) -> st.SearchStrategy[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return st.floats(width=kind.itemsize * 8)
    if kind.kind == "c":
        return st.complex_numbers(width=kind.itemsize * 8, max_magnitude=1e3, allow_nan=False)
    return hnp.from_dtype(kind)


@st.composite
def array(draw: Any, dtypes: list[Any], shape: Any = None) -> Any:
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)) if shape is None else shape
    return draw(hnp.arrays(dtype, shape, elements=elements(dtype)))


@st.composite
def two_arrays(draw: Any, dtypes: list[Any]) -> tuple[Any, Any]:
    """Arrays whose shapes broadcast; often of two dtypes."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)).input_shapes
    return draw(array(dtypes, shapes[0])), draw(array(dtypes, shapes[1]))


def agrees(name: str, *args: Any, exact: bool = True, **kwargs: Any) -> None:
    """The traced function gives what NumPy's gives, or raises where it does."""
    function, module = name, (np, fnp)
    if "." in name:
        part, _, function = name.partition(".")
        module = tuple(getattr(m, part) for m in module)
    if not hasattr(module[0], function):
        return  # The installed NumPy is older than the function.
    numpys, ours = (getattr(m, function) for m in module)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy speaks of means of nothing, and so do we.
        try:
            expected = numpys(*args, **kwargs)
        except (TypeError, ValueError, OverflowError, IndexError):
            expected = None
        if expected is None:
            return
        places = [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]

        def traced(*arrays: Any) -> Any:
            full = list(args)
            for i, a in zip(places, arrays, strict=True):
                full[i] = a
            return ours(*full, **kwargs)

        found = ft.jit(traced)(*[args[i] for i in places])
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert np.shape(a) == np.shape(b), f"{name}: {np.shape(a)}, {np.shape(b)}"
        if exact:
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            precision = np.finfo(np.result_type(b, np.float32) if np.asarray(b).dtype.kind in "fc" else float).eps
            np.testing.assert_allclose(a, b, rtol=64 * precision, atol=64 * precision, err_msg=name)
        assert np.asarray(a).dtype == np.asarray(b).dtype, name


UNARY = {
    "abs acos acosh asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log10 log1p"
    " log2 negative positive real round sign sin sinh sqrt square tan tanh trunc": NUMERIC,
    "logical_not": ALL,
    "signbit reciprocal": FLOATS,
    "bitwise_invert": [np.bool_, *INTEGERS],
}


@given(st.data())
def test_functions_of_one_array(data: Any) -> None:
    names = data.draw(st.sampled_from(sorted(UNARY)))
    agrees(data.draw(st.sampled_from(names.split())), data.draw(array(UNARY[names])))


BINARY = {
    "add subtract multiply divide equal not_equal": NUMERIC,
    "maximum minimum less less_equal greater greater_equal floor_divide remainder": REAL,
    "atan2 hypot copysign nextafter logaddexp": FLOATS,
    "bitwise_and bitwise_or bitwise_xor": [np.bool_, *INTEGERS],
    "logical_and logical_or logical_xor": ALL,
}


@given(st.data())
def test_functions_of_two_arrays(data: Any) -> None:
    names = data.draw(st.sampled_from(sorted(BINARY)))
    agrees(data.draw(st.sampled_from(names.split())), *data.draw(two_arrays(BINARY[names])))


@given(st.data())
def test_reductions(data: Any) -> None:
    name = data.draw(st.sampled_from("sum prod max min all any argmax argmin count_nonzero mean std var".split()))
    x = data.draw(array(FLOATS if name in ("mean", "std", "var") else REAL))
    axes: list[Any] = [None, *range(-x.ndim, x.ndim)]
    if x.ndim > 1 and not name.startswith("arg"):
        axes.append((0, -1))
    agrees(name, x, axis=data.draw(st.sampled_from(axes)), keepdims=data.draw(st.booleans()))


@given(st.data())
def test_running_totals_differences_and_order(data: Any) -> None:
    x = data.draw(array(REAL, data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    name = data.draw(st.sampled_from("cumulative_sum cumulative_prod diff sort argsort flip unstack".split()))
    if name.startswith("cumulative"):
        agrees(name, x, axis=axis, include_initial=data.draw(st.booleans()))
    elif name in ("sort", "argsort"):
        agrees(name, x, axis=axis, stable=True)
    else:
        agrees(name, x, axis=axis)


@given(st.data())
def test_shapes(data: Any) -> None:
    x = data.draw(array(ALL))
    order = data.draw(st.permutations(range(x.ndim)))
    agrees("permute_dims", x, tuple(order))
    agrees("reshape", x, data.draw(st.sampled_from([(-1,), (*x.shape, 1), x.shape[::-1]])))
    agrees("expand_dims", x, axis=data.draw(st.integers(-x.ndim - 1, x.ndim)))
    agrees("squeeze", x, axis=tuple(i for i, n in enumerate(x.shape) if n == 1))
    agrees("roll", x, data.draw(st.integers(-4, 4)), axis=data.draw(st.sampled_from([None, *range(x.ndim)])))
    agrees("tile", x, tuple(data.draw(st.lists(st.integers(0, 2), max_size=3))))
    agrees("broadcast_to", x, (2, *x.shape))
    if x.ndim:
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        agrees("concat", [x, x], axis=axis)
        agrees("moveaxis", x, axis, data.draw(st.integers(-x.ndim, x.ndim - 1)))
        if x.shape[axis]:
            places = data.draw(hnp.arrays(np.int64, 3, elements=st.integers(-x.shape[axis], x.shape[axis] - 1)))
            agrees("take", x, places, axis=axis)
            agrees("repeat", x, 2, axis=axis)
    agrees("stack", [x, x], axis=data.draw(st.integers(-x.ndim - 1, x.ndim)))


@given(st.data())
def test_choices_and_membership(data: Any) -> None:
    x, y = data.draw(two_arrays(REAL))
    agrees("where", data.draw(array([np.bool_], np.broadcast_shapes(x.shape, y.shape))), x, y)
    agrees("clip", x, data.draw(st.integers(0, 3)), data.draw(st.integers(3, 100)))
    agrees("isin", x, y)
    edges = np.sort(data.draw(array([np.float64], (3,))))
    if not np.isnan(edges).any():
        agrees("searchsorted", edges, x.astype(np.float64), side=data.draw(st.sampled_from(["left", "right"])))


@given(st.data())
def test_products(data: Any) -> None:
    n, k, m = (data.draw(st.integers(0, 3)) for _ in range(3))
    lead = data.draw(st.sampled_from([(), (2,), (1, 2)]))
    dtype = data.draw(st.sampled_from([np.int64, np.float64, np.complex128]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x, y = (rng.integers(-5, 5, (*lead, *shape)).astype(dtype) for shape in ((n, k), (k, m)))
    agrees("matmul", x, y)
    agrees("vecdot", x, x, axis=-1)
    agrees("tensordot", x[..., :1, :], y[..., :1].swapaxes(-1, -2), axes=data.draw(st.integers(0, 1)), exact=False)
    agrees("matrix_transpose", x)
    agrees("tril", x, k=data.draw(st.integers(-2, 2)))
