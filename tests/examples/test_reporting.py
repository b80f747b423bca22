"""What the examples share: tables, optional packages, drawn graphs."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import graph_drawing
import pytest
from graph_drawing import Graph, Node
from reporting import Report, argument_parser, mnist_option, positive, report_of, require, splits_of, table


class TestReport:
    def test_a_table(self) -> None:
        text = table(["name", "n"], [["a", 1], ["longer", 0.123456]])
        assert text.splitlines() == ["name         n", "------  ------", "a            1", "longer  0.1235"]

    def test_quick_by_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert report_of(argument_parser("").parse_args([])).quick
        monkeypatch.delenv("FUNCTRANS_EXAMPLES_QUICK")
        assert not report_of(argument_parser("").parse_args([])).quick
        assert report_of(argument_parser("").parse_args(["--quick"])).quick

    def test_without_optional_packages_it_says_so_once(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        report = Report(tmp_path)
        for _ in range(2):
            assert list(report.progress([1, 2], "numbers")) == [1, 2]
            assert report.plot("nothing", (1.0, 1.0), lambda figure: None) is None
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert "tqdm is not installed: no progress bars" in lines[0]
        assert "matplotlib is not installed: no plots" in lines[1]
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_without_mnist_ends_the_program_with_the_reason(self, tmp_path: Path) -> None:
        parser = argument_parser("")
        mnist_option(parser)
        with pytest.raises(SystemExit, match="has none of train-images-idx3-ubyte"):
            splits_of(parser.parse_args(["--mnist", str(tmp_path)]))

    @pytest.mark.parametrize("text", ["0", "-3", "many"])
    def test_counts_are_positive(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        parser = argument_parser("")
        parser.add_argument("--steps", type=positive)
        assert parser.parse_args(["--steps", "3"]).steps == 3
        with pytest.raises(SystemExit):
            parser.parse_args(["--steps", text])
        assert "argument --steps" in capsys.readouterr().err

    def test_a_package_that_the_example_is_about(self) -> None:
        require("json", "for nothing")
        with pytest.raises(SystemExit, match="needs no_such_package for its optimisers"):
            require("no_such_package", "for its optimisers")


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each node's box, by the first line of its tooltip."""
    space = "{http://www.w3.org/2000/svg}"
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{space}g"):
        title, rectangle = group.find(f"{space}title"), group.find(f"{space}rect")
        if title is not None and rectangle is not None:
            x, y, w, h = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
            found[title.text or ""] = (x, y, x + w, y + h)
    return found


def ladder(rungs: int) -> Graph:
    """A chain in which each node also feeds one far below it, and a wide layer."""
    graph = Graph("a < b & c")
    graph.add("n0", Node("n0", "f64[]", "input"))
    for i in range(1, rungs):
        graph.add(f"n{i}", Node(f"n{i}", "f64[]", "loss"), dict.fromkeys([f"n{i - 1}", f"n{max(0, i - 4)}"]))
    for i in range(6):
        graph.add(f"w{i}", Node(f"w{i}", "", "output"), [f"n{rungs // 2}"])
    return graph


class TestGraph:
    def test_boxes_do_not_overlap_and_edges_go_down(self) -> None:
        graph = ladder(12)
        found = boxes(graph.to_svg())
        assert set(found) == set(graph.nodes)
        places = list(found.items())
        for i, (_, (left, top, right, bottom)) in enumerate(places):
            for _, other in places[i + 1 :]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        for source, target in graph.edges:
            assert found[source][3] < found[target][1]

    def test_the_drawing_holds_every_box(self) -> None:
        svg = ladder(8).to_svg()
        root = ElementTree.fromstring(svg)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        assert all(0 <= x0 and x1 <= width and 0 <= y0 and y1 <= height for x0, y0, x1, y1 in boxes(svg).values())

    def test_the_same_graph_gives_the_same_drawing(self) -> None:
        assert ladder(9).to_svg() == ladder(9).to_svg()

    def test_no_edge_crosses_another_where_none_has_to(self) -> None:
        graph = Graph("two chains, declared crosswise")
        for name in ("a0", "b0"):
            graph.add(name, Node(name, "", "input"))
        for i, (left, right) in enumerate([("b", "a"), ("a", "b"), ("b", "a")], 1):
            for chain in (left, right):
                graph.add(f"{chain}{i}", Node(f"{chain}{i}", "", "loss"), [f"{chain}{i - 1}"])
        found = boxes(graph.to_svg())
        sides = {found[f"a{i}"][0] < found[f"b{i}"][0] for i in range(4)}
        assert len(sides) == 1

    def test_positions_nearest_to_those_wanted(self) -> None:
        assert graph_drawing._spread([0.0, 10.0], [1.0, 1.0], [3.0]) == [0.0, 10.0]
        assert graph_drawing._spread([0.0, 0.0], [1.0, 1.0], [3.0]) == [-1.5, 1.5]
        assert graph_drawing._spread([0.0, 0.0], [3.0, 1.0], [4.0]) == [-1.0, 3.0]
        assert graph_drawing._spread([5.0, 0.0, 20.0], [1.0, 1.0, 1.0], [1.0, 1.0]) == [2.0, 3.0, 20.0]

    def test_dot(self) -> None:
        graph = Graph('say "x"')
        graph.add("x", Node("x", "f64[3]", "input"))
        graph.add("y", Node("exp", "f64[3]", "loss"), ["x", "x"])
        assert graph.to_dot().splitlines() == [
            'digraph "say \\"x\\"" {',
            '  node [shape=box, style="rounded,filled", fontsize=11];',
            '  "x" [label="x\\nf64[3]", fillcolor="#dbeafe"];',
            '  "y" [label="exp\\nf64[3]", fillcolor="#dcfce7"];',
            '  "x" -> "y";',
            "}",
        ]

    def test_wrong_nodes(self) -> None:
        graph = Graph("wrong")
        with pytest.raises(ValueError, match="unknown operand 'x'; add operands first"):
            graph.add("y", Node("y", "", "loss"), ["x"])
        graph.add("x", Node("x", "", "input"))
        with pytest.raises(ValueError, match="a node 'x' already"):
            graph.add("x", Node("x", "", "input"))

    def test_an_empty_graph(self) -> None:
        assert boxes(Graph("nothing").to_svg()) == {}
