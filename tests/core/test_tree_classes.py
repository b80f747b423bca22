"""Classes as pytree nodes: registration, static classes, Partial."""

from __future__ import annotations

import functools
import gc
import operator
import pickle
import threading
import weakref
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from functrans.core.tree import (
    DictKey,
    GetAttrKey,
    Partial,
    SequenceKey,
    equality_errors,
    flatten_one_level,
    is_tree_node,
    keystr,
    prefix_errors,
    register_dataclass,
    register_leaf,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_structure,
    tree_transpose,
)
from functrans.core.tree_compile import compile_builder, compile_matcher
from functrans.errors import TreeStructureError


class Pair:
    def __init__(self, x: Any, y: Any, tag: Any = None) -> None:
        self.x, self.y, self.tag = x, y, tag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and (self.x, self.y, self.tag) == (other.x, other.y, other.tag)


register_pytree_node(Pair, lambda p: ([p.x, p.y], p.tag), lambda tag, xy: Pair(*xy, tag))


@register_pytree_with_keys_class
class Keyed:
    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def tree_flatten_with_keys(self) -> Any:
        return iter([(GetAttrKey("x"), self.x), ("y!", self.y)]), "aux"

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Keyed:
        assert aux == "aux"
        return cls(*children)


@dataclass(frozen=True)
class Config:
    depth: int
    rates: tuple[float, ...] = ()


@register_static
class Mode(str):
    pass


@register_static
@dataclass(frozen=True)
class Settings:
    n: int


# --- registered classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [None, "t", 1, 1.5, ("a", 1, (2.0, None)), Config(3), Config, len, [1], {"a": 1}])
def test_round_trip_of_a_registered_class(tag: Any) -> None:
    tree = {"p": Pair(1, (2, None), tag)}
    leaves, treedef = tree_flatten(tree)
    assert leaves == [1, 2]
    assert treedef.unflatten(leaves) == tree
    assert tree_structure({"p": Pair(5, (6, None), tag)}) == treedef
    assert tree_structure({"p": Pair(5, (6, None), "other")}) != treedef
    assert treedef.flatten_up_to(tree) == leaves
    assert compile_matcher(treedef)(tree) == leaves
    assert compile_matcher(treedef)({"p": Pair(1, (2, None), "other")}) is None
    assert compile_builder(treedef)(leaves) == tree
    assert tree_flatten(tree, is_leaf=lambda x: False) == (leaves, treedef)


@pytest.mark.parametrize("tag", ["t", 1.5, ("a", (2.0, None)), Config(3, (1.0,)), Config])
def test_treedefs_with_static_data_are_hashed_and_pickled(tag: Any) -> None:
    a, b = tree_structure([Pair(1, 2, tag)]), tree_structure([Pair(3, 4, tag)])
    assert hash(a) == hash(b)
    assert {a: "found"}[b] == "found"
    assert pickle.loads(pickle.dumps(a)) == a


def test_static_data_that_python_calls_equal_is_told_apart() -> None:
    values = [1, 1.0, True, 1 + 0j, np.int64(1), (1,), (1.0,), (True,), 0.0, -0.0]
    treedefs = [tree_structure(Pair(1, 2, value)) for value in values]
    assert len(set(treedefs)) == len(values)
    for value, treedef in zip(values, treedefs, strict=True):
        assert type(treedef.unflatten([1, 2]).tag) is type(value)
    nan = float("nan")
    assert tree_structure(Pair(1, 2, nan)) == tree_structure(Pair(1, 2, float("nan")))


def test_unhashable_static_data_is_named() -> None:
    treedef = tree_structure({"a": Pair(1, 2, [3])})
    with pytest.raises(TypeError, match=r"static data of a pytree node of type Pair cannot be hashed .*\[3\]"):
        hash(treedef)


def test_static_data_that_cannot_be_compared_is_named() -> None:
    first, second = Pair(1, 2, np.zeros(3)), Pair(1, 2, np.zeros(3))
    assert tree_structure(first) == tree_structure(Pair(0, 0, first.tag))
    with pytest.raises(TreeStructureError, match=r"could not be compared.*array\(\[0., 0., 0.\]\)"):
        tree_structure(first) == tree_structure(second)  # noqa: B015 - the comparison is what raises
    with pytest.raises(TreeStructureError, match="could not be compared"):
        tree_map(operator.add, first, second)


def test_a_registered_class_is_found_in_every_function() -> None:
    tree = Pair([1, 2], 3, "t")
    assert [keystr(path) for path, _ in tree_leaves_with_path(tree)] == [
        "[<flat index 0>][0]",
        "[<flat index 0>][1]",
        "[<flat index 1>]",
    ]
    assert flatten_one_level(tree) == ([[1, 2], 3], "t")
    assert repr(tree_structure(tree)) == "PyTreeDef(CustomNode(Pair[t], [[*, *], *]))"
    assert is_tree_node(Pair)
    [error] = prefix_errors(Pair([1], 2), Pair((1,), 2))
    assert "prefix[<flat index 0>] is a list of 1" in str(error)
    [difference] = equality_errors(tree, Pair([1, 2], 3, "u"))
    assert difference.reason == "the static data differ"
    swapped = tree_transpose(tree_structure(Pair(0, 0)), tree_structure([0, 0]), Pair([1, 2], [3, 4]))
    assert swapped == [Pair(1, 3), Pair(2, 4)]


def test_instances_of_a_subclass_are_leaves_until_it_is_registered() -> None:
    class Sub(Pair):
        pass

    sub = Sub(1, 2)
    assert tree_leaves(sub) == [sub]
    register_pytree_with_keys(Sub, lambda p: ([(GetAttrKey("x"), p.x)], None), lambda _, x: Sub(*x, 0))
    assert tree_leaves(sub) == [1]
    assert tree_map(lambda x: x + 1, [sub])[0].x == 2


def test_keys_of_a_registered_class() -> None:
    pairs, treedef = tree_flatten_with_path([Keyed((1, 2), {"k": 3})])
    assert [path for path, _ in pairs] == [
        (SequenceKey(0), GetAttrKey("x"), SequenceKey(0)),
        (SequenceKey(0), GetAttrKey("x"), SequenceKey(1)),
        (SequenceKey(0), "y!", DictKey("k")),
    ]
    assert keystr(pairs[2][0]) == "[0]y!['k']"
    assert treedef is tree_structure([Keyed((1, 2), {"k": 3})])
    assert treedef.unflatten([4, 5, 6])[0].y == {"k": 6}
    with pytest.raises(TreeStructureError, match=r"\[0\]\.x is a tuple of 2 .* a list of 2 .*the types differ"):
        tree_map(operator.add, [Keyed((1, 2), 3)], [Keyed([1, 2], 3)])
    [difference] = equality_errors([Keyed((1, 2), 3)], [Keyed([1, 2], 3)])
    assert keystr(difference.path) == "[0].x"
    assert prefix_errors(Keyed(1, 2), Keyed((1, 2), [3])) == []


def test_flatten_without_keys_is_used_where_none_are_needed() -> None:
    calls = []

    @register_pytree_with_keys_class
    class Both:
        def tree_flatten(self) -> Any:
            calls.append("plain")
            return (1, 2), None

        def tree_flatten_with_keys(self) -> Any:
            calls.append("keys")
            return [(GetAttrKey("a"), 1), (GetAttrKey("b"), 2)], None

        @classmethod
        def tree_unflatten(cls, aux: Any, children: Any) -> Both:
            return cls()

    assert tree_leaves(Both()) == [1, 2]
    assert calls == ["plain"]
    assert tree_leaves_with_path(Both())[1] == ((GetAttrKey("b"),), 2)
    assert calls == ["plain", "keys"]


def test_a_namedtuple_may_be_registered_otherwise() -> None:
    Split = namedtuple("Split", ["data", "info"])
    assert tree_leaves(Split(1, 2)) == [1, 2]
    register_pytree_node(Split, lambda s: ((s.data,), s.info), lambda info, data: Split(data[0], info))
    assert tree_leaves(Split(1, 2)) == [1]
    assert tree_map(lambda x: x + 1, Split(1, 2)) == Split(2, 2)


def test_children_reach_unflatten_as_a_tuple() -> None:
    seen = []

    @register_pytree_node_class
    class Probe:
        def tree_flatten(self) -> Any:
            return (x for x in (1, 2)), None

        @classmethod
        def tree_unflatten(cls, aux: Any, children: Any) -> Probe:
            seen.append(children)
            return cls()

    leaves, treedef = tree_flatten([Probe(), 3])
    treedef.unflatten(leaves)
    compile_builder(treedef)(leaves)
    tree_structure(Probe()).unflatten([1, 2])
    assert seen == [(1, 2)] * 3


# --- registration errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Pair, Keyed, Mode, dict, list, tuple, type(None), Partial, SequenceKey])
def test_a_class_is_registered_once(cls: type) -> None:
    for registration in (
        lambda: register_pytree_node(cls, lambda x: ((), x), lambda x, _: x),
        lambda: register_pytree_with_keys(cls, lambda x: ((), x), lambda x, _: x),
        lambda: register_static(cls),
    ):
        with pytest.raises(TreeStructureError, match=f"{cls.__name__} is registered already"):
            registration()


def test_what_is_no_class_cannot_be_registered() -> None:
    for registration in (
        lambda: register_pytree_node(3, len, len),  # type: ignore[arg-type]
        lambda: register_static("text"),  # type: ignore[type-var]
        lambda: register_dataclass(len),  # type: ignore[type-var]
        lambda: register_pytree_node_class(None),  # type: ignore[type-var]
        lambda: register_pytree_with_keys_class(None),  # type: ignore[type-var]
    ):
        with pytest.raises(TypeError, match="expected a class, got"):
            registration()


def test_a_class_without_the_methods_cannot_be_registered() -> None:
    class Nothing:
        pass

    with pytest.raises(TypeError, match="Nothing has no method tree_flatten and no method tree_unflatten"):
        register_pytree_node_class(Nothing)
    with pytest.raises(TypeError, match="no method tree_flatten_with_keys"):
        register_pytree_with_keys_class(Nothing)
    assert not is_tree_node(Nothing)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("hello", r"should return a tuple \(children, aux_data\), got 'hello'"),
        ((1, 2, 3), r"should return a tuple \(children, aux_data\), got \(1, 2, 3\)"),
        ((7, 7), r"where children is iterable, got \(7, 7\)"),
    ],
)
def test_a_flattening_function_that_returns_something_else(result: Any, message: str) -> None:
    class Bad:
        pass

    register_pytree_node(Bad, lambda _: result, lambda aux, children: Bad())
    bad = Bad()
    with pytest.raises(TreeStructureError, match=rf"at \['a'\]\[1\] in the tree: .*Bad.*{message}"):
        tree_flatten({"a": [0, bad]})
    with pytest.raises(TreeStructureError, match=message):
        tree_leaves_with_path(bad)


def test_a_keyed_flattening_function_must_return_pairs() -> None:
    class BadKeys:
        pass

    register_pytree_with_keys(BadKeys, lambda _: ([1, 2], None), lambda aux, children: BadKeys())
    with pytest.raises(TreeStructureError, match=r"should return pairs \(key, child\), got \[1, 2\]"):
        tree_flatten([BadKeys()])


def test_errors_of_the_users_functions_pass() -> None:
    class Raises:
        pass

    register_pytree_node(Raises, lambda _: operator.truediv(1, 0), lambda aux, children: Raises())
    with pytest.raises(ZeroDivisionError):
        tree_flatten([Raises()])


def test_a_class_that_makes_containers_without_end_is_an_error() -> None:
    class Endless:
        pass

    register_pytree_node(Endless, lambda _: ((Endless(),), None), lambda aux, children: Endless())
    with pytest.raises(TreeStructureError, match="beyond Python's recursion limit"):
        tree_flatten([Endless()])


def test_registration_is_thread_safe() -> None:
    class Contested:
        pass

    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        try:
            register_static(Contested)
            outcomes.append("registered")
        except TreeStructureError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["registered"]


# --- leaves, static classes, Partial ------------------------------------------------------------------------


def test_a_dataclass_may_be_declared_a_leaf() -> None:
    @register_leaf
    @dataclass
    class Aval:
        shape: tuple[int, ...]

    class SubAval(Aval):
        pass

    aval = Aval((1, 2))
    assert tree_leaves([aval, 1]) == [aval, 1]
    assert compile_matcher(tree_structure([0, 0]))([aval, 1]) == [aval, 1]
    with pytest.raises(TreeStructureError, match="SubAval cannot be used as a pytree"):
        tree_leaves(SubAval((1,)))
    with pytest.raises(TreeStructureError, match="registered already, as a node"):
        register_leaf(Pair)


def test_static_classes_have_no_leaves() -> None:
    tree = {"x": 1, "mode": Mode("train"), "settings": Settings(3)}
    leaves, treedef = tree_flatten(tree)
    assert leaves == [1]
    assert treedef.unflatten([2]) == {"x": 2, "mode": "train", "settings": Settings(3)}
    assert type(treedef.unflatten([2])["mode"]) is Mode
    assert treedef == tree_structure({"x": 0, "mode": Mode("train"), "settings": Settings(3)})
    assert hash(treedef) == hash(tree_structure({"x": 0, "mode": Mode("train"), "settings": Settings(3)}))
    assert treedef != tree_structure({"x": 0, "mode": Mode("test"), "settings": Settings(3)})
    assert repr(tree_structure(Mode("train"))) == "PyTreeDef(CustomNode(Mode[train], []))"
    with pytest.raises(TreeStructureError, match=r"\['mode'\] is the static 'train' .* the static 'test'"):
        tree_map(operator.add, tree, {**tree, "mode": Mode("test")})


def test_a_static_class_decides_what_is_equal() -> None:
    @register_static
    class Alike:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

        def __hash__(self) -> int:
            return 0

    assert tree_structure([Alike()]) == tree_structure([Alike()])
    assert len({tree_structure(Alike()), tree_structure(Alike())}) == 1

    @register_static
    class ByIdentity:
        pass

    one = ByIdentity()
    assert tree_structure(one) is tree_structure(one)
    assert tree_structure(one) != tree_structure(ByIdentity())


def test_partial_is_a_node() -> None:
    def f(a: Any, b: Any, *, c: Any) -> Any:
        return a - b * c

    p = Partial(f, 10, c=3)
    assert p(2) == 4
    leaves, treedef = tree_flatten(p)
    assert leaves == [10, 3]
    assert treedef.unflatten([20, 1])(2) == 18
    assert type(treedef.unflatten(leaves)) is Partial
    assert [keystr(path) for path, _ in tree_leaves_with_path(p)] == [".args[0]", ".keywords['c']"]
    assert treedef == tree_structure(Partial(f, 0, c=0))
    assert treedef != tree_structure(Partial(len, 0, c=0))
    assert {treedef: 1}[tree_structure(Partial(f, 0, c=0))] == 1
    assert compile_builder(treedef)([20, 1])(2) == 18
    assert compile_matcher(treedef)(Partial(f, 1, c=2)) == [1, 2]


def test_partial_keeps_an_inner_partial_closed() -> None:
    inner = functools.partial(operator.sub, 10)
    outer = Partial(inner, 3)
    assert outer() == 7
    assert outer.args == (3,)
    assert tree_leaves(outer) == [3]
    assert outer.func == inner
    assert inner == outer.func
    assert hash(outer.func) == hash(Partial(inner, 1).func)
    assert tree_structure(outer) == tree_structure(Partial(inner, 5))
    assert repr(outer.func) == repr(inner)
    assert tree_leaves(Partial(Partial(operator.sub, 10), 3)) == [10, 3]


def test_a_partial_of_a_fresh_lambda_is_freed() -> None:
    def make() -> weakref.ref[Any]:
        function = lambda x: x
        function.cache = {tree_structure(Partial(function, 1)): "compiled"}  # type: ignore[attr-defined]
        return weakref.ref(function)

    reference = make()
    gc.collect()
    assert reference() is None
