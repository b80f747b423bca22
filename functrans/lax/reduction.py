"""Reductions over axes: sum, product, extrema, their places, any, all, and the logarithm of a sum of exponentials.

The reduced axes are static and leave the shape. A 0-d result is a NumPy scalar, as NumPy's own reductions give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import structural
from functrans.core.avals import ShapedArray, shaped
from functrans.core.dtypes import is_extended
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import reduced_shape, shift_axes
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.arithmetic import mul
from functrans.lax.cumulative import cumprod
from functrans.lax.families import ANY, Samples, accept, no_tangent, tangent_rules
from functrans.lax.movement import reshape
from functrans.lax.slicing import pad, slice_in_dim
from functrans.lax.static import normalize_axes, normalize_axis

Axes = tuple[int, ...]

# -- the family -----------------------------------------------------------------------------------------------------


_MONOIDS = {"multiply": "mul", "maximum": "max", "minimum": "min", "logical_or": "or", "logical_and": "and"}


def _reduction(
    name: str,
    ufunc: str,
    *,
    jvp: Any = None,
    kinds: str = ANY,
    boolean: bool = False,
    identity: bool = True,
    samples: Samples,
) -> Primitive:
    """A reduction by a ufunc; ``identity`` says whether an empty axis has a result."""

    def infer(x: ShapedArray, *, axes: Axes) -> ShapedArray:
        accept(name, kinds, [x])
        shape = reduced_shape(name, x, axes)
        if not identity and 0 in [x.shape[a] for a in axes]:
            raise errors.ShapeError(
                f"{name}: an array of shape {x.shape} has no elements along axes={axes}, so that there is no extremum"
            )
        return shaped(shape, np.dtype(bool) if boolean else x.dtype, "numpy")

    def impl(xp: Any, x: Any, *, axes: Axes) -> Any:
        x = xp.asarray(x)
        if xp is np:
            return getattr(np, ufunc).reduce(x, axis=axes, dtype=None if boolean else x.dtype)
        return getattr(xp, name.removeprefix("reduce_"))(x, axis=axes)

    def specialize(xp: Any, avals: Sequence[ShapedArray], *, axes: Axes) -> Callable[[Any], Any]:
        if xp is not np:
            return lambda x: impl(xp, x, axes=axes)
        reduce = getattr(np, ufunc).reduce
        axis, dtype = (axes[0] if len(axes) == 1 else axes), None if boolean else avals[0].dtype
        return lambda x: reduce(x, axis, dtype)

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: Axes) -> Any:
        d = dims[0]
        return prim.bind(args[0], axes=shift_axes(axes, d)), d - sum(a < d for a in axes)

    def prim_of() -> Primitive:
        return prim

    prim = Primitive(
        name,
        shape=infer,
        impl=impl,
        specialize=specialize,
        jvp=no_tangent(prim_of) if jvp is None else tangent_rules(prim_of, jvp),
        batch=batch,
        kind="library",
        monoid=_MONOIDS[ufunc],
        samples=samples,
        traits=frozenset({Trait.REDUCTION}),
    )
    return prim


def _samples(order: int = 2, kinds: str = ANY, empty: bool = True) -> list[Sample]:
    x = np.array([[[0.5, -1.5], [2.0, 1.25], [3.0, -0.75]], [[-2.5, 0.25], [1.5, -0.5], [0.75, -3.5]]])
    samples = [
        Sample((x,), {"axes": (1,)}, order),
        Sample((x,), {"axes": (0, 2)}, order),
        Sample((x[0],), {"axes": (0, 1)}, order),
        Sample((x[0].astype(np.float32),), {"axes": (1,)}, order),
        Sample((x[0],), {"axes": ()}, order),
        Sample((np.float64(1.5),), {"axes": ()}, order),
        Sample((1.5,), {"axes": ()}, order),
        Sample((np.zeros((2, 0)),), {"axes": (0,)}, order),
    ]
    if empty:
        samples.append(Sample((np.zeros((0, 2)),), {"axes": (0,)}, order))
    if "c" in kinds:
        samples.append(Sample((x[0] + 1j * x[1],), {"axes": (0,)}, order))
    if "i" in kinds:
        samples.append(Sample((np.array([[3, -1, 2], [5, 4, -6]], np.int8),), {"axes": (1,)}))
    if "b" in kinds:
        samples.append(Sample((np.array([[True, False], [True, True]]),), {"axes": (1,)}))
    return samples


def merge_axes(x: Any, axes: Axes) -> Any:
    """``x`` with the given axes moved to the end and made one."""
    shape = aval_of(x).shape
    kept = [a for a in range(len(shape)) if a not in axes]
    extent = 1
    for a in axes:
        extent *= shape[a]
    return reshape(structural.transpose(x, (*kept, *axes)), (*(shape[a] for a in kept), extent))


# -- sum and product ------------------------------------------------------------------------------------------------


def reduce_sum(x: Any, axes: Any = None) -> Any:
    """The sum over ``axes`` (all of them if None), in the operand's own dtype.

    >>> reduce_sum(np.array([[1.0, 2.0], [3.0, 4.0]]), (0,))
    array([4., 6.])
    """
    return structural.reduce_sum(x, normalize_axes("reduce_sum", axes, aval_of(x).ndim))


def _prod_rule(t: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    # The product of the others as that of those before times that of those behind: a quotient would fail at zeros.
    x, t = merge_axes(x, axes), merge_axes(t, axes)
    shape = aval_of(x).shape
    n, last = shape[-1], len(shape) - 1
    if n > 1:
        one = aval_of(x).dtype.type(1)
        no = ((0, 0, 0),) * last
        before = pad(cumprod(slice_in_dim(x, 0, n - 1, axis=last), last), one, (*no, (1, 0, 0)))
        behind = pad(cumprod(slice_in_dim(x, 1, n, axis=last), last, reverse=True), one, (*no, (0, 1, 0)))
        t = mul(t, mul(before, behind))
    return structural.reduce_sum(t, (last,))


reduce_prod_p = _reduction(
    "reduce_prod",
    "multiply",
    jvp=_prod_rule,
    samples=lambda: [*_samples(), Sample((np.array([[1.5, 0.0, -2.0], [0.0, 0.0, 3.0]]),), {"axes": (1,)})],
)


def reduce_prod(x: Any, axes: Any = None) -> Any:
    """The product over ``axes`` (all of them if None), in the operand's own dtype.

    Derivatives are right at zeros and negative values, to any order: no quotient is taken.

    >>> reduce_prod(np.array([2.0, 0.0, 4.0]))
    np.float64(0.0)
    """
    return reduce_prod_p.bind(x, axes=normalize_axes("reduce_prod", axes, aval_of(x).ndim))


# -- any and all ----------------------------------------------------------------------------------------------------

reduce_any_p = _reduction("reduce_any", "logical_or", boolean=True, samples=lambda: _samples(0))
reduce_all_p = _reduction("reduce_all", "logical_and", boolean=True, samples=lambda: _samples(0))


def reduce_any(x: Any, axes: Any = None) -> Any:
    """Whether some element along ``axes`` (all of them if None) is true, that is not zero.

    >>> reduce_any(np.array([[True, False], [False, False]]), (1,))
    array([ True, False])
    """
    return reduce_any_p.bind(x, axes=normalize_axes("reduce_any", axes, aval_of(x).ndim))


def reduce_all(x: Any, axes: Any = None) -> Any:
    """Whether every element along ``axes`` (all of them if None) is true, that is not zero.

    >>> reduce_all(np.array([[True, False], [True, True]]), (1,))
    array([False,  True])
    """
    return reduce_all_p.bind(x, axes=normalize_axes("reduce_all", axes, aval_of(x).ndim))


# -- operations that compare elements with the result of their reduction --------------------------------------------


def weights_shape(name: str) -> Callable[..., ShapedArray]:
    def infer(x: ShapedArray, out: ShapedArray, *, axes: Axes) -> ShapedArray:
        if reduced_shape(name, x, axes) != out.shape or x.dtype != out.dtype:
            raise errors.ShapeError(f"{name}: a result of type {out} does not fit {x} reduced over axes={axes}")
        accept(name, "fc", [x])
        return shaped(x.shape, x.dtype, "array")

    return infer


def weights_batch(prim_of: Callable[[], Primitive]) -> Callable[..., Any]:
    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axes: Axes) -> Any:
        d = dims[0] if dims[0] is not None else 0
        shifted = shift_axes(axes, d)
        x = materialize(axis, args[0], dims[0], d)
        out = materialize(axis, args[1], dims[1], d - sum(a < d for a in shifted))
        return prim_of().bind(x, out, axes=shifted), d

    return batch


def expanded(xp: Any, x: Any, out: Any, axes: Axes) -> tuple[Any, Any]:
    """An operand, and its reduced value with the reduced axes kept at extent 1."""
    x = xp.asarray(x)
    return x, xp.asarray(out).reshape([1 if a in axes else extent for a, extent in enumerate(x.shape)])


def weights_samples(reduce: Callable[..., Any], order: int) -> list[Sample]:
    x = np.array([[0.5, -1.5, 0.5], [1.25, 3.0, -0.75]])
    return [
        Sample((x, reduce(x, axis=1)), {"axes": (1,)}, order),
        Sample((x.astype(np.float32), reduce(x.astype(np.float32))), {"axes": (0, 1)}, order),
        Sample((x, x), {"axes": ()}, order),
        Sample((x[:, :0], np.zeros(0)), {"axes": (0,)}, order),
        Sample((x[0, 0], x[0, 0]), {"axes": ()}, order),
    ]


def _tie_weights_impl(xp: Any, x: Any, out: Any, *, axes: Axes) -> Any:
    x, extreme = expanded(xp, x, out, axes)
    hit = xp.asarray(x == extreme)
    count = hit.sum(axis=axes, keepdims=True)
    if not count.all():
        hit |= x != x
        count = xp.maximum(hit.sum(axis=axes, keepdims=True), 1)
    if is_extended(x.dtype):
        return xp.asarray(xp.true_divide(hit, count).astype(x.dtype))
    return xp.asarray(xp.true_divide(hit, count, dtype=x.dtype))


tie_weights_p: Primitive = Primitive(
    "tie_weights",
    shape=weights_shape("tie_weights"),
    impl=_tie_weights_impl,
    jvp=no_tangent(lambda: tie_weights_p),
    batch=weights_batch(lambda: tie_weights_p),
    kind="library",
    samples=lambda: weights_samples(np.max, 0),
)
"""The share that each element has in an extremum: equal shares for those that attain it, or for the NaNs."""


def _extremum_rule(t: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    return structural.reduce_sum(mul(t, tie_weights_p.bind(x, out, axes=axes)), axes)


def _nonempty_samples() -> list[Sample]:
    return _samples(empty=False)


reduce_max_p = _reduction("reduce_max", "maximum", jvp=_extremum_rule, identity=False, samples=_nonempty_samples)
reduce_min_p = _reduction("reduce_min", "minimum", jvp=_extremum_rule, identity=False, samples=_nonempty_samples)


def reduce_max(x: Any, axes: Any = None) -> Any:
    """The maximum over ``axes`` (all of them if None); NaN where there is one. Complex numbers order as in NumPy.

    The derivative is shared evenly among the elements that attain the maximum.

    Raises:
        ShapeError: a reduced axis has no elements.

    >>> reduce_max(np.array([[1.0, 4.0], [3.0, 2.0]]), (1,))
    array([4., 3.])
    """
    return reduce_max_p.bind(x, axes=_nonempty("reduce_max", x, axes))


def reduce_min(x: Any, axes: Any = None) -> Any:
    """The minimum over ``axes`` (all of them if None); otherwise as ``reduce_max``.

    >>> reduce_min(np.array([[1.0, 4.0], [3.0, 2.0]]))
    np.float64(1.0)
    """
    return reduce_min_p.bind(x, axes=_nonempty("reduce_min", x, axes))


def _nonempty(name: str, x: Any, axes: Any) -> Axes:
    shape = aval_of(x).shape
    found = normalize_axes(name, axes, len(shape))
    if 0 in shape and 0 in [shape[a] for a in found]:
        raise errors.ShapeError(f"{name}: an array of shape {shape} has no elements along axes={found}")
    return found


# -- places of extrema ----------------------------------------------------------------------------------------------


def _arg_extremum(name: str) -> Primitive:
    def infer(x: ShapedArray, *, axis: int) -> ShapedArray:
        shape = reduced_shape(name, x, (axis,))
        if x.shape[axis] == 0:
            raise errors.ShapeError(f"{name}: axis {axis} of shape {x.shape} has no elements to choose from")
        return shaped(shape, np.dtype(np.intp), "numpy")

    def batch(batch_axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axis: int) -> Any:
        d = dims[0]
        return prim.bind(args[0], axis=axis + (axis >= d)), d - (axis < d)

    def prim_of() -> Primitive:
        return prim

    prim = Primitive(
        name,
        shape=infer,
        impl=lambda xp, x, *, axis: getattr(x, name)(axis),
        jvp=no_tangent(prim_of),
        batch=batch,
        kind="library",
        monoid=name,
        traits=frozenset({Trait.REDUCTION}),
        samples=lambda: [
            Sample((np.array([[0.5, -1.5, 0.5], [1.25, 3.0, np.nan]]),), {"axis": 1}, 0),
            Sample((np.array([[3, 1], [3, 2], [0, 2]]),), {"axis": 0}),
            Sample((np.array([1 - 1j, 1 + 2j], np.complex64),), {"axis": 0}, 0),
            Sample((np.array([False, True, True]),), {"axis": 0}),
            Sample((np.zeros((2, 0)),), {"axis": 0}, 0),
        ],
    )
    return prim


argmax_p = _arg_extremum("argmax")
argmin_p = _arg_extremum("argmin")


def argmax(x: Any, axis: int, index_dtype: Any = None) -> Any:
    """The index of the first maximum along an axis, of the first NaN where there is one.

    Args:
        index_dtype: the dtype of the index; that of NumPy's indices if None.

    Raises:
        ShapeError: the axis has no elements.

    >>> argmax(np.array([[1.0, 4.0], [3.0, 2.0]]), 1)
    array([1, 0])
    """
    found = argmax_p.bind(x, axis=_searched("argmax", x, axis))
    return found if index_dtype is None else structural.convert(found, index_dtype)


def argmin(x: Any, axis: int, index_dtype: Any = None) -> Any:
    """The index of the first minimum along an axis; otherwise as ``argmax``.

    >>> argmin(np.array([[1.0, 4.0], [3.0, 2.0]]), 1)
    array([0, 1])
    """
    found = argmin_p.bind(x, axis=_searched("argmin", x, axis))
    return found if index_dtype is None else structural.convert(found, index_dtype)


def _searched(name: str, x: Any, axis: int) -> int:
    shape = aval_of(x).shape
    d = normalize_axis(name, axis, len(shape))
    if shape[d] == 0:
        raise errors.ShapeError(f"{name}: axis {d} of shape {shape} has no elements to choose from")
    return d
