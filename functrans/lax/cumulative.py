"""Running reductions along an axis: sums, products and extrema, forwards or in reverse.

Their derivatives rest on one more operation, the linear recurrence ``s[k] = a[k] * s[k - 1] + b[k]``, whose own
derivatives are linear recurrences again. So they hold to every order, and at zeros of a product too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import check_axes, linear_jvp
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.arithmetic import mul
from functrans.lax.families import ANY, Samples, accept, no_tangent, tangent_rules
from functrans.lax.slicing import pad
from functrans.lax.static import common_dtype, normalize_axis


def previous(x: Any, axis: int, reverse: bool, first: Any) -> Any:
    """The elements one step back in the running direction; ``first`` where there is none."""
    aval = aval_of(x)
    step = (-1, 1, 0) if reverse else (1, -1, 0)
    if aval.shape[axis] == 0:
        return x
    return pad(x, aval.dtype.type(first), [step if a == axis else (0, 0, 0) for a in range(aval.ndim)])


# -- the linear recurrence --------------------------------------------------------------------------------------------

_FEW = 16
"""For fewer sequences than this, plain Python numbers beat the overhead of a NumPy call per step."""


def _recurrence_shape(a: ShapedArray, b: ShapedArray, *, axis: int, reverse: bool) -> ShapedArray:
    check_axes("linear_recurrence", a.ndim, (axis,))
    if a.shape != b.shape:
        raise errors.ShapeError(f"linear_recurrence: factors of shape {a.shape} and terms of {b.shape} do not fit")
    accept("linear_recurrence", "fc", [a, b])
    return shaped(a.shape, common_dtype("linear_recurrence", (a, b)))


def _recurrence_impl(xp: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    out = xp.empty_like(b)
    n = b.shape[axis]
    if not b.size:
        return out
    a, b, steps = (xp.moveaxis(x, axis, 0) for x in (a, b, out))
    if reverse:
        a, b, steps = a[::-1], b[::-1], steps[::-1]
    if b[0].size < _FEW and xp is np and b.dtype.char in "efdFD":
        a, b = a.reshape(n, -1), b.reshape(n, -1)
        columns = [_run(a[:, j].tolist(), b[:, j].tolist()) for j in range(b.shape[1])]
        steps[...] = np.array(columns, b.dtype).T.reshape(steps.shape)
        return out
    steps[0] = b[0]
    for k in range(1, n):
        steps[k] = a[k] * steps[k - 1] + b[k]
    return out


def _run(factors: Sequence[Any], terms: Sequence[Any]) -> list[Any]:
    value = terms[0]
    values = [value]
    for k in range(1, len(terms)):
        value = factors[k] * value + terms[k]
        values.append(value)
    return values


def _recurrence_transpose(ct: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> list[Any]:
    return [None, linear_recurrence_p.bind(previous(a, axis, not reverse, 0), ct, axis=axis, reverse=not reverse)]


def _recurrence_batch(
    batch: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axis: int, reverse: bool
) -> Any:
    d = next(d for d in dims if d is not None)
    a, b = (materialize(batch, x, at, d) for x, at in zip(args, dims, strict=True))
    return linear_recurrence_p.bind(a, b, axis=axis + (axis >= d), reverse=reverse), d


def _recurrence_samples() -> list[Sample]:
    a = np.array([[0.5, -1.5, 2.0], [1.25, 0.0, -0.75]])
    b = np.array([[1.5, -0.5, 2.5], [0.25, 1.0, -1.0]])
    wide = np.linspace(-1.0, 1.0, 3 * _FEW).reshape(3, _FEW)
    return [
        Sample((a, b), {"axis": 1, "reverse": False}),
        Sample((a, b), {"axis": 0, "reverse": True}),
        Sample((wide, wide[::-1]), {"axis": 0, "reverse": False}),
        Sample((a[0].astype(np.float32), b[0].astype(np.float32)), {"axis": 0, "reverse": False}),
        Sample((a + 1j * b, b - 1j * a), {"axis": 1, "reverse": True}),
        Sample((a[:, :0], b[:, :0]), {"axis": 1, "reverse": False}),
    ]


linear_recurrence_p: Primitive = Primitive(
    "linear_recurrence",
    shape=_recurrence_shape,
    impl=_recurrence_impl,
    jvp=tangent_rules(
        lambda: linear_recurrence_p,
        lambda t, s, a, b, *, axis, reverse: linear_recurrence_p.bind(
            a, mul(t, previous(s, axis, reverse, 0)), axis=axis, reverse=reverse
        ),
        lambda t, s, a, b, *, axis, reverse: linear_recurrence_p.bind(a, t, axis=axis, reverse=reverse),
    ),
    transpose=_recurrence_transpose,
    batch=_recurrence_batch,
    kind="library",
    samples=_recurrence_samples,
)


def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The sequence ``s[k] = a[k] * s[k - 1] + b[k]`` along an axis, where ``s[0] = b[0]``; from the end in reverse.

    Args:
        a, b: floats or complex numbers of one shape and dtype. The first ``a`` has no influence.

    >>> linear_recurrence(np.full(4, 0.5), np.array([8.0, 0.0, 0.0, 1.0]))
    array([8., 4., 2., 2.])
    """
    d = normalize_axis("linear_recurrence", axis, aval_of(a).ndim)
    _recurrence_shape(aval_of(a), aval_of(b), axis=d, reverse=reverse)
    return linear_recurrence_p.bind(a, b, axis=d, reverse=bool(reverse))


# -- the family -----------------------------------------------------------------------------------------------------


_MONOIDS = {"add": "add", "multiply": "mul", "maximum": "max", "minimum": "min"}


def running(xp: Any, ufunc: str, x: Any, axis: int) -> Any:
    """The running reduction by a ufunc: by doubling, in a logarithmic number of steps, where a module has none."""
    function = getattr(xp, ufunc)
    if xp is np or ufunc in ("add", "multiply"):
        return function.accumulate(x, axis, x.dtype)
    out = xp.moveaxis(x, axis, 0)
    step = 1
    while step < len(out):
        out = xp.concatenate([out[:step], function(out[step:], out[:-step])])
        step *= 2
    return xp.moveaxis(out, 0, axis)


def cumulative(
    name: str, ufunc: str, *, jvp: Any, kinds: str = ANY, transpose: Any = None, samples: Samples
) -> Primitive:
    """The running reduction by a ufunc."""

    def infer(x: ShapedArray, *, axis: int, reverse: bool) -> ShapedArray:
        check_axes(name, x.ndim, (axis,))
        accept(name, kinds, [x])
        return shaped(x.shape, x.dtype)

    def impl(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
        if not reverse:
            return running(xp, ufunc, x, axis)
        return xp.flip(running(xp, ufunc, xp.flip(x, axis), axis), axis)

    def batch(batch_axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axis: int, reverse: bool) -> Any:
        d = dims[0]
        return prim.bind(args[0], axis=axis + (axis >= d), reverse=reverse), d

    prim = Primitive(
        name,
        shape=infer,
        impl=impl,
        jvp=jvp,
        transpose=transpose,
        batch=batch,
        kind="library",
        monoid=_MONOIDS.get(ufunc),
        samples=samples,
        traits=frozenset({Trait.CUMULATIVE}),
    )
    return prim


def running_samples(kinds: str = ANY) -> Samples:
    """Samples of a running reduction for the dtype kinds that it takes."""

    def samples() -> list[Sample]:
        x = np.array([[0.5, -1.5, 2.0, 1.25], [3.0, -0.75, 0.25, -2.0]])
        forwards, backwards = {"axis": 1, "reverse": False}, {"axis": 0, "reverse": True}
        result = [
            Sample((x,), forwards),
            Sample((x,), backwards),
            Sample((x.astype(np.float32),), forwards),
            Sample((x[:, :0],), forwards),
        ]
        if "c" in kinds:
            result.append(Sample((x + 1j * x[::-1],), forwards))
        if "i" in kinds:
            result.append(Sample((np.array([[3, -1], [3, 4]], np.int8),), backwards))
        if "b" in kinds:
            result.append(Sample((np.array([[True, False], [True, True]]),), forwards))
        return result

    return samples


def bind_running(prim: Primitive, x: Any, axis: int, reverse: bool) -> Any:
    """Apply a running reduction along an axis that may be counted from the end."""
    aval = aval_of(x)
    params = {"axis": normalize_axis(prim.name, axis, aval.ndim), "reverse": bool(reverse)}
    prim.shape(aval, **params)
    return prim.bind(x, **params)


# -- sums and products ----------------------------------------------------------------------------------------------

cumsum_p: Primitive = cumulative(
    "cumsum",
    "add",
    jvp=linear_jvp(lambda: cumsum_p),
    transpose=lambda ct, x, *, axis, reverse: [cumsum_p.bind(ct, axis=axis, reverse=not reverse)],
    samples=running_samples(),
)


def _cumprod_samples() -> list[Sample]:
    zeros = np.array([1.5, 0.0, -2.0, 0.5, 0.0, 3.0])
    return [*running_samples()(), Sample((zeros,), {"axis": 0, "reverse": False})]


cumprod_p: Primitive = cumulative(
    "cumprod",
    "multiply",
    jvp=tangent_rules(
        lambda: cumprod_p,
        lambda t, out, x, *, axis, reverse: linear_recurrence_p.bind(
            x, mul(t, previous(out, axis, reverse, 1)), axis=axis, reverse=reverse
        ),
    ),
    samples=_cumprod_samples,
)


def cumsum(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The running sum along an axis, in the operand's own dtype; of what follows each element in reverse.

    >>> cumsum(np.array([1, 2, 3]), reverse=True)
    array([6, 5, 3])
    """
    return bind_running(cumsum_p, x, axis, reverse)


def cumprod(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The running product along an axis. Its derivatives are right at zeros too.

    >>> cumprod(np.array([1.0, 2.0, 0.0, 4.0]))
    array([1., 2., 0., 0.])
    """
    return bind_running(cumprod_p, x, axis, reverse)


# -- extrema ----------------------------------------------------------------------------------------------------------


def _running_ties_shape(x: ShapedArray, out: ShapedArray, *, axis: int, reverse: bool) -> list[ShapedArray]:
    check_axes("running_ties", x.ndim, (axis,))
    if x != out:
        raise errors.ShapeError(f"running_ties: a running extremum of type {out} does not fit {x}")
    accept("running_ties", "fc", [x])
    return [x, x]


def _running_ties_impl(xp: Any, x: Any, out: Any, *, axis: int, reverse: bool) -> list[Any]:
    def flip(v: Any) -> Any:
        return xp.flip(v, 0) if reverse else v

    values, extrema = (flip(xp.moveaxis(v, axis, 0)) for v in (x, out))
    hit = (values == extrema) | (values != values)
    keep = xp.zeros(hit.shape, bool)
    keep[1:] = (extrema[1:] == extrema[:-1]) | ((extrema[1:] != extrema[1:]) & (extrema[:-1] != extrema[:-1]))
    seen = xp.cumsum(hit, 0)
    earlier = running(xp, "maximum", xp.where(keep, 0, seen - hit), 0)
    count = xp.maximum(seen - earlier, 1).astype(x.dtype)
    kept = xp.zeros_like(count)
    kept[1:] = xp.where(keep[1:], count[:-1] / count[1:], 0)
    return [xp.moveaxis(flip(v), 0, axis) for v in (kept, (hit / count).astype(x.dtype))]


def _running_ties_batch(
    batch: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axis: int, reverse: bool
) -> Any:
    d = next(d for d in dims if d is not None)
    x, out = (materialize(batch, v, at, d) for v, at in zip(args, dims, strict=True))
    return running_ties_p.bind(x, out, axis=axis + (axis >= d), reverse=reverse), [d, d]


def _running_ties_samples() -> list[Sample]:
    x = np.array([[1.0, 1.0, 0.5, 2.0, 2.0], [3.0, -1.0, 3.0, 3.0, 0.0]])
    return [
        Sample((x, np.maximum.accumulate(x, 1)), {"axis": 1, "reverse": False}, 0),
        Sample((x, np.minimum.accumulate(x[::-1], 0)[::-1]), {"axis": 0, "reverse": True}, 0),
        Sample((x[:0], x[:0]), {"axis": 0, "reverse": False}, 0),
    ]


running_ties_p: Primitive = Primitive(
    "running_ties",
    shape=_running_ties_shape,
    impl=_running_ties_impl,
    jvp=no_tangent(lambda: running_ties_p),
    batch=_running_ties_batch,
    multiple=True,
    kind="library",
    samples=_running_ties_samples,
)
"""With which weights a running extremum passes on the tangent before it, and takes up that of the element at hand:
among the elements so far that attain it (or are NaN) the shares are equal."""


def _running_extremum_rule(t: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    kept, taken = running_ties_p.bind(x, out, axis=axis, reverse=reverse)
    return linear_recurrence_p.bind(kept, mul(t, taken), axis=axis, reverse=reverse)


cummax_p: Primitive = cumulative(
    "cummax",
    "maximum",
    jvp=tangent_rules(lambda: cummax_p, _running_extremum_rule),
    samples=running_samples(),
)

cummin_p: Primitive = cumulative(
    "cummin",
    "minimum",
    jvp=tangent_rules(lambda: cummin_p, _running_extremum_rule),
    samples=running_samples(),
)


def cummax(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The running maximum along an axis, NaN from the first NaN on.

    The derivative is shared evenly among the elements so far that attain the maximum, as that of ``reduce_max`` is.

    >>> cummax(np.array([1.0, 3.0, 2.0]))
    array([1., 3., 3.])
    """
    return bind_running(cummax_p, x, axis, reverse)


def cummin(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The running minimum along an axis; otherwise as ``cummax``.

    >>> cummin(np.array([1.0, 3.0, 2.0]), reverse=True)
    array([1., 2., 2.])
    """
    return bind_running(cummin_p, x, axis, reverse)
