"""What NumPy can do in a kernel: an operation a call, on the elements of a tile."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from functrans.core.jaxpr import Eqn, SizeVar
from functrans.core.primitive import Trait
from functrans.kernel.index import Axis, Position

TILE_BYTES = 1 << 20
"""Of one array of a tile: a few of them stay in the caches together. Smaller ones, which the second level holds, take
longer: what a call of NumPy costs by itself outweighs what the nearer cache saves."""
LONG_CALL = 1 << 20
"""Elements that a call touches, those of costly operations counted twenty times: about half a millisecond."""
ROW_ELEMENTS = 1 << 15
SMALL = 1 << 14
"""Kernels of fewer points run as plain calls: there is no cache to miss, and a loop costs more than it saves."""


class NumpyTarget:
    """Strided reads, and rows that fit the second-level cache."""

    guards = False

    def holds(self, order: Sequence[Axis], row: Sequence[Axis]) -> bool:
        """Rows have to be contiguous: NumPy's inner loops run along the last axis."""
        return set(order[len(order) - len(row) :]) == set(row) and prod([a.extent for a in row]) <= ROW_ELEMENTS

    def computes(self, eqn: Eqn) -> bool:
        prim = eqn.prim
        if prim.multiple or not eqn.inputs or any(isinstance(n, SizeVar) for n in eqn.outs[0].aval.shape):
            return False
        given = eqn.inputs[0].aval
        if prim.monoid is not None:
            # The place of an extremum has no identity to combine tiles with: along long rows it stays NumPy's own call.
            return 0 not in given.shape and given.dtype.kind in "biufc" and given.dtype.char != "e"
        if Trait.ELEMENTWISE not in prim.traits or not eqn.outs[0].aval.shape:
            return False
        if eqn.outs[0].aval.dtype.kind not in "biufc":
            return False
        kinds = {a.aval.dtype.kind for a in eqn.inputs}
        return not ("c" in kinds and eqn.outs[0].aval.dtype.kind not in "cb") and 0 not in eqn.outs[0].aval.shape

    def moves(self, eqn: Eqn) -> bool:
        return False

    def reads(self, position: Position) -> bool:
        seen = set()
        for index in position:
            if len(index.terms) > 1:
                return False
            for atom, _ in index.terms:
                if not isinstance(atom, Axis) or atom in seen:
                    return False
                seen.add(atom)
        return True

    def long(self, eqn: Eqn) -> bool:
        """Whether a call takes long enough to be worth a thread, and uses only one by itself."""
        prim = eqn.prim
        if prim.kind != "library" or {Trait.VIEW, Trait.THREADED} & prim.traits:
            return False
        sizes = [
            prod(a.aval.shape)
            for a in (*eqn.inputs, *eqn.outs)
            if not any(isinstance(n, SizeVar) for n in a.aval.shape)
        ]
        return sum(sizes) * (20 if Trait.COSTLY in prim.traits else 1) >= LONG_CALL


target = NumpyTarget()


def calling(name: str, function: np.ufunc, args: Sequence[str], out: str) -> str:
    """The text of a call of a ufunc with a place for its result."""
    # By position is faster, and deprecated for two of them, where it was mistaken for a third operand.
    keyword = "out=" if function in (np.maximum, np.minimum) else ""
    return f"{name}({', '.join(args)}, {keyword}{out})"


def ufunc(name: str | None) -> np.ufunc | None:
    """The ufunc of a name; None for what is no ufunc."""
    found = None if name is None else getattr(np, name, None)
    return found if isinstance(found, np.ufunc) else None
