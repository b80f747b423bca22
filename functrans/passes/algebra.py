"""Algebraic simplification: a table of rows, each a way to write one operation that costs less.

The rows stand in ``rows_elementwise``, ``rows_movement`` and ``rows_reassociating``. One must hold bit for bit for
every dtype, for NaN, infinities, signs of zero and empty arrays. A row that only holds up to rounding says by how much,
and runs where the pipeline asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functrans import errors
from functrans.core.jaxpr import Atom, Eqn, Jaxpr
from functrans.core.primitive import Primitive
from functrans.passes import rows_elementwise, rows_movement, rows_reassociating
from functrans.passes.base import Pass, Rewriter, with_bodies
from functrans.passes.table import Context, Entry, rows_for, table

TABLES = (rows_elementwise, rows_movement, rows_reassociating)


def row_names() -> tuple[str, ...]:
    """The names of all rows."""
    return tuple(dict.fromkeys(entry.name for rows in table.values() for entry in rows))


@dataclass(frozen=True)
class Algebra(Pass):
    """Apply the rows until none fits.

    Attributes:
        reassociate: whether rows run that hold up to rounding.
        off: the names of rows that do not run.
        only: the names of those that do; all of them if None.
    """

    name: str = "algebra"
    reassociate: bool = False
    off: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", not self.reassociate)
        for name in (*self.off, *(self.only or ())):
            if name not in row_names():
                raise errors.ArgumentError(f"Algebra: there is no row {name!r}; the rows are {', '.join(row_names())}")

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        context = Context(rewriter)
        known: dict[Primitive, Sequence[Entry]] = {}
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            if not eqn.prim.multiple and self._rows(eqn.prim, known):
                context.source = eqn.source
                by = self._simplify(context, eqn, known)
                if by is not None:
                    rewriter.replace(eqn.outs[0], by)
                    continue
            rewriter.keep(eqn)
        return rewriter.finish()

    def _rows(self, prim: Primitive, known: dict[Primitive, Sequence[Entry]]) -> Sequence[Entry]:
        rows = known.get(prim)
        if rows is None:
            rows = known[prim] = [
                entry
                for entry in rows_for(prim)
                if (entry.exact or self.reassociate)
                and entry.name not in self.off
                and (self.only is None or entry.name in self.only)
            ]
        return rows

    def _simplify(self, context: Context, eqn: Eqn, known: dict[Primitive, Sequence[Entry]]) -> Atom | None:
        eqns = context.rewriter.eqns
        for entry in self._rows(eqn.prim, known):
            count = len(eqns)
            found = entry.rule(context, eqn)
            if found is None:
                continue
            if found.aval != eqn.outs[0].aval:
                del eqns[count:]
                continue
            if len(eqns) == count or found not in eqns[-1].outs:
                return found
            # The new equation may be simplified in its turn.
            last = eqns.pop()
            again = self._simplify(context, last, known)
            if again is None:
                context.rewriter.keep(last)
                return found
            return again
        return None
