"""Functions of ``scipy.special`` that are no ufuncs: SciPy's own where nothing is traced, compositions otherwise."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of, known, running
from functrans.lax.special.define import primitives
from functrans.lax.special.gamma import gamma, lgamma
from functrans.nn.arguments import floating, together
from functrans.numpy.arguments import keep_axes, reduction_axes
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements
from functrans.scipy.special.ufuncs import by_name

_scipy = implements("scipy.special")


# -- sums of exponentials -------------------------------------------------------------------------------------------


@_scipy
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """``log(sum(b * exp(a)))`` along axes, without overflow.

    Args:
        a: floats or complex numbers.
        axis: an axis, several, or None for all.
        b: factors that broadcast with ``a``; a factor of 0 takes its element out, also where that is infinite.
        keepdims: whether the summed axes stay, with extent 1.
        return_sign: whether to give the sign of the sum apart, and the logarithm of its modulus.

    Returns:
        The logarithm, NaN where the sum is negative; or it and the sign. Where the sum is 0, it is minus infinity and
        its derivative 0.

    >>> logsumexp([[1000.0, 1000.0]], axis=1, b=[1.0, 3.0])
    array([1001.38629436])
    """
    x = floating("logsumexp", a, "fc")
    if b is None and not return_sign:
        axes = reduction_axes("logsumexp", axis, aval_of(x).ndim)
        return keep_axes(x, lax.logsumexp(x, axes), axes, keepdims)
    if aval_of(x).dtype.kind == "c" or (b is not None and aval_of(operand(b)).dtype.kind == "c"):
        raise errors.DTypeError("logsumexp: factors b and return_sign are supported for real operands only")
    if b is not None:
        x, factors = together("logsumexp", x, b)
        shape = lax.broadcast_shapes(aval_of(x).shape, aval_of(factors).shape)
        x, factors = lax.broadcast_to(x, shape), lax.broadcast_to(factors, shape)
        out = lax.eq(factors, 0.0)
    axes = reduction_axes("logsumexp", axis, aval_of(x).ndim)
    wide = [1 if i in axes else n for i, n in enumerate(aval_of(x).shape)]
    if 0 in aval_of(x).shape:
        top = lax.zeros(wide, aval_of(x).dtype)
    else:
        counted = x if b is None else lax.select(out, -np.inf, x)
        top = lax.stop_gradient(lax.reshape(lax.reduce_max(counted, axes), wide))
    top = lax.select(lax.is_finite(top), top, 0.0)
    if b is not None:
        # What is multiplied by 0 counts for nothing, also where it is infinite; its factor still has a derivative.
        most = 0.5 * math.log(float(np.finfo(aval_of(x).dtype).max))
        finite = lax.logical_not(lax.logical_and(out, lax.logical_or(lax.isnan(x), lax.eq(x, np.inf))))
        kept = lax.select(finite, x, -np.inf)
        x = lax.select(lax.logical_and(out, lax.gt(lax.sub(kept, top), most)), lax.add(top, most), kept)
    terms = lax.exp(lax.sub(x, top))
    total = lax.reduce_sum(terms if b is None else lax.mul(terms, factors), axes)
    sign = lax.stop_gradient(lax.sign(total))
    size = lax.mul(total, sign)
    empty = lax.eq(size, 0.0)
    logarithm = lax.log(lax.select(empty, 1.0, size))
    value = lax.select(empty, -np.inf, lax.add(logarithm, lax.reshape(top, aval_of(total).shape)))
    if not return_sign:
        return keep_axes(x, lax.select(lax.lt(sign, 0.0), np.nan, value), axes, keepdims)
    return keep_axes(x, value, axes, keepdims), keep_axes(x, sign, axes, keepdims)


def _shifted(name: str, x: Any, axis: Any) -> tuple[Any, Any]:
    x = floating(name, x)
    axes = reduction_axes(name, axis, aval_of(x).ndim)
    total = lax.logsumexp(x, axes)
    wide = [1 if i in axes else n for i, n in enumerate(aval_of(x).shape)]
    return x, lax.reshape(total, wide)


@_scipy
def softmax(x: Any, axis: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along axes (all if None), without overflow.

    >>> softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    x, total = _shifted("softmax", x, axis)
    return rebox(lax.exp(lax.sub(x, total)), "numpy")


@_scipy
def log_softmax(x: Any, axis: Any = None) -> Any:
    """``log(softmax(x))`` along axes (all if None), where that underflows too.

    >>> log_softmax([0.0, 1000.0])
    array([-1000.,     0.])
    """
    x, total = _shifted("log_softmax", x, axis)
    return rebox(lax.sub(x, total), "numpy")


# -- gamma and zeta ---------------------------------------------------------------------------------------------------


@_scipy
def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``d``, for ``a > (d - 1) / 2``.

    A traced ``a`` is not checked: out of the domain, the result is that of the formula.

    >>> multigammaln(np.array([2.5, 3.0]), 2)
    array([0.85704781, 1.55019499])
    """
    d = operator.index(d)
    x = floating("multigammaln", a)
    out: Any = d * (d - 1) * 0.25 * math.log(math.pi)
    for j in range(d):
        out = lax.add(lgamma(lax.sub(x, 0.5 * j)), out)
    return out


@_scipy
def polygamma(n: Any, x: Any) -> Any:
    """The derivative of order ``n`` of ``digamma``, for whole numbers ``n``.

    >>> polygamma(1, np.array([1.0, 10.0]))
    array([1.64493407, 0.10516634])
    """
    n, x = operand(n, "polygamma"), floating("polygamma", x)
    return rebox(lax.polygamma(convert(n, aval_of(x).dtype), x), "array")


@_scipy
def zeta(x: Any, q: Any = None, out: None = None) -> Any:
    """The Hurwitz zeta function; the Riemann zeta function if ``q`` is None.

    >>> zeta(np.array([2.0, 4.0]))
    array([1.64493407, 1.08232323])
    """
    if out is not None:
        raise errors.DetachedWriteError("zeta(..., out=...): use the returned value")
    if q is None:
        return by_name["_riemann_zeta"].apply(x)
    return by_name["_zeta"].apply(x, q)


@_scipy
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """Lambert's function: the solution ``w`` of ``w * exp(w) == z`` on the branch ``k``, a complex number.

    >>> lambertw(1.0)
    np.complex128(0.5671432904097838+0j)
    """
    return by_name["_lambertw"].apply(z, k, tol)


@_scipy
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """``gamma(n + 1)``, 0 for negative ``n``; a traced ``n`` may be a float.

    Args:
        exact: Python's exact integers, of concrete numbers only.
        extend: ``"zero"`` for negative numbers, or ``"complex"`` to leave the gamma function as it is.

    >>> factorial(5.0)
    np.float64(120.0)
    """
    if exact:
        raise errors.ArgumentError("factorial(exact=True) gives Python integers, which are not traced. Use exact=False")
    x = floating("factorial", n)
    if extend != "zero":
        return gamma(lax.add(x, 1.0))
    negative = lax.lt(x, 0.0)
    value = gamma(lax.add(lax.select(negative, 0.0, x), 1.0))
    return rebox(lax.select(negative, 0.0, value), "numpy")


@_scipy
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """The number of ways to choose ``k`` things of ``N``; 0 where ``k > N``, ``N < 0`` or ``k < 0``.

    Args:
        exact: Python's exact integers, of concrete numbers only.
        repetition: whether a thing may be chosen more than once.

    >>> comb(np.array([5.0, 2.0]), 2.0)
    array([10.,  1.])
    """
    if exact:
        raise errors.ArgumentError("comb(exact=True) gives Python integers, which are not traced. Use exact=False")
    n, m = together("comb", N, k)
    if repetition:
        n = lax.sub(lax.add(n, m), 1.0)
    valid = lax.logical_and(lax.le(m, n), lax.logical_and(lax.ge(n, 0.0), lax.ge(m, 0.0)))
    binom, _ = primitives["binom"]
    inside = binom.bind(lax.select(valid, n, 1.0), lax.select(valid, m, 0.0))
    return rebox(lax.select(valid, inside, 0.0), "numpy")


@_scipy
def bernoulli(n: int) -> Any:
    """The Bernoulli numbers ``B_0`` to ``B_n``, with ``B_1 = -1/2``; ``n`` must be known while tracing.

    >>> bernoulli(4)
    array([ 1.        , -0.5       ,  0.16666667,  0.        , -0.03333333])
    """
    count = known(n)
    if count is None:
        raise errors.ArgumentError("bernoulli: n decides the shape of the result and must be known while tracing")
    count = operator.index(count)
    if count < 0:
        raise ValueError(f"bernoulli: n must be a whole number of at least 0, got {count}")
    out = np.zeros(max(count, 1) + 1)
    out[:2] = 1.0, -0.5
    k = np.arange(2, count + 1, 2)
    if k.size:
        # |B_k| = 2 k! zeta(k) / (2 pi)**k
        with running(None):
            log_size = lgamma(k + 1.0) - k * math.log(2 * math.pi) + np.log(2.0 * lax.zeta(k.astype(float), 1.0))
        out[k] = np.where(k % 4 == 2, 1.0, -1.0) * np.exp(log_size)
    return out[: count + 1]


# -- Bessel functions of all orders up to one -------------------------------------------------------------------------


def bessel_jn(z: Any, *, v: int, n_iter: int = 50) -> Any:
    """The Bessel functions of the first kind of the orders 0 to ``v``, along a new first axis.

    Args:
        z: floats.
        v: the highest order, known while tracing.
        n_iter: taken for programs that give it; SciPy computes the functions to full precision without.

    >>> bessel_jn(np.array([1.0]), v=1)
    array([[0.76519769],
           [0.44005059]])
    """
    order = operator.index(v)
    if order < 0:
        raise ValueError(f"bessel_jn: v must be a whole number of at least 0, got {v}")
    if operator.index(n_iter) < 1:
        raise ValueError(f"bessel_jn: n_iter must be at least 1, got {n_iter}")
    x = floating("bessel_jn", z)
    if aval_of(x).ndim > 1:
        raise errors.ShapeError(f"bessel_jn: z must be a number or a vector, got {aval_of(x)}")
    orders = np.arange(order + 1).astype(aval_of(x).dtype).reshape((-1,) + (1,) * aval_of(x).ndim)
    prim, _ = primitives["jv"]
    return prim.bind(orders, x)
