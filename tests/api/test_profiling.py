"""Looking at programs: profiles of what ran, and drawings of what will."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.config import override

X = np.linspace(0.0, 1.0, 2_000_000).reshape(2000, 1000)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def program(x: Any) -> Any:
    return np.sort(x, 0) * np.argsort(x, 0) + softmax(x)


def test_a_profile_names_kernels_calls_and_lines() -> None:
    f = ft.jit(program)
    expected = f(X)
    with ft.profile() as p:
        for _ in range(3):
            np.testing.assert_array_equal(f(X), expected)
    rows = {r.name: r for r in p.rows()}
    assert all(r.calls == 3 and r.seconds > 0 for r in rows.values())
    assert rows["sort+argsort"].line.startswith("test_profiling.py")
    kernels = [r for r in p.rows() if r.name.startswith("kernel")]
    assert kernels and all(r.bandwidth > 0 for r in kernels)
    assert p.rows() == sorted(p.rows(), key=lambda r: -r.seconds)
    assert [line.split()[0] for line in str(p).splitlines()[1:]] == [r.name for r in p.rows()]
    count = len(p.events)
    f(X)
    assert len(p.events) == count


def test_the_timeline_and_the_trace_show_threads(tmp_path: Path) -> None:
    f = ft.jit(program)
    with override("threads", 2), ft.profile() as p:
        f(X)
    lanes = [line for line in p.timeline(40).splitlines() if line.startswith("thread")]
    assert lanes and all(len(line.split("|")[1]) == 40 for line in lanes)
    p.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())
    assert {e["ph"] for e in events} == {"X"} and min(e["ts"] for e in events) == 0.0
    pieces = [e for e in events if e["cat"] == "piece"]
    nodes = {e["name"]: e for e in events if e["cat"] == "node"}
    for e in pieces:
        owner = nodes.get(e["name"]) or nodes["sort+argsort"]
        assert owner["ts"] - 1 <= e["ts"] and e["ts"] + e["dur"] <= owner["ts"] + owner["dur"] + 1


def test_an_empty_profile() -> None:
    with ft.profile() as p:
        np.sin(X[0])
    assert p.rows() == [] and p.timeline() == "" and len(str(p).splitlines()) == 1


def test_drawings(tmp_path: Path) -> None:
    graph = ft.visualize(program, X)
    kinds = [b.kind for b in graph.boxes]
    assert kinds.count("wave") == 1 and kinds.count("kernel") >= 1 and kinds[0] == "input" and kinds[-1] == "output"
    assert all(e.source < e.target for e in graph.edges)
    graph.save(tmp_path / "graph.svg")
    root = ElementTree.fromstring((tmp_path / "graph.svg").read_text())
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == len(graph.boxes)
    assert graph.dot().count("->") == len(graph.edges) and graph.dot().startswith("digraph")
    ft.visualize(program, X, stage="inline", path=tmp_path / "graph.txt")
    assert "reduce_max" in (tmp_path / "graph.txt").read_text()


def test_no_box_covers_another() -> None:
    graph = ft.visualize(ft.grad(lambda x: np.sum(softmax(x) ** 2)), X[:5, :4], stage="jaxpr")
    places, width, height = graph._layout()
    for n, (x, y, w, h) in enumerate(places):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for other in places[n + 1 :]:
            ox, oy, ow, oh = other
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(errors.ArgumentError, match="no stage 'assembly' to draw; the stages are jaxpr, inline"):
        ft.visualize(np.sin, X, stage="assembly")
    with pytest.raises(errors.ArgumentError, match=r"saved as \.svg, \.dot, \.gv or \.txt, got 'graph.png'"):
        ft.visualize(np.sin, X, path=tmp_path / "graph.png")
