"""Hypergeometric functions of real operands.

SciPy computes them where it is installed. The decompositions of the confluent and the Gauss function are power series
after the transformations of E. E. Kummer, J. F. Pfaff and L. Euler (NIST Digital Library of Mathematical Functions,
13.2.39 and 15.8.1), taken until no term counts. They are good to a few hundred eps for parameters of a size up to 20
where all terms have one sign, and lose as many digits as terms of both signs cancel; the Gauss function needs
``x < 0.99`` unless it is 1. They also give the derivatives in the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, strong
from functrans.lax.compare import eq
from functrans.lax.exponential import exp
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.power import pow as power
from functrans.lax.rounding import floor
from functrans.lax.selection import select, stop_gradient
from functrans.lax.special.define import derivatives, refused, special
from functrans.lax.special.gamma import gamma, rgamma
from functrans.lax.special.series import eps, iterate

_SHAPES = np.array([1.5, 3.0, 0.75])
_UNIT = np.array([0.25, 0.5, 0.875])
_POSITIVE = np.array([0.5, 2.25, 4.0])
_X = np.array([0.25, -1.5, 0.5])


def _series(ratio: Callable[[Any], Any], like: Any, limit: int, margin: int, guide: Any = None) -> Any:
    """``1 + r_1 + r_1 r_2 + ...`` of ratios ``ratio(n)``; another series may decide when to stop."""
    tolerance = eps(like) / 4
    start = 0.0 * like + 1.0
    ratios = [ratio] if guide is None else [ratio, guide]

    def step(n: Any, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        after: list[Any] = []
        for k, of in enumerate(ratios):
            term = values[2 * k] * of(n - 1.0)
            after += [term, values[2 * k + 1] + term]
        return tuple(after), magnitude(after[-2]) > tolerance * magnitude(after[-1])

    return iterate(step, (start, start) * len(ratios), limit, margin)[1]


# -- the confluent function -----------------------------------------------------------------------------------------


def _hyp1f1(a: Any, b: Any, x: Any, margin: int = 0) -> Any:
    pole = (b <= 0.0) & eq(floor(b), b)
    infinite = eq(magnitude(x), np.inf)
    usable = (magnitude(x) < 500.0) & (b == b) & (a == a)
    b = select(pole, 1.5, b)
    negative = x < 0.0
    z = select(usable, magnitude(x), 0.5)
    p = select(negative, b - a, a)
    # A series that ends has derivatives that do not.
    guide = None
    if margin:
        q, d, y = stop_gradient(magnitude(p) + 0.37), stop_gradient(magnitude(b)), stop_gradient(z)
        guide = lambda k: (q + k) / (d + k) * (y / (k + 1.0))  # noqa: E731
    total = _series(lambda k: (p + k) / (b + k) * (z / (k + 1.0)), p + b + z, 2000, margin, guide)
    out = select(negative, exp(-z), 1.0) * total
    limit = select(negative, 0.0 * z, np.inf)
    return select(usable, select(pole, np.inf, out), select(infinite, limit, np.nan))


def _hyp1f1_slope(a: Any, b: Any, x: Any) -> Any:
    return a / b * hyp1f1_p.bind(a + 1.0, b + 1.0, x)


_TRIPLE = (_SHAPES, _POSITIVE, _X)
hyp1f1_grad_p: Primitive = derivatives(
    "hyp1f1_grad",
    lambda a, b, x: _hyp1f1(a, b, x, 20),
    (0, 1),
    {2: _hyp1f1_slope},
    arity=3,
    samples=[_TRIPLE],
)
hyp1f1_p: Primitive = special(
    "hyp1f1",
    lambda t, out, a, b, x: mul(t, hyp1f1_grad_p.bind(a, b, x, orders=(1, 0, 0))),
    lambda t, out, a, b, x: mul(t, hyp1f1_grad_p.bind(a, b, x, orders=(0, 1, 0))),
    lambda t, out, a, b, x: mul(t, _hyp1f1_slope(strong(a, out), strong(b, out), strong(x, out))),
    arity=3,
    decompose=_hyp1f1,
    samples=[_TRIPLE],
    order=1,
)

# -- the Gauss function ---------------------------------------------------------------------------------------------


def _hyp2f1(a: Any, b: Any, c: Any, x: Any, margin: int = 0) -> Any:
    valid = (x < 1.0) & (x == x)
    pole = (c <= 0.0) & eq(floor(c), c)
    x_in, c = select(valid, x, 0.25), select(pole, 1.5, c)
    # Pfaff's transformation brings negative arguments into 0 ... 1, where Euler's makes the terms small.
    negative = x_in < 0.0
    z = select(negative, x_in / (x_in - 1.0), x_in)
    q = select(negative, c - b, b)
    excess = c - a - q
    euler = excess < 0.0
    p, r = select(euler, c - a, a), select(euler, c - q, q)
    guide = None
    if margin:
        parts = [stop_gradient(magnitude(v) + s) for v, s in ((p, 0.37), (r, 0.41), (c, 0.0))]
        y = stop_gradient(z)
        guide = lambda k: (parts[0] + k) * (parts[1] + k) / ((parts[2] + k) * (k + 1.0)) * y  # noqa: E731
    total = _series(lambda k: (p + k) * (r + k) / ((c + k) * (k + 1.0)) * z, p + r + c + z, 20000, margin, guide)
    base = select(negative, power(1.0 - x_in, -a), 1.0)
    out = base * select(euler, power(1.0 - z, excess), 1.0) * total
    gap = select(c - a - b > 0.0, c - a - b, 1.0)
    at_one = gamma(c) * gamma(gap) * rgamma(c - a) * rgamma(c - b)
    edge = select(eq(x, 1.0) & (c - a - b > 0.0), at_one, np.nan)
    return select(valid, select(pole, np.inf, out), edge)


def _hyp2f1_slope(a: Any, b: Any, c: Any, x: Any) -> Any:
    return a * b / c * hyp2f1_p.bind(a + 1.0, b + 1.0, c + 1.0, x)


_QUADRUPLE = (_SHAPES, _UNIT, _POSITIVE, _X)
hyp2f1_grad_p: Primitive = derivatives(
    "hyp2f1_grad",
    lambda a, b, c, x: _hyp2f1(a, b, c, x, 20),
    (0, 1, 2),
    {3: _hyp2f1_slope},
    arity=4,
    samples=[_QUADRUPLE],
)


def _in_parameter(i: int) -> Callable[..., Any]:
    orders = tuple(int(k == i) for k in range(4))
    return lambda t, out, *operands: mul(t, hyp2f1_grad_p.bind(*operands, orders=orders))


hyp2f1_p: Primitive = special(
    "hyp2f1",
    *map(_in_parameter, range(3)),
    lambda t, out, *operands: mul(t, _hyp2f1_slope(*[strong(v, out) for v in operands])),
    arity=4,
    decompose=_hyp2f1,
    samples=[_QUADRUPLE],
    order=1,
)

# -- others ---------------------------------------------------------------------------------------------------------


def _by_recurrence(name: str, parameters: int, sample: Any, factor: Callable[..., Any]) -> Primitive:
    """A function whose derivative is a factor times itself, with all parameters one larger."""

    def rule(t: Any, out: Any, *operands: Any) -> Any:
        strongly = [strong(x, out) for x in operands]
        raised = prim.bind(*[p + 1.0 for p in strongly[:-1]], strongly[-1])
        return mul(t, factor(*strongly[:-1]) * raised)

    fixed = [refused(name, "its parameters")] * parameters
    prim: Primitive = special(name, *fixed, rule, arity=parameters + 1, samples=[sample], diff=(parameters,))
    return prim


hyp0f1_p: Primitive = _by_recurrence("hyp0f1", 1, (_SHAPES, _X), lambda v: 1.0 / v)
hyperu_p: Primitive = _by_recurrence("hyperu", 2, (_SHAPES, _POSITIVE, np.array([0.5, 2.25, 4.0])), lambda a, b: -a)
