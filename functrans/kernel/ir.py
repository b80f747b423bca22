"""The kernel language.

A kernel is a grid of independent points. At each point it runs stages, one after another, each over axes of its own:

* a ``Map`` computes values at every point of its axes;
* a ``Reduce`` combines them over its axes into one value a grid point;
* a ``Scan`` keeps the running combination along an axis.

What a stage computes is read by later stages as ``Local``: a map's and a scan's values at the same point, a reduction's
result anywhere. Softmax is four stages over one grid of rows, and reads its row from memory once.

Expressions form a graph: one that is used twice is one object and is computed once. Buffers are variables of the jaxpr.
The language says *what* is computed. How it is looped (tiles, vectors, threads) is the target's. It takes the order of
accumulation from the kernel's shape alone, so that the number of threads never shows in a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn, Var
from functrans.core.primitive import Primitive
from functrans.kernel.index import Axis, Guard, Index, Position, Value


class Access(NamedTuple):
    """A place in a buffer. Where the guard does not hold there is none: a load gives ``other`` then, or zero."""

    buffer: Var
    position: Position
    guard: Guard = ()
    other: Expr | None = None


class Expr:
    """A value at a point."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype


class Const(Expr):
    """A Python or NumPy scalar; ``weak`` where it adopts the dtype of what it meets."""

    __slots__ = ("value",)

    def __init__(self, value: Any, dtype: DType) -> None:
        super().__init__(dtype)
        self.value = value


class AxisValue(Expr):
    """An index as a number."""

    __slots__ = ("index",)

    def __init__(self, index: Index, dtype: DType) -> None:
        super().__init__(dtype)
        self.index = index


class Load(Expr):
    """An element of a buffer."""

    __slots__ = ("access",)

    def __init__(self, access: Access) -> None:
        super().__init__(access.buffer.aval.dtype)
        self.access = access


class Local(Expr):
    """What an earlier stage computed."""

    __slots__ = ("k", "stage")

    def __init__(self, stage: Stage, k: int) -> None:
        super().__init__(stage.values[k].dtype)
        self.stage = stage
        self.k = k


class Op(Expr):
    """An elementwise primitive."""

    __slots__ = ("args", "params", "prim")

    def __init__(self, prim: Primitive, args: Sequence[Expr], dtype: DType, params: dict[str, Any]) -> None:
        super().__init__(dtype)
        self.prim = prim
        self.args = tuple(args)
        self.params = params


class Map(NamedTuple):
    """Values at every point."""


class Reduce(NamedTuple):
    """The combination of all values over the stage's axes.

    Attributes:
        monoid: ``add mul max min and or`` or ``argmax argmin`` (the place along the one axis).
    """

    monoid: str


class Scan(NamedTuple):
    """The running combination along an axis."""

    monoid: str
    axis: Axis
    reverse: bool = False


class Store(NamedTuple):
    """Value ``k`` of a stage goes to a place in a buffer."""

    k: int
    access: Access


class Stage:
    """One step at each grid point; see the module."""

    __slots__ = ("axes", "kind", "name", "stores", "values")

    def __init__(self, name: str, axes: Sequence[Axis], kind: Map | Reduce | Scan, values: Sequence[Expr]) -> None:
        self.name = name
        self.axes = tuple(axes)
        self.kind = kind
        self.values = list(values)
        self.stores: list[Store] = []


@dataclass(frozen=True, eq=False)
class Kernel:
    """One trip through memory.

    Attributes:
        name: how the generated code calls it.
        order: all axes, the outermost of memory first.
        grid: the axes of independent points.
        stages: what happens at each point.
        inputs, outs: the buffers that it reads and writes.
        eqns: the equations that it computes, in order.
    """

    name: str
    order: tuple[Axis, ...]
    grid: tuple[Axis, ...]
    stages: tuple[Stage, ...]
    inputs: tuple[Var, ...]
    outs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]

    @property
    def params(self) -> dict[str, Any]:
        """A kernel has none: its equations' are in its text."""
        return {}

    @property
    def points(self) -> int:
        n = 1
        for axis in self.order:
            n *= axis.extent
        return n


def operands(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that one reads."""
    if isinstance(expr, Op):
        return expr.args
    if isinstance(expr, (Load, AxisValue)):
        inner = tuple([value.expr for value in values_in(expr)])
        return inner if isinstance(expr, AxisValue) or expr.access.other is None else (*inner, expr.access.other)
    return ()


def values_in(expr: Expr) -> list[Value]:
    """The integers that the indices of an expression are computed from."""
    indices: list[Index] = []
    if isinstance(expr, AxisValue):
        indices = [expr.index]
    elif isinstance(expr, Load):
        indices = [*expr.access.position, *[i for i, _, _ in expr.access.guard]]
    return [value for i in indices for value in i.values()]


def ordered(roots: Sequence[Expr]) -> list[Expr]:
    """All expressions below some roots, operands first, each once."""
    done: set[int] = set()
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        expr, ready = stack.pop()
        if ready:
            order.append(expr)
            continue
        if id(expr) in done:
            continue
        done.add(id(expr))
        stack.append((expr, True))
        stack.extend([(a, False) for a in reversed(operands(expr)) if id(a) not in done])
    return order
