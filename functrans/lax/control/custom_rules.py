"""Functions that carry derivative rules of the user's, as primitives.

The transformation that meets such a call decides what to do with it: ``linearize`` takes the reverse rule, ``jvp``
the forward one, ``vmap`` maps the function and its rules together, and staging keeps the rules beside the jaxpr of
the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import NO_EFFECTS, Eqn, Jaxpr, dce
from functrans.core.primitive import BatchAxis, Params, Primitive, Trait, Undefined, Zero
from functrans.core.stage import JaxprTrace, PartialTrace, stage
from functrans.core.structural import convert, instantiate, move_axis, reduce_sum, zero_of
from functrans.core.trace import Tracer, aval_of, current_trace, reset_trace, reverse_mode, set_trace
from functrans.interpreters.batch import batch_flat, batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_flat
from functrans.interpreters.linearize import CustomLinear, Recorded
from functrans.interpreters.transpose import backward_pass
from functrans.lax.control.region import runner

Flat = Callable[..., Sequence[Any]]


class Rules:
    """A function of arrays with its derivative rules, all flat.

    Attributes:
        name: the function's name, for messages.
        fun: ``fun(*args)`` gives the results.
        jvp: ``jvp(primals, tangents)`` gives results and tangents; a tangent may be ``Zero``.
        fwd: ``fwd(live, args)`` gives results and residuals; ``live`` says which arguments are differentiated.
        bwd: ``bwd(residuals, cotangents)`` gives a cotangent or None for each argument.
        n_captured: how many of the first arguments are traced values that the function or its rules close over.
        jaxpr: the function staged, with ``n_consts`` hoisted constants as its first inputs.
        optimize_remat: whether ``fwd`` gives way to the function itself where only its results are needed.
    """

    def __init__(
        self,
        name: str,
        fun: Flat,
        jvp: Callable[..., Any] | None,
        fwd: Callable[..., Any] | None,
        bwd: Callable[..., Any] | None,
        n_captured: int = 0,
        jaxpr: Jaxpr | None = None,
        n_consts: int = 0,
        optimize_remat: bool = False,
    ) -> None:
        self.name = name
        self.fun = fun
        self.jvp = jvp
        self.fwd = fwd
        self.bwd = bwd
        self.n_captured = n_captured
        self.jaxpr = jaxpr
        self.n_consts = n_consts
        self.optimize_remat = optimize_remat

    def staged(self, avals: Sequence[ShapedArray]) -> tuple[Rules, Sequence[Any]]:
        """The rules with the function staged at given avals, and the constants that this hoisted."""
        if self.jaxpr is not None:
            return self, ()
        jaxpr, consts = stage(self.fun, avals, self.name).hoisted()
        n = len(consts)
        fwd = self.fwd
        return (
            Rules(
                self.name,
                lambda *args: evaluate(jaxpr, args),
                self.jvp,
                fwd,
                self.bwd,
                self.n_captured,
                jaxpr,
                n,
                self.optimize_remat,
            ),
            consts,
        )

    def without_consts(self, values: Sequence[Any]) -> Sequence[Any]:
        return values[self.n_consts :]

    def __repr__(self) -> str:
        return f"<custom rules of {self.name}>"


def _check_captured(rules: Rules, avals: Sequence[ShapedArray], live: Sequence[bool]) -> None:
    """Reject a derivative in what the function closes over: no rule gives it. What it does not use has none."""
    n = rules.n_consts + rules.n_captured
    if not any(live[:n]):
        return
    staged, consts = rules.staged(avals)
    assert staged.jaxpr is not None
    used = {a for eqn in staged.jaxpr.eqns for a in eqn.inputs}.union(staged.jaxpr.outvars)
    if any(a and v in used for a, v in zip(live[:n], staged.jaxpr.invars[len(consts) :], strict=False)):
        raise errors.CustomRuleError(
            f"{rules.name} has a derivative rule of its own and closes over a value that is being differentiated (or "
            f"gets it as an argument of nondiff_argnums), for which the rule says nothing. Pass that value to "
            f"{rules.name} as an argument, or functrans.stop_gradient(value) if it is a constant to the derivative"
        )


def _shape(*avals: ShapedArray, rules: Rules) -> list[ShapedArray]:
    staged, _ = rules.staged(avals[rules.n_consts :] if rules.jaxpr is None else avals)
    assert staged.jaxpr is not None
    return list(staged.jaxpr.out_avals)


def _stage(avals: Sequence[ShapedArray], params: Params) -> tuple[Sequence[Any], Params]:
    rules, consts = params["rules"].staged(avals)
    return consts, {"rules": rules}


def _impl(xp: Any, *args: Any, rules: Rules) -> list[Any]:
    return list(rules.fun(*args))


def _specialize(xp: Any, avals: Sequence[ShapedArray], *, rules: Rules) -> Flat:
    return rules.fun if rules.jaxpr is None else runner(rules.jaxpr, xp)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, rules: Rules) -> tuple[list[Any], list[Any]]:
    _check_captured(rules, [aval_of(p) for p in primals], [not isinstance(t, Zero) for t in tangents])
    primals, tangents = rules.without_consts(primals), rules.without_consts(tangents)
    if rules.jvp is not None and not (reverse_mode.get() and rules.fwd is not None):
        outs, out_tangents = rules.jvp(primals, tangents)
        return list(outs), list(out_tangents)
    if rules.fwd is None or rules.bwd is None:
        raise errors.CustomRuleError(
            f"{rules.name} was declared with a custom rule, and none was given: call {rules.name}.defjvp(rule) or "
            f"{rules.name}.defvjp(fwd, bwd) before it is differentiated"
        )
    live = tuple(not isinstance(t, Zero) for t in tangents)
    outs, residuals = _forward(rules, live, primals)
    avals = tuple(aval_of(p) for p in primals)
    given = [t for t in tangents if not isinstance(t, Zero)]
    linear_out = [dtypes.is_inexact(aval_of(o).dtype) for o in outs]
    bwd = Backward(rules.name, rules.bwd, live, avals, tuple(aval_of(o) for o in outs), len(residuals))
    found = iter(custom_linear_p.bind(*residuals, *given, bwd=bwd))
    return list(outs), [next(found) if lin else zero_of(o) for o, lin in zip(outs, linear_out, strict=True)]


def _forward(rules: Rules, live: tuple[bool, ...], primals: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Results and residuals of the forward rule."""
    assert rules.fwd is not None
    if not rules.optimize_remat or not isinstance(current_trace(), JaxprTrace):
        outs: Sequence[Any]
        outs, residuals = rules.fwd(live, primals)
        return outs, residuals
    # Where the residuals turn out not to be needed, as in a checkpointed region, the function itself does.
    counts: list[int] = []

    def both(*args: Any) -> list[Any]:
        assert rules.fwd is not None
        outs, residuals = rules.fwd(live, args)
        counts.append(len(outs))
        return [*outs, *residuals]

    avals = [aval_of(p) for p in primals]
    jaxpr, consts = stage(both, avals, rules.name).hoisted()
    staged, more = rules.staged(avals)
    values = forward_p.bind(*consts, *more, *primals, jaxpr=jaxpr, rules=staged, n_consts=len(consts))
    return values[: counts[0]], values[counts[0] :]


def _linearize(
    primals: Sequence[Any], live: Sequence[bool], *, rules: Rules
) -> tuple[Sequence[Any], Sequence[bool], CustomLinear]:
    """The user's rule on the values at hand: Python control flow in it sees concrete numbers."""
    _check_captured(rules, [aval_of(p) for p in primals], live)
    primals, live = rules.without_consts(primals), rules.without_consts(live)
    if rules.fwd is not None and rules.bwd is not None:
        outs, residuals = _forward(rules, tuple(live), primals)
        avals = tuple(aval_of(p) for p in primals)
        out_avals = tuple(aval_of(o) for o in outs)
        bwd = Backward(rules.name, rules.bwd, tuple(live), avals, out_avals, len(residuals))
        forward = None if rules.jvp is None else _Forward(rules.jvp, primals, live)
        return outs, [dtypes.is_inexact(a.dtype) for a in out_avals], PullLinear(bwd, residuals, forward)
    if rules.jvp is None:
        _jvp(primals, [Zero(aval_of(p).tangent()) for p in primals], rules=rules)
    trace = PartialTrace(current_trace(), rules.name)
    inputs = [trace.input(aval_of(p).tangent()) for p, a in zip(primals, live, strict=True) if a]
    given = iter(inputs)
    tangents = [next(given) if a else Zero(aval_of(p).tangent()) for p, a in zip(primals, live, strict=True)]
    token = set_trace(trace)
    try:
        outs, out_tangents = rules.jvp(primals, tangents)  # type: ignore[misc]
    finally:
        reset_trace(token)
    for o in outs:
        if isinstance(o, Tracer) and o._trace is trace:
            raise errors.CustomRuleError(f"{rules.name}: the results of its JVP rule must not depend on the tangents")
    live_out = [not isinstance(t, Zero) for t in out_tangents]
    jaxpr = trace.finish(inputs, [t for t in out_tangents if not isinstance(t, Zero)])
    return outs, live_out, Recorded(jaxpr)


class Backward:
    """A reverse rule at given types: which arguments have a derivative, and the avals on both sides."""

    def __init__(
        self,
        name: str,
        rule: Callable[..., Any],
        live: tuple[bool, ...],
        avals: tuple[ShapedArray, ...],
        out_avals: tuple[ShapedArray, ...],
        n_residuals: int,
    ) -> None:
        self.name = name
        self.rule = rule
        self.live = live
        self.avals = avals
        self.out_avals = out_avals
        self.n_residuals = n_residuals
        self.in_tangents = [a.tangent() for a, n in zip(avals, live, strict=True) if n]
        self.out_tangents = [a.tangent() for a in out_avals if dtypes.is_inexact(a.dtype)]

    def __call__(self, residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """Cotangents of the live arguments for cotangents of the inexact results."""
        given = iter(cotangents)
        full = []
        for a in self.out_avals:
            ct = next(given) if dtypes.is_inexact(a.dtype) else None
            full.append(Zero(a.cotangent()) if ct is None else ct)
        results = self.rule(residuals, full)
        fitting = []
        for i, (ct, aval, live) in enumerate(zip(results, self.avals, self.live, strict=True)):
            if live:
                fitting.append(self._fitting(i, ct, aval))
            elif ct is not None and aval_of(ct).shape != aval.shape:
                raise self._misfit(i, ct, aval)
        return fitting

    def _fitting(self, i: int, ct: Any, aval: ShapedArray) -> Any:
        """A cotangent that the rule gave, in the dtype of its argument; CustomRuleError where it does not fit."""
        if ct is None:
            return None
        got = aval_of(ct)
        if got.shape != aval.shape or not np.can_cast(got.dtype, aval.dtype, "same_kind"):
            raise self._misfit(i, ct, aval)
        return convert(ct, aval.dtype)

    def _misfit(self, i: int, ct: Any, aval: ShapedArray) -> errors.CustomRuleError:
        return errors.CustomRuleError(
            f"the reverse rule of {self.name} gave a cotangent of type {aval_of(ct)} for array {i} of the arguments, "
            f"which has type {aval}. A cotangent has the shape of what it belongs to: sum over axes that were broadcast"
        )

    def forward(self, residuals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """Tangents of the results: the transpose of the reverse rule, which is linear in the cotangents."""
        avals = [a.cotangent() for a in self.out_tangents]
        dense: list[int] = []

        def pulled(*cts: Any) -> list[Any]:
            results = self(residuals, cts)
            dense[:] = [i for i, ct in enumerate(results) if ct is not None]
            return [results[i] for i in dense]

        jaxpr = stage(pulled, avals, self.name)
        given = [tangents[i] for i in dense]
        try:
            found = backward_pass(jaxpr, [Undefined(a) for a in avals], given)
        except Exception as error:
            # What is not linear fails wherever its first operation meets an operand without a value.
            raise errors.CustomRuleError(
                f"forward mode needs the transpose of the reverse rule of {self.name}, and that has none: {error}. "
                f"Give {self.name} a forward rule too, with defjvp"
            ) from error
        return [instantiate(Zero(a)) if t is None else t for t, a in zip(found, self.out_tangents, strict=True)]

    def __repr__(self) -> str:
        return f"<reverse rule of {self.name}>"


class _Forward:
    """A forward rule at a point."""

    def __init__(self, rule: Callable[..., Any], primals: Sequence[Any], live: Sequence[bool]) -> None:
        self.rule = rule
        self.primals = primals
        self.live = live

    def __call__(self, tangents: Sequence[Any]) -> list[Any]:
        given = iter(tangents)
        full = [next(given) if a else zero_of(p) for a, p in zip(self.live, self.primals, strict=True)]
        outs, found = self.rule(self.primals, full)
        return [instantiate(t) for o, t in zip(outs, found, strict=True) if dtypes.is_inexact(aval_of(o).dtype)]


class PullLinear(CustomLinear):
    """A linear map given by a reverse rule and its residuals; ``forward`` serves where that has no transpose."""

    def __init__(self, bwd: Backward, residuals: Sequence[Any], forward: _Forward | None = None) -> None:
        self.bwd = bwd
        self.kept = residuals
        self.in_avals = bwd.in_tangents
        self.other = forward

    def push(self, residuals: Sequence[Any], tangents: Sequence[Any], direct: bool) -> list[Any]:
        try:
            return self.bwd.forward(self.kept, tangents)
        except errors.CustomRuleError:
            if self.other is None:
                raise
            return self.other(tangents)

    def pull(self, residuals: Sequence[Any], cotangents: Sequence[Any], direct: bool) -> Sequence[Any]:
        return self.bwd(self.kept, cotangents)


def _batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, rules: Rules
) -> tuple[list[Any], list[int]]:
    n = rules.n_consts
    out_dims: list[int] = []

    def fun(*arrays: Any) -> list[Any]:
        return [materialize(axis, x, d) for x, d in batch_flat(rules.fun, axis, arrays, dims)]

    own_dims = list(dims[n:])

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        live = [not isinstance(t, Zero) for t in tangents]
        zeros = iter([t for t in tangents if isinstance(t, Zero)])
        counts: list[int] = []
        live_out: list[Any] = []

        def flat(*arrays: Any) -> list[Any]:
            given = iter(arrays[len(primals) :])
            examples = [next(given) if a else Zero(aval_of(p).tangent()) for a, p in zip(live, arrays, strict=False)]
            assert rules.jvp is not None
            outs, ts = rules.jvp(arrays[: len(primals)], examples)
            counts.append(len(outs))
            live_out[:] = [None if not isinstance(t, Zero) else t for t in ts]
            return [*outs, *(t for t in ts if not isinstance(t, Zero))]

        given = [t for t in tangents if not isinstance(t, Zero)]
        given_dims = [d for d, a in zip(own_dims, live, strict=True) if a]
        pairs = batch_flat(flat, axis, [*primals, *given], [*own_dims, *given_dims])
        arrays = [materialize(axis, x, d) for x, d in pairs]
        outs = arrays[: counts[0]]
        rest = iter(arrays[counts[0] :])
        del zeros
        return outs, [next(rest) if z is None else zero_of(o) for z, o in zip(live_out, outs, strict=True)]

    def fwd(live: Sequence[bool], arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        counts: list[int] = []

        def flat(*examples: Any) -> list[Any]:
            assert rules.fwd is not None
            outs, residuals = rules.fwd(live, examples)
            counts.append(len(outs))
            return [*outs, *residuals]

        values = [materialize(axis, x, d) for x, d in batch_flat(flat, axis, arrays, own_dims)]
        return values[: counts[0]], values[counts[0] :]

    def bwd(residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        live = [not isinstance(ct, Zero) for ct in cotangents]
        present: list[bool] = []
        k = len(residuals)

        def flat(*arrays: Any) -> list[Any]:
            given = iter(arrays[k:])
            cts = [
                next(given) if a else Zero(ct.aval.update(shape=ct.aval.shape[1:]))
                for a, ct in zip(live, cotangents, strict=True)
            ]
            assert rules.bwd is not None
            results = rules.bwd(arrays[:k], cts)
            present[:] = [ct is not None for ct in results]
            return [ct for ct in results if ct is not None]

        given = [*residuals, *(ct for ct in cotangents if not isinstance(ct, Zero))]
        found = iter(batch_flat(flat, axis, given, [0] * len(given)))
        results: list[Any] = []
        for here, dim in zip(present, own_dims, strict=True):
            if not here:
                results.append(None)
                continue
            ct = materialize(axis, *next(found))
            # What every example shares collects the cotangents of all of them.
            results.append(reduce_sum(ct, (0,)) if dim is None else move_axis(ct, 0, dim))
        return results

    mapped = Rules(
        rules.name,
        fun,
        jvp if rules.jvp is not None else None,
        fwd if rules.fwd is not None else None,
        bwd if rules.bwd is not None else None,
        rules.n_captured,
        optimize_remat=rules.optimize_remat,
    )
    if n:
        # Constants keep their place in front; the rules never see them.
        consts = args[:n]
        mapped.fun = lambda *arrays: fun(*consts, *arrays)
    outs = custom_p.bind(*args[n:], rules=mapped)
    out_dims[:] = [0] * len(outs)
    return outs, out_dims


def _transpose(cotangents: Sequence[Any], *operands: Any, rules: Rules) -> list[Any]:
    """A function with rules of its own inside of a linear one: the function itself is transposed."""
    staged, consts = rules.staged([x.aval if isinstance(x, Undefined) else aval_of(x) for x in operands])
    assert staged.jaxpr is not None
    return backward_pass(staged.jaxpr, [*consts, *operands], cotangents)[len(consts) :]


custom_p = Primitive(
    "custom",
    shape=_shape,
    impl=_impl,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    linearize=_linearize,
    inline=lambda inputs, *, rules: None if rules.jaxpr is None else (rules.jaxpr, inputs),
    specialize=_specialize,
    stage=_stage,
    multiple=True,
    kind="custom",
    effects=lambda *, rules: NO_EFFECTS if rules.jaxpr is None else rules.jaxpr.effects,
    traits=frozenset({Trait.VIEW}),
)


def _linear_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, bwd: Backward) -> tuple[list[Any], list[Any]]:
    k = bwd.n_residuals
    return jvp_flat(lambda *xs: bwd.forward(xs[:k], xs[k:]), primals, tangents)


def _linear_transpose(cotangents: Sequence[Any], *operands: Any, bwd: Backward) -> list[Any]:
    k = bwd.n_residuals
    cts = [None if isinstance(ct, Zero) else ct for ct in cotangents]
    return [None] * k + bwd(operands[:k], cts)


def _linear_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, bwd: Backward
) -> tuple[list[Any], list[int | None]]:
    k = bwd.n_residuals
    pairs = batch_flat(lambda *xs: bwd.forward(xs[:k], xs[k:]), axis, args, dims)
    return [x for x, _ in pairs], [d for _, d in pairs]


custom_linear_p = Primitive(
    "custom_linear",
    shape=lambda *avals, bwd: [a.cotangent() for a in bwd.out_tangents],
    impl=lambda xp, *args, bwd: bwd.forward(args[: bwd.n_residuals], args[bwd.n_residuals :]),
    jvp=_linear_jvp,
    transpose=_linear_transpose,
    batch=_linear_batch,
    multiple=True,
    kind="custom",
    traits=frozenset({Trait.VIEW}),
)


# A forward rule, recorded: from its constants, those of the function, and the arguments to results and residuals.


def _forward_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, rules: Rules, n_consts: int
) -> tuple[list[Any], list[Any]]:
    return jvp_flat(lambda *xs: _forward_evaluate(xs, jaxpr, rules, n_consts), primals, tangents)


def _forward_evaluate(args: Sequence[Any], jaxpr: Jaxpr, rules: Rules, n_consts: int) -> list[Any]:
    return evaluate(jaxpr, _forward_operands(args, rules, n_consts))


def _forward_operands(values: Sequence[Any], rules: Rules, n_consts: int) -> list[Any]:
    return [*values[:n_consts], *values[n_consts + rules.n_consts :]]


def _forward_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, jaxpr: Jaxpr, rules: Rules, n_consts: int
) -> tuple[list[Any], list[int | None]]:
    given = _forward_operands(args, rules, n_consts)
    places = _forward_operands(dims, rules, n_consts)
    mapped, out = batch_jaxpr(jaxpr, axis, [d is not None for d in places])
    first = [move_axis(x, d, 0) if d is not None else x for x, d in zip(given, places, strict=True)]
    return evaluate(mapped, first), [0 if b else None for b in out]


def _forward_dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """The function itself where no residual is needed."""
    rules: Rules = eqn.params["rules"]
    assert rules.jaxpr is not None
    n_out, n_consts = len(rules.jaxpr.outvars), eqn.params["n_consts"]
    if any(used[n_out:]):
        outs = tuple(o for o, u in zip(eqn.outs, used, strict=True) if u)
        if not all(used[:n_out]):
            return eqn
        return eqn._replace(outs=outs, params={**eqn.params, "jaxpr": dce(eqn.params["jaxpr"], used)})
    return eqn._replace(prim=custom_p, inputs=eqn.inputs[n_consts:], outs=eqn.outs[:n_out], params={"rules": rules})


forward_p = Primitive(
    "custom_forward",
    shape=lambda *avals, jaxpr, rules, n_consts: list(jaxpr.out_avals),
    impl=lambda xp, *args, jaxpr, rules, n_consts: list(runner(jaxpr, xp)(*_forward_operands(args, rules, n_consts))),
    jvp=_forward_jvp,
    batch=_forward_batch,
    multiple=True,
    kind="custom",
    inline=lambda inputs, *, jaxpr, rules, n_consts: (jaxpr, _forward_operands(inputs, rules, n_consts)),
    dce=_forward_dce,
    traits=frozenset({Trait.VIEW}),
)
