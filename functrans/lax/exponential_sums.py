"""The logarithm of a sum of exponentials, over axes and running along one, without overflow or cancellation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import structural
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import reduced_shape, shift_axes
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg
from functrans.lax.cumulative import bind_running, cumulative, linear_recurrence_p, previous, running_samples
from functrans.lax.families import accept, tangent_rules
from functrans.lax.reduction import Axes, expanded, weights_batch, weights_samples, weights_shape
from functrans.lax.static import normalize_axes

# -- exp(x - out), the derivative of both ---------------------------------------------------------------------------


def _exp_weights_impl(xp: Any, x: Any, out: Any, *, axes: Axes) -> Any:
    x, total = expanded(xp, x, out, axes)
    with np.errstate(invalid="ignore"):
        weights = xp.asarray(xp.exp(x - total))
    if (total.real == -np.inf).any():
        weights[x.real == -np.inf] = 0
    return weights


def _repeat(t: Any, x: Any, axes: Axes) -> Any:
    shape = aval_of(x).shape
    return structural.broadcast(t, shape, [a for a in range(len(shape)) if a not in axes])


exp_weights_p: Primitive = Primitive(
    "exp_weights",
    shape=weights_shape("exp_weights"),
    impl=_exp_weights_impl,
    jvp=tangent_rules(
        lambda: exp_weights_p,
        lambda t, w, x, out, *, axes: mul(t, w),
        lambda t, w, x, out, *, axes: neg(mul(_repeat(t, x, axes), w)),
    ),
    batch=weights_batch(lambda: exp_weights_p),
    kind="library",
    samples=lambda: weights_samples(np.max, 2),
)
"""``exp(x - out)`` with ``out`` repeated along the reduced axes, and zero where ``x`` is minus infinity.

The difference of two infinities would be NaN, and a masked element has no influence rather than an unknown one.
"""

# -- over axes --------------------------------------------------------------------------------------------------------


def _logsumexp_shape(x: ShapedArray, *, axes: Axes) -> ShapedArray:
    accept("logsumexp", "fc", [x])
    return shaped(reduced_shape("logsumexp", x, axes), x.dtype, "numpy")


def _logsumexp_impl(xp: Any, x: Any, *, axes: Axes) -> Any:
    x = xp.asarray(x)
    kept = [a for a in range(x.ndim) if a not in axes]
    shape = [x.shape[a] for a in kept]
    count = int(np.prod([x.shape[a] for a in axes]))
    if count == 0:
        return xp.full(shape, -np.inf, x.dtype)[()]
    rows = x.transpose(*kept, *axes).reshape(-1, count)
    at = xp.arange(len(rows)), rows.real.argmax(1)
    top = rows.real[at]
    # The largest term is left to log1p: added to the others it would swallow what is below its rounding error.
    with np.errstate(over="ignore", invalid="ignore"):
        terms = xp.exp(rows - xp.where(xp.isfinite(top), top, 0)[:, None])
        first = terms[at] if x.dtype.kind == "c" else 1
        terms[at] = 0
        others = terms.sum(1)
        out = top + (xp.log(first + others) if x.dtype.kind == "c" else xp.log1p(others))
    return out.astype(x.dtype, copy=False).reshape(shape)[()]


def _logsumexp_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: Axes) -> Any:
    d = dims[0]
    return logsumexp_p.bind(args[0], axes=shift_axes(axes, d)), d - sum(a < d for a in axes)


def _logsumexp_samples() -> list[Sample]:
    x = np.array([[[0.5, -1.5], [2.0, 1.25]], [[-2.5, 0.25], [1.5, -0.5]]])
    return [
        Sample((x,), {"axes": (1,)}),
        Sample((x,), {"axes": (0, 2)}),
        Sample((x[0].astype(np.float32),), {"axes": (0, 1)}),
        Sample((x[0] + 1j * x[1],), {"axes": (0,)}),
        Sample((np.array([[0.5, -np.inf], [-np.inf, -np.inf]]),), {"axes": (1,)}, 0),
        Sample((x[0],), {"axes": ()}),
        Sample((1.5,), {"axes": ()}),
        Sample((np.zeros((0, 2)),), {"axes": (0,)}, 0),
        Sample((np.zeros((2, 0)),), {"axes": (0,)}),
    ]


logsumexp_p: Primitive = Primitive(
    "logsumexp",
    shape=_logsumexp_shape,
    impl=_logsumexp_impl,
    jvp=tangent_rules(
        lambda: logsumexp_p,
        lambda t, out, x, *, axes: structural.reduce_sum(mul(t, exp_weights_p.bind(x, out, axes=axes)), axes),
    ),
    batch=_logsumexp_batch,
    kind="library",
    traits=frozenset({Trait.REDUCTION}),
    samples=_logsumexp_samples,
)


def logsumexp(x: Any, axes: Any = None) -> Any:
    """``log(sum(exp(x)))`` over ``axes`` (all of them if None), without overflow.

    Its derivative is the softmax. Elements that are minus infinity count for nothing, in the derivative too; of nothing
    else the result is minus infinity and the derivative zero.

    >>> logsumexp(np.array([1000.0, 1000.0, -np.inf]))
    np.float64(1000.6931471805599)
    """
    aval = aval_of(x)
    accept("logsumexp", "fc", [aval])
    return logsumexp_p.bind(x, axes=normalize_axes("logsumexp", axes, aval.ndim))


# -- along an axis --------------------------------------------------------------------------------------------------


def _cumlogsumexp_rule(t: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    before = previous(out, axis, reverse, -np.inf)
    factors = exp_weights_p.bind(before, out, axes=())
    terms = mul(t, exp_weights_p.bind(x, out, axes=()))
    return linear_recurrence_p.bind(factors, terms, axis=axis, reverse=reverse)


cumlogsumexp_p: Primitive = cumulative(
    "cumlogsumexp",
    "logaddexp",
    jvp=tangent_rules(lambda: cumlogsumexp_p, _cumlogsumexp_rule),
    kinds="f",
    samples=running_samples("f"),
)


def cumlogsumexp(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The running ``logsumexp`` of floats along an axis.

    >>> cumlogsumexp(np.array([-np.inf, 0.0, 0.0]))
    array([      -inf, 0.        , 0.69314718])
    """
    return bind_running(cumlogsumexp_p, x, axis, reverse)
