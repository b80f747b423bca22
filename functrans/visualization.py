"""Drawings of programs as text, for Graphviz or as SVG: what runs, or the equations after any pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from functrans import errors
from functrans.api.jit import Jitted, jit
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var
from functrans.kernel.cost import node_cost
from functrans.kernel.waves import Node, Wave
from functrans.passes import current

__all__ = ["Graph", "visualize"]

_CHAR, _LINE, _GAP_X, _GAP_Y, _PAD = 7.2, 16, 24, 44, 8


class Box(NamedTuple):
    """A node of a drawing: lines of text, and its kind (input, output, constant, kernel, wave or call)."""

    lines: tuple[str, ...]
    kind: str


class Edge(NamedTuple):
    """A value that goes from one box to another."""

    source: int
    target: int
    label: str


class Graph:
    """A drawing of a program, laid out in layers: every edge points downwards.

    Attributes:
        boxes, edges: what is drawn.
    """

    def __init__(self, name: str, boxes: Sequence[Box], edges: Sequence[Edge]) -> None:
        self.name = name
        self.boxes = tuple(boxes)
        self.edges = tuple(edges)

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A line for each box, with what it reads."""
        lines = []
        for n, box in enumerate(self.boxes):
            read = ", ".join(f"{e.source}:{e.label}" for e in self.edges if e.target == n)
            lines.append(f"{n:4} {box.kind:8} {' | '.join(box.lines)}{f'  <- {read}' if read else ''}")
        return "\n".join(lines)

    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        shapes = {"kernel": "box", "wave": "box3d", "call": "box", "input": "ellipse", "output": "ellipse"}
        lines = [f'digraph "{_quoted(self.name)}" {{', '  node [fontname="monospace" fontsize=10];']
        for n, box in enumerate(self.boxes):
            label = "\\l".join(_quoted(line) for line in box.lines) + "\\l"
            fill = f' style=filled fillcolor="{_FILL[box.kind]}"'
            lines.append(f'  n{n} [label="{label}" shape={shapes.get(box.kind, "ellipse")}{fill}];')
        for e in self.edges:
            lines.append(f'  n{e.source} -> n{e.target} [label="{_quoted(e.label)}" fontsize=9];')
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """The graph as a picture that a browser shows; nothing has to be installed."""
        places, width, height = self._layout()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12">',
            f"<title>{escape(self.name)}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        ]
        for e in self.edges:
            x0, y0, w0, h0 = places[e.source]
            x1, y1, w1, _ = places[e.target]
            xa, ya, xb, yb = x0 + w0 / 2, y0 + h0, x1 + w1 / 2, y1
            middle = (ya + yb) / 2
            parts.append(
                f'<path d="M{xa:.1f},{ya:.1f} C{xa:.1f},{middle:.1f} {xb:.1f},{middle:.1f} {xb:.1f},{yb:.1f}" '
                f'fill="none" stroke="#555" marker-end="url(#arrow)"><title>{escape(e.label)}</title></path>'
            )
        for box, (x, y, w, h) in zip(self.boxes, places, strict=True):
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="5" fill="{_FILL[box.kind]}" '
                f'stroke="#333"/>'
            )
            for k, line in enumerate(box.lines):
                parts.append(
                    f'<text x="{x + _PAD:.1f}" y="{y + _PAD + _LINE * (k + 0.75):.1f}" xml:space="preserve">'
                    f"{escape(line)}</text>"
                )
        return "\n".join([*parts, "</svg>"]) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing; the file's ending says how: ``.svg``, ``.dot`` or ``.txt``."""
        target = Path(path)
        write = {".svg": self.svg, ".dot": self.dot, ".gv": self.dot, ".txt": self.text}.get(target.suffix)
        if write is None:
            raise errors.ArgumentError(f"a drawing is saved as .svg, .dot, .gv or .txt, got {target.name!r}")
        target.write_text(write(), encoding="utf-8")

    def _layout(self) -> tuple[list[tuple[float, float, float, float]], float, float]:
        """Where each box is: in the layer below the last that it reads, near the middle of what it reads."""
        layer = [0] * len(self.boxes)
        for e in sorted(self.edges, key=lambda e: e.target):
            layer[e.target] = max(layer[e.target], layer[e.source] + 1)
        rows: list[list[int]] = [[] for _ in range(max(layer, default=0) + 1)]
        for n, depth in enumerate(layer):
            rows[depth].append(n)
        centre = [0.0] * len(self.boxes)
        sizes = [
            (max(len(line) for line in b.lines) * _CHAR + 2 * _PAD, len(b.lines) * _LINE + 2 * _PAD) for b in self.boxes
        ]
        places: list[tuple[float, float, float, float]] = [(0.0, 0.0, 0.0, 0.0)] * len(self.boxes)
        y = width = 20.0
        for row in rows:
            wish = {}
            for n in row:
                above = [centre[e.source] for e in self.edges if e.target == n]
                wish[n] = sum(above) / len(above) if above else 0.0
            x = 20.0
            for n in sorted(row, key=lambda n: (wish[n], n)):
                w, h = sizes[n]
                x = max(x, wish[n] - w / 2)
                places[n] = (x, y, w, h)
                centre[n] = x + w / 2
                x += w + _GAP_X
            width = max(width, x)
            y += max([sizes[n][1] for n in row], default=0.0) + _GAP_Y
        return places, width, y


_FILL = {
    "input": "#e8f0fe",
    "output": "#e6f4ea",
    "constant": "#f1f3f4",
    "kernel": "#fef7e0",
    "wave": "#fce8e6",
    "call": "#ffffff",
}


def visualize(f: Callable[..., Any], *args: Any, stage: str = "kernels", path: Any = None, **kwargs: Any) -> Graph:
    """The graph of a function's program at given arguments.

    Args:
        f: a function, jitted or not.
        stage: ``"kernels"``: what runs; the name of a pass (or ``"jaxpr"``): the equations after it.
        path: a file to write it to, as SVG (``.svg``), for Graphviz (``.dot``) or as text (``.txt``).

    Raises:
        ArgumentError: there is no such stage, or the file has another ending.

    >>> import numpy as np, functrans as ft
    >>> print(ft.visualize(lambda x: np.sin(x) * 2.0, np.ones(3)))
       0 input    f64[3]
       1 call     sin  <- 0:f64[3]
       2 call     mul  <- 1:f64[3]
       3 output   result 0  <- 2:f64[3]
    """
    lowered = (f if isinstance(f, Jitted) else jit(f)).lower(*args, **kwargs)
    backend = lowered._program.backend
    nodes: Sequence[Node]
    if stage == "kernels":
        jaxpr = current()(lowered.jaxpr)
        nodes = backend.nodes(jaxpr)
    elif stage in ("jaxpr", *current().names):
        jaxpr = lowered.jaxpr
        for name, after in current().steps(lowered.jaxpr):
            if stage == "jaxpr":
                break
            jaxpr = after
            if name == stage:
                break
        nodes = jaxpr.eqns
    else:
        known = ", ".join(("jaxpr", *current().names, "kernels"))
        raise errors.ArgumentError(f"visualize: there is no stage {stage!r} to draw; the stages are {known}")
    graph = _draw(lowered.name, jaxpr, nodes)
    if path is not None:
        graph.save(path)
    return graph


def _draw(name: str, jaxpr: Jaxpr, nodes: Sequence[Node]) -> Graph:
    boxes: list[Box] = []
    edges: list[Edge] = []
    maker: dict[Atom, int] = {}

    def read(atoms: Sequence[Atom], target: int) -> None:
        for a in dict.fromkeys(a for a in atoms if isinstance(a, Var)):
            if a in maker:
                edges.append(Edge(maker[a], target, str(a.aval)))

    for kind, variables in (("input", jaxpr.invars), ("constant", jaxpr.constvars)):
        for v in variables:
            maker[v] = len(boxes)
            boxes.append(Box((str(v.aval),), kind))
    for node in nodes:
        read(node.inputs, len(boxes))
        for v in node.outs:
            maker[v] = len(boxes)
        boxes.append(_box(node))
    for k, out in enumerate(jaxpr.outvars):
        text = f"result {k}" + (f" = {out.value!r}" if isinstance(out, Literal) else "")
        read([out], len(boxes))
        boxes.append(Box((text,), "output"))
    return Graph(name, boxes, edges)


def _box(node: Node) -> Box:
    if isinstance(node, Eqn):
        return Box((node.prim.name,), "call")
    names = [eqn.prim.name for eqn in node.eqns]
    if isinstance(node, Wave):
        return Box(("at the same time:", *names), "wave")
    cost = node_cost(node)
    lines = [" ".join(names[k : k + 5]) for k in range(0, len(names), 5)]
    if len(lines) > 6:
        lines = [*lines[:5], f"... {len(names)} operations"]
    grid = " x ".join(str(a.extent) for a in node.grid) or "1"
    return Box((f"{node.name}: grid {grid}, {len(node.stages)} stages", *lines, f"{cost.bytes:,} bytes"), "kernel")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
