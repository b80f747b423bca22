"""Recurrences of Taylor coefficients, where they are cheaper than what follows from the JVP of an operation.

Of an elementwise function that solves a differential equation, ``y' = w(y) x'`` say, the coefficients follow one from
another by comparing those of both sides. In the formulas ``sum`` is over ``j`` and the orders of factors add up.

Source: A. Griewank and A. Walther, Evaluating Derivatives (2nd edition, 2008), tables 13.1 and 13.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.jaxpr import Jaxpr
from functrans.core.structural import convert, match
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import div, div_p, mul, neg, sub
from functrans.lax.control.cond import cond_p, joined
from functrans.lax.control.loop import while_p, widened
from functrans.lax.control.region import fit, reordered, results_fitted
from functrans.lax.control.scan import scan_p
from functrans.lax.cumulative import cumprod_p, linear_recurrence_p, previous
from functrans.lax.exponential import exp, exp_p, log_p, logistic_p
from functrans.lax.power import pow_p, reciprocal_p, sqrt_p
from functrans.lax.taylor import Terms, dense, gathered, higher, is_live, jet_jaxpr, plus, products, scaled
from functrans.lax.trigonometric import cos, cos_p, cosh, cosh_p, sin, sin_p, sinh, sinh_p, tan_p, tanh_p

Rule = Callable[..., list[Any]]


def minus(a: Any, b: Any) -> Any:
    """The difference of two terms."""
    return a if b is None else neg(b) if a is None else sub(a, b)


def _velocity(x: Terms) -> list[Any]:
    """``j x[j]``: what the derivative along the path has in the place of order ``j - 1``."""
    aval = aval_of(x[0]).tangent()
    return [None, *(scaled(c, j, aval) for j, c in enumerate(x) if j)]


def _solves(first: Callable[[Any], Any], weight: Callable[[Terms, int], Any]) -> Rule:
    """``y' = w x'``: ``k y[k] = sum w[k-j] j x[j]``, where ``weight(y, k)`` gives ``w[k]`` from ``y[0..k]``."""

    def rule(order: int, series: Sequence[Terms], **params: Any) -> list[Any]:
        (x,) = series
        dx = _velocity(x)
        y = [first(x[0])]
        w: list[Any] = []
        for k in range(1, order + 1):
            w.append(weight(y, k - 1))
            y.append(_divided(products(dx, w, k, 1), k))
        return y

    return rule


def _divided(term: Any, k: int) -> Any:
    return term if term is None or k == 1 else div(term, float(k))


exp_p.jet = _solves(exp, lambda y, k: y[k])
"""``y' = y x'``"""
tanh_p.jet = _solves(tanh_p.bind, lambda y, k: minus(1.0 if k == 0 else None, products(y, y, k)))
"""``y' = (1 - y**2) x'``"""
tan_p.jet = _solves(tan_p.bind, lambda y, k: plus(1.0 if k == 0 else None, products(y, y, k)))
"""``y' = (1 + y**2) x'``"""
logistic_p.jet = _solves(logistic_p.bind, lambda y, k: minus(y[k], products(y, y, k)))
"""``y' = (y - y**2) x'``"""


def _pair(first: Callable[[Any], Any], second: Callable[[Any], Any], sign: float, which: int) -> Rule:
    """``s' = c x'`` and ``c' = sign s x'``, of which one is wanted."""

    def rule(order: int, series: Sequence[Terms], **params: Any) -> list[Any]:
        (x,) = series
        dx = _velocity(x)
        s, c = [first(x[0])], [second(x[0])]
        for k in range(1, order + 1):
            # The other one is not needed at the last order.
            last = k == order
            new_s = None if last and which else _divided(products(dx, c, k, 1), k)
            new_c = None if last and not which else _divided(products(dx, s, k, 1), k)
            s.append(new_s)
            c.append(neg(new_c) if sign < 0 and new_c is not None else new_c)
        return (s, c)[which]

    return rule


for _s, _c, _first, _second, _sign in ((sin_p, cos_p, sin, cos, -1.0), (sinh_p, cosh_p, sinh, cosh, 1.0)):
    _s.jet, _c.jet = _pair(_first, _second, _sign, 0), _pair(_first, _second, _sign, 1)


def _quotient(order: int, x: Terms, y: Terms) -> list[Any]:
    """``q y = x``: ``q[k] y[0] = x[k] - sum q[j] y[k-j]``."""
    q = [div(x[0], y[0])]
    for k in range(1, order + 1):
        rest = minus(x[k], products(q, y, k, 0, k - 1))
        q.append(None if rest is None else div(rest, y[0]))
    return [q[0], *(None if c is None else match(c, aval_of(q[0])) for c in q[1:])]


def _log(order: int, series: Sequence[Terms]) -> list[Any]:
    """``x y' = x'``: ``x[0] k y[k] = k x[k] - sum j y[j] x[k-j]``."""
    (x,) = series
    y, dy = [log_p.bind(x[0])], [None]
    aval = aval_of(y[0])
    for k in range(1, order + 1):
        rest = minus(scaled(x[k], k, aval), products(dy, x, k, 1, k - 1))
        dy.append(None if rest is None else div(rest, x[0]))
        y.append(_divided(dy[k], k))
    return y


def _sqrt(order: int, series: Sequence[Terms]) -> list[Any]:
    """``y y = x``: ``2 y[0] y[k] = x[k] - sum y[j] y[k-j]``."""
    (x,) = series
    y = [sqrt_p.bind(x[0])]
    twice = mul(y[0], 2.0)
    for k in range(1, order + 1):
        rest = minus(x[k], products(y, y, k, 1, k - 1))
        y.append(None if rest is None else div(rest, twice))
    return y


def _reciprocal(order: int, series: Sequence[Terms]) -> list[Any]:
    """``q x = 1``: ``q[k] = -q[0] sum q[j] x[k-j]``."""
    (x,) = series
    q = [reciprocal_p.bind(x[0])]
    for k in range(1, order + 1):
        rest = products(q, x, k, 0, k - 1)
        q.append(None if rest is None else neg(mul(rest, q[0])))
    return q


def _pow(order: int, series: Sequence[Terms]) -> Any:
    """``x**y = exp(y log x)`` where the exponent moves; of a fixed one the JVP says it without a logarithm."""
    x, y = series
    if not is_live(y):
        return NotImplemented
    first = pow_p.bind(x[0], y[0])
    aval = aval_of(first)
    base, exponent = ([None if c is None else convert(c, aval.dtype) for c in terms] for terms in series)
    logarithm = _log(order, [base]) if is_live(x) else [log_p.bind(base[0])] + [None] * order
    inner = [products(exponent, logarithm, k) for k in range(order + 1)]
    rule = _solves(lambda _: first, lambda p, k: p[k])
    return [first, *(None if c is None else match(c, aval) for c in rule(order, [inner])[1:])]


div_p.jet = lambda order, series: _quotient(order, *series)
log_p.jet = _log
sqrt_p.jet = _sqrt
reciprocal_p.jet = _reciprocal
pow_p.jet = _pow


# -- recurrences along an axis ----------------------------------------------------------------------------------------


def _recurrence(order: int, series: Sequence[Terms], *, axis: int, reverse: bool) -> list[Any]:
    """``s[i] = a[i] s[i-1] + b[i]``, of which each coefficient is a recurrence with the first factors."""
    a, b = series
    s = [linear_recurrence_p.bind(a[0], b[0], axis=axis, reverse=reverse)]
    before = [previous(s[0], axis, reverse, 0)]
    for k in range(1, order + 1):
        rest = plus(b[k], products(a, before, k, 1))
        s.append(None if rest is None else linear_recurrence_p.bind(a[0], rest, axis=axis, reverse=reverse))
        before.append(None if rest is None else previous(s[k], axis, reverse, 0))
    return s


def _cumprod(order: int, series: Sequence[Terms], *, axis: int, reverse: bool) -> list[Any]:
    """``y[i] = x[i] y[i-1]``: no quotient, so zeros do no harm."""
    (x,) = series
    y = [cumprod_p.bind(x[0], axis=axis, reverse=reverse)]
    before = [previous(y[0], axis, reverse, 1)]
    for k in range(1, order + 1):
        rest = products(x, before, k, 1)
        y.append(None if rest is None else linear_recurrence_p.bind(x[0], rest, axis=axis, reverse=reverse))
        before.append(None if rest is None else previous(y[k], axis, reverse, 0))
    return y


linear_recurrence_p.jet = _recurrence
cumprod_p.jet = _cumprod


# -- control flow -----------------------------------------------------------------------------------------------------


def _cond(order: int, series: Sequence[Terms], *, branches: tuple[Jaxpr, ...]) -> list[Any]:
    which, *operands = series
    live = [is_live(x) for x in operands]
    masks = [jet_jaxpr(b, live, order)[1] for b in branches]
    live_out = [any(m) for m in zip(*masks, strict=True)]
    targets = branches[0].out_avals
    avals = (*targets, *(a.tangent() for a, now in zip(targets, live_out, strict=True) if now for _ in range(order)))
    derived, consts = joined([jet_jaxpr(b, live, order, live_out)[0] for b in branches])
    given = higher(operands, branches[0].in_avals)
    outs = cond_p.bind(
        which[0],
        *consts,
        *(x[0] for x in operands),
        *given,
        branches=tuple(results_fitted(b, avals) for b in derived),
    )
    return gathered(outs, live_out, order)


class _Body:
    """The body of a loop on series, with the coefficients of an operand behind it in its group.

    Args:
        jaxpr: the body, from constants, carries and slices to carries and results.
        n_consts, n_carry: how many there are of them.
        live: which of its operands have coefficients; those of carries are completed.
    """

    def __init__(self, jaxpr: Jaxpr, n_consts: int, n_carry: int, live: list[bool], order: int) -> None:
        start, n, n_out = n_consts + n_carry, len(jaxpr.invars), len(jaxpr.outvars)
        while True:
            rest = [False] * (n_out - n_carry)
            derived, live_out = jet_jaxpr(jaxpr, live, order, [*live[n_consts:start], *rest])
            if live_out[:n_carry] == tuple(live[n_consts:start]):
                break
            live[n_consts:start] = live_out[:n_carry]
        closed, self.consts = derived.hoisted()
        h = len(self.consts)
        self.groups = [range(n_consts), range(n_consts, start), range(start, n)]
        self.live, self.order = live, order
        places, n_live = {}, 0
        for i in range(n):
            if live[i]:
                places[i] = range(h + n + n_live * order, h + n + (n_live + 1) * order)
                n_live += 1
        inputs = list(range(h))
        for group in self.groups:
            inputs += [h + i for i in group] + [k for i in group if live[i] for k in places[i]]
        self.outputs: list[int] = []
        starts, found = {}, n_out
        for i in range(n_out):
            if live_out[i]:
                starts[i] = found
                found += order
        for out_group in (range(n_carry), range(n_carry, n_out)):
            self.outputs += [*out_group, *(starts[i] + k for i in out_group if live_out[i] for k in range(order))]
        self.live_out = live_out
        self.grown = n_carry + order * sum(live_out[:n_carry])
        carries = jaxpr.in_avals[n_consts:start]
        self.more = tuple(a.tangent() for a, now in zip(carries, live_out, strict=False) if now for _ in range(order))
        body = reordered(closed, tuple(inputs), tuple(self.outputs))
        self.jaxpr = results_fitted(body, (*carries, *self.more, *body.out_avals[self.grown :]))
        self.n_consts = h + n_consts + order * sum(live[:n_consts])
        self.in_avals = jaxpr.in_avals

    def operands(self, terms: Sequence[Terms]) -> list[Any]:
        """The operands of the loop."""
        given = list(self.consts)
        for k, group in enumerate(self.groups):
            given += [terms[i][0] for i in group]
            for i in group:
                if self.live[i]:
                    for c in terms[i][1:]:
                        aval = aval_of(terms[i][0]).tangent()
                        given.append(dense(c, aval) if k == 2 else fit(dense(c, aval), self.in_avals[i].tangent()))
        return given

    def results(self, outs: Sequence[Any]) -> list[Any]:
        """Results and their coefficients, as series."""
        place = {i: k for k, i in enumerate(self.outputs)}
        n_out = len(self.live_out)
        in_order = [outs[place[i]] for i in range(len(self.outputs))]
        return gathered([*in_order[:n_out], *in_order[n_out:]], self.live_out, self.order)


def _scan(
    order: int, series: Sequence[Terms], *, jaxpr: Jaxpr, n_consts: int, n_carry: int, counted: bool, **how: Any
) -> list[Any]:
    count, terms = series[:counted], series[counted:]
    body = _Body(jaxpr, n_consts, n_carry, [is_live(x) for x in terms], order)
    outs = scan_p.bind(
        *(x[0] for x in count),
        *body.operands(terms),
        jaxpr=body.jaxpr,
        n_consts=body.n_consts,
        n_carry=body.grown,
        counted=counted,
        **how,
    )
    return body.results(outs)


def _while(
    order: int,
    series: Sequence[Terms],
    *,
    cond: Jaxpr,
    body: Jaxpr,
    n_cond: int,
    n_body: int,
    saves: int | None,
) -> list[Any]:
    tests, terms = series[:n_cond], series[n_cond:]
    n_carry = len(terms) - n_body
    loop = _Body(body, n_body, n_carry, [is_live(x) for x in terms], order)
    n_saved = len(loop.outputs) - loop.grown
    outs = while_p.bind(
        *(x[0] for x in tests),
        *loop.operands(terms),
        cond=widened(cond, loop.more),
        body=loop.jaxpr,
        n_cond=n_cond,
        n_body=loop.n_consts,
        saves=None if saves is None else n_saved,
    )
    if saves is None:
        return loop.results(outs)
    # Between the carries and what is kept of each step stands how many steps there were.
    steps = [[o] + [None] * order for o in outs[loop.grown : loop.grown + 2]]
    found = loop.results([*outs[: loop.grown], *outs[loop.grown + 2 :]])
    return [*found[:n_carry], *steps, *found[n_carry:]]


cond_p.jet = _cond
scan_p.jet = _scan
while_p.jet = _while
