"""Recursive linear filters with constant coefficients."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import add, broadcast, move_axis
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg
from functrans.lax.creation import zeros_like
from functrans.lax.families import accept, tangent_rules
from functrans.lax.movement import rev
from functrans.lax.slicing import pad, slice_in_dim
from functrans.lax.static import common_dtype

# Coefficients have leading axes (none, unless vmap made some), the signal has the same ones, then any others. The last
# axis of the one counts coefficients, that of the other time.


@cache
def _library() -> Any:
    """SciPy's filters; None where SciPy is not installed."""
    try:
        return importlib.import_module("scipy.signal")
    except ImportError:
        return None


def _shape(a: ShapedArray, x: ShapedArray) -> ShapedArray:
    accept("recursive_filter", "fc", [a, x])
    lead = a.ndim - 1
    if lead < 0 or x.ndim <= lead or x.shape[:lead] != a.shape[:lead]:
        raise errors.ShapeError(
            f"recursive_filter: a vector of coefficients and an array with an axis or more are needed, with the same "
            f"leading axes; got shapes {a.shape} and {x.shape}"
        )
    return shaped(x.shape, common_dtype("recursive_filter", (a, x)))


def _impl(xp: Any, a: Any, x: Any) -> Any:
    lead = a.shape[:-1]
    library = _library() if xp is np and x.dtype.char in "fdFD" else None
    if not x.size or not a.shape[-1]:
        return x.copy()
    if library is None:
        return _by_steps(xp, a, x)
    out = np.empty_like(x)
    one = np.ones(1, a.dtype)
    for group in np.ndindex(lead):
        out[group] = library.lfilter(one, np.concatenate([one, a[group]]), x[group])
    return out


def _by_steps(xp: Any, a: Any, x: Any) -> Any:
    order = a.shape[-1]
    between = (1,) * (x.ndim - a.ndim)
    taps = [a[..., k].reshape(a.shape[:-1] + between) for k in range(order)]
    y = x.copy()
    for n in range(1, x.shape[-1]):
        for k in range(min(order, n)):
            y[..., n] -= taps[k] * y[..., n - 1 - k]
    return y


def delayed(x: Any, steps: int) -> Any:
    """``x`` moved on along its last axis, with zeros in front."""
    aval = aval_of(x)
    if steps >= aval.shape[-1]:
        return zeros_like(x)
    return pad(x, aval.dtype.type(0), [*[(0, 0, 0)] * (aval.ndim - 1), (steps, -steps, 0)])


def _weighted_past(a: Any, y: Any) -> Any:
    """The sum over ``k`` of ``a[k]`` times ``y`` delayed by ``k + 1`` steps."""
    shape, lead = aval_of(y).shape, aval_of(a).ndim - 1
    total: Any = zeros_like(y)
    for k in range(aval_of(a).shape[-1]):
        tap = broadcast(slice_in_dim(a, k, k + 1, axis=-1), (*shape[:-1], 1), (*range(lead), len(shape) - 1))
        total = add(total, mul(broadcast(tap, shape, range(len(shape))), delayed(y, k + 1)))
    return total


def _transpose(ct: Any, a: Any, x: Any) -> list[Any]:
    last = aval_of(ct).ndim - 1
    return [None, rev(recursive_filter_p.bind(a, rev(ct, last)), last)]


def _batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None]) -> tuple[Any, int]:
    (a, x), (da, dx) = args, dims
    if da is None:
        place = aval_of(a).ndim - 1
        return recursive_filter_p.bind(a, move_axis(x, dx, place)), place
    a = move_axis(a, da, 0)
    if dx is None:
        shape = aval_of(x).shape
        x = broadcast(x, (axis.size, *shape), range(1, len(shape) + 1))
    else:
        x = move_axis(x, dx, 0)
    return recursive_filter_p.bind(a, x), 0


def _samples() -> list[Sample]:
    a = np.array([0.5, -0.25])
    x = np.array([[0.5, -1.5, 2.0, 1.25], [3.0, -0.75, 0.25, -2.0]])
    return [
        Sample((a, x[:, :3])),
        Sample((np.stack([a, -a]), x[:, :3]), order=1),
        Sample((a.astype(np.float32), x[0].astype(np.float32))),
        Sample((a + 0.5j, x[0] - 1j * x[1]), order=1),
        Sample((a[:0], x[0])),
        Sample((a, x[:, :0])),
    ]


recursive_filter_p: Primitive = Primitive(
    "recursive_filter",
    shape=_shape,
    impl=_impl,
    jvp=tangent_rules(
        lambda: recursive_filter_p,
        lambda t, y, a, x: neg(recursive_filter_p.bind(a, _weighted_past(t, y))),
        lambda t, y, a, x: recursive_filter_p.bind(a, t),
    ),
    transpose=_transpose,
    batch=_batch,
    kind="library",
    samples=_samples,
    traits=frozenset({Trait.COSTLY}),
)


def recursive_filter(a: Any, x: Any) -> Any:
    """The signal ``y[n] = x[n] - a[0] * y[n - 1] - a[1] * y[n - 2] - ...`` along the last axis, at rest before it.

    Args:
        a: a vector of coefficients, floats or complex numbers.
        x: an array of the same dtype with an axis or more.

    Raises:
        ShapeError: ``a`` is no vector, or ``x`` has no axis.
        DTypeError: they differ in dtype.

    >>> recursive_filter(np.array([-0.5]), np.array([8.0, 0.0, 0.0, 1.0]))
    array([8., 4., 2., 2.])
    """
    _shape(aval_of(a), aval_of(x))
    return recursive_filter_p.bind(a, x)


__all__ = ["delayed", "recursive_filter", "recursive_filter_p"]
