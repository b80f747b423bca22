"""Computation graphs drawn as SVG by a layered layout written out here, and as DOT for Graphviz.

``graph_of_jaxpr`` makes the graph of a traced function; ``Graph.to_svg`` draws it in five steps, those of
Sugiyama, Tagawa and Toda (1981): give every node a rank below its operands, cut edges that span several ranks
by invisible waypoints, order each rank so that few edges cross, place nodes near their neighbours, and draw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

PALETTE = ("#dbeafe", "#dcfce7", "#fee2e2", "#fef3c7", "#ede9fe", "#e2e8f0")
_CHARACTER = 7.2  # width of one character of the label font, in pixels
_LINE = 15
_RANK_GAP = 30
_NODE_GAP = 18
_MARGIN = 24
_SWEEPS = 12


class Node(NamedTuple):
    """A box: ``label`` in bold, ``detail`` under it; the colour and the legend follow from ``group``."""

    label: str
    detail: str
    group: str
    tooltip: str = ""


@dataclass
class Graph:
    """A directed acyclic graph. Nodes and edges are drawn in the order in which they were added."""

    title: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, key: str, node: Node, operands: Iterable[str] = ()) -> None:
        """Add a node and the edges from its operands, which must be there already: so there are no cycles."""
        if key in self.nodes:
            raise ValueError(f"Graph.add: there is a node {key!r} already; give each node a key of its own")
        operands = list(operands)
        for operand in operands:
            if operand not in self.nodes:
                raise ValueError(f"Graph.add: {key!r} has the unknown operand {operand!r}; add operands first")
        self.nodes[key] = node
        self.edges.update(((operand, key), None) for operand in operands)

    def groups(self) -> dict[str, str]:
        """Each group's colour, in the order in which the groups first appear."""
        names = dict.fromkeys(node.group for node in self.nodes.values())
        return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}

    def to_dot(self) -> str:
        """The graph in Graphviz' language: ``dot -Tsvg graph.dot`` draws it."""
        colours = self.groups()
        lines = [
            f"digraph {_quoted(self.title)} {{",
            '  node [shape=box, style="rounded,filled", fontsize=11];',
        ]
        for key, node in self.nodes.items():
            text = f"{node.label}\n{node.detail}" if node.detail else node.label
            lines.append(f"  {_quoted(key)} [label={_quoted(text)}, fillcolor={_quoted(colours[node.group])}];")
        lines += [f"  {_quoted(source)} -> {_quoted(target)};" for source, target in self.edges]
        return "\n".join([*lines, "}", ""])

    def to_svg(self) -> str:
        """The drawing, as an SVG document that needs no other file."""
        layers, links, sizes = _layered(self)
        layers = _ordered(layers, links)
        centres = _placed(layers, links, sizes)
        return _drawn(self, links, sizes, centres)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# ---- layout: layers of keys, links between neighbouring layers, sizes and centres of boxes


class _Waypoint(NamedTuple):
    """Where the edges of ``source`` cross ``rank``. All its long edges share one, and so run together."""

    source: str
    rank: int


_Key = str | _Waypoint
_Links = dict[_Key, list[_Key]]


def _ranks(graph: Graph) -> dict[str, int]:
    operands, users = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for source, target in graph.edges:
        operands[target].append(source)
        users[source].append(target)
    ranks: dict[str, int] = {}
    for key in graph.nodes:
        ranks[key] = max((ranks[operand] + 1 for operand in operands[key]), default=0)
    # A node without operands belongs beside its first user, not at the far top.
    for key in graph.nodes:
        if not operands[key] and users[key]:
            ranks[key] = min(ranks[user] for user in users[key]) - 1
    return ranks


def _layered(graph: Graph) -> tuple[list[list[_Key]], _Links, dict[_Key, tuple[float, float]]]:
    ranks = _ranks(graph)
    layers: list[list[_Key]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    sizes: dict[_Key, tuple[float, float]] = {}
    for key, node in graph.nodes.items():
        layers[ranks[key]].append(key)
        width = max(len(node.label), len(node.detail)) * _CHARACTER + 16
        sizes[key] = (width, (2 if node.detail else 1) * _LINE + 10)
    links: _Links = defaultdict(list)
    for source, target in graph.edges:
        previous: _Key = source
        for rank in range(ranks[source] + 1, ranks[target]):
            waypoint = _Waypoint(source, rank)
            if waypoint not in sizes:
                sizes[waypoint] = (4.0, 0.0)
                layers[rank].append(waypoint)
                links[previous].append(waypoint)
            previous = waypoint
        links[previous].append(target)
    for layer in layers:
        # A waypoint is as tall as its row, so that its edge passes the boxes of the row straight.
        height = max((sizes[key][1] for key in layer), default=0.0)
        sizes.update((key, (4.0, height)) for key in layer if isinstance(key, _Waypoint))
    return layers, links, sizes


def _reversed(links: Mapping[_Key, Sequence[_Key]]) -> _Links:
    result: _Links = defaultdict(list)
    for source, targets in links.items():
        for target in targets:
            result[target].append(source)
    return result


def _ordered(layers: list[list[_Key]], links: _Links) -> list[list[_Key]]:
    """Order each layer by the mean place of its neighbours, downwards and upwards in turn; keep the best."""
    backward = _reversed(links)
    best, fewest = layers, _crossings(layers, links)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = backward if down else links
        layers = [list(layer) for layer in layers]
        sequence = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for i in sequence:
            layers[i] = _beside(layers[i], layers[i - 1 if down else i + 1], neighbours)
        if (crossings := _crossings(layers, links)) < fewest:
            best, fewest = layers, crossings
    return best


def _beside(layer: list[_Key], reference: list[_Key], neighbours: _Links) -> list[_Key]:
    place = {key: position for position, key in enumerate(reference)}
    wanted: dict[_Key, float] = {}
    for position, key in enumerate(layer):
        near = [place[other] for other in neighbours.get(key, ())]
        wanted[key] = sum(near) / len(near) if near else position
    return sorted(layer, key=wanted.__getitem__)


def _crossings(layers: list[list[_Key]], links: _Links) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        place = {key: position for position, key in enumerate(lower)}
        ends = [sorted(place[target] for target in links.get(source, ())) for source in upper]
        count += sum(a > b for i, left in enumerate(ends) for right in ends[i + 1 :] for a in left for b in right)
    return count


def _placed(
    layers: list[list[_Key]], links: _Links, sizes: dict[_Key, tuple[float, float]]
) -> dict[_Key, tuple[float, float]]:
    backward = _reversed(links)
    x: dict[_Key, float] = {}
    for layer in layers:
        x.update(
            zip(
                layer,
                _spread([0.0] * len(layer), [1.0] * len(layer), _separations(layer, sizes)),
                strict=True,
            )
        )
    for sweep in range(8 * _SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted, weights = [], []
            for key in layer:
                near = {other: _stiffness(key, other) for other in [*backward.get(key, ()), *links.get(key, ())]}
                pulls = sum(near.values())
                wanted.append(sum(x[other] * k for other, k in near.items()) / pulls if near else x[key])
                weights.append(max(pulls, 1.0))
            x.update(zip(layer, _spread(wanted, weights, _separations(layer, sizes)), strict=True))
    left = min((x[key] - sizes[key][0] / 2 for key in x), default=0.0)
    centres: dict[_Key, tuple[float, float]] = {}
    y = 0.0
    for layer in layers:
        height = max((sizes[key][1] for key in layer), default=0.0)
        for key in layer:
            centres[key] = (x[key] - left + _MARGIN, y + height / 2)
        y += height + _RANK_GAP
    return centres


def _stiffness(a: _Key, b: _Key) -> float:
    # Long edges run straight where they can.
    return (1.0, 2.0, 8.0)[isinstance(a, _Waypoint) + isinstance(b, _Waypoint)]


def _separations(layer: list[_Key], sizes: dict[_Key, tuple[float, float]]) -> list[float]:
    return [(sizes[a][0] + sizes[b][0]) / 2 + _NODE_GAP for a, b in pairwise(layer)]


def _spread(wanted: Sequence[float], weights: Sequence[float], separations: Sequence[float]) -> list[float]:
    """The positions nearest to ``wanted`` (weighted least squares) whose neighbours keep their separations.

    Less the sum of separations before it, each position must not be smaller than the one before: that is
    isotonic regression, which pooling adjacent violators solves exactly.
    """
    offsets = [0.0]
    for separation in separations:
        offsets.append(offsets[-1] + separation)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of positions
    for position, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, total, count = position - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other_mean, other_total, other_count = blocks.pop()
            mean = (mean * total + other_mean * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


# ---- drawing


def _drawn(
    graph: Graph,
    links: _Links,
    sizes: dict[_Key, tuple[float, float]],
    centres: dict[_Key, tuple[float, float]],
) -> str:
    colours = graph.groups()
    top = 64.0
    legend_width = sum(len(name) * _CHARACTER + 40 for name in colours)
    right = max((centres[key][0] + sizes[key][0] / 2 for key in centres), default=0.0)
    width = max(right, legend_width, len(graph.title) * 9.0) + _MARGIN
    height = top + max((y + sizes[key][1] / 2 for key, (_, y) in centres.items()), default=0.0) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">',
        f"<title>{escape(graph.title)}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_MARGIN}" y="28" font-size="15" font-weight="bold">{escape(graph.title)}</text>',
    ]
    x = float(_MARGIN)
    for name, colour in colours.items():
        parts.append(f'<rect x="{x:.0f}" y="40" width="12" height="12" rx="3" fill="{colour}" stroke="#64748b"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="50" font-size="12">{escape(name)}</text>')
        x += len(name) * _CHARACTER + 40

    def ends(upper: _Key, lower: _Key) -> str:
        (x1, y1), (x2, y2) = centres[upper], centres[lower]
        y1, y2 = y1 + sizes[upper][1] / 2 + top, y2 - sizes[lower][1] / 2 + top
        middle = (y1 + y2) / 2
        arrow = "" if isinstance(lower, _Waypoint) else ' marker-end="url(#arrow)"'
        curve = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        return f'<path d="{curve}"{arrow}/>'

    parts.append('<g fill="none" stroke="#64748b" stroke-width="1.1">')
    parts += [ends(source, target) for source, targets in links.items() for target in targets]
    for key, (cx, cy) in centres.items():
        if isinstance(key, _Waypoint):
            half = sizes[key][1] / 2
            parts.append(f'<path d="M{cx:.1f} {cy + top - half:.1f}V{cy + top + half:.1f}"/>')
    parts.append("</g>")
    for key, node in graph.nodes.items():
        (cx, cy), (w, h) = centres[key], sizes[key]
        cy += top
        parts.append(f"<g><title>{escape(node.tooltip or node.label)}</title>")
        parts.append(
            f'<rect x="{cx - w / 2:.1f}" y="{cy - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" '
            f'fill="{colours[node.group]}" stroke="#475569"/>'
        )
        baseline = cy - 3 if node.detail else cy + 4
        text = f'<text x="{cx:.1f}" y="{{:.1f}}" text-anchor="middle" {{}}>{{}}</text>'
        parts.append(text.format(baseline, 'font-size="12" font-weight="bold"', escape(node.label)))
        if node.detail:
            parts.append(text.format(cy + 12, 'font-size="11" fill="#475569"', escape(node.detail)))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


# ---- graphs of traced functions


def graph_of_jaxpr(jaxpr: Any, title: str, inputs: Sequence[str], outputs: Sequence[tuple[str, str]]) -> Graph:
    """The graph of a jaxpr: an input box for each variable, a box for each equation, a box for each result.

    ``inputs`` names the inputs, ``outputs`` gives each output's name and group. An equation belongs to the
    group of the first output that needs it: for outputs in the order loss, gradient, new weights, the
    backward pass consists of the equations that the gradient needs and the loss does not.
    """
    for what, given, expected in (("input", inputs, jaxpr.invars), ("output", outputs, jaxpr.outvars)):
        if len(given) != len(expected):
            raise ValueError(f"graph_of_jaxpr: {len(given)} {what} names for a jaxpr with {len(expected)} {what}s")
    eqns, outvars = _inlined(jaxpr)
    keys: dict[Any, str] = {}
    graph = Graph(title)
    for i, (var, name) in enumerate(zip(jaxpr.invars, inputs, strict=True)):
        keys[var] = f"input{i}"
        graph.add(keys[var], Node(name, str(var.aval), "input"))
    for i, var in enumerate(jaxpr.constvars):
        keys[var] = f"constant{i}"
        graph.add(keys[var], Node("constant", str(var.aval), "input"))
    groups = _groups(eqns, outvars, [group for _, group in outputs])
    for i, eqn in enumerate(eqns):
        operands = [atom for atom in eqn.inputs if atom in keys]
        literals = [_number(atom.value) if hasattr(atom, "value") else "·" for atom in eqn.inputs]
        label = eqn.prim.name + (f"({', '.join(literals)})" if len(operands) < len(literals) else "")
        tooltip = "\n".join([eqn.prim.name, *(f"{k} = {v}" for k, v in eqn.params.items()), str(eqn.source or "")])
        keys.update((out, f"equation{i}") for out in eqn.outs)
        detail = ", ".join(str(out.aval) for out in eqn.outs)
        node = Node(label, detail, groups.get(i, "unused"), tooltip.rstrip())
        graph.add(f"equation{i}", node, [keys[atom] for atom in operands])
    for i, (atom, (name, _)) in enumerate(zip(outvars, outputs, strict=True)):
        graph.add(f"output{i}", Node(name, str(atom.aval), "output"), [keys[atom]] if atom in keys else [])
    return graph


def _inlined(jaxpr: Any) -> tuple[list[Any], list[Any]]:
    """Equations and outputs, calls replaced by their bodies: a box named ``jit`` tells nothing."""
    names: dict[Any, Any] = {}
    eqns = []
    for eqn in jaxpr.eqns:
        eqn = eqn._replace(inputs=tuple(names.get(atom, atom) for atom in eqn.inputs))
        body = eqn.params.get("jaxpr")
        if eqn.prim.kind != "call" or body is None or body.constvars or len(body.invars) != len(eqn.inputs):
            eqns.append(eqn)
            continue
        fresh = dict(zip(body.invars, eqn.inputs, strict=True))
        inner, results = _inlined(body)
        for sub in inner:
            outs = tuple(type(out)(out.aval) for out in sub.outs)
            eqns.append(sub._replace(inputs=tuple(fresh.get(atom, atom) for atom in sub.inputs), outs=outs))
            fresh.update(zip(sub.outs, outs, strict=True))
        names.update((out, fresh.get(r, r)) for out, r in zip(eqn.outs, results, strict=True))
    return eqns, [names.get(atom, atom) for atom in jaxpr.outvars]


def _groups(eqns: Sequence[Any], outvars: Sequence[Any], groups: Sequence[str]) -> dict[int, str]:
    producers = {out: i for i, eqn in enumerate(eqns) for out in eqn.outs}
    result: dict[int, str] = {}
    for outvar, group in zip(outvars, groups, strict=True):
        waiting = [outvar]
        while waiting:
            i = producers.get(waiting.pop())
            if i is not None and i not in result:
                result[i] = group
                waiting.extend(eqns[i].inputs)
    return result


def _number(value: Any) -> str:
    return f"{value.item() if hasattr(value, 'item') else value:.4g}"
