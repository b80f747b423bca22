"""Spherical harmonics."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of, current_trace, known
from functrans.nn.arguments import together
from functrans.numpy.dispatch import operand
from functrans.scipy.library import installed


def sph_harm_y(n: Any, m: Any, theta: Any, phi: Any, *, diff_n: int = 0, n_max: int | None = None) -> Any:
    """The spherical harmonic of degree ``n`` and order ``m``, with the Condon-Shortley phase.

    SciPy computes it where it is installed and nothing is transformed. Otherwise the normalized Legendre functions are
    computed by their recurrence in the degree, in ``n_max`` steps.

    Args:
        n, m: integers that broadcast with the angles, ``abs(m) <= n``; where it is not, the result is 0.
        theta, phi: the polar and the azimuthal angle.
        diff_n: 0; derivatives are what ``functrans.jacfwd`` is for.
        n_max: the largest degree, where ``n`` is not known while tracing.

    Returns:
        Complex numbers.

    >>> sph_harm_y(1, 0, 0.0, 0.0)
    array(0.48860251+0.j)
    """
    library = installed("scipy.special")
    if current_trace() is None and library is not None and hasattr(library, "sph_harm_y"):
        return library.sph_harm_y(n, m, theta, phi, diff_n=diff_n)
    if diff_n != 0:
        raise errors.ArgumentError(
            "sph_harm_y(diff_n=...): derivatives of a traced harmonic are taken with functrans.jacfwd"
        )
    theta, phi = together("sph_harm_y", theta, phi)
    degree, order = operand(n, "sph_harm_y"), operand(m, "sph_harm_y")
    for name, x in (("n", degree), ("m", order)):
        if aval_of(x).dtype.kind not in "iu":
            raise errors.DTypeError(f"sph_harm_y: {name} must hold integers, got {aval_of(x)}")
    if n_max is None:
        degrees = known(degree)
        if degrees is None:
            raise errors.ArgumentError("sph_harm_y: n is traced, so that the largest degree is needed: n_max=...")
        n_max = int(np.max(degrees, initial=0))
    dtype = aval_of(theta).dtype
    legendre = _legendre(convert(degree, dtype), convert(order, dtype), theta, operator.index(n_max))
    angle = convert(order, dtype) * phi
    return rebox(lax.complex(legendre * lax.cos(angle), legendre * lax.sin(angle)), "array")


def _legendre(n: Any, m: Any, theta: Any, n_max: int) -> Any:
    """The Legendre functions of ``cos(theta)``, normalized so that the harmonics are orthonormal on the sphere."""
    x, s = lax.cos(theta), lax.sin(theta)
    shape = lax.broadcast_shapes(aval_of(n).shape, aval_of(m).shape, aval_of(theta).shape)
    n, m, x, s = (lax.broadcast_to(v, shape) for v in (n, m, x, s))
    order = lax.abs(m)
    # The function of degree and order |m|, by a product of |m| factors.
    top = x * 0.0 + math.sqrt(0.25 / math.pi)
    for k in range(1, n_max + 1):
        top = lax.select(order >= k, -top * s * math.sqrt((2 * k + 1) / (2 * k)), top)
    before, current = x * 0.0, x * 0.0
    out = x * 0.0
    for k in range(n_max + 1):
        above = order < k
        gap = lax.select(above, k * k - order * order, 1.0)
        last = lax.select(order < k - 1, (k - 1.0) * (k - 1.0) - order * order, 0.0)
        scale = lax.sqrt((4.0 * k * k - 1.0) / gap) if k else 0.0
        lower = lax.sqrt(last / (4.0 * (k - 1.0) * (k - 1.0) - 1.0)) if k > 1 else 0.0
        following = lax.select(above, scale * (x * current - lower * before), lax.select(lax.eq(order, k), top, 0.0))
        before, current = current, following
        out = lax.select(lax.eq(n, k), current, out)
    odd = lax.floor(order * 0.5) * 2.0 < order
    return lax.select(lax.logical_and(m < 0, odd), -out, out)
