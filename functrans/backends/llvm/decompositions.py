"""Special functions by their decompositions: straight lines of other operations, written out in one kernel.

They are evaluated in double precision, also for narrower types: what they are near to in single precision is theirs
then, rounded once. The functions whose decompositions have loops, or would be thousands of instructions, stay calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.casts import convert, lane
from functrans.backends.llvm.operations import ROWS, Row, operand_dtypes
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal
from functrans.core.primitive import registry
from functrans.core.stage import stage
from functrans.core.trace import aval_of, running

DOUBLE = np.dtype(np.float64)


@cache
def _parts(name: str, arity: int) -> Jaxpr:
    """The decomposition of an operation on doubles."""
    decompose: Any = registry[name].decompose
    with running(None):
        return stage(lambda *xs: [decompose(*xs)], [aval_of(np.zeros(1))] * arity, name)


def _emit(name: str) -> Any:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        wide = [convert(b, x, np.dtype(np.float32), DOUBLE) if x.ty == "float" else x for x in args]
        y = _evaluated(b, _parts(name, len(args)), wide)
        return convert(b, y, DOUBLE, np.dtype(np.float32)) if args[0].ty == "float" else y

    return emit


def _evaluated(b: Builder, jaxpr: Jaxpr, args: Sequence[V]) -> V:
    w = args[0].w
    known: dict[Atom, V] = dict(zip(jaxpr.invars, args, strict=True))

    def operand(atom: Atom, dtype: DType) -> V:
        if isinstance(atom, Literal):
            return b.const(np.asarray(atom.value).astype(dtype).ravel()[0], lane(dtype), w)
        return convert(b, known[atom], atom.aval.dtype, dtype)

    for eqn in jaxpr.eqns:
        known[eqn.outs[0]] = _step(b, eqn, operand)
    (out,) = jaxpr.outvars
    return operand(out, DOUBLE)


def _step(b: Builder, eqn: Eqn, operand: Any) -> V:
    name, dtype = eqn.prim.name, eqn.outs[0].aval.dtype
    if name == "select":
        condition, *cases = eqn.inputs
        return b.select(operand(condition, np.dtype(bool)), *[operand(case, dtype) for case in cases])
    if name == "convert":
        return operand(eqn.inputs[0], dtype)  # type: ignore[no-any-return]
    row = ROWS.get(name)
    if row is None:
        return _evaluated(b, _parts(name, len(eqn.inputs)), [operand(a, DOUBLE) for a in eqn.inputs])
    values = [a.value if isinstance(a, Literal) and not isinstance(a.value, np.generic) else None for a in eqn.inputs]
    taken = operand_dtypes(name, [a.aval.dtype for a in eqn.inputs], values, dtype)
    return row.emit(b, [operand(a, d) for a, d in zip(eqn.inputs, taken, strict=True)], taken[0])


COSTS = {
    "agm": 230, "bessel_i0e": 110, "bessel_i1e": 110, "boxcox": 170, "boxcox1p": 180, "cosdg": 80, "cosm1": 130,
    "cotdg": 95, "dawsn": 150, "digamma": 290, "ellipe": 150, "ellipk": 110, "ellipkm1": 110, "entr": 65,
    "erf_inv": 210, "erfcinv": 210, "erfcx": 240, "erfi": 250, "exp1": 610, "exp10": 180, "expi": 1000, "exprel": 100,
    "gamma": 370, "gammasgn": 30, "huber": 10, "i0": 150, "i1": 150, "inv_boxcox": 150, "inv_boxcox1p": 180,
    "kl_div": 210, "lgamma": 420, "log_expit": 110, "log_ndtr": 560, "logit": 180, "ndtr": 410, "ndtri": 200,
    "powm1": 290, "pseudo_huber": 25, "rel_entr": 190, "rgamma": 860, "sindg": 80, "spence": 260, "tandg": 90,
    "xlog1py": 70, "xlogy": 60,
}  # fmt: skip
"""How many simple instructions each is worth, roughly."""
ROWS.update({name: Row("f", _emit(name), cost) for name, cost in COSTS.items()})
