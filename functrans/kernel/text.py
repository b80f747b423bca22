"""The text of kernels."""

from __future__ import annotations

from functrans.core.jaxpr import Var
from functrans.kernel.index import Atom, Axis, FloorDiv, Index, Mod
from functrans.kernel.ir import Access, AxisValue, Const, Expr, Kernel, Load, Local, Map, Op, Reduce, Stage, ordered


class _Names:
    def __init__(self, known: dict[Var, str]) -> None:
        self.buffers = known
        self.exprs: dict[int, str] = {}

    def buffer(self, var: Var) -> str:
        return self.buffers.setdefault(var, f"b{len(self.buffers)}")

    def expr(self, expr: Expr) -> str:
        if isinstance(expr, Const):
            return repr(expr.value.item() if hasattr(expr.value, "item") else expr.value)
        if isinstance(expr, Local):
            return expr.stage.name if len(expr.stage.values) == 1 else f"{expr.stage.name}.{expr.k}"
        if isinstance(expr, Load):
            return self.access(expr.access)
        if isinstance(expr, AxisValue):
            return f"[{self.index(expr.index)}]"
        return self.exprs[id(expr)]

    def access(self, access: Access) -> str:
        text = f"{self.buffer(access.buffer)}[{', '.join(map(self.index, access.position))}]"
        if access.guard:
            tests = " and ".join(f"{low} <= {self.index(i)} < {high}" for i, low, high in access.guard)
            other = "0" if access.other is None else self.expr(access.other)
            return f"({text} if {tests} else {other})"
        return text

    def index(self, index: Index) -> str:
        return index.spelled(self.atom)

    def atom(self, atom: Atom) -> str:
        if isinstance(atom, Axis):
            return atom.name
        if isinstance(atom, (FloorDiv, Mod)):
            return f"({atom.spelled(self.atom)})"
        return f"{atom.mode}({self.expr(atom.expr)} < {atom.extent})"


def kernel_text(kernel: Kernel, names: dict[Var, str] | None = None) -> str:
    """A kernel as text: its grid, then its stages with a line for each operation."""
    naming = _Names({} if names is None else names)
    inputs = ", ".join(f"{naming.buffer(v)}:{v.aval}" for v in kernel.inputs)
    outputs = ", ".join(f"{naming.buffer(v)}:{v.aval}" for v in kernel.outs)
    lines = [f"kernel {kernel.name}({inputs}) -> ({outputs}) grid({_axes(kernel.grid)}):"]
    count = 0
    for stage in kernel.stages:
        lines.append(f"  {stage.name} = {_kind(stage)} over ({_axes(stage.axes)}):")
        for expr in ordered(stage.values):
            if isinstance(expr, Op) and id(expr) not in naming.exprs:
                params = f"[{' '.join(f'{k}={v}' for k, v in expr.params.items())}]" if expr.params else ""
                args = " ".join(naming.expr(a) for a in expr.args)
                naming.exprs[id(expr)] = f"t{count}"
                lines.append(f"    t{count}:{expr.dtype} = {expr.prim.name}{params} {args}")
                count += 1
        lines.append(f"    yield {', '.join(naming.expr(v) for v in stage.values)}")
        for store in stage.stores:
            which = stage.name if len(stage.values) == 1 else f"{stage.name}.{store.k}"
            lines.append(f"    {naming.access(store.access)} <- {which}")
    return "\n".join(lines) + "\n"


def _axes(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(repr, axes))


def _kind(stage: Stage) -> str:
    kind = stage.kind
    if isinstance(kind, Map):
        return "map"
    if isinstance(kind, Reduce):
        return f"reduce[{kind.monoid}]"
    return f"scan[{kind.monoid} {kind.axis.name}{' reverse' if kind.reverse else ''}]"
