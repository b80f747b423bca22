"""Sorting along an axis, wholly or in part. Derivatives follow the elements to their new places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Picked, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import check_axes, zero_of
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.families import no_tangent
from functrans.lax.static import normalize_axis

# -- permutations along an axis -------------------------------------------------------------------------------------


def _inverse_impl(xp: Any, permutation: Any, *, axis: int) -> Any:
    out = xp.empty_like(permutation)
    shape = [1] * permutation.ndim
    shape[axis] = permutation.shape[axis]
    places = xp.broadcast_to(xp.arange(permutation.shape[axis]).reshape(shape), permutation.shape)
    xp.put_along_axis(out, permutation, places, axis)
    return out


def _axis_batch(prim_of: Any) -> Any:
    """The batch rule of operations on operands of one shape along an axis."""

    def batch(
        batch_axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axis: int, **params: Any
    ) -> Any:
        d = next(d for d in dims if d is not None)
        whole = [materialize(batch_axis, x, at, d) for x, at in zip(args, dims, strict=True)]
        return prim_of().bind(*whole, axis=axis + (axis >= d), **params), d

    return batch


def _indices_shape(name: str) -> Any:
    def infer(permutation: ShapedArray, *, axis: int) -> ShapedArray:
        check_axes(name, permutation.ndim, (axis,))
        if permutation.dtype.kind not in "iu":
            raise errors.DTypeError(f"{name}: the indices must be integers, got {permutation}")
        return permutation

    return infer


inverse_permutation_p: Primitive = Primitive(
    "inverse_permutation",
    shape=_indices_shape("inverse_permutation"),
    impl=_inverse_impl,
    jvp=no_tangent(lambda: inverse_permutation_p),
    batch=_axis_batch(lambda: inverse_permutation_p),
    kind="library",
    samples=lambda: [
        Sample((np.array([[2, 0, 1], [0, 2, 1]]),), {"axis": 1}),
        Sample((np.array([[1, 0], [0, 1]]),), {"axis": 0}),
    ],
)


def _permute_shape(x: ShapedArray, permutation: ShapedArray, *, axis: int) -> ShapedArray:
    if x.shape != permutation.shape:
        raise errors.ShapeError(f"permute: indices of shape {permutation.shape} do not fit an array of {x.shape}")
    _indices_shape("permute")(permutation, axis=axis)
    return x


def _permute_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int) -> tuple[Any, Any]:
    (x, permutation), (t, _) = primals, tangents
    out = permute_p.bind(x, permutation, axis=axis)
    if isinstance(t, Zero) or not dtypes.is_inexact(aval_of(out).dtype):
        return out, zero_of(out)
    return out, permute_p.bind(t, permutation, axis=axis)


def _permute_transpose(ct: Any, x: Undefined, permutation: Any, *, axis: int) -> list[Any]:
    return [permute_p.bind(ct, inverse_permutation_p.bind(permutation, axis=axis), axis=axis), None]


def _permute_index(at: Sequence[Any], x: ShapedArray, permutation: ShapedArray, *, axis: int) -> Source:
    turn = x.shape[axis] if permutation.dtype.kind == "i" else 0
    picked = Picked(1, tuple(at), x.shape[axis], "raise", turn)
    return Source(0, (*at[:axis], picked, *at[axis + 1 :]))


permute_p: Primitive = Primitive(
    "permute",
    index=_permute_index,
    shape=_permute_shape,
    impl=lambda xp, x, permutation, *, axis: xp.take_along_axis(x, permutation, axis),
    jvp=_permute_jvp,
    transpose=_permute_transpose,
    batch=_axis_batch(lambda: permute_p),
    kind="library",
    traits=frozenset({Trait.MOVEMENT}),
    samples=lambda: [
        Sample((np.array([[0.5, 1.5, -2.0], [1.0, 3.0, 2.0]]), np.array([[2, 0, 1], [0, 2, 1]])), {"axis": 1}),
        Sample((np.array([1j, 2.0, 3.0]), np.array([2, 0, 1])), {"axis": 0}),
        Sample((np.array([7, 8, 9]), np.array([2, 0, 1])), {"axis": 0}),
    ],
)


def permute(x: Any, permutation: Any, axis: int = -1) -> Any:
    """The elements of ``x`` in the order that a permutation of the indices along an axis gives.

    Args:
        x: an array.
        permutation: integers of the same shape; along the axis each index occurs once.

    >>> permute(np.array([5.0, 6.0, 7.0]), np.array([2, 0, 1]))
    array([7., 5., 6.])
    """
    d = normalize_axis("permute", axis, aval_of(x).ndim)
    _permute_shape(aval_of(x), aval_of(permutation), axis=d)
    return permute_p.bind(x, permutation, axis=d)


# -- sorting ----------------------------------------------------------------------------------------------------------


def _kind(stable: bool) -> str | None:
    return "stable" if stable else None


def _argsort_shape(*keys: ShapedArray, axis: int, stable: bool) -> ShapedArray:
    _check_keys("argsort", keys, axis)
    return shaped(keys[0].shape, np.dtype(np.intp))


def _check_keys(name: str, keys: Sequence[ShapedArray], axis: int) -> None:
    if not keys:
        raise errors.ShapeError(f"{name}: at least one array is needed")
    check_axes(name, keys[0].ndim, (axis,))
    for i, key in enumerate(keys):
        if key.shape != keys[0].shape:
            raise errors.ShapeError(f"{name}: operand {i} has shape {key.shape}, and the first one {keys[0].shape}")


def _argsort_impl(xp: Any, *keys: Any, axis: int, stable: bool) -> Any:
    if len(keys) == 1:
        return xp.argsort(keys[0], axis, kind=_kind(stable))
    if xp is np:
        return np.lexsort(keys[::-1], axis)
    order = xp.argsort(keys[-1], axis)
    for key in keys[-2::-1]:
        order = xp.take_along_axis(order, xp.argsort(xp.take_along_axis(key, order, axis), axis, kind="stable"), axis)
    return order


def _keys_samples() -> list[Sample]:
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75], [0.0, 0.25, 1.0]])
    last = {"axis": 1, "stable": True}
    return [
        Sample((x,), last),
        Sample((x.astype(np.float32),), {"axis": 0, "stable": False}),
        Sample((np.array([1j, 1.0, 1 - 1j]),), {"axis": 0, "stable": True}, 0),
        Sample((np.array([3, 1, 2]),), {"axis": 0, "stable": False}),
        Sample((np.array([True, False]),), {"axis": 0, "stable": True}),
        Sample((x[:, :0],), last),
    ]


argsort_p: Primitive = Primitive(
    "argsort",
    shape=_argsort_shape,
    impl=_argsort_impl,
    jvp=no_tangent(lambda: argsort_p),
    batch=_axis_batch(lambda: argsort_p),
    kind="library",
    traits=frozenset({Trait.COSTLY}),
    samples=lambda: [
        *_keys_samples(),
        Sample((np.array([2, 1, 2, 1]), np.array([0.5, -1.0, -0.5, 2.0])), {"axis": 0, "stable": True}, 0),
    ],
)


def _sort_shape(x: ShapedArray, *, axis: int, stable: bool) -> ShapedArray:
    check_axes("sort", x.ndim, (axis,))
    return x


def _sort_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, stable: bool) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    if isinstance(t, Zero) or not dtypes.is_inexact(aval_of(x).dtype):
        out = sort_p.bind(x, axis=axis, stable=stable)
        return out, zero_of(out)
    order = argsort_p.bind(x, axis=axis, stable=stable)
    return permute_p.bind(x, order, axis=axis), permute_p.bind(t, order, axis=axis)


sort_p: Primitive = Primitive(
    "sort",
    shape=_sort_shape,
    impl=lambda xp, x, *, axis, stable: xp.sort(x, axis, kind=_kind(stable)),
    jvp=_sort_jvp,
    batch=_axis_batch(lambda: sort_p),
    kind="library",
    traits=frozenset({Trait.COSTLY}),
    samples=_keys_samples,
)


def argsort(keys: Any, axis: int = -1, *, stable: bool = True) -> Any:
    """The indices that sort an array along an axis; NaNs come last.

    Args:
        keys: an array, or a list of arrays of one shape of which the first counts most.
        stable: whether equal elements keep their order; several keys always do.

    >>> argsort(np.array([3, 1, 2]))
    array([1, 2, 0])
    >>> argsort([np.array([1, 0, 1]), np.array([5, 6, 4])])
    array([1, 2, 0])
    """
    operands = list(keys) if isinstance(keys, (list, tuple)) else [keys]
    avals = [aval_of(k) for k in operands]
    d = normalize_axis("argsort", axis, avals[0].ndim if avals else 0)
    _check_keys("argsort", avals, d)
    return argsort_p.bind(*operands, axis=d, stable=bool(stable) or len(operands) > 1)


def sort(operands: Any, axis: int = -1, *, num_keys: int = 1, stable: bool = True) -> Any:
    """An array sorted along an axis; or several arrays, brought into the order of the first ``num_keys`` of them.

    NaNs come last, complex numbers are compared by real part, then by imaginary part. Derivatives go with the elements;
    those of equal elements in the order in which these come out.

    Args:
        operands: an array, or a list of arrays of one shape.
        num_keys: how many of the arrays are compared, the first one counting most.
        stable: whether equal elements keep their order; for several arrays they always do.

    Returns:
        An array, or a list of arrays.

    >>> sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    >>> sort([np.array([2, 1, 2]), np.array([5.0, 6.0, 4.0])], num_keys=2)
    [array([1, 2, 2]), array([6., 4., 5.])]
    """
    if not isinstance(operands, (list, tuple)):
        return sort_p.bind(operands, axis=normalize_axis("sort", axis, aval_of(operands).ndim), stable=bool(stable))
    avals = [aval_of(x) for x in operands]
    d = normalize_axis("sort", axis, avals[0].ndim if avals else 0)
    _check_keys("sort", avals, d)
    if not 1 <= num_keys <= len(operands):
        raise errors.ArgumentError(f"sort: num_keys={num_keys} must lie between 1 and the {len(operands)} operands")
    order = argsort_p.bind(*operands[:num_keys], axis=d, stable=True)
    return [permute_p.bind(x, order, axis=d) for x in operands]


# -- partitions -------------------------------------------------------------------------------------------------------

Places = tuple[int, ...]


def _partition_shape(name: str, integers: bool) -> Any:
    def infer(x: ShapedArray, *, axis: int, kth: Places) -> ShapedArray:
        check_axes(name, x.ndim, (axis,))
        if any(not 0 <= k < x.shape[axis] for k in kth):
            raise errors.ShapeError(f"{name}: kth={kth} must be places along axis {axis} of shape {x.shape}")
        return shaped(x.shape, np.dtype(np.intp)) if integers else x

    return infer


def _partition_samples() -> list[Sample]:
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75], [0.0, 0.25, 1.0]])
    return [
        Sample((x,), {"axis": 1, "kth": (1,)}),
        Sample((x.astype(np.float32),), {"axis": 0, "kth": (0, 2)}),
        Sample((np.array([1j, 1.0, 1 - 1j]),), {"axis": 0, "kth": (1,)}, 0),
        Sample((np.array([3, 1, 2]),), {"axis": 0, "kth": (2,)}),
        Sample((x[:0],), {"axis": 1, "kth": (1,)}),
    ]


argpartition_p: Primitive = Primitive(
    "argpartition",
    shape=_partition_shape("argpartition", True),
    impl=lambda xp, x, *, axis, kth: xp.argpartition(x, kth, axis),
    jvp=no_tangent(lambda: argpartition_p),
    batch=_axis_batch(lambda: argpartition_p),
    kind="library",
    traits=frozenset({Trait.COSTLY}),
    samples=_partition_samples,
)


def _partition_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, kth: Places) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    if isinstance(t, Zero) or not dtypes.is_inexact(aval_of(x).dtype):
        out = partition_p.bind(x, axis=axis, kth=kth)
        return out, zero_of(out)
    order = argpartition_p.bind(x, axis=axis, kth=kth)
    return permute_p.bind(x, order, axis=axis), permute_p.bind(t, order, axis=axis)


partition_p: Primitive = Primitive(
    "partition",
    shape=_partition_shape("partition", False),
    impl=lambda xp, x, *, axis, kth: xp.partition(x, kth, axis),
    jvp=_partition_jvp,
    batch=_axis_batch(lambda: partition_p),
    kind="library",
    traits=frozenset({Trait.COSTLY}),
    samples=_partition_samples,
)


def _places(name: str, x: Any, kth: int | Sequence[int], axis: int) -> tuple[int, Places]:
    d = normalize_axis(name, axis, aval_of(x).ndim)
    extent = aval_of(x).shape[d]
    return d, tuple(normalize_axis(name, k, extent, "kth") for k in (kth if isinstance(kth, Sequence) else (kth,)))


def partition(x: Any, kth: int | Sequence[int], axis: int = -1) -> Any:
    """An array with the elements at the places ``kth`` where sorting would put them, smaller ones before them.

    The order among the others is not specified. Derivatives go with the elements.

    >>> partition(np.array([3.0, 1.0, 2.0]), 2)[2]
    np.float64(3.0)
    """
    d, places = _places("partition", x, kth, axis)
    return partition_p.bind(x, axis=d, kth=places)


def argpartition(x: Any, kth: int | Sequence[int], axis: int = -1) -> Any:
    """The indices that bring an array into the order that ``partition`` gives.

    >>> argpartition(np.array([3.0, 1.0, 2.0]), 0)[0]
    np.int64(1)
    """
    d, places = _places("argpartition", x, kth, axis)
    return argpartition_p.bind(x, axis=d, kth=places)
