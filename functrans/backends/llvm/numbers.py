"""Python ints that come at run time beside narrower integers: NumPy raises an error where one does not fit.

They are converted first, in an equation of their own, so that kernels read what fits.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.backends.llvm.block import Step, Text, Value, single
from functrans.backends.llvm.casts import convert
from functrans.backends.llvm.operations import COMPARISONS, PARAMETERS, operand_dtypes
from functrans.backends.llvm.outside import LOCK
from functrans.backends.llvm.target import weak
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.core.primitive import Trait
from functrans.core.structural import convert_p
from functrans.passes.base import Rewriter

_END = 1 << 63
_noted = (ctypes.c_int64 * 2)()
_DTYPES = [np.dtype(name) for name in ("i1", "u1", "i2", "u2", "i4", "u4")]
"""Which there may be, in an order that object code relies on."""


def _raise() -> None:
    number, index = _noted
    _DTYPES[index].type(int(number))
    raise AssertionError(f"{number} fits into {_DTYPES[index]}")


SYMBOLS = {"functrans_number": ctypes.addressof(_noted), "functrans_raise_number": id(_raise)}
DECLARED = "@functrans_number = external global [2 x i64]\n@functrans_raise_number = external global i8"
MISFIT = """declare ptr @PyObject_CallObject(ptr, ptr)
define internal void @functrans_misfit(i64 %number, i64 %dtype) noinline nounwind {
  %s = call i32 @PyGILState_Ensure()
  store i64 %number, ptr @functrans_number
  %p = getelementptr i64, ptr @functrans_number, i64 1
  store i64 %dtype, ptr %p
  %r = call ptr @PyObject_CallObject(ptr @functrans_raise_number, ptr null)
  call void @PyGILState_Release(i32 %s)
  ret void
}
"""
"""``void functrans_misfit(i64 number, i64 dtype)`` sets the exception."""


def narrowing(eqn: Eqn) -> bool:
    """Whether an equation converts a Python int to an integer that may not hold it.

    One of 64 bits without a sign holds more than native code is given: that is converted by NumPy.
    """
    return eqn.prim is convert_p and weak(eqn.inputs[0]) is int and eqn.outs[0].aval.dtype in _DTYPES


def separated(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with such numbers converted by equations of their own."""
    rewriter = Rewriter(jaxpr)
    known: dict[tuple[Atom, DType], Var] = {}
    for eqn in jaxpr.eqns:
        dtypes = _taken(eqn)
        inputs = list(eqn.inputs)
        for k, (atom, dtype) in enumerate(zip(eqn.inputs, dtypes, strict=False)):
            if dtype is None:
                continue
            if (atom, dtype) not in known:
                out = known[atom, dtype] = Var(atom.aval.update(dtype=dtype, box="numpy"))
                rewriter.keep(Eqn(convert_p, (atom,), (out,), {"dtype": dtype}, eqn.source))
            inputs[k] = known[atom, dtype]
            rewriter.changed = True
        rewriter.keep(eqn._replace(inputs=tuple(inputs)) if dtypes else eqn)
    return rewriter.finish()


def _taken(eqn: Eqn) -> list[DType | None]:
    """The dtypes that Python ints among the operands are to fit into; empty if all do, as where NumPy cuts bits off."""
    prim = eqn.prim
    if Trait.ELEMENTWISE not in prim.traits or prim.multiple or prim.name in {*COMPARISONS, *PARAMETERS}:
        return []
    values = [weak(a) for a in eqn.inputs]
    if int not in values:
        return []
    out = eqn.outs[0].aval.dtype
    given = [a.aval.dtype for a in eqn.inputs]
    dtypes = operand_dtypes(prim.name, given, values, out)
    return [
        dtype if value is int and dtype.kind in "iu" and dtype != np.int64 else None
        for value, dtype in zip(values, dtypes, strict=True)
    ]


def bounded(
    function: Callable[..., Any], jaxpr: Jaxpr, numpy: Callable[[Jaxpr], Callable[..., Any]]
) -> Callable[..., Any]:
    """A program that leaves Python ints of more than 64 bits to NumPy, which has floats or an error for them."""
    places = [k for k, v in enumerate(jaxpr.invars) if v.aval.box == "python" and v.aval.dtype.kind == "i"]
    if not places:
        return function
    known = weakref.ref(jaxpr)  # What is derived from a jaxpr must not keep it.

    def run(*args: Any) -> Any:
        if any([not -_END <= args[k] < _END for k in places]):
            program = known()
            assert program is not None
            return numpy(program)(*args)
        return function(*args)

    if hasattr(function, "native"):
        run.native = function.native  # type: ignore[attr-defined]
    return run


class NarrowStep(Step):
    """A Python int as an integer of another dtype, or NumPy's error."""

    cost = 2

    def __init__(self, eqn: Eqn) -> None:
        self.inputs, self.outs = eqn.inputs, eqn.outs

    def in_register(self, v: Var) -> bool:
        return True

    def emit(self, text: Text, work: str) -> None:
        (atom,), (out,) = self.inputs, self.outs
        b, old, new = text.b, atom.aval.dtype, out.aval.dtype
        x = text.register(atom)
        narrow = convert(b, x, old, new)
        misfit = b.compare("ne", convert(b, narrow, new, old), x)
        text.module.declared["number"] = DECLARED
        text.module.declared["PyGILState"] = LOCK
        text.module.helpers["misfit"] = MISFIT
        text.module.symbols.update(SYMBOLS)
        text.module.interpreter("PyObject_CallObject", "PyGILState_Ensure", "PyGILState_Release")
        wrong = b.any(misfit)
        with b.guarded(wrong):
            b.do(f"call void @functrans_misfit(i64 {b.scalar(x)}, i64 {_DTYPES.index(new)})")
        text.fail_if(wrong)
        text.know(out, Value(None, narrow))


def narrow_step(eqn: Eqn) -> Step | None:
    """Such a conversion as a native step."""
    return NarrowStep(eqn) if narrowing(eqn) and single(eqn.outs[0].aval) else None
