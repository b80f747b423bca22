"""Library calls inside of native programs: for each primitive that has one, how it is emitted.

A family of calls registers with ``@native("name")`` a function from an equation to a ``NativeCall``, or to None where
the equation (for its dtypes, sizes or parameters) stays a call of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from functrans.backends.llvm.builder import Builder
from functrans.core.jaxpr import Eqn

Emit = Callable[[Builder, Sequence[str], Sequence[str], str], str | None]


class NativeCall(NamedTuple):
    """One call as native code.

    Attributes:
        emit: ``emit(builder, operands, outs, work)`` writes the instructions, given the addresses (``ptr`` values) of
            operands, results and working memory. All are C-contiguous, aligned and of native byte order, 0-d values
            too; results share no memory with operands, but for ``over``. It may leave the builder in another block.
            Where it can fail it gives an ``i1`` that says so; a Python exception has to be set then.
        work: bytes of working memory, which is 64-byte aligned.
        symbols: the addresses of external functions, by the name that the text declares them by.
        cost: how many simple instructions a call is worth, roughly.
        over: the number of the operand that the one result may be written over; then both have the same address.
    """

    emit: Emit
    work: int = 0
    symbols: Mapping[str, int] = {}
    cost: int = 0
    over: int | None = None


CALLS: dict[str, Callable[[Eqn], NativeCall | None]] = {}


def native(name: str) -> Callable[[Callable[[Eqn], NativeCall | None]], Callable[[Eqn], NativeCall | None]]:
    """Register how a primitive is called natively."""

    def register(found: Callable[[Eqn], NativeCall | None]) -> Callable[[Eqn], NativeCall | None]:
        CALLS[name] = found
        return found

    return register


def native_call(eqn: Eqn) -> NativeCall | None:
    """The native call of an equation, None where it has none."""
    if eqn.effects:
        return None
    found = CALLS.get(eqn.prim.name)
    return None if found is None else found(eqn)
