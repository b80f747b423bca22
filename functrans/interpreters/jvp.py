"""Forward mode: dual numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Params, Primitive, Zero
from functrans.core.stage import stage
from functrans.core.structural import instantiate
from functrans.core.trace import Trace, Tracer, aval_of, current_trace, known, reset_trace, reverse_mode, set_trace
from functrans.util.cache import WeakMemo


class JVPTrace(Trace):
    """Carries a tangent beside each value. A tracer's payload is the pair (primal, tangent)."""

    __slots__ = ()
    differentiates = True

    def dual(self, value: Any) -> tuple[Any, Any]:
        """The primal and the tangent of a value; the tangent of what this trace did not make is zero."""
        if isinstance(value, Tracer) and value._trace is self:
            pair: tuple[Any, Any] = value.payload
            return pair
        return value, Zero(aval_of(value).tangent())

    def lift(self, primal: Any, tangent: Any) -> Any:
        """A tracer for a pair; the primal alone where its tangent is zero."""
        return primal if isinstance(tangent, Zero) else Tracer(self, aval_of(primal), (primal, tangent))

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        primals, tangents = zip(*map(self.dual, args), strict=True) if args else ((), ())
        token = set_trace(self.parent)
        try:
            if all(isinstance(t, Zero) for t in tangents):
                return prim.bind(*primals, **params)
            outs, out_tangents = prim.rule("jvp")(primals, tangents, **params)
        finally:
            reset_trace(token)
        if prim.multiple:
            return [self.lift(p, t) for p, t in zip(outs, out_tangents, strict=True)]
        return self.lift(outs, out_tangents)

    def concrete(self, tracer: Tracer) -> Any:
        primal = tracer.payload[0]
        return primal._trace.concrete(primal) if isinstance(primal, Tracer) else primal

    def known(self, tracer: Tracer) -> Any:
        return known(tracer.payload[0])

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        primal = tracer.payload[0]
        return primal._trace.need(primal, error, use) if isinstance(primal, Tracer) else primal

    def origin(self, tracer: Tracer) -> str:
        primal = tracer.payload[0]
        return primal._trace.origin(primal) if isinstance(primal, Tracer) else ""


def jvp_flat(
    f: Callable[..., Sequence[Any]], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """Results of a function of arrays and their tangents, which may be ``Zero``."""
    trace = JVPTrace(current_trace())
    token = set_trace(trace)
    try:
        outs = f(*[trace.lift(p, t) for p, t in zip(primals, tangents, strict=True)])
    finally:
        reset_trace(token)
        trace.ended = True
    pairs = [trace.dual(out) for out in outs]
    return [p for p, _ in pairs], [t for _, t in pairs]


def _jvp_jaxpr(
    jaxpr: Jaxpr, live: tuple[bool, ...], instantiated: tuple[bool, ...] | bool, reverse: bool
) -> tuple[Jaxpr, tuple[bool, ...]]:
    n = len(jaxpr.invars)
    live_out: list[bool] = []

    def f(*args: Any) -> list[Any]:
        given = iter(args[n:])
        tangents = [next(given) if a else Zero(v.aval.tangent()) for a, v in zip(live, jaxpr.invars, strict=True)]
        outs, out_tangents = jvp_flat(lambda *xs: evaluate(jaxpr, xs), args[:n], tangents)
        force = (instantiated,) * len(outs) if isinstance(instantiated, bool) else instantiated
        out_tangents = [instantiate(t) if now else t for t, now in zip(out_tangents, force, strict=True)]
        live_out[:] = [not isinstance(t, Zero) for t in out_tangents]
        return outs + [t for t in out_tangents if not isinstance(t, Zero)]

    avals = [*jaxpr.in_avals, *(v.aval.tangent() for a, v in zip(live, jaxpr.invars, strict=True) if a)]
    staged = stage(f, avals, "jvp")
    return staged, tuple(live_out)


_memo: WeakMemo[tuple[Jaxpr, tuple[bool, ...]]] = WeakMemo(_jvp_jaxpr)


def jvp_jaxpr(
    jaxpr: Jaxpr, live: Sequence[bool], instantiated: Sequence[bool] | bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr of a jaxpr's JVP.

    Args:
        jaxpr: a jaxpr without constants.
        live: which inputs have a tangent.
        instantiated: which outputs must have one, zero or not.

    Returns:
        A jaxpr from primals and live tangents to results and their live tangents, and which results have one.
    """
    force = instantiated if isinstance(instantiated, bool) else tuple(instantiated)
    return _memo(jaxpr, tuple(live), force, reverse_mode.get())
