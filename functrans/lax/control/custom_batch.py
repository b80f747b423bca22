"""Functions that carry a batching rule of the user's.

Derivatives map over the function and its rule together: what ``jvp`` makes of such a function is one again, with the
``jvp`` of the rule as its rule, and so is its transpose. So ``vmap`` of a gradient meets the user's rule, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import BatchAxis, Params, Primitive, Trait, Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import instantiate, move_axis, reduce_sum
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.interpreters.jvp import jvp_flat
from functrans.interpreters.transpose import backward_pass, fit_cotangent
from functrans.lax.control.region import runner

Mask = Sequence[bool]
Mapped = Callable[[BatchAxis, Mask, Sequence[Any]], tuple[Sequence[Any], Mask]]


class BatchRule:
    """A function of arrays with its batching rule, both flat.

    Attributes:
        name: the function's name, for messages.
        fun: ``fun(*args)`` gives the results.
        mapped: ``mapped(axis, batched, args)`` gives the results for arguments of which some have the batch as their
            first axis, and which results have it.
        n_captured: how many of the first arguments are traced values that the function or its rule close over.
        jaxpr: the function staged, with ``n_consts`` hoisted constants as its first inputs.
    """

    def __init__(
        self,
        name: str,
        fun: Callable[..., Sequence[Any]],
        mapped: Mapped,
        n_captured: int = 0,
        jaxpr: Jaxpr | None = None,
        n_consts: int = 0,
    ) -> None:
        self.name = name
        self.fun = fun
        self.mapped = mapped
        self.n_captured = n_captured
        self.jaxpr = jaxpr
        self.n_consts = n_consts

    def staged(self, avals: Sequence[ShapedArray]) -> tuple[BatchRule, Sequence[Any]]:
        """The rule with the function staged at given avals, and the constants that this hoisted."""
        if self.jaxpr is not None:
            return self, ()
        jaxpr, consts = stage(self.fun, avals, self.name).hoisted()

        def fun(*args: Any) -> list[Any]:
            return evaluate(jaxpr, args)

        return BatchRule(self.name, fun, self.mapped, self.n_captured, jaxpr, len(consts)), consts

    def __repr__(self) -> str:
        return f"<batching rule of {self.name}>"


def _stage(avals: Sequence[ShapedArray], params: Params) -> tuple[Sequence[Any], Params]:
    rule, consts = params["rule"].staged(avals)
    return consts, {"rule": rule}


def _shape(*avals: ShapedArray, rule: BatchRule) -> list[ShapedArray]:
    staged, _ = rule.staged(avals)
    assert staged.jaxpr is not None
    return list(staged.jaxpr.out_avals)


def _specialize(xp: Any, avals: Sequence[ShapedArray], *, rule: BatchRule) -> Callable[..., Sequence[Any]]:
    return rule.fun if rule.jaxpr is None else runner(rule.jaxpr, xp)


def _batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, rule: BatchRule
) -> tuple[list[Any], list[int | None]]:
    n = rule.n_consts
    if any(d is not None for d in dims[: n + rule.n_captured]):
        raise errors.CustomRuleError(
            f"{rule.name} has a batching rule of its own and closes over a value that is batched, of which the rule "
            f"knows nothing. Pass that value to {rule.name} as an argument"
        )
    first = [x if d is None else move_axis(x, d, 0) for x, d in zip(args, dims, strict=True)]
    outs, batched = rule.mapped(axis, [d is not None for d in dims[n:]], first[n:])
    return list(outs), [0 if b else None for b in batched]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, rule: BatchRule) -> tuple[list[Any], list[Any]]:
    n, m = rule.n_consts, len(primals)
    if any(not isinstance(t, Zero) for t in tangents[:n]):
        raise errors.CustomRuleError(
            f"{rule.name} has a batching rule of its own and reads a value that is being differentiated from where it "
            f"cannot be found. Pass that value to {rule.name} as an argument"
        )
    outs = custom_vmap_p.bind(*primals, rule=rule)
    live = [not isinstance(t, Zero) for t in tangents]
    inexact = [dtypes.is_inexact(aval_of(o).dtype) for o in outs]

    def pushed(f: Callable[..., Sequence[Any]], points: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        rest = iter(given)
        directions = [
            next(rest) if a else Zero(aval_of(p).tangent()) for a, p in zip(live[-len(points) :], points, strict=True)
        ]
        found = jvp_flat(f, points, directions)[1]
        return [instantiate(t) for t, now in zip(found, inexact, strict=True) if now]

    def fun(*args: Any) -> list[Any]:
        return pushed(rule.fun, args[:m], args[m:])

    def mapped(axis: BatchAxis, batched: Mask, args: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        k = m - n
        moved = iter(zip(args[k:], batched[k:], strict=True))
        points, masks, given = [], [], []
        for x, b, a in zip(args[:k], batched, live[n:], strict=False):
            if not a:
                points.append(x)
                masks.append(b)
                continue
            t, also = next(moved)
            both = b or also
            masks.append(both)
            points.append(materialize(axis, x, 0 if b else None) if both else x)
            given.append(materialize(axis, t, 0 if also else None) if both else t)
        outs_batched: list[bool] = []

        def whole(*xs: Any) -> Sequence[Any]:
            results, outs_batched[:] = rule.mapped(axis, masks, xs)
            return results

        found = pushed(whole, points, given)
        return found, [b for b, now in zip(outs_batched, inexact, strict=True) if now]

    derivative = BatchRule(f"the derivative of {rule.name}", fun, mapped, rule.n_captured)
    if n:
        # The constants of the function are operands of its derivative; the rule never sees them.
        consts = primals[:n]
        derivative.fun = lambda *args: fun(*consts, *args)
        m_given = primals[n:]
    else:
        m_given = primals
    given = [t for t in tangents if not isinstance(t, Zero)]
    found = iter(custom_vmap_p.bind(*m_given, *given, rule=derivative))
    return outs, [next(found) if now else Zero(aval_of(o).tangent()) for o, now in zip(outs, inexact, strict=True)]


def _transpose(cotangents: Sequence[Any], *operands: Any, rule: BatchRule) -> list[Any]:
    n = rule.n_consts
    linear = [isinstance(x, Undefined) for x in operands]
    live = [not isinstance(ct, Zero) for ct in cotangents]
    targets = [x.aval for x in operands if isinstance(x, Undefined)]
    known = [x for x, lin in zip(operands, linear, strict=True) if not lin]
    n_known = len(known)

    def pulled(f: Callable[..., Sequence[Any]], avals: Sequence[ShapedArray], cts: Sequence[Any]) -> list[Any]:
        jaxpr = stage(f, avals, rule.name)
        found = backward_pass(jaxpr, [Undefined(a) for a in avals], cts)
        return [
            instantiate(Zero(v.aval.cotangent()) if ct is None else fit_cotangent(ct, v))
            for ct, v in zip(found, jaxpr.invars, strict=True)
        ]

    def around(fixed: Sequence[Any], given: Sequence[Any], mask: Mask) -> list[Any]:
        values, unknown = iter(fixed), iter(given)
        return [next(unknown) if lin else next(values) for lin in mask]

    def fun(*args: Any) -> list[Any]:
        given = iter(args[n_known:])
        cts = [next(given) if a else None for a in live]
        return pulled(lambda *ts: rule.fun(*around(args[:n_known], ts, linear)), targets, cts)

    def mapped(axis: BatchAxis, batched: Mask, args: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        k = n_known - n
        masks = around(batched[:k], [True] * len(targets), linear[n:])
        avals = [a.update(shape=(axis.size, *a.shape)) for a in targets]
        outs_batched: list[bool] = []

        def whole(*ts: Any) -> Sequence[Any]:
            results, outs_batched[:] = rule.mapped(axis, masks, around(args[:k], ts, linear[n:]))
            return results

        stage(whole, avals, rule.name)
        given = iter(zip(args[k:], batched[k:], strict=True))
        cts: list[Any] = []
        for a, b in zip(live, outs_batched, strict=True):
            if not a:
                cts.append(None)
                continue
            ct, also = next(given)
            ct = materialize(axis, ct, 0 if also else None)
            cts.append(ct if b else reduce_sum(ct, (0,)))
        return pulled(whole, avals, cts), [True] * len(targets)

    transposed = BatchRule(f"the transpose of {rule.name}", fun, mapped, rule.n_captured)
    if n:
        consts = known[:n]
        transposed.fun = lambda *args: fun(*consts, *args)
    given = [ct for ct in cotangents if not isinstance(ct, Zero)]
    found = iter(custom_vmap_p.bind(*known[n:], *given, rule=transposed))
    return [next(found) if lin else None for lin in linear]


custom_vmap_p: Primitive = Primitive(
    "custom_vmap",
    shape=_shape,
    impl=lambda xp, *args, rule: list(rule.fun(*args)),
    inline=lambda inputs, *, rule: None if rule.jaxpr is None else (rule.jaxpr, inputs),
    specialize=_specialize,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    stage=_stage,
    multiple=True,
    kind="custom",
    traits=frozenset({Trait.VIEW}),
)
