"""Complex numbers: their parts, and numbers made of parts.

Derivatives follow JAX's convention. A cotangent pairs with a tangent through the real part of their product, without
conjugation: the transpose of ``imag`` maps a real ``ct`` to ``-1j * ct``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Sample, Trait, Undefined, Zero
from functrans.core.structural import (
    elementwise_aval,
    elementwise_batch,
    linear_jvp,
    match,
    unbroadcast,
    zero_of,
)
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import NUMBERS, neg
from functrans.lax.families import accept, elementwise
from functrans.lax.samples import unary

# -- real, imag -----------------------------------------------------------------------------------------------------


def _part(name: str, transpose: Any) -> Primitive:
    """``x.real`` or ``x.imag``, which are views."""

    def shape(x: ShapedArray) -> ShapedArray:
        accept(name, "c", [x])
        return shaped(x.shape, dtypes.real_dtype(x.dtype), "numpy" if x.box == "python" else x.box)

    def impl(xp: Any, x: Any) -> Any:
        part = getattr(x, name)
        return np.float64(part) if type(part) is float else part

    get = operator.attrgetter(name)

    def impl_of_box(box: str) -> Any:
        return get if box != "python" else lambda x: np.float64(get(x))

    prim: Primitive = Primitive(
        name,
        shape=shape,
        impl=impl,
        jvp=linear_jvp(lambda: prim),
        transpose=transpose,
        batch=elementwise_batch(lambda: prim),
        scalar=name,
        specialize=lambda xp, avals: impl_of_box(avals[0].box),
        samples=unary(kinds="c"),
        safe=None,
        traits=frozenset({Trait.ELEMENTWISE, Trait.VIEW}),
    )
    return prim


real_p: Primitive = _part("real", lambda ct, x: [unbroadcast(complex(ct, 0.0), x.aval)])
imag_p: Primitive = _part("imag", lambda ct, x: [unbroadcast(complex(0.0, neg(ct)), x.aval)])

# -- complex --------------------------------------------------------------------------------------------------------


def _complex_shape(re: ShapedArray, im: ShapedArray) -> ShapedArray:
    aval = elementwise_aval("complex", (re, im))
    accept("complex", "f", [aval])
    return shaped(aval.shape, dtypes.complex_dtype(aval.dtype), "numpy")


def _complex_impl(xp: Any, re: Any, im: Any) -> Any:
    # The sum re + 1j * im would turn an infinite part into a NaN in the other one.
    if isinstance(re, float) and isinstance(im, (int, float)):
        re = np.float64(re)
    if isinstance(im, float) and isinstance(re, int):
        im = np.float64(im)
    out = xp.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), np.result_type(re, im, np.complex64))
    out.real = re
    out.imag = im
    return out[()]


def _complex_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    out = complex_p.bind(*primals)
    if all(isinstance(t, Zero) for t in tangents):
        return out, zero_of(out)
    re, im = (0.0 if isinstance(t, Zero) else t for t in tangents)
    return out, match(complex_p.bind(re, im), aval_of(out))


def _complex_samples() -> list[Sample]:
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
    y = np.array([1.5, -0.5, 2.5])
    return [
        Sample((x, y)),
        Sample((x[:, :1], y)),
        Sample((x.astype(np.float32), 0.5)),
        Sample((1.5, y)),
        Sample((1.5, 2.5)),
        Sample((np.float64(1.5), np.float64(0.5))),
        Sample((x[:0], y)),
    ]


complex_p: Primitive = Primitive(
    "complex",
    shape=_complex_shape,
    impl=_complex_impl,
    jvp=_complex_jvp,
    transpose=lambda ct, re, im: [
        unbroadcast(real(ct), re.aval) if isinstance(re, Undefined) else None,
        unbroadcast(neg(imag(ct)), im.aval) if isinstance(im, Undefined) else None,
    ],
    batch=elementwise_batch(lambda: complex_p),
    kind="library",
    samples=_complex_samples,
    safe=None,
    traits=frozenset({Trait.ELEMENTWISE}),
)

# -- conj -----------------------------------------------------------------------------------------------------------

conj_p: Primitive = elementwise(
    "conj",
    "conjugate",
    lambda t, out, x: conj(t),
    arity=1,
    kinds=NUMBERS,
    linear=lambda ct, x: [unbroadcast(conj(ct), x.aval)],
    samples=unary(kinds=NUMBERS),
)


def real(x: Any) -> Any:
    """The real part of a complex array: a view of it.

    Raises:
        DTypeError: for an array that is not complex.

    >>> real(np.array([1 + 2j]))
    array([1.])
    """
    return real_p.bind(x)


def imag(x: Any) -> Any:
    """The imaginary part of a complex array: a view of it.

    Raises:
        DTypeError: for an array that is not complex.
    """
    return imag_p.bind(x)


def complex(re: Any, im: Any) -> Any:
    """The complex numbers with the given real and imaginary parts: floats of one dtype, which broadcast.

    >>> complex(np.array([1.0, np.inf]), 2.0)
    array([ 1.+2.j, inf+2.j])
    """
    return complex_p.bind(re, im)


def conj(x: Any) -> Any:
    """The complex conjugate; real numbers are their own."""
    return conj_p.bind(x)
