"""The gamma distribution and those that are made of it."""

from __future__ import annotations

import math
from typing import Any

from functrans import errors
from functrans.core.structural import broadcast, broadcast_to
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, sub
from functrans.lax.exponential import exp
from functrans.lax.exponential_sums import logsumexp
from functrans.lax.magnitude import abs
from functrans.lax.magnitude import max as larger
from functrans.lax.movement import expand_dims, reshape
from functrans.lax.power import pow as power
from functrans.lax.power import sqrt
from functrans.lax.random_bits import Words
from functrans.lax.reduction import reduce_sum
from functrans.random import words as draw
from functrans.random.gamma_sampler import random_gamma
from functrans.random.keys import parts, split_words, use
from functrans.random.uniforms import random_sign
from functrans.random.words import DType, float_dtype, parameter, sample_shape


def gamma_of(words: Words, a: Any, shape: tuple[Any, ...], log_space: bool) -> Any:
    """Gamma samples of a key, each made with a key of its own."""
    keys = split_words(words, (math.prod(shape),))
    return random_gamma((reshape(keys[0], shape), reshape(keys[1], shape)), broadcast_to(a, shape), log_space)


def _gamma(name: str, key: Any, a: Any, shape: Any, dtype: Any, log_space: bool) -> Any:
    words = use(name, key)
    a = parameter(name, "a", a, float_dtype(name, dtype))
    return draw.scalar(gamma_of(words, a, sample_shape(name, shape, a), log_space))


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the gamma distribution of shape parameter ``a`` and scale 1.

    They are differentiable in ``a``: the derivative is that of the implicit reparametrisation, ``-dF/da / p`` with the
    distribution function ``F`` and the density ``p``.

    Args:
        key: a typed or raw key.
        a: a positive number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``a`` if None.
        dtype: a float dtype; float64 if None.

    Raises:
        ShapeError: ``a`` does not broadcast to the shape.

    >>> import functrans as ft
    >>> ft.random.gamma(ft.random.key(0), 2.0, (2,))
    array([1.3520308 , 1.12435945])
    """
    return _gamma("gamma", key, a, shape, dtype, False)


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """The logarithms of numbers of the gamma distribution, precise where these are too small for a float.

    Otherwise as ``gamma``.

    >>> import functrans as ft
    >>> ft.random.loggamma(ft.random.key(0), 0.001, (2,))
    array([-1113.02584633, -2280.53575798])
    """
    return _gamma("loggamma", key, a, shape, dtype, True)


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the beta distribution; differentiable in both parameters, implicitly.

    Args:
        key: a typed or raw key.
        a, b: positive numbers, or arrays that broadcast to the shape.
        shape: the shape of the result; the common one of the parameters if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.beta(ft.random.key(0), 2.0, 3.0, (2,))
    array([0.32795607, 0.61380901])
    """
    words = use("beta", key)
    target = float_dtype("beta", dtype)
    a, b = parameter("beta", "a", a, target), parameter("beta", "b", b, target)
    extents = sample_shape("beta", shape, a, b)
    logs = [gamma_of(w, x, extents, True) for w, x in zip(parts(words), (a, b), strict=True)]
    most = larger(*logs)
    first, second = [exp(sub(x, most)) for x in logs]
    return div(first, add(first, second))


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Points of the simplex, of the Dirichlet distribution; differentiable in ``alpha``, implicitly.

    Args:
        key: a typed or raw key.
        alpha: an array of positive numbers, whose last axis is that of the coordinates.
        shape: the shape of the result without that axis; that of ``alpha`` if None.
        dtype: a float dtype; float64 if None.

    Raises:
        ShapeError: ``alpha`` is a single number, or its other axes do not broadcast to the shape.

    >>> import numpy as np, functrans as ft
    >>> ft.random.dirichlet(ft.random.key(0), np.array([2.0, 3.0, 4.0]))
    array([0.13830644, 0.20071771, 0.66097586])
    """
    name = "dirichlet"
    words = use(name, key)
    alpha = parameter(name, "alpha", alpha, float_dtype(name, dtype))
    own = aval_of(alpha).shape
    if not own:
        raise errors.ShapeError("functrans.random.dirichlet: alpha must have an axis for the coordinates, got a number")
    extents = sample_shape(name, own[:-1] if shape is None else shape)
    sample_shape(name, (*extents, own[-1]), alpha)
    logs = gamma_of(words, alpha, (*extents, own[-1]), True)
    last = len(extents)
    return exp(sub(logs, expand_dims(logsumexp(logs, (last,)), (last,))))


def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the chi-square distribution; differentiable in the degrees of freedom, implicitly.

    Args:
        key: a typed or raw key.
        df: a positive number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``df`` if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.chisquare(ft.random.key(0), 3.0, (2,))
    array([1.81389348, 1.44835385])
    """
    words = use("chisquare", key)
    df = parameter("chisquare", "df", df, float_dtype("chisquare", dtype))
    return _chisquare(words, df, sample_shape("chisquare", shape, df))


def _chisquare(words: Words, df: Any, shape: tuple[Any, ...]) -> Any:
    return mul(exp(gamma_of(words, div(df, aval_of(df).dtype.type(2)), shape, True)), 2.0)


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the F distribution; differentiable in both degrees of freedom, implicitly.

    Args:
        key: a typed or raw key.
        dfnum, dfden: the degrees of freedom of numerator and denominator, which broadcast to the shape.
        shape: the shape of the result; the common one of the parameters if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.f(ft.random.key(0), 3.0, 5.0, (2,))
    array([1.54798047, 0.35745633])
    """
    words = use("f", key)
    target = float_dtype("f", dtype)
    over, under = parameter("f", "dfnum", dfnum, target), parameter("f", "dfden", dfden, target)
    extents = sample_shape("f", shape, over, under)
    below, above = parts(words)
    return div(div(_chisquare(above, over, extents), over), div(_chisquare(below, under, extents), under))


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of Student's t distribution; differentiable in the degrees of freedom, implicitly.

    Args:
        key: a typed or raw key.
        df: a positive number, or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``df`` if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.t(ft.random.key(0), 3.0, (2,))
    array([ 1.40115888, -0.60724612])
    """
    words = use("t", key)
    target = float_dtype("t", dtype)
    df = parameter("t", "df", df, target)
    extents = sample_shape("t", shape, df)
    first, second = parts(words)
    half = div(df, target.type(2))
    return mul(draw.normal(first, extents, target), sqrt(div(half, gamma_of(second, half, extents, False))))


def generalized_normal(key: Any, p: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers whose density goes like ``exp(-abs(x)**p)``; differentiable in ``p``, implicitly.

    Args:
        key: a typed or raw key.
        p: a positive number: 2 for a normal distribution of variance 1/2, 1 for the Laplace distribution.
        shape: the shape of the result.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.generalized_normal(ft.random.key(0), 4.0, (2,))
    array([ 0.70833083, -0.98146637])
    """
    name = "generalized_normal"
    words = use(name, key)
    target = float_dtype(name, dtype)
    p = parameter(name, "p", p, target)
    return draw.scalar(_generalized_normal(words, p, sample_shape(name, shape, p), target))


def _generalized_normal(words: Words, p: Any, shape: tuple[Any, ...], dtype: DType) -> Any:
    first, second = parts(words)
    inverse = div(dtype.type(1), p)
    size = power(gamma_of(first, inverse, shape, False), inverse)
    return mul(random_sign(second, shape, dtype), size)


def ball(key: Any, d: int, p: Any = 2, shape: Any = (), dtype: Any = None) -> Any:
    """Points spread evenly over the unit ball of the ``p``-norm; differentiable in ``p``, implicitly.

    The method is that of F. Barthe, O. Guédon, S. Mendelson, A. Naor: "A probabilistic approach to the geometry of the
    l_p^n-ball", 2005.

    Args:
        key: a typed or raw key.
        d: the dimension, which the last axis of the result has.
        p: a positive number.
        shape: the shape of the result without that axis.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.ball(ft.random.key(0), 2)
    array([-0.87015073, -0.45473046])
    """
    words = use("ball", key)
    target = float_dtype("ball", dtype)
    p = parameter("ball", "p", p, target)
    extents = sample_shape("ball", shape)
    sample_shape("ball", (), p)
    (n,) = sample_shape("ball", d)
    first, second = parts(words)
    g = _generalized_normal(first, p, (*extents, n), target)
    e = draw.exponential(second, extents, target)
    total = add(reduce_sum(power(abs(g), p), (len(extents),)), e)
    norm = power(total, div(target.type(1), p))
    return div(g, broadcast(norm, (*extents, n), range(len(extents))))
