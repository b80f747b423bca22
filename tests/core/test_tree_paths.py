"""Key paths, prefixes of trees, and how structures differ."""

from __future__ import annotations

import copy
import pickle
from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest

from functrans.core.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    SequenceKey,
    broadcast_prefix,
    describe_mismatch,
    equality_errors,
    flatten_one_level,
    flatten_one_level_with_keys,
    keystr,
    prefix_errors,
    tree_broadcast,
    tree_leaves,
    tree_leaves_with_path,
    tree_structure,
)
from functrans.errors import TreeStructureError

Point = namedtuple("Point", ["x", "y"])


class Weights(NamedTuple):
    w: Any
    b: Any


# --- paths --------------------------------------------------------------------------------------------------


def test_keystr() -> None:
    tree = [Point(12, {"cin": [1, 4], "bar": None}), np.arange(5)]
    paths = [path for path, _ in tree_leaves_with_path(tree)]
    assert list(map(keystr, paths)) == ["[0].x", "[0].y['cin'][0]", "[0].y['cin'][1]", "[1]"]
    simple = [keystr(path, simple=True, separator="/") for path in paths]
    assert simple == ["0/x", "0/y/cin/0", "0/y/cin/1", "1"]
    assert keystr((DictKey("w"), SequenceKey(0), GetAttrKey("bias"))) == "['w'][0].bias"
    assert keystr((SequenceKey(0), FlattenedIndexKey(1)), separator="~") == "[0]~[<flat index 1>]"
    assert keystr((DictKey(3), "raw")) == "[3]raw"
    assert keystr(()) == ""


def test_key_entries_are_values() -> None:
    entries = [SequenceKey(1), DictKey(1), GetAttrKey("a"), FlattenedIndexKey(1)]
    for entry in entries:
        assert pickle.loads(pickle.dumps(entry)) == entry
        assert hash(copy.deepcopy(entry)) == hash(entry)
    assert len({hash(entry) for entry in entries}) == 4
    assert SequenceKey(1) != DictKey(1)
    assert (SequenceKey(2).idx, DictKey("k").key, GetAttrKey("n").name, FlattenedIndexKey(3).key) == (2, "k", "n", 3)
    with pytest.raises(AttributeError):
        entries[0].idx = 2
    assert tree_leaves([(SequenceKey(1), DictKey("a"))]) == [SequenceKey(1), DictKey("a")]


def test_one_level() -> None:
    tree = {"b": [1, 2], "a": None}
    assert flatten_one_level(tree) == ([None, [1, 2]], ("a", "b"))
    assert flatten_one_level((1, (2,))) == ([1, (2,)], None)
    assert flatten_one_level(None) == ([], None)
    assert flatten_one_level_with_keys(tree) == ([(DictKey("a"), None), (DictKey("b"), [1, 2])], ("a", "b"))
    for leaf in (1, np.zeros(2)):
        with pytest.raises(TreeStructureError, match="can't tree-flatten type"):
            flatten_one_level(leaf)


# --- prefixes -----------------------------------------------------------------------------------------------


def test_broadcast_prefix() -> None:
    full = ({"w": 1, "b": (2, 3)}, [4, 5], None)
    assert broadcast_prefix(0, full) == [0] * 5
    assert broadcast_prefix(({"w": 1, "b": 2}, 3, 4), full) == [2, 2, 1, 3, 3]
    assert broadcast_prefix((None, 0), ([1, 2], 3), is_leaf=lambda x: x is None) == [None, None, 0]
    assert broadcast_prefix((), ()) == []
    assert tree_broadcast((1, {"a": 2, "b": 3}), (0, {"a": [0, 0], "b": 0})) == (1, {"a": [2, 2], "b": 3})


@pytest.mark.parametrize(
    ("prefix", "full", "message"),
    [
        ((1, 2), [1, 2], "in_axes is no prefix of args: in_axes is a tuple of 2, args is a list of 2"),
        (((1,), (2,)), ([3], (4,)), r"in_axes\[0\] is a tuple of 1, args\[0\] is a list of 1"),
        ((1,), (2, 3), r"a tuple of 1, args is a tuple of 2 \(the lengths differ\)"),
        ([[1]], [[2, 3]], r"in_axes\[0\] is a list of 1, args\[0\] is a list of 2"),
        ({"a": {"{x}": 1}}, {"a": {"{y}": 2}}, r"in_axes\['a'\].*only the first has '{x}'; only the second has '{y}'"),
        ({"a": [1, 2]}, {"a": 3}, r"in_axes\['a'\] is a list of 2, args\['a'\] is a leaf \(int\)"),
        ((None, 0), (1, 2), r"in_axes\[0\] is None, args\[0\] is a leaf"),
        ({}, {"a": []}, r"in_axes is an empty dict, args is a dict with keys \['a'\]"),
    ],
)
def test_prefix_errors(prefix: Any, full: Any, message: str) -> None:
    with pytest.raises(TreeStructureError, match=message):
        broadcast_prefix(prefix, full, name="in_axes", full_name="args")
    [error] = prefix_errors(prefix, full, name="in_axes", full_name="args")
    assert isinstance(error, TreeStructureError)


def test_prefix_errors_finds_all_places() -> None:
    errors = prefix_errors(((1,), 0, (2,)), ([3], [1], [4]))
    assert [str(error).split(":")[1].split()[0] for error in errors] == ["prefix[0]", "prefix[2]"]
    assert prefix_errors((1, 2), ((11, 12), 2)) == []
    with pytest.raises(TreeStructureError, match="prefix is no prefix of tree"):
        tree_broadcast((1, 2, 3), (0, {"a": 0}))


def test_describe_mismatch() -> None:
    a = tree_structure({"w": [1, 2], "b": 0, "same": (1,)})
    b = tree_structure({"w": (1, 2), "b": [0], "same": (1,)})
    assert describe_mismatch(a, b, "params").splitlines() == [
        "params['b'] is a leaf here, a list of 1 there (one is a leaf, the other is a container)",
        "params['w'] is a list of 2 here, a tuple of 2 there (the types differ)",
    ]
    assert describe_mismatch(a, tree_structure(0), first_place="now", second_place="before") == (
        "the root is a dict with keys ['b', 'same', 'w'] now, a leaf before (one is a leaf, the other is a container)"
    )


def test_equality_errors_respects_is_leaf() -> None:
    assert equality_errors([[1]], [(1,)], is_leaf=lambda x: x in ([1], (1,))) == []
    [difference] = equality_errors({"a": (1, 2)}, {"a": (1, [2])})
    assert (keystr(difference.path), difference.first, difference.second) == ("['a'][1]", "a leaf (int)", "a list of 1")
