"""Taylor mode: functions of truncated power series.

A value carries the coefficients ``c[0] + c[1] t + ... + c[K] t**K`` of a path. What an operation makes of them follows
from its JVP, whose program ``J(x, dx)`` says all there is to know:

- where ``J`` does not look at ``x``, the operation is linear, and acts on each coefficient;
- where it looks at the other one of two operands, it is bilinear: coefficients of the result are sums of products;
- else ``y(t) = f(x(t))`` solves ``y' = J(x(t), x'(t))``: the series of the right hand side, to one order less, gives
  that of ``y``. ``J`` consists of operations of its own, down to some with a recurrence in their ``jet`` slot.

So every operation with a JVP has its series, at a cost polynomial in the order; unless its derivative needs two new
operations of its kind at every order, as that of a Bessel function does, where a recurrence would be the mend.

Source: A. Griewank and A. Walther, Evaluating Derivatives (2nd edition, 2008), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Params, Primitive, Zero
from functrans.core.stage import stage
from functrans.core.structural import add, instantiate
from functrans.core.trace import Trace, Tracer, aval_of, current_trace, known, reset_trace, set_trace
from functrans.lax.arithmetic import div, mul
from functrans.lax.control.region import fit
from functrans.lax.taylor_programs import TangentProgram, tangent_program
from functrans.util.cache import WeakMemo

Terms = Sequence[Any]
"""Coefficients from that of order 0 on; None for one that is zero."""


class Series:
    """The coefficients of a value along the path. Those of an order that is not asked for may stand there too."""

    __slots__ = ("_derivative", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = list(terms)
        self._derivative: Series | None = None

    def derivative(self) -> Series:
        """The series of the derivative along the path, of one order less."""
        if self._derivative is None:
            tangent = aval_of(self.terms[0]).tangent()
            first, *rest = [scaled(c, k, tangent) for k, c in enumerate(self.terms) if k]
            self._derivative = Series([dense(first, tangent), *rest])
        return self._derivative

    def extend(self, terms: Terms) -> None:
        """Add coefficients of higher orders."""
        known = len(self.terms)
        self.terms.extend(terms[known:])
        if self._derivative is not None:
            tangent = aval_of(self.terms[0]).tangent()
            reached = self._derivative.terms
            self._derivative.extend([*reached, *(scaled(terms[k], k, tangent) for k in range(known, len(terms)))])


def scaled(term: Any, factor: float, aval: ShapedArray) -> Any:
    return None if term is None else term if factor == 1 else fit(mul(term, float(factor)), aval)


def plus(a: Any, b: Any) -> Any:
    """The sum of two terms."""
    return b if a is None else a if b is None else add(a, b)


def times(a: Any, b: Any) -> Any:
    """The product of two terms."""
    return None if a is None or b is None else mul(a, b)


def products(a: Terms, b: Terms, k: int, first: int = 0, last: int | None = None) -> Any:
    """The sum of ``a[j] b[k - j]`` for ``j`` from ``first`` to ``last``, both included: ``k`` by default."""
    total = None
    for j in range(first, (k if last is None else last) + 1):
        total = plus(total, times(a[j], b[k - j]))
    return total


class JetTrace(Trace):
    """Carries Taylor coefficients. A tracer's payload is a ``Series``."""

    __slots__ = ("memo", "order")
    differentiates = True

    def __init__(self, parent: Trace | None, order: int, memo: dict[Any, Any] | None = None) -> None:
        super().__init__(parent)
        self.order = order
        self.memo = memo

    def lift(self, value: Any) -> Any:
        return Tracer(self, aval_of(value.terms[0]), value) if isinstance(value, Series) else value

    def lower(self, value: Any) -> Any:
        """The series behind a value; the value itself where it is a constant to this trace."""
        return value.payload if isinstance(value, Tracer) and value._trace is self else value

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        token = set_trace(self.parent)
        try:
            outs = self._apply(prim, [self.lower(a) for a in args], params)
        finally:
            reset_trace(token)
        lifted = list(map(self.lift, outs))
        return lifted if prim.multiple else lifted[0]

    def _apply(self, prim: Primitive, operands: Sequence[Any], params: Params) -> list[Any]:
        live = tuple([isinstance(x, Series) for x in operands])
        if self.memo is None:
            return self._series(prim, operands, live, params, ()) if any(live) else _constant(prim, operands, params)
        # Inside the program of a JVP the same series meet the same operations at every lower order. What they make
        # stays one object, which grows, so that it is known again in turn.
        key = (prim, *map(id, operands), *params.items())
        outs: list[Any]
        order, outs, _ = self.memo.get(key, (-1, [], ()))
        if order < self.order:
            if not any(live):
                outs = _constant(prim, operands, params)
                self.memo[key] = math.inf, outs, operands
                return outs
            new = self._series(prim, operands, live, params, outs)
            # A deeper level may have begun in the meantime.
            order, outs, _ = self.memo.get(key, (-1, [], ()))
            if not outs:
                outs = new
            else:
                for old, series in zip(outs, new, strict=True):
                    old.extend(series.terms)
            self.memo[key] = max(order, self.order), outs, operands
        return outs

    def _series(
        self,
        prim: Primitive,
        operands: Sequence[Any],
        live: tuple[bool, ...],
        params: Params,
        found: Sequence[Series],
    ) -> list[Any]:
        """The results, of which the coefficients of lower orders may have been ``found`` already."""
        n = self.order + 1
        terms = [x.terms[:n] if a else [x] + [None] * self.order for x, a in zip(operands, live, strict=True)]
        if self.order == 0:
            result = prim.bind(*[x[0] for x in terms], **params)
            outs: list[Any] = [[o] for o in (result if prim.multiple else [result])]
        elif prim.jet is not None and (result := prim.jet(self.order, terms, **params)) is not NotImplemented:
            outs = list(result) if prim.multiple else [result]
        elif prim.kind == "call" and isinstance(params.get("jaxpr"), Jaxpr):
            outs = call_series(prim, self.order, terms, params)
        else:
            outs = self._by_jvp(prim, operands, live, terms, params, [out.terms for out in found])
        # What is constant to this order may not be so to the next one.
        return [Series(o) if self.memo is not None or is_live(o) else o[0] for o in outs]

    def _by_jvp(
        self,
        prim: Primitive,
        operands: Sequence[Any],
        live: tuple[bool, ...],
        terms: Sequence[Terms],
        params: Params,
        found: Sequence[Terms],
    ) -> list[Terms]:
        primals = [x[0] for x in terms]
        avals = [aval_of(p) for p in primals]
        program = tangent_program(prim, params, avals, live)
        outs: list[list[Any]] = [list(out) for out in found]
        if not outs:
            result = prim.bind(*primals, **params)
            outs = [[o] for o in (result if prim.multiple else [result])]
        orders = range(min(map(len, outs), default=1), self.order + 1)
        places = [i for i, a in enumerate(live) if a]
        if program.linear:
            higher = [self._linear(program, primals, [terms[i][k] for i in places]) for k in orders]
        elif program.bilinear is not None:
            higher = [_convolved(program.bilinear, terms, places, k) for k in orders]
        else:
            higher = self._solved(program, operands, primals, places)[orders.start - 1 :]
        for row in higher:
            given = iter(row)
            for out, now in zip(outs, program.live_out, strict=True):
                t = next(given) if now else None
                out.append(None if t is None else fit(t, aval_of(out[0]).tangent()))
        return outs  # type: ignore[return-value]

    @staticmethod
    def _linear(program: TangentProgram, primals: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        if all(t is None for t in given):
            return [None] * len(program.jaxpr.outvars)
        tangents = program.jaxpr.in_avals[len(primals) :]
        return evaluate(program.jaxpr, [*primals, *map(dense, given, tangents)])

    def _solved(
        self, program: TangentProgram, operands: Sequence[Any], primals: Sequence[Any], places: Sequence[int]
    ) -> list[list[Any]]:
        """The coefficients of ``y`` where ``y' = J(x, x')``."""
        jaxpr = program.jaxpr
        if self.order == 1:
            given = [operands[i].terms[1] for i in places]
            return [evaluate(jaxpr, [*primals, *map(dense, given, jaxpr.in_avals[len(primals) :])])]
        memo: dict[Any, Any] = {} if self.memo is None else self.memo
        inner = JetTrace(self.parent, self.order - 1, memo)
        velocities = [operands[i].derivative() for i in places]
        slopes = run_series(lambda *xs: evaluate(jaxpr, xs), [*operands, *velocities], inner)
        rows = []
        for k in range(self.order):
            row = []
            for slope in slopes:
                c = slope.terms[k] if isinstance(slope, Series) else slope if k == 0 else None
                row.append(None if c is None else div(c, float(k + 1)) if k else c)
            rows.append(row)
        return rows

    def concrete(self, tracer: Tracer) -> Any:
        primal = tracer.payload.terms[0]
        return primal._trace.concrete(primal) if isinstance(primal, Tracer) else primal

    def known(self, tracer: Tracer) -> Any:
        return known(tracer.payload.terms[0])

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        primal = tracer.payload.terms[0]
        return primal._trace.need(primal, error, use) if isinstance(primal, Tracer) else primal

    def origin(self, tracer: Tracer) -> str:
        primal = tracer.payload.terms[0]
        return primal._trace.origin(primal) if isinstance(primal, Tracer) else ""


def _constant(prim: Primitive, operands: Sequence[Any], params: Params) -> list[Any]:
    result = prim.bind(*operands, **params)
    return list(result) if prim.multiple else [result]


def dense(term: Any, aval: ShapedArray) -> Any:
    return instantiate(Zero(aval)) if term is None else term


def _convolved(sides: tuple[Jaxpr, Jaxpr], terms: Sequence[Terms], places: Sequence[int], k: int) -> list[Any]:
    """The coefficient of order ``k`` of a bilinear operation: products of coefficients whose orders sum up to it."""
    i, j = places
    totals: list[Any] = [None] * len(sides[0].outvars)
    for a in range(k + 1):
        x, y = terms[i][a], terms[j][k - a]
        if x is None or y is None:
            continue
        operands = [t[0] for t in terms]
        # The program of the one operand's tangent is the operation itself, with the other operand as it is given.
        operands[j] = y
        totals = list(map(plus, totals, evaluate(sides[0], [*operands, x])))
    return totals


# -- functions and regions --------------------------------------------------------------------------------------------


def run_series(f: Callable[..., Sequence[Any]], inputs: Sequence[Any], trace: JetTrace) -> list[Any]:
    """What a function of arrays makes of series (and constants)."""
    token = set_trace(trace)
    try:
        outs = [trace.lower(out) for out in f(*map(trace.lift, inputs))]
    finally:
        reset_trace(token)
        trace.ended = True
    return outs


def jet_flat(f: Callable[..., Sequence[Any]], inputs: Sequence[Terms], order: int) -> list[list[Any]]:
    """Taylor coefficients of the results of a function of arrays, from those of its arguments; None for zero."""
    given = [Series(x) if any(c is not None for c in x[1:]) else x[0] for x in inputs]
    outs = run_series(f, given, JetTrace(current_trace(), order))
    return [o.terms[: order + 1] if isinstance(o, Series) else [o] + [None] * order for o in outs]


def _jet_jaxpr(
    jaxpr: Jaxpr, live: tuple[bool, ...], order: int, force: tuple[bool, ...]
) -> tuple[Jaxpr, tuple[bool, ...]]:
    n = len(jaxpr.invars)
    live_out: list[bool] = []

    def f(*args: Any) -> list[Any]:
        given = iter(args[n:])
        inputs = [[x, *(next(given) if a else None for _ in range(order))] for x, a in zip(args[:n], live, strict=True)]
        found = jet_flat(lambda *xs: evaluate(jaxpr, xs), inputs, order)
        live_out[:] = [
            now or any(c is not None for c in out[1:])
            for out, now in zip(found, force or (False,) * n_out, strict=True)
        ]
        outs = [out[0] for out in found]
        for out, now in zip(found, live_out, strict=True):
            if now:
                aval = aval_of(out[0]).tangent()
                outs.extend(dense(c, aval) for c in out[1:])
        return outs

    n_out = len(jaxpr.outvars)
    avals = [
        *jaxpr.in_avals,
        *(v.aval.tangent() for v, a in zip(jaxpr.invars, live, strict=True) if a for _ in range(order)),
    ]
    return stage(f, avals, "jet"), tuple(live_out)


_memo: WeakMemo[tuple[Jaxpr, tuple[bool, ...]]] = WeakMemo(_jet_jaxpr)


def jet_jaxpr(
    jaxpr: Jaxpr, live: Sequence[bool], order: int, force: Sequence[bool] = ()
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr of a jaxpr on series.

    Args:
        jaxpr: a jaxpr.
        live: which inputs have coefficients beyond the first.
        order: of how high an order.
        force: which outputs must have them.

    Returns:
        A jaxpr from primals, then ``order`` coefficients for each live input, to results, then ``order`` coefficients
        for each live result; and which results are live.
    """
    return _memo(jaxpr, tuple(live), order, tuple(force))


def is_live(terms: Terms) -> bool:
    return any(c is not None for c in terms[1:])


def higher(terms: Sequence[Terms], avals: Sequence[ShapedArray]) -> list[Any]:
    """The coefficients beyond the first of live operands, in the dtype and box of tangents of these avals."""
    given: list[Any] = []
    for x, a in zip(terms, avals, strict=True):
        if is_live(x):
            given.extend(fit(dense(c, a.tangent()), a.tangent()) for c in x[1:])
    return given


def gathered(outs: Sequence[Any], live_out: Sequence[bool], order: int) -> list[list[Any]]:
    """Results and their coefficients, as a jaxpr on series gives them, as series."""
    n = len(live_out)
    rest = iter(outs[n:])
    return [[o, *(next(rest) if a else None for _ in range(order))] for o, a in zip(outs[:n], live_out, strict=True)]


def call_series(prim: Primitive, order: int, terms: Sequence[Terms], params: Params) -> list[Any]:
    """A call of a jaxpr, as a call of that jaxpr on series."""
    jaxpr: Jaxpr = params["jaxpr"]
    derived, live_out = jet_jaxpr(jaxpr, [is_live(x) for x in terms], order)
    closed, consts = derived.hoisted()
    operands = [*consts, *(x[0] for x in terms), *higher(terms, jaxpr.in_avals)]
    outs = prim.bind(*operands, **{**params, "jaxpr": closed})
    return gathered(outs, live_out, order)
