"""Index arithmetic: integers that depend on the axes of an iteration space, kept in a normal form.

An index is ``const + sum(coefficient * atom)``. An atom is an axis, a quotient or a remainder of an index by a positive
constant, or an integer computed by the kernel. Reshapes make quotients and remainders, and the rules here take them
back where another reshape undoes them: ``(3 * i + j) // 3`` is ``i`` where ``j`` stays below 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Axis:
    """One axis of an iteration space; two axes are the same only if they are one object."""

    __slots__ = ("extent", "name")

    def __init__(self, name: str, extent: int) -> None:
        self.name = name
        self.extent = extent

    def __repr__(self) -> str:
        return f"{self.name}<{self.extent}"


class FloorDiv:
    """``index // by``, for a positive constant."""

    __slots__ = ("by", "index")

    def __init__(self, index: Index, by: int) -> None:
        self.index = index
        self.by = by

    def __eq__(self, other: object) -> bool:
        return type(other) is FloorDiv and other.by == self.by and other.index == self.index

    def __hash__(self) -> int:
        return hash((FloorDiv, self.by, self.index))

    def __repr__(self) -> str:
        return self.spelled(_spelled)

    def spelled(self, name_of: Callable[[Atom], str]) -> str:
        return f"{_grouped(self.index, name_of)} // {self.by}"


class Mod:
    """``index % by``, for a positive constant."""

    __slots__ = ("by", "index")

    def __init__(self, index: Index, by: int) -> None:
        self.index = index
        self.by = by

    def __eq__(self, other: object) -> bool:
        return type(other) is Mod and other.by == self.by and other.index == self.index

    def __hash__(self) -> int:
        return hash((Mod, self.by, self.index))

    def __repr__(self) -> str:
        return self.spelled(_spelled)

    def spelled(self, name_of: Callable[[Atom], str]) -> str:
        return f"{_grouped(self.index, name_of)} % {self.by}"


class Value:
    """A place along an axis that the kernel computes or loads, as an integer of any kind.

    Attributes:
        expr: the integer; fusion fills it in once the kernel's expressions are known.
        extent: how many places there are.
        turn: what is added to an integer below zero: it counts from the end.
        mode: what one means that lies outside even so: ``raise``, the kernel fails; ``clip``, the nearest place inside;
            ``drop``, none, which a guard sees to.
        axis: the axis of the array, for the error.
        axes: the axes of the iteration space that the integer depends on.
    """

    __slots__ = ("axes", "axis", "expr", "extent", "mode", "turn")

    def __init__(self, extent: int, turn: int, mode: str, axis: int, axes: frozenset[Axis]) -> None:
        self.expr: Any = None
        self.extent = extent
        self.turn = turn
        self.mode = mode
        self.axis = axis
        self.axes = axes

    def bounds(self) -> tuple[int, int]:
        """The least and the greatest place that it stands for, those outside counted where nothing is done to them."""
        return (-(1 << 62), 1 << 62) if self.mode == "drop" else (0, max(self.extent - 1, 0))

    def __repr__(self) -> str:
        return f"{self.mode}(? < {self.extent})"


Atom = Axis | FloorDiv | Mod | Value


class Index:
    """``const + sum(coefficient * atom)``: immutable, compared by value.

    >>> i, j = Axis("i", 4), Axis("j", 3)
    >>> linear = 3 * index_of(i) + index_of(j)
    >>> linear, linear // 3, linear % 3, (linear + 1) // 3
    (3*i + j, i, j, i + ((j + 1) // 3))
    """

    __slots__ = ("const", "terms")

    def __init__(self, const: int = 0, terms: tuple[tuple[Atom, int], ...] = ()) -> None:
        self.const = const
        self.terms = terms

    @property
    def axis(self) -> Axis | None:
        """The axis, where the index is an axis and nothing else."""
        if self.const == 0 and len(self.terms) == 1:
            atom, coefficient = self.terms[0]
            if coefficient == 1 and type(atom) is Axis:
                return atom
        return None

    def axes(self) -> set[Axis]:
        """The axes that it depends on."""
        found: set[Axis] = set()
        for atom, _ in self.terms:
            if type(atom) is Axis:
                found.add(atom)
            elif isinstance(atom, (FloorDiv, Mod)):
                found |= atom.index.axes()
            elif isinstance(atom, Value):
                found |= atom.axes
        return found

    def values(self) -> Iterator[Value]:
        """The computed integers in it."""
        for atom, _ in self.terms:
            if isinstance(atom, Value):
                yield atom
            elif isinstance(atom, (FloorDiv, Mod)):
                yield from atom.index.values()

    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value that it takes."""
        low = high = self.const
        for atom, c in self.terms:
            if isinstance(atom, FloorDiv):
                first, last = (b // atom.by for b in atom.index.bounds())
            elif isinstance(atom, Mod):
                first, last = 0, atom.by - 1
            elif isinstance(atom, Value):
                first, last = atom.bounds()
            else:
                first, last = 0, max(atom.extent - 1, 0)
            low += min(c * first, c * last)
            high += max(c * first, c * last)
        return low, high

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.const + other, self.terms) if other else self
        sums = dict(self.terms)
        for atom, c in other.terms:
            sums[atom] = sums.get(atom, 0) + c
        return Index(self.const + other.const, tuple([(a, c) for a, c in sums.items() if c]))

    __radd__ = __add__

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + -other

    def __rsub__(self, other: int) -> Index:
        return -self + other

    def __mul__(self, by: int) -> Index:
        if by == 1:
            return self
        return Index(self.const * by, tuple([(a, c * by) for a, c in self.terms] if by else ()))

    __rmul__ = __mul__

    def _parts(self, by: int) -> tuple[Index, Index]:
        """The index as ``by * quotient + rest``, as much of it in the quotient as divides by itself."""
        quotient = tuple([(a, c // by) for a, c in self.terms if c % by == 0])
        rest = tuple([(a, c) for a, c in self.terms if c % by])
        return Index(self.const // by, quotient), Index(self.const % by, rest)

    def __floordiv__(self, by: int) -> Index:
        if by == 1:
            return self
        quotient, rest = self._parts(by)
        low, high = rest.bounds()
        if low // by == high // by:
            return quotient + low // by
        return quotient + Index(0, ((FloorDiv(rest, by), 1),))

    def __mod__(self, by: int) -> Index:
        if by == 1:
            return Index()
        _, rest = self._parts(by)
        low, high = rest.bounds()
        if low // by == high // by:
            return rest - low // by * by
        return Index(0, ((Mod(rest, by), 1),))

    def __eq__(self, other: object) -> bool:
        return type(other) is Index and self.const == other.const and dict(self.terms) == dict(other.terms)

    def __hash__(self) -> int:
        return hash((self.const, frozenset(self.terms)))

    def __repr__(self) -> str:
        return self.spelled(_spelled)

    def spelled(self, name_of: Callable[[Atom], str]) -> str:
        """The index as text."""
        parts = []
        for atom, c in self.terms:
            name = name_of(atom)
            parts.append(name if c == 1 else f"-{name}" if c == -1 else f"{c}*{name}")
        if self.const or not parts:
            parts.append(str(self.const))
        return " + ".join(parts).replace("+ -", "- ")


def _grouped(index: Index, name_of: Callable[[Atom], str]) -> str:
    text = index.spelled(name_of)
    return f"({text})" if len(index.terms) > 1 or index.const else text


def _spelled(atom: Atom) -> str:
    return atom.name if isinstance(atom, Axis) else repr(atom) if isinstance(atom, Value) else f"({atom})"


ZERO = Index()


def index_of(axis: Axis) -> Index:
    """The axis as an index; zero where the axis has one place only."""
    return ZERO if axis.extent == 1 else Index(0, ((axis, 1),))


Position = tuple[Index, ...]
Guard = tuple[tuple[Index, int, int], ...]
"""``(index, low, high)``: a place exists where every index lies in ``range(low, high)``."""
