"""The table of algebraic simplification: what a row is, and what rows look at.

A row is a function of an equation and of the equations before it, and gives what takes its place: an operand, or a new
equation's result. Beside it stand ``examples``, programs that it rewrites, from which the test that proves it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.core.jaxpr import Atom, Eqn, Literal, Var
from functrans.core.primitive import Primitive, Trait, find
from functrans.passes.base import Rewriter
from functrans.util.source import Source

Row = Callable[["Context", Eqn], Atom | None]
Example = Callable[..., Any]
"""A program that a row rewrites: ``example(p, x, y)``, where ``p.name(...)`` applies the primitive of that name."""


class Entry(NamedTuple):
    """A row of the table.

    Attributes:
        name: what it is switched by.
        rule: the rewriting.
        examples: programs that it rewrites.
        ulps: 0 for a row that keeps every bit. Else it reassociates, and changes a result by at most so many units in
            the last place of what the same program gives for the operands' magnitudes, for each element that is summed.
    """

    name: str
    rule: Row
    examples: tuple[Example, ...]
    ulps: int = 0

    @property
    def exact(self) -> bool:
        return not self.ulps


ELEMENTWISE = "elementwise operations"
"""The key of the rows for every elementwise operation."""

table: dict[str, list[Entry]] = {}
"""The rows by the primitive that they start from."""


def row(*prims: str, examples: Sequence[Example], ulps: int = 0) -> Callable[[Row], Row]:
    """Enter a row for equations of some primitives."""

    def enter(rule: Row) -> Row:
        for name in prims:
            table.setdefault(name, []).append(Entry(rule.__name__, rule, tuple(examples), ulps))
        return rule

    return enter


def rows_for(prim: Primitive) -> list[Entry]:
    """The rows that an equation of a primitive may be rewritten by."""
    rows = table.get(prim.name, [])
    return rows if Trait.ELEMENTWISE not in prim.traits else [*rows, *table.get(ELEMENTWISE, [])]


class Context:
    """The equations written so far, for rows to look back at and to add to."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter
        self.source: Source | None = None

    def made_by(self, atom: Atom, *names: str) -> Eqn | None:
        """The equation that an operand comes from, where it is one of some primitives."""
        eqn = self.rewriter.definition.get(atom)
        return eqn if eqn is not None and eqn.prim.name in names else None

    def emit(self, prim: Primitive | str, *inputs: Atom, **params: Any) -> Var:
        """The result of a new equation."""
        prim = find(prim) if isinstance(prim, str) else prim
        out = Var(prim.shape(*[a.aval for a in inputs], **params))
        self.rewriter.keep(Eqn(prim, inputs, (out,), params, self.source))
        return out


def number(atom: Atom) -> Any:
    """The value of a literal; None for a variable."""
    return atom.value if isinstance(atom, Literal) else None


def is_number(atom: Atom, value: float, negative: bool | None = None) -> bool:
    """Whether an operand is the number; for zero, of the given sign."""
    x = number(atom)
    if x is None or isinstance(x, (complex, np.complexfloating)) or x != value:
        return False
    return negative is None or not isinstance(x, (float, np.floating)) or bool(np.signbit(x)) is negative


def whole(atom: Atom) -> bool:
    """Whether an operand is a Python integer."""
    return isinstance(number(atom), (bool, int))


def kind_of(eqn: Eqn) -> str:
    """The kind of dtype of an equation's result."""
    kind: str = eqn.outs[0].aval.dtype.kind
    return kind
