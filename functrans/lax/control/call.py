"""``jit`` as a primitive: a call of a jaxpr that is compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Eqn, Jaxpr, dce, result_avals, result_vars
from functrans.core.primitive import BatchAxis, Primitive, Undefined, Zero
from functrans.core.structural import move_axis, zero_of
from functrans.interpreters.batch import batch_jaxpr
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, parts_of, split_jaxpr
from functrans.interpreters.transpose import transpose_jaxpr


class Compiler(Protocol):
    """What turns a jaxpr into a function of arrays: a backend."""

    name: str

    def executable(self, jaxpr: Jaxpr) -> Callable[..., Sequence[Any]]: ...


def _shape(*avals: ShapedArray, jaxpr: Jaxpr, name: str, backend: Compiler) -> list[ShapedArray]:
    return result_avals(jaxpr, avals)


def _impl(xp: Any, *args: Any, jaxpr: Jaxpr, name: str, backend: Compiler) -> list[Any]:
    if is_debugging():
        return evaluate(jaxpr, args)
    return list(backend.executable(jaxpr)(*args))


def _specialize(
    xp: Any, avals: Sequence[ShapedArray], *, jaxpr: Jaxpr, name: str, backend: Compiler
) -> Callable[..., Sequence[Any]]:
    return backend.executable(jaxpr)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, name: str, backend: Compiler
) -> tuple[list[Any], list[Any]]:
    live = [not isinstance(t, Zero) for t in tangents]
    derived, live_out = jvp_jaxpr(jaxpr, live)
    given = [t for t in tangents if not isinstance(t, Zero)]
    outs = call(derived, [*primals, *given], name=f"{name}_jvp", backend=backend)
    n = len(jaxpr.outvars)
    rest = iter(outs[n:])
    return outs[:n], [next(rest) if a else zero_of(o) for a, o in zip(live_out, outs[:n], strict=True)]


def _transpose(cotangents: Sequence[Any], *operands: Any, jaxpr: Jaxpr, name: str, backend: Compiler) -> list[Any]:
    linear = [isinstance(x, Undefined) for x in operands]
    live = [not isinstance(ct, Zero) for ct in cotangents]
    transposed, live_in = transpose_jaxpr(jaxpr, linear, live)
    known = [x for x in operands if not isinstance(x, Undefined)]
    given = [ct for ct in cotangents if not isinstance(ct, Zero)]
    outs = iter(call(transposed, [*known, *given], name=f"{name}_transpose", backend=backend))
    found = iter([next(outs) if a else None for a in live_in])
    return [next(found) if lin else None for lin in linear]


def _batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, jaxpr: Jaxpr, name: str, backend: Compiler
) -> tuple[list[Any], list[int | None]]:
    batched, batched_out = batch_jaxpr(jaxpr, axis, [d is not None for d in dims])
    first = [a if d is None else move_axis(a, d, 0) for a, d in zip(args, dims, strict=True)]
    outs = call(batched, first, name=f"{name}_vmap", backend=backend)
    return outs, [0 if b else None for b in batched_out]


def split_call(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """A call of a jaxpr as a call of what is known and a call of the rest."""
    params = eqn.params
    parts = split_jaxpr(params["jaxpr"], unknown)
    known_in = [a for a, u in zip(eqn.inputs, unknown, strict=True) if not u]
    known_out = [o for o, u in zip(eqn.outs, parts.unknown_out, strict=True) if not u]
    unknown_out = [o for o, u in zip(eqn.outs, parts.unknown_out, strict=True) if u]
    extra = result_vars(result_avals(parts.known, [a.aval for a in known_in])[len(known_out) :])
    fresh = iter(extra)
    residuals = [known_in[i] if i is not None else next(fresh) for i in parts.residual_inputs]
    known = eqn._replace(inputs=tuple(known_in), outs=(*known_out, *extra), params={**params, "jaxpr": parts.known})
    rest = eqn._replace(
        inputs=(*residuals, *(a for a, u in zip(eqn.inputs, unknown, strict=True) if u)),
        outs=tuple(unknown_out),
        params={**params, "jaxpr": parts.unknown},
    )
    return parts_of(known, rest)


def dce_call(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A call without the results that nobody uses."""
    jaxpr = dce(eqn.params["jaxpr"], used)
    outs = tuple(o for o, u in zip(eqn.outs, used, strict=True) if u)
    return eqn._replace(outs=outs, params={**eqn.params, "jaxpr": jaxpr})


jit_p = Primitive(
    "jit",
    shape=_shape,
    impl=_impl,
    inline=lambda inputs, *, jaxpr, name, backend: (jaxpr, inputs),
    specialize=_specialize,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="call",
    split=split_call,
    dce=dce_call,
)


def call(jaxpr: Jaxpr, args: Sequence[Any], *, name: str, backend: Compiler) -> list[Any]:
    """Apply a compiled jaxpr; its constants become operands, so that transformations see them."""
    closed, consts = jaxpr.hoisted()
    outs: list[Any] = jit_p.bind(*consts, *args, name=name, backend=backend, jaxpr=closed)
    return outs
