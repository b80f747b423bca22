"""Functions that relate elements to the others along axes: softmax and its relatives, standardisation.

Elements that are minus infinity, and those that a mask ``where`` leaves out, count for nothing, in the derivative too;
masked elements may hold anything. Where nothing counts, the softmax is 0, its logarithm minus infinity, and derivatives
are 0. Where an element is plus infinity the result is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, broadcast_to, convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import bitwise_and, eq, gt, isinf, lt
from functrans.lax.complex import real
from functrans.lax.creation import full
from functrans.lax.exponential import exp, expm1, log, log1p
from functrans.lax.exponential_sums import logsumexp as sum_of_exponentials
from functrans.lax.families import FLOAT
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import sign
from functrans.lax.movement import squeeze
from functrans.lax.power import rsqrt, square
from functrans.lax.reduction import reduce_max, reduce_sum
from functrans.lax.selection import select, stop_gradient
from functrans.nn.arguments import floating, together
from functrans.numpy.arguments import keep_axes, mask_of, reduction_axes

Axes = tuple[int, ...]


def _arguments(name: str, x: Any, axis: Any, where: Any, kinds: str = "f") -> tuple[Any, Axes, Any]:
    """The operand, the axes and the mask, of the operand's shape; None for no mask."""
    x = floating(name, x, kinds)
    shape = aval_of(x).shape
    axes = reduction_axes(name, axis, len(shape))
    mask = mask_of(name, True if where is None else where, shape)
    return x, axes, None if mask is None else broadcast_to(mask, shape)


def _largest(x: Any, axes: Axes) -> Any:
    """A constant to subtract along axes, so that exponentials do not overflow: the maximum, or 0 where that is -inf."""
    x = stop_gradient(x)
    if 0 in [aval_of(x).shape[a] for a in axes]:
        top = reduce_sum(x, axes)
    else:
        top = reduce_max(x, axes)
    return keep_axes(x, select(eq(top, -np.inf), 0.0, top), axes, True)


def _masked(x: Any, mask: Any) -> Any:
    return x if mask is None else select(mask, x, -np.inf)


def softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along axes: positive numbers whose sum is 1.

    Args:
        x: floats.
        axis: an axis, or a tuple of them; all of them for None.
        where: booleans that broadcast to the shape of ``x``: which elements take part. The others give 0.

    Returns:
        An array like ``x``. Where no element takes part, or all of them are minus infinity, it is 0.

    Raises:
        ShapeError: an axis that ``x`` does not have, or a mask that does not broadcast to its shape.
        DTypeError: ``x`` is complex, or ``where`` holds no booleans.

    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    x, axes, mask = _arguments("softmax", x, axis, where)
    x = _masked(x, mask)
    weights = exp(sub(x, _largest(x, axes)))
    total = keep_axes(x, reduce_sum(weights, axes), axes, True)
    return div(weights, select(eq(total, 0.0), 1.0, total))


def log_softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """The logarithm of the ``softmax``, which is precise where that is small, too.

    The arguments are those of ``softmax``. Elements that do not take part give minus infinity.

    >>> import numpy as np
    >>> log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    x, axes, mask = _arguments("log_softmax", x, axis, where)
    x = _masked(x, mask)
    x = sub(x, _largest(x, axes))
    total = keep_axes(x, reduce_sum(exp(x), axes), axes, True)
    return sub(x, log(select(eq(total, 0.0), 1.0, total)))


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False, where: Any = None
) -> Any:
    """``log(sum(b * exp(a)))`` over axes, without overflow; see ``scipy.special.logsumexp``.

    Args:
        a: floats or complex numbers.
        axis: an axis, or a tuple of them; all of them for None.
        b: factors, which broadcast with ``a``; 1 if None. Where one is 0 its ``a`` may be infinite.
        keepdims: whether to keep the reduced axes with extent 1.
        return_sign: whether to return the logarithm of the sum's absolute value, and its sign. Without that the
            result is NaN where the sum is negative.
        where: booleans that broadcast to the shape of ``a * b``: which elements take part.

    Returns:
        The logarithm; minus infinity where no element takes part, with derivative 0. With ``return_sign`` a pair of
        it and the sign: -1, 0 or 1, or the phase of a complex sum.

    >>> import numpy as np
    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    >>> logsumexp(np.zeros(2), b=np.array([1.0, -3.0]), return_sign=True)
    (np.float64(0.6931471805599453), np.float64(-1.0))
    """
    if b is None and not return_sign:
        a, axes, mask = _arguments("logsumexp", a, axis, where, FLOAT)
        return keep_axes(a, sum_of_exponentials(_masked(a, mask), axes), axes, keepdims)
    a, b = together("logsumexp", a, 1.0 if b is None else b, kinds=FLOAT)
    shape = broadcast_shapes("logsumexp", aval_of(a).shape, aval_of(b).shape)
    a, axes, mask = _arguments("logsumexp", broadcast_to(a, shape), axis, where, FLOAT)
    b = broadcast_to(b, shape)
    if mask is not None:
        a, b = select(mask, a, 0.0), select(mask, b, 0.0)
    exponent = real(a) if dtypes.is_complex(aval_of(a).dtype) else a
    unused = eq(b, 0.0)
    top = _largest(select(unused, -np.inf, exponent), axes)
    top = select(isinf(top), 0.0, top)
    # The derivative with respect to a factor of 0 is its exponential, which must be finite for 0 times it to be 0.
    limit = math.log(float(np.finfo(aval_of(exponent).dtype).max)) - 1.0
    beyond = bitwise_and(unused, gt(sub(exponent, top), limit))
    powers = exp(select(beyond, limit, sub(a, convert(top, aval_of(a).dtype))))
    total = keep_axes(a, reduce_sum(mul(b, powers), axes), axes, True)
    none = eq(total, 0.0)
    size = select(none, 1.0, total)
    logarithm = log(magnitude(size) if return_sign else size)
    logarithm = add(logarithm, convert(top, aval_of(logarithm).dtype))
    out = _without(select(none, -np.inf, logarithm), axes, keepdims)
    return (out, _without(sign(total), axes, keepdims)) if return_sign else out


def _without(x: Any, axes: Axes, keepdims: bool) -> Any:
    return rebox(x if keepdims or not aval_of(x).ndim else squeeze(x, axes), "numpy")


def logmeanexp(x: Any, axis: Any = None, where: Any = None, keepdims: bool = False) -> Any:
    """``log(mean(exp(x)))`` over axes, without overflow.

    Args:
        x: floats.
        axis: an axis, or a tuple of them; all of them for None.
        where: booleans that broadcast to the shape of ``x``: which elements take part.
        keepdims: whether to keep the reduced axes with extent 1.

    Returns:
        The logarithm; minus infinity where no element takes part.

    >>> import numpy as np
    >>> logmeanexp(np.array([1000.0, 1000.0]))
    np.float64(1000.0)
    """
    x, axes, mask = _arguments("logmeanexp", x, axis, where)
    total = keep_axes(x, sum_of_exponentials(_masked(x, mask), axes), axes, keepdims)
    return sub(total, log(keep_axes(x, _count(x, axes, mask), axes, keepdims)))


def _count(x: Any, axes: Axes, mask: Any) -> Any:
    """How many elements take part, at least 1, in the dtype of ``x``."""
    aval = aval_of(x)
    if mask is None:
        count = math.prod(aval.shape[a] for a in axes)
        return full([n for a, n in enumerate(aval.shape) if a not in axes], max(count, 1), aval.dtype)
    return convert(larger(reduce_sum(convert(mask, np.int64), axes), 1), aval.dtype)


def log1mexp(x: Any) -> Any:
    """``log(1 - exp(-x))`` for positive ``x``, precise for small and for large ones.

    At 0 it is minus infinity, below NaN, and NumPy warns as it does for the logarithm.

    >>> import numpy as np
    >>> log1mexp(np.array([1e-20, 50.0]))
    array([-4.60517019e+01, -1.92874985e-22])
    """
    x = floating("log1mexp", x)
    small = lt(x, math.log(2))
    near, far = select(small, x, 1.0), select(small, 1.0, x)
    return rebox(select(small, log(neg(expm1(neg(near)))), log1p(neg(exp(neg(far))))), "numpy")


def standardize(
    x: Any, axis: Any = -1, mean: Any = None, variance: Any = None, epsilon: Any = 1e-5, where: Any = None
) -> Any:
    """``(x - mean) / sqrt(variance + epsilon)``, by default with mean and variance along axes.

    Args:
        x: floats. Half precision is computed in single precision.
        axis: an axis, or a tuple of them; all of them for None.
        mean: what to subtract in place of the mean along the axes; it broadcasts with ``x``.
        variance: what to divide by the square root of, in place of the mean of ``(x - mean)**2`` along the axes; it
            broadcasts with ``x``.
        epsilon: is added to the variance, so that a constant ``x`` gives 0.
        where: booleans that broadcast to the shape of ``x``: which elements mean and variance are taken of. All
            elements are standardised.

    Returns:
        An array like ``x``.

    >>> import numpy as np
    >>> standardize(np.array([[1.0, 3.0], [2.0, 2.0]]), epsilon=0.25)
    array([[-0.89442719,  0.89442719],
           [ 0.        ,  0.        ]])
    """
    given = [v for v in (mean, variance) if v is not None]
    x, *parameters = together("standardize", x, *given, epsilon)
    dtype = aval_of(x).dtype
    wide = np.dtype(np.float32) if dtype.itemsize < 4 else dtype
    x, *parameters = (convert(v, wide) for v in (x, *parameters))
    x, axes, mask = _arguments("standardize", x, axis, where)
    center = parameters.pop(0) if mean is not None else _mean(x, axes, mask)
    x = sub(x, center)
    spread = parameters.pop(0) if variance is not None else _mean(square(x), axes, mask)
    return convert(mul(x, rsqrt(add(spread, parameters[0]))), dtype)


def _mean(x: Any, axes: Axes, mask: Any) -> Any:
    total = reduce_sum(x if mask is None else select(mask, x, 0.0), axes)
    return keep_axes(x, div(total, _count(x, axes, mask)), axes, True)
