"""Pytrees: flattening, mapping, paths, prefixes, treedefs."""

from __future__ import annotations

import copy
import enum
import operator
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans.tree
import functrans.tree_util
from functrans.core.tree import (
    DictKey,
    GetAttrKey,
    SequenceKey,
    all_leaves,
    broadcast_prefix,
    describe_mismatch,
    equality_errors,
    is_tree_node,
    keystr,
    tree_all,
    tree_broadcast,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_reduce,
    tree_reduce_associative,
    tree_structure,
    tree_transpose,
    tree_unflatten,
    treedef_is_leaf,
)
from functrans.core.tree_compile import compile_builder, compile_matcher
from functrans.errors import TreeStructureError

Point = namedtuple("Point", ["x", "y"])


class Weights(NamedTuple):
    w: Any
    b: Any


class Unregistered(dict[str, int]):
    pass


KEYS = st.text("abcdé'{}", max_size=3)
LEAVES = st.integers() | st.floats(allow_nan=False) | st.text(max_size=2) | st.booleans()


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(children, max_size=5),
        st.lists(children, max_size=5).map(tuple),
        st.dictionaries(KEYS, children, max_size=5),
        st.dictionaries(st.integers(-3, 3), children, max_size=3),
        st.dictionaries(KEYS, children, max_size=3).map(lambda d: OrderedDict(reversed(d.items()))),
        st.dictionaries(KEYS, children, max_size=3).map(lambda d: defaultdict(list, d)),
        st.builds(Point, children, children),
        st.builds(Weights, w=children, b=children),
        st.none(),
    )


TREES = st.recursive(LEAVES, containers, max_leaves=20)


def same(a: Any, b: Any) -> bool:
    """Equality that tells types apart, as `==` on containers and numbers does not."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        ordered = list(a) == list(b) if isinstance(a, OrderedDict) else sorted(a) == sorted(b)
        return ordered and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# --- round trips ------------------------------------------------------------------------------------------


@given(TREES)
def test_unflatten_inverts_flatten(tree: Any) -> None:
    leaves, treedef = tree_flatten(tree)
    assert same(tree_unflatten(treedef, leaves), tree)
    assert len(leaves) == treedef.num_leaves
    assert tree_leaves(tree) == leaves
    assert tree_structure(tree) is treedef


@given(TREES)
def test_every_way_of_flattening_agrees(tree: Any) -> None:
    leaves, treedef = tree_flatten(tree)
    assert tree_flatten(tree, is_leaf=lambda node: False) == (leaves, treedef)
    pairs, with_paths = tree_flatten_with_path(tree)
    assert with_paths is treedef
    assert [leaf for _, leaf in pairs] == leaves
    assert len({path for path, _ in pairs}) == len(leaves)
    assert treedef.flatten_up_to(tree) == leaves
    assert all_leaves(leaves)


@given(TREES)
def test_a_path_leads_to_its_leaf(tree: Any) -> None:
    for path, leaf in tree_leaves_with_path(tree):
        node = tree
        for entry in path:
            match entry:
                case SequenceKey(index):
                    node = node[index]
                case DictKey(key):
                    node = node[key]
                case GetAttrKey(name):
                    node = getattr(node, name)
        assert node is leaf


@given(TREES)
def test_generated_functions_do_what_the_general_ones_do(tree: Any) -> None:
    leaves, treedef = tree_flatten(tree)
    assert compile_matcher(treedef)(tree) == leaves
    assert same(compile_builder(treedef)(leaves), tree)


@given(TREES, TREES)
def test_a_matcher_accepts_its_structure_alone(first: Any, second: Any) -> None:
    treedef = tree_structure(first)
    matched = compile_matcher(treedef)(second)
    if tree_structure(second) == treedef:
        assert matched == tree_leaves(second)
    else:
        assert matched is None


@given(TREES, TREES)
def test_treedefs_are_equal_exactly_where_the_structures_are(first: Any, second: Any) -> None:
    a, b = tree_structure(first), tree_structure(second)
    same_text = repr(a) == repr(b)
    assert (a == b) == same_text
    assert (a != b) == (not same_text)
    if a == b:
        assert hash(a) == hash(b)
        assert equality_errors(first, second) == []
        assert describe_mismatch(a, b) == ""
    else:
        assert equality_errors(first, second) != []
        assert describe_mismatch(a, b) != ""


@given(TREES)
def test_pickle_and_copy_give_an_equal_treedef(tree: Any) -> None:
    treedef = tree_structure(tree)
    assert pickle.loads(pickle.dumps(treedef)) is treedef
    assert copy.copy(treedef) is treedef
    assert copy.deepcopy(treedef) is treedef


@given(TREES, TREES)
def test_compose_puts_the_inner_structure_at_each_leaf(outer: Any, inner: Any) -> None:
    a, b = tree_structure(outer), tree_structure(inner)
    composed = a.compose(b)
    assert composed is tree_structure(tree_map(lambda _: inner, outer))
    assert composed.num_leaves == a.num_leaves * b.num_leaves
    assert composed.num_nodes == a.num_nodes - a.num_leaves + a.num_leaves * b.num_nodes


@given(TREES)
def test_broadcasting_a_leaf_fills_the_tree(tree: Any) -> None:
    assert same(tree_broadcast(7, tree), tree_map(lambda _: 7, tree))
    assert broadcast_prefix(tree, tree) == tree_leaves(tree)


# --- node types ---------------------------------------------------------------------------------------------


def test_dict_entries_come_in_the_order_of_the_keys() -> None:
    tree = {"b": 2, "a": 1, "c": {"z": 4, "y": 3}}
    leaves, treedef = tree_flatten(tree)
    assert leaves == [1, 2, 3, 4]
    assert list(tree_unflatten(treedef, leaves)) == ["a", "b", "c"]
    assert tree_structure({"a": 1, "c": {"y": 1, "z": 1}, "b": 1}) is treedef


def test_an_ordered_dict_keeps_its_order() -> None:
    tree = OrderedDict([("b", 2), ("a", 1)])
    leaves, treedef = tree_flatten(tree)
    assert leaves == [2, 1]
    assert list(tree_unflatten(treedef, leaves).items()) == [("b", 2), ("a", 1)]
    assert tree_structure(OrderedDict([("a", 1), ("b", 2)])) != treedef


def test_a_defaultdict_keeps_its_factory() -> None:
    tree = tree_map(lambda x: x + 1, defaultdict(list, {"b": 2, "a": 1}))
    assert tree == {"a": 2, "b": 3}
    assert tree.default_factory is list
    assert tree_structure(defaultdict(int, a=1)) != tree_structure(defaultdict(list, a=1))


def test_none_has_no_leaves() -> None:
    assert tree_flatten(None) == ([], tree_structure(None))
    assert tree_leaves({"a": None, "b": [None, 1]}) == [1]
    assert tree_unflatten(tree_structure(None), []) is None
    assert tree_leaves((None, 1), is_leaf=lambda x: x is None) == [None, 1]


def test_a_namedtuple_is_a_node_and_so_is_its_subclass() -> None:
    class Sub(Point):
        pass

    for cls in (Point, Sub):
        result = tree_map(lambda x: 2 * x, cls(1, (2, 3)))
        assert type(result) is cls
        assert result == (2, (4, 6))
    assert tree_structure(Point(1, 2)) != tree_structure(Sub(1, 2))
    assert [keystr(path) for path, _ in tree_leaves_with_path(Point(1, [2]))] == [".x", ".y[0]"]


def test_other_subclasses_of_containers_are_leaves() -> None:
    class MyList(list[int]):
        pass

    class MyTuple(tuple[int, ...]):
        pass

    for leaf in (Unregistered(a=1), MyList([1]), MyTuple((1, 2))):
        assert tree_leaves([leaf]) == [leaf]
        assert not is_tree_node(type(leaf))


@pytest.mark.parametrize(
    "leaf", [1, 1.0, 1j, True, "text", b"bytes", np.zeros(3), np.float32(1), int, print, {1, 2}, range(3)]
)
def test_anything_else_is_a_leaf(leaf: Any) -> None:
    leaves, treedef = tree_flatten(leaf)
    assert leaves[0] is leaf
    assert len(leaves) == 1
    assert treedef_is_leaf(treedef)
    assert treedef.unflatten(leaves) is leaf


def test_building_does_not_hand_out_the_list_of_leaves() -> None:
    leaves, treedef = tree_flatten([1, 2])
    built = treedef.unflatten(leaves)
    built.append(3)
    assert leaves == [1, 2]
    assert compile_builder(treedef)(leaves) is not leaves


def test_keys_that_are_equal_to_python_but_not_interchangeable_stay_apart() -> None:
    kept = [tree_flatten(tree) for tree in ({1: "x"}, {True: "x"}, {1.0: "x"}, {np.int64(1): "x"})]
    assert len({treedef for _, treedef in kept}) == 4
    types = [type(next(iter(treedef.unflatten(leaves)))) for leaves, treedef in kept]
    assert types == [int, bool, float, np.int64]


def test_keys_of_a_subclass_of_str_keep_their_class() -> None:
    class Name(enum.StrEnum):
        W = "w"

    plain = tree_structure({"w": 0})
    leaves, treedef = tree_flatten({Name.W: 0})
    assert treedef != plain
    assert next(iter(treedef.unflatten(leaves))) is Name.W
    assert type(next(iter(tree_map(abs, {"w": 0})))) is str


@pytest.mark.parametrize("make", [dict, lambda d: defaultdict(int, d)])
def test_keys_that_cannot_be_sorted_are_named_with_their_path(make: Any) -> None:
    tree = {"layers": [0, make({"a": 1, 2: 2})]}
    message = r"at \['layers'\]\[1\] in the tree: the keys of a \w*dict cannot be sorted .*'a' \(str\), 2 \(int\)"
    for function in (tree_flatten, tree_structure, tree_flatten_with_path):
        with pytest.raises(TreeStructureError, match=message):
            function(tree)
    with pytest.raises(TreeStructureError, match=message):
        tree_leaves(tree, is_leaf=lambda x: False)
    ordered = OrderedDict({"a": 1, 2: 2})
    assert tree_leaves(ordered) == [1, 2]


# --- cycles and depth ---------------------------------------------------------------------------------------


def test_a_container_that_contains_itself_is_named() -> None:
    tree: dict[str, Any] = {"a": 1, "b": [0, {}]}
    tree["b"][1]["loop"] = tree["b"]
    for function in (tree_flatten, tree_flatten_with_path, tree_leaves):
        with pytest.raises(TreeStructureError, match=r"\['b'\]\[1\]\['loop'\] is the container at \['b'\] again"):
            function(tree)
    tree["b"] = tree
    with pytest.raises(TreeStructureError, match=r"at \['b'\] is the tree itself again"):
        tree_flatten(tree)


def test_a_shared_container_is_no_cycle() -> None:
    shared = [1, 2]
    assert tree_leaves([shared, {"a": shared}]) == [1, 2, 1, 2]


def test_nesting_beyond_the_recursion_limit_is_an_error_that_says_so() -> None:
    tree: Any = 1
    for _ in range(20_000):
        tree = [tree]
    with pytest.raises(TreeStructureError, match=r"containers deep, beyond Python's recursion limit.*\[0\]\[0\]"):
        tree_flatten(tree)
    while isinstance(tree, list):
        tree = tree.pop()


def test_a_recursion_error_of_the_users_own_passes() -> None:
    def is_leaf(node: Any) -> bool:
        return is_leaf(node)

    with pytest.raises(RecursionError):
        tree_flatten([1], is_leaf=is_leaf)


# --- functions over leaves ----------------------------------------------------------------------------------


def test_map_over_several_trees() -> None:
    x = ((1, 2), {"b": 3, "a": 4})
    y = (([3], None), {"a": (5, 6), "b": 7})
    assert tree_map(lambda a, b: (a, b), x, y) == (((1, [3]), (2, None)), {"a": (4, (5, 6)), "b": (3, 7)})
    assert tree_map(operator.add, x, x) == ((2, 4), {"a": 8, "b": 6})


def test_map_takes_what_cannot_be_flattened_where_the_first_tree_has_a_leaf() -> None:
    assert tree_map(lambda a, b: len(b), [1], [{"a": 1, 2: 3}]) == [2]


def test_map_with_is_leaf() -> None:
    result = tree_map(lambda *xs: xs, ((1, 2), [3]), ((5, (6,)), [7, 8]), is_leaf=lambda n: type(n) is list)
    assert result == (((1, 5), (2, (6,))), ([3], [7, 8]))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 2], [7], r"the root is a list of 2 in the expected structure, a list of 1 .*the lengths differ"),
        ([[1]], [(7,)], r"\[0\] is a list of 1 in the expected structure, a tuple of 1 in the tree"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, r"\['a'\] is .*only the first has 'b'; only the second has 'c'"),
        ({"a": 1}, {"a": 1, "b": 2}, r"only the second has 'b'"),
        ({"a": (1,)}, {"a": np.zeros(3)}, r"\['a'\].*a leaf \(ndarray, float64, shape \(3,\)\)"),
        (Point(1, 2), (1, 2), r"a namedtuple Point in the expected structure, a tuple of 2"),
        (Point(1, 2), Weights(1, 2), r"a namedtuple Point .* a namedtuple Weights"),
        (None, [2], r"is None in the expected structure, a list of 1"),
        ([None], [3], r"\[0\] is None .* a leaf \(int\)"),
        (OrderedDict(a=1, b=1), OrderedDict(b=1, a=1), r"in another order"),
        (defaultdict(int, a=1), defaultdict(list, a=1), r"default_factory <class 'int'>.*static data differ"),
    ],
)
def test_a_mismatch_is_named_by_its_path(first: Any, second: Any, message: str) -> None:
    with pytest.raises(TreeStructureError, match=message):
        tree_structure(first).flatten_up_to(second)
    with pytest.raises(TreeStructureError, match=f"tree_map: tree number 3 does not fit the first: .*{message}"):
        tree_map(lambda *xs: xs, first, first, second)


def test_flatten_up_to_stops_at_leaves() -> None:
    treedef = tree_structure([(1, 2), None, Point(3, 4)])
    tree = [({"foo": 7}, (3, 4)), None, Point((11, 9), None)]
    assert treedef.flatten_up_to(tree) == [{"foo": 7}, (3, 4), (11, 9), None]
    assert tree_structure(1).flatten_up_to([1, {}]) == [[1, {}]]


def test_map_with_path() -> None:
    tree = {"a": [1, 2], "b": Point(3, 4)}
    seen = tree_map_with_path(lambda path, x, y: (keystr(path), x + y), tree, tree)
    assert seen == {"a": [("['a'][0]", 2), ("['a'][1]", 4)], "b": Point(("['b'].x", 6), ("['b'].y", 8))}


def test_is_leaf_may_take_the_path() -> None:
    tree = ((1, 2), [3, {4: 4, 5: 5}])
    pairs, treedef = tree_flatten_with_path(tree, lambda path, _: len(path) >= 2, is_leaf_takes_path=True)
    assert [leaf for _, leaf in pairs] == [1, 2, 3, {4: 4, 5: 5}]
    assert repr(treedef) == "PyTreeDef(((*, *), [*, *]))"
    assert tree_leaves_with_path(tree, lambda node: isinstance(node, list))[2][0] == (SequenceKey(1),)
    mapped = tree_map_with_path(
        lambda path, x: len(path), tree, is_leaf=lambda path, x: isinstance(x, dict), is_leaf_takes_path=True
    )
    assert mapped == ((2, 2), [2, 2])


def test_reductions() -> None:
    tree = [1, (2, 3), {"a": 4, "b": None}]
    assert tree_reduce(operator.sub, tree) == 1 - 2 - 3 - 4
    assert tree_reduce(operator.sub, tree, 100) == 90
    assert tree_reduce(lambda a, b: a + b, [(1, 2), [(3, 4)]], is_leaf=lambda x: type(x) is tuple) == (1, 2, 3, 4)
    assert tree_reduce_associative(operator.add, tree) == 10
    for n in range(1, 12):
        letters = [chr(97 + i) for i in range(n)]
        assert tree_reduce_associative(operator.add, letters) == "".join(letters)
    assert tree_reduce_associative(operator.add, [], identity=5) == 5
    assert tree_reduce(operator.add, None, 0) == 0
    for reduce in (tree_reduce, tree_reduce_associative):
        with pytest.raises(TreeStructureError, match="no leaves"):
            reduce(operator.add, [None, ()])


def test_all() -> None:
    assert tree_all([True, (1, {"a": "x"})]) is True
    assert tree_all([True, (1, 0)]) is False
    assert tree_all([True, (0,)], is_leaf=lambda x: type(x) is tuple) is True
    assert tree_all(()) is True


def test_all_leaves_and_is_tree_node() -> None:
    assert all_leaves([1, "a", np.zeros(2)])
    assert not all_leaves([1, [2]])
    assert all_leaves([1, [2]], is_leaf=lambda x: type(x) is list)
    assert not all_leaves([None])
    assert [is_tree_node(cls) for cls in (dict, list, tuple, type(None), Point, int, Unregistered)] == [
        True, True, True, True, True, False, False,
    ]  # fmt: skip


def test_transpose() -> None:
    outer, inner = tree_structure({"a": 0, "b": [0]}), tree_structure(Point(0, 0))
    tree = {"a": Point(1, 2), "b": [Point(3, 4)]}
    expected = Point({"a": 1, "b": [3]}, {"a": 2, "b": [4]})
    assert tree_transpose(outer, inner, tree) == expected
    assert tree_transpose(outer, None, tree) == expected
    assert tree_transpose(outer, tree_structure(()), {"a": (), "b": [()]}) == ()


@pytest.mark.parametrize(
    ("outer", "inner", "tree", "message"),
    [
        ({"a": 1, "b": 2, "c": 3}, [1, 2], {"a": [1, 2], "b": [3, 4]}, "only the second has 'c'"),
        ({"a": 1, "b": 2}, [1, 2, 3], {"a": [1, 2], "b": [3, 4]}, r"tree\['a'\] is a list of 2 in the tree, a list"),
        ([0, 0, 0], [0, 0], [1, [2, [3, [4, [5, [6]]]]]], "Mismatch"),
        ([0, 0, 0], (0, 0), [[1, 2], [3, 4], [5, 6]], r"tree\[1\] is a list of 2 in the tree, a tuple of 2 expected"),
    ],
)
def test_transpose_mismatch(outer: Any, inner: Any, tree: Any, message: str) -> None:
    with pytest.raises(TreeStructureError, match=message):
        tree_transpose(tree_structure(outer), tree_structure(inner), tree)


def test_transpose_cannot_read_the_inner_structure_off_nothing() -> None:
    with pytest.raises(TreeStructureError, match="no leaves"):
        tree_transpose(tree_structure([]), None, [])


# --- façades ------------------------------------------------------------------------------------------------


def test_the_short_names_are_the_long_ones() -> None:
    for name in functrans.tree.__all__:
        long_name = name if name == "static" else f"tree_{name}"
        expected = getattr(functrans.tree_util, long_name, None) or functrans.core.tree.static
        assert getattr(functrans.tree, name) is expected
    for name in functrans.tree_util.__all__:
        assert getattr(functrans.tree_util, name) is getattr(functrans.core.tree, name)
