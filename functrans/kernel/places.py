"""Where a kernel's accesses lie in memory, over as few axes as they can be written with.

Axes that every access steps through together become one, so that what is contiguous is one loop and an index takes
fewer divisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from functrans.core.jaxpr import Eqn, Var
from functrans.kernel.index import Atom, Axis, FloorDiv, Index, Mod, index_of
from functrans.kernel.ir import Access, AxisValue, Kernel, Load, Scan, ordered

Layouts = Mapping[Var, Sequence[int]]
"""The strides, in elements, of arrays that are not C-contiguous."""


class Places:
    """The indices of a kernel over merged axes.

    Args:
        layouts: the arrays among its inputs that are not C-contiguous.

    Attributes:
        grid, row: the axes after merging, the outermost first.
        exprs: what the kernel computes, operands first.
        accesses: all its loads and stores.
    """

    def __init__(self, kernel: Kernel, layouts: Layouts = MappingProxyType({})) -> None:
        self.layouts = layouts
        self.exprs = ordered([v for stage in kernel.stages for v in stage.values])
        self.accesses = [e.access for e in self.exprs if isinstance(e, Load)]
        self.accesses += [s.access for stage in kernel.stages for s in stage.stores]
        self._forms: dict[Index, Index] = {}
        for access in self.accesses:
            flat = self.flattened(access)
            self._forms[flat] = flat
            for i, _, _ in access.guard:
                self._forms[i] = i
        for e in self.exprs:
            if isinstance(e, AxisValue):
                self._forms[e.index] = e.index
        self._where: dict[Axis, Axis] = {a: a for a in kernel.order}
        grid = tuple([a for a in kernel.order if a in kernel.grid])
        row = tuple([a for a in kernel.order if a not in kernel.grid])
        along = {stage.kind.axis for stage in kernel.stages if isinstance(stage.kind, Scan)}
        self.grid, self.row = self._merged(grid, set()), self._merged(row, along)

    def flat(self, access: Access) -> Index:
        """The place of an access in its buffer, in elements."""
        return self._forms[self.flattened(access)]

    def flattened(self, access: Access) -> Index:
        """The place of an access in its buffer, over the axes of the kernel."""
        strides = self.layouts.get(access.buffer)
        if strides is None:
            return flattened(access)
        total = Index()
        for i, n, stride in zip(access.position, access.buffer.aval.shape, strides, strict=True):
            if n != 1:
                total = total + i * stride
        return _joined(total)

    def form(self, index: Index) -> Index:
        """An index of the kernel over the merged axes."""
        return self._forms[index]

    def depends(self, index: Index) -> frozenset[Axis]:
        """The merged axes that an index depends on."""
        return frozenset([self._where.get(a, a) for a in index.axes()])

    def coefficient(self, index: Index, axis: Axis) -> tuple[int, bool]:
        """By how much an index grows along an axis, and whether that is all there is to it."""
        c, plain = coefficient(index, axis)
        return c, plain and not any(axis in self.depends(Index(0, ((v, 1),))) for v in index.values())

    def _merged(self, axes: tuple[Axis, ...], apart: set[Axis]) -> tuple[Axis, ...]:
        done: list[Axis] = []
        for inner in axes:
            if done and not apart & {done[-1], inner} and self._mergeable(done[-1], inner):
                outer = done.pop()
                both = Axis(outer.name + inner.name, outer.extent * inner.extent)
                self._forms = {k: _replaced(f, outer, inner, both) for k, f in self._forms.items()}
                self._where = {k: both if a in (outer, inner) else a for k, a in self._where.items()}
                inner = both
            done.append(inner)
        return tuple(done)

    def _mergeable(self, outer: Axis, inner: Axis) -> bool:
        for form in self._forms.values():
            first = second = 0
            for atom, c in form.terms:
                if atom is outer:
                    first = c
                elif atom is inner:
                    second = c
                elif isinstance(atom, (FloorDiv, Mod)) and {outer, inner} & atom.index.axes():
                    return False
            if first != second * inner.extent:
                return False
        return True


def run_start(eqn: Eqn) -> int | None:
    """The element of its operand that a movement's result begins at, where the result is a run of the operand's."""
    if eqn.prim.index is None or len(eqn.inputs) != 1:
        return None
    source, (out,) = eqn.inputs[0], eqn.outs
    if not isinstance(source, Var):
        return None
    at = tuple([index_of(Axis(f"a{d}", n)) for d, n in enumerate(out.aval.shape)])
    found = eqn.prim.index(at, source.aval, **eqn.params)
    if found is None or found.operand != 0 or found.guard:
        return None
    position = tuple([Index(i) if isinstance(i, int) else i for i in found.position])
    if not all(isinstance(i, Index) for i in position):
        return None
    there, here = flattened(Access(source, position)), flattened(Access(out, at))
    return there.const if there - there.const == here else None


def flattened(access: Access) -> Index:
    """The place in a C-contiguous buffer."""
    total, stride = Index(), 1
    for i, n in zip(reversed(access.position), reversed(access.buffer.aval.shape), strict=True):
        assert isinstance(n, int)
        if n != 1:
            total = total + i * stride
        stride *= n
    return _joined(total)


def _joined(index: Index) -> Index:
    """With ``by * (x // by) + x % by`` as ``x``."""
    for atom, c in index.terms:
        if not isinstance(atom, Mod):
            continue
        quotient = FloorDiv(atom.index, atom.by)
        for other, d in index.terms:
            if other == quotient and d == c * atom.by:
                rest = Index(index.const, tuple([t for t in index.terms if t[0] is not atom and t[0] is not other]))
                return _joined(rest + atom.index * c)
    return index


def _replaced(index: Index, outer: Axis, inner: Axis, both: Axis) -> Index:
    terms: list[tuple[Atom, int]] = []
    for atom, c in index.terms:
        if atom is inner:
            terms.append((both, c))
        elif atom is not outer:
            terms.append((atom, c))
    return Index(index.const, tuple(terms))


def coefficient(index: Index, axis: Axis) -> tuple[int, bool]:
    """By how much an index grows along an axis, and whether that is all there is to it."""
    c, plain = 0, True
    for atom, by in index.terms:
        if atom is axis:
            c = by
        elif isinstance(atom, (FloorDiv, Mod)) and axis in atom.index.axes():
            plain = False
    return c, plain
