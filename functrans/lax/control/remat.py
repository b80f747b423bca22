"""``checkpoint`` as primitives: regions whose values are computed again where a derivative needs them.

``checkpoint`` is the region as the user wrote it, and nothing but a call: passes may look into it. Where a derivative
splits it, the later part becomes ``remat``: a region that takes the inputs of the first one and the arriving tangents
or cotangents together, computes again what it needs, and is a barrier: no pass merges what it computes with what was
computed before, or moves it to where its cotangents have not arrived.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Literal, Var, dce, rename, subjaxprs, used_inputs
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined, Zero
from functrans.core.records import name_singleton, readable
from functrans.core.structural import linear_jvp, move_axis, zero_of
from functrans.interpreters.batch import batch_jaxpr
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, split_jaxpr
from functrans.interpreters.transpose import transpose_jaxpr
from functrans.lax.barrier import barrier_p
from functrans.lax.contraction import dot_general_p
from functrans.lax.control.call import jit_p
from functrans.lax.control.region import runner
from functrans.util.cache import WeakMemo

Policy = Callable[..., Any]
"""``policy(prim, *avals, **params)`` says of an operation whether its results are saved."""


@readable
class Residual(enum.Enum):
    """What a policy may return besides a boolean."""

    SAVED = "saved"
    RECOMPUTED = "recomputed"


Saveable = Residual.SAVED
Recompute = Residual.RECOMPUTED


class Offloadable(NamedTuple):
    """The wish to keep a residual in another memory. No backend has one, so that a policy returning it is an error."""

    src: str
    dst: str


# -- names ----------------------------------------------------------------------------------------------------------

name_p: Primitive = Primitive(
    "name",
    shape=lambda x, *, name: x,
    impl=lambda xp, x, *, name: x,
    specialize=lambda xp, avals, *, name: lambda x: x,
    jvp=linear_jvp(lambda: name_p),
    transpose=lambda ct, x, *, name: [ct],
    batch=lambda axis, args, dims, *, name: (name_p.bind(args[0], name=name), dims[0]),
    kind="library",
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    samples=lambda: [Sample((np.array([0.5, -1.0]),), {"name": "a"}), Sample((1.5,), {"name": "a"})],
)


# -- policies -------------------------------------------------------------------------------------------------------


def everything_saveable(prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
    """Save every value that the derivative needs: nothing is computed twice."""
    return True


def nothing_saveable(prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
    """Save the inputs of the region alone."""
    return False


def dots_saveable(prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
    """Save the results of matrix products and other contractions."""
    return prim is dot_general_p


def dots_with_no_batch_dims_saveable(prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
    """Save the results of contractions without batch axes."""
    return prim is dot_general_p and not any(params["dimension_numbers"][1])


for _policy in (everything_saveable, nothing_saveable, dots_saveable, dots_with_no_batch_dims_saveable):
    name_singleton(_policy.__name__, _policy)


@readable
@dataclass(frozen=True)
class SaveNames:
    """Save values that have one of these names; with ``others`` values that have another name."""

    names: tuple[str, ...]
    others: bool = False

    def __call__(self, prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
        return prim is name_p and (params["name"] in self.names) is not self.others


@readable
@dataclass(frozen=True)
class SaveAllButNames:
    """Save every value but those that have one of these names."""

    names: tuple[str, ...]

    def __call__(self, prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
        return prim is not name_p or params["name"] not in self.names


@readable
@dataclass(frozen=True)
class SaveEither:
    """Save what one of two policies saves."""

    first: Policy
    second: Policy

    def __call__(self, prim: Primitive, *avals: ShapedArray, **params: Any) -> bool:
        return _says(self.first, prim, avals, params) or _says(self.second, prim, avals, params)


def _says(policy: Policy, prim: Primitive, avals: Sequence[ShapedArray], params: dict[str, Any]) -> bool:
    answer = policy(prim, *avals, **params)
    if isinstance(answer, Offloadable):
        raise errors.ArgumentError(
            f"checkpoint: the policy asks to keep a result of {prim.name!r} in the memory {answer.dst!r}. Residuals "
            f"stay where their arrays live; return Saveable or Recompute"
        )
    if not isinstance(answer, (bool, np.bool_, Residual)):
        raise errors.ArgumentError(
            f"checkpoint: the policy must return a boolean, Saveable or Recompute for {prim.name!r}, got {answer!r} of "
            f"type {type(answer).__name__}"
        )
    return answer is Saveable if isinstance(answer, Residual) else bool(answer)


# -- which values are computed again ----------------------------------------------------------------------------------


class _Parts(NamedTuple):
    """A region in two parts.

    Attributes:
        known: from the known inputs to the known outputs, then the saved values.
        rest: from some known inputs, the saved values and the unknown inputs to the unknown outputs.
        unknown_out: which outputs are unknown.
        used: which of the known inputs ``rest`` takes.
        late: which of the unknown inputs it takes.
    """

    known: Jaxpr
    rest: Jaxpr
    unknown_out: tuple[bool, ...]
    used: tuple[int, ...]
    late: tuple[int, ...]


def _inlined(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with the bodies of jitted functions in place of their calls, so that a policy sees into them."""
    if not any(eqn.prim is jit_p for eqn in jaxpr.eqns):
        return jaxpr
    env: dict[Any, Any] = {}
    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        eqn = eqn._replace(inputs=tuple(env.get(a, a) for a in eqn.inputs))
        if eqn.prim is not jit_p:
            eqns.append(eqn)
            continue
        body, outs = rename(_inlined(eqn.params["jaxpr"]), eqn.inputs)
        eqns.extend(body)
        env.update(zip(eqn.outs, outs, strict=True))
    return jaxpr.replace(eqns=eqns, outvars=[env.get(v, v) for v in jaxpr.outvars])


def saved_outputs(policy: Policy | None, eqn: Eqn) -> list[bool]:
    """Which results of an equation are saved. Of a region, those that come from a saved operation inside it."""
    n = len(eqn.outs)
    if policy is None:
        return [False] * n
    if _says(policy, eqn.prim, [a.aval for a in eqn.inputs], eqn.params):
        return [True] * n
    bodies = [body for body in subjaxprs(eqn) if len(body.outvars) == n] if eqn.prim.kind is not None else []
    found = [_saved_results(policy, body) for body in bodies]
    return [all(column) for column in zip(*found, strict=True)] if found else [False] * n


def _saved_results(policy: Policy, body: Jaxpr) -> list[bool]:
    saved: dict[Any, bool] = {}
    for eqn in body.eqns:
        if any(out in eqn.outs for out in body.outvars):
            saved.update(zip(eqn.outs, saved_outputs(policy, eqn), strict=True))
    return [saved.get(out, False) for out in body.outvars]


def _unnamed(policy: Policy | None, eqns: Sequence[Eqn]) -> set[Any]:
    """Values that have a name not to be saved: what was named is the same array as the named value."""
    if not isinstance(policy, SaveAllButNames):
        return set()
    return {eqn.inputs[0] for eqn in eqns if eqn.prim is name_p and eqn.params["name"] in policy.names}


def _parted(jaxpr: Jaxpr, unknown_in: tuple[bool, ...], policy: Policy | None) -> _Parts:
    body = jaxpr if policy is None else _inlined(jaxpr)
    parts = split_jaxpr(body, unknown_in)
    known_eqns = parts.known.eqns
    makes = {out: eqn for eqn in known_eqns for out in eqn.outs}
    inputs = {v: i for i, v in enumerate(parts.known.invars)}
    hidden = _unnamed(policy, known_eqns)
    n_residuals = len(parts.residual_inputs)
    pending = list(parts.unknown.invars[:n_residuals])
    saved: dict[Var, None] = {}
    again: set[int] = set()
    seen: set[Var] = set()
    while pending:
        var = pending.pop()
        if var in seen or var in inputs:
            continue
        seen.add(var)
        eqn = makes[var]
        keep = saved_outputs(policy, eqn)[eqn.outs.index(var)] and var not in hidden
        # What an effect returned is kept, as the effect must not happen twice.
        if keep or eqn.effects:
            saved[var] = None
        elif id(eqn) not in again:
            again.add(id(eqn))
            pending.extend(a for a in eqn.inputs if isinstance(a, Var))
    repeated = [
        eqn._replace(outs=tuple(Var(o.aval) if o in saved else o for o in eqn.outs))
        for eqn in known_eqns
        if id(eqn) in again
    ]
    late_vars = parts.unknown.invars[n_residuals:]
    whole = dce(
        Jaxpr(
            [*inputs, *saved, *late_vars],
            [*repeated, *parts.unknown.eqns],
            parts.unknown.outvars,
        )
    )
    needed = used_inputs(whole)
    rest = whole.replace(invars=[v for v, u in zip(whole.invars, needed, strict=True) if u])
    n = len(inputs)
    kept = [v for v, u in zip(saved, needed[n : n + len(saved)], strict=True) if u]
    n_known_out = len(parts.unknown_out) - sum(parts.unknown_out)
    known = dce(parts.known.replace(outvars=[*parts.known.outvars[:n_known_out], *kept]))
    return _Parts(
        known,
        rest,
        parts.unknown_out,
        tuple(i for i in range(n) if needed[i]),
        tuple(i for i, u in enumerate(needed[n + len(saved) :]) if u),
    )


parted: WeakMemo[_Parts] = WeakMemo(_parted)


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """What is known runs now and keeps what the policy says; the rest computes again what else it needs."""
    params = eqn.params
    parts = parted(params["jaxpr"], tuple(unknown), params["policy"])
    known_in = [a for a, u in zip(eqn.inputs, unknown, strict=True) if not u]
    late_in = [a for a, u in zip(eqn.inputs, unknown, strict=True) if u]
    known_out = [o for o, u in zip(eqn.outs, parts.unknown_out, strict=True) if not u]
    late_out = tuple(o for o, u in zip(eqn.outs, parts.unknown_out, strict=True) if u)
    saved = [Var(a) for a in parts.known.out_avals[len(known_out) :]]
    known = eqn._replace(
        inputs=tuple(known_in),
        outs=(*known_out, *saved),
        params={**params, "jaxpr": parts.known},
        effects=parts.known.effects,
    )
    rest = eqn._replace(
        prim=remat_p if params["prevent_cse"] else eqn.prim,
        inputs=(*(known_in[i] for i in parts.used), *saved, *(late_in[i] for i in parts.late)),
        outs=late_out,
        params={**params, "jaxpr": parts.rest},
        effects=parts.rest.effects,
    )
    return SplitEqn((known,) if known.outs or known.effects else (), (rest,) if late_out else ())


# -- the rules that both regions have ---------------------------------------------------------------------------------


def _region(name: str, barrier: bool) -> Primitive:
    def bind(jaxpr: Jaxpr, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        closed, consts = jaxpr.hoisted()
        outs: list[Any] = prim.bind(*consts, *args, **{**params, "jaxpr": closed})
        return outs

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
        jaxpr = params["jaxpr"]
        derived, live_out = jvp_jaxpr(jaxpr, [not isinstance(t, Zero) for t in tangents])
        outs = bind(derived, [*primals, *(t for t in tangents if not isinstance(t, Zero))], params)
        n = len(jaxpr.outvars)
        rest = iter(outs[n:])
        return outs[:n], [next(rest) if a else zero_of(o) for a, o in zip(live_out, outs[:n], strict=True)]

    def transpose(cotangents: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
        linear = [isinstance(x, Undefined) for x in operands]
        live = [not isinstance(ct, Zero) for ct in cotangents]
        transposed, live_in = transpose_jaxpr(params["jaxpr"], linear, live)
        known = [x for x in operands if not isinstance(x, Undefined)]
        outs = iter(bind(transposed, [*known, *(ct for ct in cotangents if not isinstance(ct, Zero))], params))
        found = iter([next(outs) if a else None for a in live_in])
        return [next(found) if lin else None for lin in linear]

    def batch(
        axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any
    ) -> tuple[list[Any], list[int | None]]:
        batched, batched_out = batch_jaxpr(params["jaxpr"], axis, [d is not None for d in dims])
        first = [a if d is None else move_axis(a, d, 0) for a, d in zip(args, dims, strict=True)]
        return bind(batched, first, params), [0 if b else None for b in batched_out]

    def decompose(*args: Any, jaxpr: Jaxpr, **params: Any) -> list[Any]:
        return evaluate(jaxpr, barrier_p.bind(*args) if barrier else args)

    prim = Primitive(
        name,
        shape=lambda *avals, jaxpr, **params: list(jaxpr.out_avals),
        impl=lambda xp, *args, jaxpr, **params: list(runner(jaxpr, xp)(*args)),
        specialize=lambda xp, avals, *, jaxpr, **params: runner(jaxpr, xp),
        jvp=jvp,
        transpose=transpose,
        batch=batch,
        decompose=decompose,
        multiple=True,
        kind="call",
        split=_split,
        dce=_dce,
        traits=frozenset({Trait.VIEW, *((Trait.BARRIER,) if barrier else ())}),
    )
    return prim


def _dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A region without the results that nobody uses, and without the inputs that only they need."""
    jaxpr = dce(eqn.params["jaxpr"], used)
    needed = used_inputs(jaxpr)
    return eqn._replace(
        inputs=tuple(a for a, u in zip(eqn.inputs, needed, strict=True) if u),
        outs=tuple(o for o, u in zip(eqn.outs, used, strict=True) if u),
        params={
            **eqn.params,
            "jaxpr": jaxpr.replace(invars=[v for v, u in zip(jaxpr.invars, needed, strict=True) if u]),
        },
    )


checkpoint_p = _region("checkpoint", barrier=False)
remat_p = _region("remat", barrier=True)


def maker(jaxpr: Jaxpr, out: Any) -> tuple[Eqn, int] | None:
    """The equation that makes an output of a jaxpr, inside of checkpointed regions too, and which result it is."""
    if isinstance(out, Literal):
        return None
    for eqn in jaxpr.eqns:
        if out in eqn.outs:
            k = eqn.outs.index(out)
            if eqn.prim in (checkpoint_p, jit_p):
                inner = maker(eqn.params["jaxpr"], eqn.params["jaxpr"].outvars[k])
                return inner or (eqn, k)
            return eqn, k
    return None
