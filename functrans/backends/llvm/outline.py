"""Operations that a program has many of, as functions that all its kernels call.

Written out at every use, a function like the sine is sixty instructions, and code generation takes time for each of
them. A call is slower by a few nanoseconds a vector, so that what is rare is written out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.runtime import machine
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn, Jaxpr

OFTEN = 16
"""Uses in a program from which an operation is a function."""
LONG = 16
"""Instructions that an operation takes at least to be worth a call."""


class Helpers(dict[str, str]):
    """The functions that a module needs besides its own, by name.

    Attributes:
        often: the operations, by the name of their primitive, that the program has many of.
        checks: whether addresses are checked.
    """

    def __init__(self, often: Collection[str] = (), checks: bool = False) -> None:
        super().__init__()
        self.often = frozenset(often)
        self.checks = checks


def frequent(eqns: Iterable[Eqn]) -> frozenset[str]:
    """The operations that a program has many of."""
    counts: Counter[str] = Counter()
    waiting = [tuple(eqns)]
    while waiting:
        for eqn in waiting.pop():
            counts[eqn.prim.name] += 1
            for value in eqn.params.values():
                waiting.extend(
                    j.eqns for j in (value if isinstance(value, tuple) else (value,)) if isinstance(j, Jaxpr)
                )
    return frozenset([name for name, count in counts.items() if count >= OFTEN])


def is_outlined(b: Builder, name: str, cost: int, args: Sequence[V]) -> bool:
    """Whether an operation is called here, and not written out."""
    often = getattr(b.helpers, "often", ())
    return cost >= LONG and name in often and not any(v.im for v in args) and len({(v.ty, v.w) for v in args}) == 1


def call(b: Builder, name: str, args: Sequence[V], dtype: DType, emit: Callable[..., V]) -> V:
    """An operation by the function that computes it."""
    first = args[0]
    function = f"functrans_{name}_{dtype}_{first.w}"
    key = f"type of {function}"
    if function not in b.helpers:
        inner = Builder(b.fma, b.declared, b.helpers)
        given = [V(f"%x{n}", v.ty, v.w) for n, v in enumerate(args)]
        b.helpers[function] = ""  # What it needs itself comes first.
        result: Any = emit(inner, given, dtype)
        del b.helpers[function]
        b.helpers[key] = f"; {function} gives {result.ty}\n"
        params = ", ".join(f"{v.full} {v.ref}" for v in given)
        lines = "\n".join(["entry:", *inner.lines, f"  ret {result.full} {result.ref}", "}"])
        head = f"define internal {result.full} @{function}({params}) {machine().attributes} noinline"
        b.share(function, f"{head} {{\n{lines}")
    ty = b.helpers[key].split()[-1]
    given_text = ", ".join(f"{v.full} {v.ref}" for v in args)
    return V(b.emit(f"call <{first.w} x {ty}> @{function}({given_text})"), ty, first.w)
