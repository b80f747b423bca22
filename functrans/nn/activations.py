"""Activation functions, element by element.

They take arrays, numbers and array-likes. Results have the dtype of the operand; integers become float64, but for
``relu`` and ``identity``, which keep them. Parameters such as ``alpha`` may be arrays that broadcast, are promoted
together with the operand as NumPy does it, and have derivatives.

What the derivative is at a kink stands with each function; it is 0 for ``relu`` at 0. At plus and minus infinity values
and derivatives are the limits: no function of one number turns an infinite or a very large one into NaN. NaN gives
NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from functrans import errors
from functrans.core.structural import rebox
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg
from functrans.lax.compare import eq, ge, gt, isinf, le, lt
from functrans.lax.error_functions import erfc
from functrans.lax.exponential import expm1, logaddexp, logistic
from functrans.lax.families import FLOAT
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import sign
from functrans.lax.power import sqrt, square
from functrans.lax.selection import select
from functrans.lax.slicing import slice_in_dim
from functrans.lax.static import normalize_axis
from functrans.lax.trigonometric import hypot
from functrans.lax.trigonometric import tanh as hyperbolic_tangent
from functrans.nn.arguments import floating, number, together
from functrans.numpy.dispatch import operand

# -- pieces -----------------------------------------------------------------------------------------------------------


def _positive_part(x: Any) -> Any:
    return select(le(x, 0), 0, x)


def _between(x: Any, low: Any, high: Any, below: Any, inside: Any, above: Any) -> Any:
    """``inside`` between two bounds, constants beyond them; NaN where ``x`` is."""
    return rebox(select(le(x, low), below, select(ge(x, high), above, inside)), "numpy")


def _self_gated(x: Any, gate: Callable[[Any], Any], bound: float) -> Any:
    """``x * gate(x)`` where the gate is 0 below ``-bound`` and 1 above ``bound``.

    Out there neither the product (of infinity and zero) nor what the gate is made of needs to exist.
    """
    inner = le(magnitude(x), bound)
    y = select(inner, x, 0)
    return rebox(select(inner, mul(y, gate(y)), _positive_part(x)), "numpy")


# Where exp(-x) and x * exp(-x) are zero in every dtype.
_UNDERFLOW = 800.0


# -- rectifiers -------------------------------------------------------------------------------------------------------


def relu(x: Any) -> Any:
    """The positive part: ``max(x, 0)``. Its derivative at 0 is 0.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return rebox(_positive_part(number("relu", x)), "numpy")


def relu6(x: Any) -> Any:
    """``min(max(x, 0), 6)``. Its derivative at 0 and 6 is 0.

    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    x = floating("relu6", x)
    return _between(x, 0.0, 6.0, 0.0, x, 6.0)


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """``x`` where it is positive, ``negative_slope * x`` elsewhere. Its derivative at 0 is ``negative_slope``.

    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    x, slope = together("leaky_relu", x, negative_slope)
    return rebox(mul(x, select(gt(x, 0), 1, slope)), "numpy")


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """The exponential linear unit: ``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Its derivative at 0 is ``alpha``.

    >>> import numpy as np
    >>> elu(np.array([-np.inf, 2.0]))
    array([-1.,  2.])
    """
    x, alpha = together("elu", x, alpha)
    positive = gt(x, 0)
    return rebox(select(positive, x, mul(expm1(select(positive, 0, x)), alpha)), "numpy")


def celu(x: Any, alpha: Any = 1.0) -> Any:
    """The continuously differentiable linear unit: ``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere.

    >>> import numpy as np
    >>> celu(np.array([-np.inf, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    x, alpha = together("celu", x, alpha)
    positive = gt(x, 0)
    return rebox(select(positive, x, mul(expm1(div(select(positive, 0, x), alpha)), alpha)), "numpy")


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(x: Any) -> Any:
    """The scaled exponential linear unit, ``scale * elu(x, alpha)``.

    ``scale`` (about 1.0507) and ``alpha`` (about 1.6733) are such that normal inputs of mean 0 and variance 1 have
    outputs of mean 0 and variance 1. The derivative at 0 is ``scale * alpha``.

    >>> import numpy as np
    >>> selu(np.array([-1.0, 1.0]))
    array([-1.11133074,  1.05070099])
    """
    return mul(elu(floating("selu", x), _SELU_ALPHA), _SELU_SCALE)


def squareplus(x: Any, b: Any = 4.0) -> Any:
    """``(x + sqrt(x**2 + b)) / 2``, a smooth ``relu`` without exponentials.

    It neither overflows nor cancels. ``b`` must not be negative; for 0 it is ``relu``, and its derivative at 0 is 0.

    >>> import numpy as np
    >>> squareplus(np.array([-1e200, 0.0, 3.0]))
    array([1.00000000e-200, 1.00000000e+000, 3.30277564e+000])
    """
    x, b = together("squareplus", x, b)
    limit = isinf(x)
    low = le(x, 0)
    size = select(limit, 0.0, select(low, neg(x), x))
    half = add(mul(size, 0.5), mul(hypot(size, sqrt(b)), 0.5))  # The sum of the whole ones may overflow.
    # The two roots r of r * (r - x) = b / 4 have the product -b / 4: the smaller one is a quotient, not a difference.
    none = eq(half, 0)
    root = select(low, select(none, 0.0, div(mul(b, 0.25), select(none, 1.0, half))), half)
    return rebox(select(limit, _positive_part(x), root), "numpy")


def sparse_plus(x: Any) -> Any:
    """0 up to -1, ``x`` from 1 on, ``(x + 1)**2 / 4`` between: a smooth ``relu`` that is exactly zero.

    >>> import numpy as np
    >>> sparse_plus(np.array([-2.0, 0.0, 2.0]))
    array([0.  , 0.25, 2.  ])
    """
    x = floating("sparse_plus", x)
    inner = lt(magnitude(x), 1.0)
    return rebox(select(inner, mul(square(add(select(inner, x, 0.0), 1.0)), 0.25), _positive_part(x)), "numpy")


# -- gated by themselves ----------------------------------------------------------------------------------------------


def gelu(x: Any, approximate: bool = True) -> Any:
    """The Gaussian error linear unit: ``x`` times the probability that a normal variable is below ``x``.

    Args:
        x: floats.
        approximate: whether to compute the probability as ``(1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``,
            which is within 5e-4 of it, or exactly, by the error function.

    >>> import numpy as np
    >>> gelu(np.array([-1.0, 1.0]))
    array([-0.15880801,  0.84119199])
    >>> gelu(np.array([-1.0, 1.0]), approximate=False)
    array([-0.15865525,  0.84134475])
    """
    x = floating("gelu", x)
    # The bounds are where both tails of the gates are exact in double precision.
    return _self_gated(x, _approximate_gate, 30.0) if approximate else _self_gated(x, _exact_gate, 40.0)


def _approximate_gate(x: Any) -> Any:
    # (1 + tanh(u)) / 2 = logistic(2 * u), which does not cancel.
    slope = 2 * math.sqrt(2 / math.pi)
    return logistic(mul(x, add(mul(square(x), 0.044715 * slope), slope)))


def _exact_gate(x: Any) -> Any:
    return mul(erfc(mul(x, -math.sqrt(0.5))), 0.5)


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, also called swish.

    >>> import numpy as np
    >>> silu(np.array([-np.inf, 0.0, 2.0]))
    array([0.        , 0.        , 1.76159416])
    """
    return _self_gated(floating("silu", x), logistic, _UNDERFLOW)


swish = silu


def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))``.

    >>> import numpy as np
    >>> mish(np.array([-np.inf, 0.0, 2.0]))
    array([0.        , 0.        , 1.94395896])
    """
    return _self_gated(floating("mish", x), lambda y: hyperbolic_tangent(logaddexp(y, 0.0)), _UNDERFLOW)


def hard_silu(x: Any) -> Any:
    """``x * hard_sigmoid(x)``, also called hard swish. Its derivative is 0 at -3 and 1 at 3.

    >>> import numpy as np
    >>> hard_silu(np.array([-4.0, 1.5, 4.0]))
    array([0.   , 1.125, 4.   ])
    """
    return _self_gated(floating("hard_silu", x), hard_sigmoid, 3.0)


hard_swish = hard_silu


def glu(x: Any, axis: int = -1) -> Any:
    """The gated linear unit: the first half of ``x`` along an axis, times the ``sigmoid`` of the second half.

    Raises:
        ShapeError: the axis has an odd extent.

    >>> import numpy as np
    >>> glu(np.array([1.0, 2.0, 0.0, 0.0]))
    array([0.5, 1. ])
    """
    x = floating("glu", x)
    aval = aval_of(x)
    axis = normalize_axis("glu", axis, aval.ndim)
    extent = aval.shape[axis]
    if extent % 2:
        raise errors.ShapeError(f"glu: axis {axis} is to be cut into halves, and x has shape {aval.shape}")
    values, gates = (slice_in_dim(x, start, start + extent // 2, axis=axis) for start in (0, extent // 2))
    return mul(values, logistic(gates))


# -- between two constants --------------------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    """The logistic function ``1 / (1 + exp(-x))``.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return logistic(floating("sigmoid", x, FLOAT))


def hard_sigmoid(x: Any) -> Any:
    """``relu6(x + 3) / 6``: the ``sigmoid`` in straight lines. Its derivative at -3 and 3 is 0.

    >>> import numpy as np
    >>> hard_sigmoid(np.array([-4.0, 0.0, 4.0]))
    array([0. , 0.5, 1. ])
    """
    x = floating("hard_sigmoid", x)
    return _between(x, -3.0, 3.0, 0.0, div(add(x, 3.0), 6.0), 1.0)


def sparse_sigmoid(x: Any) -> Any:
    """0 up to -1, 1 from 1 on, ``(x + 1) / 2`` between: the derivative of ``sparse_plus``. Its own at -1 and 1 is 0.

    >>> import numpy as np
    >>> sparse_sigmoid(np.array([-2.0, 0.5, 2.0]))
    array([0.  , 0.75, 1.  ])
    """
    x = floating("sparse_sigmoid", x)
    return _between(x, -1.0, 1.0, 0.0, mul(add(x, 1.0), 0.5), 1.0)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent.

    >>> import numpy as np
    >>> tanh(np.array([0.0, 1.0]))
    array([0.        , 0.76159416])
    """
    return hyperbolic_tangent(floating("tanh", x, FLOAT))


def hard_tanh(x: Any) -> Any:
    """``x`` limited to the range from -1 to 1. Its derivative at -1 and 1 is 0.

    >>> import numpy as np
    >>> hard_tanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    x = floating("hard_tanh", x)
    return _between(x, -1.0, 1.0, -1.0, x, 1.0)


def soft_sign(x: Any) -> Any:
    """``x / (1 + abs(x))``.

    >>> import numpy as np
    >>> soft_sign(np.array([-np.inf, 0.0, 1.0]))
    array([-1. ,  0. ,  0.5])
    """
    x = floating("soft_sign", x)
    limit = isinf(x)
    y = select(limit, 0.0, x)
    return rebox(select(limit, sign(x), div(y, add(magnitude(y), 1.0))), "numpy")


# -- logarithms of exponentials ---------------------------------------------------------------------------------------


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``, a smooth ``relu``: ``x`` for large ``x``, ``exp(x)`` for very negative ones.

    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 0.0, 100.0]))
    array([  0.        ,   0.69314718, 100.        ])
    """
    return logaddexp(floating("softplus", x), 0.0)


def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x))``: ``x`` for very negative ``x``, ``-exp(-x)`` for large ones.

    >>> import numpy as np
    >>> log_sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.00000000e+03, -6.93147181e-01, -0.00000000e+00])
    """
    return neg(logaddexp(neg(floating("log_sigmoid", x)), 0.0))


def identity(x: Any) -> Any:
    """``x`` itself.

    >>> identity(2.0)
    2.0
    """
    return operand(x, "identity")
