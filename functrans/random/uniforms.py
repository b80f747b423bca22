"""Bits, uniform numbers and what follows from them by one formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.structural import broadcast_to, convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import lt
from functrans.lax.error_functions import erf
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.magnitude import abs, clamp, sign
from functrans.lax.power import integer_pow, sqrt
from functrans.lax.power import pow as power
from functrans.lax.random_bits import Words, random_bits
from functrans.lax.reduction import reduce_sum
from functrans.lax.rounding import nextafter
from functrans.lax.selection import select, stop_gradient
from functrans.lax.trigonometric import tan
from functrans.random import words as draw
from functrans.random.keys import parts, use
from functrans.random.quantile import erf_inv
from functrans.random.words import float_dtype, parameter, sample_shape, scalar


def bits(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Random bits, as unsigned integers.

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        dtype: an unsigned integer dtype; uint64 if None.

    Raises:
        DTypeError: another dtype.

    >>> import numpy as np, functrans as ft
    >>> ft.random.bits(ft.random.key(0), (2,), np.uint8)
    array([167, 146], dtype=uint8)
    """
    words = use("bits", key)
    target = dtypes.canonical(np.dtype(np.uint64 if dtype is None else dtype))
    if target.kind != "u":
        raise errors.DTypeError(f"functrans.random.bits: dtype must be an unsigned integer dtype, got {target}")
    return random_bits(words, target.itemsize * 8, sample_shape("bits", shape))


def uniform(key: Any, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Numbers spread evenly over ``[minval, maxval)``; differentiable in both bounds.

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        dtype: a float dtype; float64 if None.
        minval, maxval: numbers, or arrays that broadcast to the shape.

    Raises:
        ShapeError: the bounds do not broadcast to the shape.
        DTypeError: the dtype is no float dtype.

    >>> import functrans as ft
    >>> ft.random.uniform(ft.random.key(0), (2,))
    array([0.41845711, 0.21629545])
    """
    words = use("uniform", key)
    target = float_dtype("uniform", dtype)
    if type(minval) is float and type(maxval) is float and minval == 0.0 and maxval == 1.0:
        return draw.uniform(words, sample_shape("uniform", shape), target)
    low, high = (parameter("uniform", n, v, target) for n, v in (("minval", minval), ("maxval", maxval)))
    return scalar(draw.uniform(words, sample_shape("uniform", shape, low, high), target, low, high))


def normal(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Standard normal numbers; complex ones have independent parts and an absolute square of mean 1.

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        dtype: a float or complex dtype; float64 if None.

    Raises:
        DTypeError: another dtype.

    >>> import functrans as ft
    >>> ft.random.normal(ft.random.key(0), (2,))
    array([-0.20584214, -0.78476578])
    """
    words = use("normal", key)
    target = dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))
    extents = sample_shape("normal", shape)
    if target.kind == "c":
        part = float_dtype("normal", dtypes.real_dtype(target))
        first, second = [convert(draw.normal(w, extents, part), target) for w in parts(words)]
        return div(add(first, mul(second, target.type(1j))), target.type(math.sqrt(2)))
    return draw.normal(words, extents, float_dtype("normal", target))


def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Standard normal numbers on the condition that they lie between ``lower`` and ``upper``; differentiable in both.

    Args:
        key: a typed or raw key.
        lower, upper: numbers, or arrays that broadcast.
        shape: the shape of the result; the common one of the bounds if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.truncated_normal(ft.random.key(0), -1.0, 1.0, (2,))
    array([-0.13999612, -0.50631466])
    """
    name = "truncated_normal"
    words = use(name, key)
    target = float_dtype(name, dtype)
    lower, upper = parameter(name, "lower", lower, target), parameter(name, "upper", upper, target)
    extents = sample_shape(name, shape, lower, upper)
    root = target.type(math.sqrt(2))
    u = draw.uniform(words, extents, target, erf(div(lower, root)), erf(div(upper, root)))
    first = nextafter(stop_gradient(lower), target.type(math.inf))
    last = nextafter(stop_gradient(upper), target.type(-math.inf))
    return scalar(clamp(first, mul(erf_inv(u), root), last))


def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Any:
    """The exponentials of normal numbers of standard deviation ``sigma``, in which they are differentiable.

    Args:
        key: a typed or raw key.
        sigma: a number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``sigma`` if None.
        dtype: a float or complex dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.lognormal(ft.random.key(0), 0.5, (2,))
    array([0.90219818, 0.67544544])
    """
    target = dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))
    scale = parameter("lognormal", "sigma", sigma, target)
    return scalar(exp(mul(normal(key, sample_shape("lognormal", shape, scale), target), scale)))


def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the exponential distribution of mean 1.

    >>> import functrans as ft
    >>> ft.random.exponential(ft.random.key(0), (2,))
    array([0.54207056, 0.24372319])
    """
    words = use("exponential", key)
    return draw.exponential(words, sample_shape("exponential", shape), float_dtype("exponential", dtype))


def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None) -> Any:
    """Numbers of the standard Gumbel distribution, of which the largest of many exponential numbers are.

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        dtype: a float dtype; float64 if None.
        mode: ``"low"`` (as for None) takes one uniform number for each; ``"high"`` two, so that the upper tail goes
            on; ``"highest"`` all 64 bits of two words for float32, else as ``"high"``.

    Raises:
        ArgumentError: another mode.

    >>> import functrans as ft
    >>> ft.random.gumbel(ft.random.key(0), (2,))
    array([ 0.13790566, -0.42599294])
    """
    words = use("gumbel", key)
    return scalar(draw.gumbel(words, sample_shape("gumbel", shape), float_dtype("gumbel", dtype), gumbel_mode(mode)))


def gumbel_mode(mode: Any, name: str = "gumbel") -> str:
    """A mode of ``gumbel``, checked."""
    if mode is None:
        return "low"
    if mode not in draw.GUMBEL_MODES:
        raise errors.ArgumentError(
            f"functrans.random.{name}: mode must be None, 'low', 'high' or 'highest', got {mode!r}"
        )
    return str(mode)


def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the standard Laplace distribution.

    >>> import functrans as ft
    >>> ft.random.laplace(ft.random.key(0), (2,))
    array([0.17803369, 0.83796278])
    """
    words = use("laplace", key)
    target = float_dtype("laplace", dtype)
    low = target.type(float(dtypes.finfo(target).epsneg) - 1.0)
    u = draw.uniform(words, sample_shape("laplace", shape), target, low, target.type(1))
    return mul(sign(u), log1p(neg(abs(u))))


def logistic(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the standard logistic distribution.

    >>> import functrans as ft
    >>> ft.random.logistic(ft.random.key(0), (2,))
    array([-0.32911032, -1.28738678])
    """
    words = use("logistic", key)
    target = float_dtype("logistic", dtype)
    tiny = target.type(dtypes.finfo(target).tiny)
    x = draw.uniform(words, sample_shape("logistic", shape), target, tiny, target.type(1))
    return sub(log(x), log1p(neg(x)))


def cauchy(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the standard Cauchy distribution.

    >>> import functrans as ft
    >>> ft.random.cauchy(ft.random.key(0), (2,))
    array([-0.26192951, -1.23784602])
    """
    words = use("cauchy", key)
    target = float_dtype("cauchy", dtype)
    eps = target.type(dtypes.finfo(target).eps)
    u = draw.uniform(words, sample_shape("cauchy", shape), target, eps, target.type(1))
    return tan(mul(sub(u, 0.5), target.type(math.pi)))


def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the Pareto distribution of shape ``b`` and scale 1; differentiable in ``b``.

    Args:
        key: a typed or raw key.
        b: a number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``b`` if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.pareto(ft.random.key(0), 2.0, (2,))
    array([1.31132133, 1.12959775])
    """
    words = use("pareto", key)
    target = float_dtype("pareto", dtype)
    b = parameter("pareto", "b", b, target)
    return exp(div(draw.exponential(words, sample_shape("pareto", shape, b), target), b))


def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the Rayleigh distribution; differentiable in ``scale``.

    Args:
        key: a typed or raw key.
        scale: a number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``scale`` if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.rayleigh(ft.random.key(0), 2.0, (2,))
    array([2.63997102, 3.49983995])
    """
    words = use("rayleigh", key)
    target = float_dtype("rayleigh", dtype)
    scale = parameter("rayleigh", "scale", scale, target)
    u = draw.uniform(words, sample_shape("rayleigh", shape, scale), target)
    return mul(sqrt(mul(log(u), -2.0)), scale)


def weibull_min(key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the Weibull distribution; differentiable in scale and concentration.

    Args:
        key: a typed or raw key.
        scale, concentration: numbers, or arrays that broadcast with the shape.
        shape: the shape of the uniform numbers that the samples are made of.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.weibull_min(ft.random.key(0), 2.0, 1.5, (2,))
    array([1.32963939, 0.78035921])
    """
    name = "weibull_min"
    words = use(name, key)
    target = float_dtype(name, dtype)
    scale, concentration = (
        parameter(name, n, v, target) for n, v in (("scale", scale), ("concentration", concentration))
    )
    e = draw.exponential(words, sample_shape(name, shape), target)
    return mul(power(e, div(target.type(1), concentration)), scale)


def triangular(key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the triangular distribution from ``left`` to ``right``; differentiable in the three.

    Args:
        key: a typed or raw key.
        left, mode, right: the corners: numbers, or arrays that broadcast to the shape.
        shape: the shape of the result; the common one of the corners if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.triangular(ft.random.key(0), 0.0, 1.0, 4.0, (2,))
    array([1.35831216, 0.9301515 ])
    """
    name = "triangular"
    words = use(name, key)
    target = float_dtype(name, dtype)
    corners = [parameter(name, n, v, target) for n, v in (("left", left), ("mode", mode), ("right", right))]
    extents = sample_shape(name, shape, *corners)
    left, mode, right = [broadcast_to(c, extents) for c in corners]
    rising, width, falling = sub(mode, left), sub(right, left), sub(right, mode)
    u = draw.uniform(words, extents, target)
    first = lt(u, div(rising, width))
    # Each root of the side that is taken alone, as that of zero has no derivative.
    x = select(first, mul(mul(u, width), rising), mul(mul(sub(target.type(1), u), width), falling))
    root = sqrt(x)
    return scalar(select(first, add(left, root), sub(right, root)))


def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the Wald (inverse Gaussian) distribution of scale 1; differentiable in ``mean`` but for the branch.

    The samples are those of Michael, Schucany and Haas, 1976: one of the two roots of a quadratic equation, chosen at
    random. The derivative is that of the root which was chosen.

    Args:
        key: a typed or raw key.
        mean: a number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``mean`` if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.wald(ft.random.key(0), 2.0, (2,))
    array([0.22327945, 3.90085525])
    """
    words = use("wald", key)
    target = float_dtype("wald", dtype)
    mean = parameter("wald", "mean", mean, target)
    extents = sample_shape("wald", shape, mean)
    first, second = parts(words)
    mean = broadcast_to(mean, extents)
    y = integer_pow(draw.normal(first, extents, target), 2)
    z = draw.uniform(second, extents, target)
    square = integer_pow(mean, 2)
    root = sqrt(add(mul(mul(mean, 4.0), y), mul(square, integer_pow(y, 2))))
    x = sub(add(mean, div(mul(square, y), target.type(2))), mul(div(mean, target.type(2)), root))
    smaller = lt(div(mean, add(mean, x)), z)
    return scalar(select(smaller, div(square, x), x))


def maxwell(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers of the Maxwell distribution of scale 1: lengths of standard normal vectors of three components.

    >>> import functrans as ft
    >>> ft.random.maxwell(ft.random.key(0), (2,))
    array([1.98906991, 0.42460738])
    """
    words = use("maxwell", key)
    return maxwell_of(words, sample_shape("maxwell", shape), float_dtype("maxwell", dtype))


def maxwell_of(words: Words, shape: tuple[Any, ...], dtype: dtypes.DType) -> Any:
    x = draw.normal(words, (*shape, 3), dtype)
    return sqrt(reduce_sum(mul(x, x), (len(shape),)))


def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Maxwell numbers with a random sign, times ``scale``, plus ``loc``; differentiable in both.

    Args:
        key: a typed or raw key.
        loc, scale: numbers, or arrays that broadcast.
        shape: what comes before the common shape of the parameters in that of the result. For ``()`` it is that
            common shape once more.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.double_sided_maxwell(ft.random.key(0), 0.0, 1.0, (2,))
    array([ 1.98461204, -2.4782074 ])
    """
    name = "double_sided_maxwell"
    words = use(name, key)
    target = float_dtype(name, dtype)
    loc, scale = parameter(name, "loc", loc, target), parameter(name, "scale", scale, target)
    own = sample_shape(name, None, loc, scale)
    extents = (sample_shape(name, shape) or own) + own
    first, second = parts(words)
    size = maxwell_of(first, extents, target)
    return add(mul(mul(random_sign(second, extents, target), size), scale), loc)


def random_sign(words: Words, shape: tuple[Any, ...], dtype: dtypes.DType) -> Any:
    """1 or -1, with equal probability."""
    positive = lt(draw.uniform(words, shape, np.dtype(np.float64)), 0.5)
    return scalar(select(positive, dtype.type(1), dtype.type(-1)))


def rademacher(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """1 or -1, with equal probability.

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        dtype: a dtype of signed numbers; int64 if None.

    >>> import functrans as ft
    >>> ft.random.rademacher(ft.random.key(0), (4,))
    array([ 1,  1, -1, -1])
    """
    words = use("rademacher", key)
    target = dtypes.canonical(np.dtype(np.int64 if dtype is None else dtype))
    if dtypes.kind(target) not in "ifc":
        raise errors.DTypeError(f"functrans.random.rademacher: dtype must hold -1, got {target}")
    return random_sign(words, sample_shape("rademacher", shape), target)


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Any:
    """Booleans that are true with probability ``p``. They have no derivative.

    Args:
        key: a typed or raw key.
        p: a float, or an array of floats that broadcasts to the shape.
        shape: the shape of the result; that of ``p`` if None.
        mode: ``"low"`` compares ``p`` with one uniform number of its dtype; ``"high"`` with a finer one made of two.

    Raises:
        DTypeError: ``p`` holds no floats.
        ArgumentError: another mode.

    >>> import functrans as ft
    >>> ft.random.bernoulli(ft.random.key(0), 0.5, (4,))
    array([ True,  True, False, False])
    """
    words = use("bernoulli", key)
    if mode not in ("low", "high"):
        raise errors.ArgumentError(f"functrans.random.bernoulli: mode must be 'low' or 'high', got {mode!r}")
    target = aval_of(p).dtype
    if dtypes.kind(target) != "f":
        raise errors.DTypeError(
            f"functrans.random.bernoulli: p must hold floats, got type {aval_of(p)}. Pass probabilities from 0.0 to 1.0"
        )
    p = stop_gradient(convert(p, target))
    extents = sample_shape("bernoulli", shape, p)
    if mode == "low":
        return lt(draw.uniform(words, extents, target), p)
    both = draw.uniform(words, (2, *extents), target)
    fine = mul(both[1], target.type(2.0 ** -dtypes.finfo(target).nmant))
    return lt(fine, sub(p, both[0]))
