"""Treedefs: what they say and compare, how long they live; functions generated for one."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans.tree
import functrans.tree_util
from functrans.core.tree import (
    tree_flatten,
    tree_leaves,
    tree_structure,
    treedef_children,
    treedef_is_leaf,
    treedef_tuple,
)
from functrans.core.tree_compile import compile_builder, compile_matcher
from functrans.core.treedef import PyTreeDef
from functrans.errors import TreeStructureError

Point = namedtuple("Point", ["x", "y"])


class Unregistered(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (1, "*"),
        (None, "None"),
        ((), "()"),
        ([], "[]"),
        ({}, "{}"),
        ((1,), "(*,)"),
        ({"a": 1, "b": (2, [3, None])}, "{'a': *, 'b': (*, [*, None])}"),
        (Point(1, (2,)), "CustomNode(namedtuple[Point], [*, (*,)])"),
        (OrderedDict(b=1, a=2), "CustomNode(OrderedDict[('b', 'a')], [*, *])"),
        (defaultdict(None, {1: 2}), "CustomNode(defaultdict[(None, (1,))], [*])"),
    ],
)
def test_repr(tree: Any, text: str) -> None:
    assert repr(tree_structure(tree)) == f"PyTreeDef({text})"


def test_counts_and_children() -> None:
    treedef = tree_structure(({"a": 1, "b": 2}, [None, 3]))
    assert (treedef.num_leaves, treedef.num_nodes) == (3, 7)
    assert treedef.children() == [tree_structure({"a": 0, "b": 0}), tree_structure([None, 0])]
    assert treedef_children(treedef) == treedef.children()
    assert treedef_tuple(treedef.children()) is treedef
    assert treedef.node_data() == (tuple, None)
    assert tree_structure({"a": 1}).node_data() == (dict, ("a",))
    assert tree_structure(0).node_data() is None
    assert tree_structure(0).children() == []
    assert not treedef_is_leaf(tree_structure(()))


def test_a_treedef_cannot_be_changed() -> None:
    treedef = tree_structure((1, 2))
    with pytest.raises(AttributeError, match="immutable"):
        treedef.num_leaves = 3
    with pytest.raises(AttributeError, match="immutable"):
        del treedef.num_leaves


@pytest.mark.parametrize("leaves", [[], [1], [1, 2, 3], range(5)])
def test_a_wrong_number_of_leaves(leaves: Any) -> None:
    treedef = tree_structure({"a": 1, "b": 2})
    expected = f"got {len(leaves)} leaves for a structure of 2"
    with pytest.raises(TreeStructureError, match=expected):
        treedef.unflatten(leaves)
    with pytest.raises(TreeStructureError, match=expected):
        compile_builder(treedef)(leaves)


def test_unflatten_takes_any_iterable() -> None:
    treedef = tree_structure({"a": 1, "b": (2, 3)})
    assert treedef.unflatten(iter([1, 2, 3])) == {"a": 1, "b": (2, 3)}
    assert treedef.unflatten(np.arange(3)) == {"a": 0, "b": (1, 2)}


def test_treedefs_nobody_holds_are_freed() -> None:
    class Static:
        pass

    kept = Static()
    reference = weakref.ref(tree_structure(defaultdict(lambda: kept, a=1)))
    gc.collect()
    assert reference() is None


def test_interning_is_thread_safe() -> None:
    trees = [{f"key {i} {j}": (0, [0]) for j in range(i % 7)} for i in range(200)]
    results: list[list[PyTreeDef]] = [[] for _ in range(8)]
    barrier = threading.Barrier(8)

    def work(out: list[PyTreeDef]) -> None:
        barrier.wait()
        out.extend([tree_structure(tree) for tree in trees])

    threads = [threading.Thread(target=work, args=(out,)) for out in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a is b for result in results for a, b in zip(results[0], result, strict=True))


def test_classes_made_at_run_time_do_not_pile_up() -> None:
    references = []
    for i in range(6000):
        cls = type(f"Leaf{i}", (), {})
        assert tree_leaves([cls()]) != []
        references.append(weakref.ref(cls))
    gc.collect()
    assert sum(reference() is not None for reference in references) < 5000


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    program = """
import os, threading
from functrans.core.tree import tree_leaves
from functrans.core.treedef import registry_lock

held, done = threading.Event(), threading.Event()

def hold():
    with registry_lock.lock:
        held.set()
        done.wait(10)

if hasattr(os, "fork"):
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if tree_leaves({"seen by none": 1, "nor this": [2]}) == [2, 1] else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    root = Path(functrans.tree.__file__).parents[1]
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=root, check=True, timeout=60)


# --- generated functions ------------------------------------------------------------------------------------


def test_a_matcher_sees_a_changed_tree() -> None:
    match = compile_matcher(tree_structure(({"w": 0, "b": [0, 0]}, None)))
    x = np.zeros(2)
    assert match(({"w": x, "b": [1, 2]}, None)) == [1, 2, x]
    for other in (
        ({"w": x, "c": [1, 2]}, None),
        ({"w": x, "b": [1, 2], "c": 1}, None),
        ({"w": x, "b": [1]}, None),
        ({"w": x, "b": (1, 2)}, None),
        ({"w": [x], "b": [1, 2]}, None),
        ({"w": x, "b": [1, 2]}, 1),
        [{"w": x, "b": [1, 2]}, None],
        (Unregistered(w=1, b=2), None),
    ):
        assert match(other) is None


def test_generated_functions_of_deep_and_large_structures() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    large = list(range(3000))
    for tree in (deep, large, {"a": large}):
        leaves, treedef = tree_flatten(tree)
        assert compile_matcher(treedef)(tree) == leaves
        assert compile_matcher(treedef)((tree,)) is None
        assert compile_builder(treedef)(leaves) == tree


def test_generated_functions_with_hostile_keys() -> None:
    tree = {"'); raise SystemExit('": 1, "\n\\": {"{0}": 2, "é\x00": 3}}
    leaves, treedef = tree_flatten(tree)
    assert compile_matcher(treedef)(tree) == leaves
    assert compile_builder(treedef)(leaves) == tree
