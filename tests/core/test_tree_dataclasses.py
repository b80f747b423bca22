"""Dataclasses as pytree nodes, registered and not."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import pickle
import weakref
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest

from functrans.core.tree import (
    describe_mismatch,
    keystr,
    register_dataclass,
    static,
    tree_flatten,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_structure,
)
from functrans.core.tree_compile import compile_matcher
from functrans.errors import TreeStructureError


@dataclass
class Layer:
    w: Any
    b: Any
    name: str = static(default="layer")


def forget_learned() -> None:
    """Does what happens when very many classes have been met."""
    from functrans.core.treedef import kinds

    kinds.forget()


def test_a_dataclass_is_a_node_by_itself() -> None:
    tree = {"layer": Layer((1, 2), 3, "first")}
    leaves, treedef = tree_flatten(tree)
    assert leaves == [1, 2, 3]
    assert treedef.unflatten([4, 5, 6]) == {"layer": Layer((4, 5), 6, "first")}
    assert [keystr(path) for path, _ in tree_leaves_with_path(tree)] == [
        "['layer'].w[0]",
        "['layer'].w[1]",
        "['layer'].b",
    ]
    assert repr(treedef) == "PyTreeDef({'layer': CustomNode(Layer[('first',)], [(*, *), *])})"
    assert treedef != tree_structure({"layer": Layer((1, 2), 3, "second")})
    assert hash(treedef) == hash(tree_structure({"layer": Layer((0, 0), 0, "first")}))
    assert pickle.loads(pickle.dumps(treedef)) == treedef
    assert tree_leaves(Layer) == [Layer]


def test_a_node_type_survives_the_clearing_of_what_was_learned() -> None:
    treedef = tree_structure(Layer(1, 2))
    leaf_free = tree_structure(())
    forget_learned()
    assert tree_structure(Layer(3, 4)) is treedef
    assert tree_structure(()) is leaf_free
    assert tree_leaves([Layer(1, 2), 3, {"a": (4, 5)}]) == [1, 2, 3, 4, 5]
    forget_learned()
    assert compile_matcher(treedef)(Layer(1, 2)) == [1, 2]


def test_frozen_slotted_and_keyword_only_dataclasses() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Strict:
        a: Any
        b: Any = field(metadata={"static": True})
        c: Any = None

    tree = Strict(c=[1], b="s", a=2)
    assert tree_leaves(tree) == [2, 1]
    assert tree_map(lambda x: x + 1, tree) == Strict(a=3, b="s", c=[2])


def test_a_field_made_by_post_init_is_made_again() -> None:
    @dataclass
    class Derived:
        x: float
        square: float = field(init=False)

        def __post_init__(self) -> None:
            self.square = self.x**2

    assert tree_leaves(Derived(3.0)) == [3.0]
    assert tree_map(lambda x: 2 * x, Derived(3.0)).square == 36.0


def test_static_takes_the_arguments_of_field() -> None:
    @dataclass
    class Op:
        x: Any
        sizes: list[int] = static(default_factory=list, metadata={"unit": "m"}, repr=False)  # noqa: RUF009 - a field

    assert tree_leaves(Op(1)) == [1]
    sizes = dataclasses.fields(Op)[1]
    assert dict(sizes.metadata) == {"unit": "m", "static": True}
    assert repr(Op(1)) == "test_static_takes_the_arguments_of_field.<locals>.Op(x=1)"


def test_a_dataclass_whose_constructor_takes_something_else_is_refused() -> None:
    @dataclass
    class WithInitVar:
        x: float
        scale: InitVar[float]

    class Refused(Layer):
        def __init__(self, size: int) -> None:
            super().__init__(size, size)

    for tree, name in ((WithInitVar(1.0, 2.0), "WithInitVar"), (Refused(3), "Refused")):
        for function in (tree_flatten, tree_leaves_with_path):
            with pytest.raises(
                TreeStructureError, match=rf"at \[1\] in the tree: the dataclass .*{name} cannot be used"
            ):
                function([0, tree])


def test_a_class_derived_from_a_registered_dataclass_must_be_registered() -> None:
    @functools.partial(register_dataclass, data_fields=["x"], meta_fields=["n"])
    @dataclass
    class Base:
        x: Any
        n: int

    @dataclass
    class Sub(Base):
        y: Any

    with pytest.raises(TreeStructureError, match=r"derives from .*Base, which is registered, and is not registered"):
        tree_flatten(Sub(1, 2, 3))
    register_dataclass(Sub, ["x", "y"], ["n"])
    assert tree_leaves(Sub(1, 2, 3)) == [1, 3]


def test_members_of_an_enum_are_leaves() -> None:
    @dataclass
    class Mixin:
        x: int

    class Color(Mixin, enum.Enum):
        RED = 1

    assert tree_leaves([Color.RED]) == [Color.RED]


def test_register_dataclass() -> None:
    @register_dataclass
    @dataclass
    class Affine:
        w: Any
        n: int = field(metadata={"static": True})

    assert tree_leaves(Affine(1, 2)) == [1]

    @dataclass
    class Dropped:
        x: Any
        y: int = 42

    register_dataclass(Dropped, data_fields=["x"], meta_fields=[], drop_fields=["y"])
    assert tree_map(lambda x: x, Dropped(1, 2)) == Dropped(1, 42)

    class Plain:
        def __init__(self, x: Any, y: Any) -> None:
            self.x, self.y = x, y

    register_dataclass(Plain, data_fields=["y"], meta_fields=["x"])
    doubled = tree_map(lambda v: 2 * v, Plain(1, 2))
    assert (doubled.x, doubled.y) == (1, 4)


def test_register_dataclass_errors() -> None:
    @dataclass
    class Foo:
        x: int
        y: int
        z: float = field(init=False)

    class NoDataclass:
        pass

    with pytest.raises(TypeError, match="data_fields and meta_fields are required"):
        register_dataclass(NoDataclass)
    with pytest.raises(TypeError, match=r"both be specified.*data_fields=\['x'\] meta_fields=None"):
        register_dataclass(Foo, data_fields=["x"])
    with pytest.raises(TypeError, match=r"both be specified.*data_fields=None meta_fields=\['y'\]"):
        register_dataclass(Foo, meta_fields=["y"])
    with pytest.raises(TreeStructureError, match=r"must include all dataclass fields.*Missing fields: {'y'}"):
        register_dataclass(Foo, ["x"], [])
    with pytest.raises(TreeStructureError, match=r"Unexpected fields: {'q', 'z'}"):
        register_dataclass(Foo, ["x", "y", "z"], ["q"])
    with pytest.raises(TreeStructureError, match="fields named twice: x"):
        register_dataclass(Foo, ["x", "y"], ["x"])
    register_dataclass(Foo, ["x"], ["y"])
    with pytest.raises(TreeStructureError, match="Foo is registered already"):
        register_dataclass(Foo, ["x"], ["y"])


def test_treedefs_of_dataclasses_differ_by_path() -> None:
    a, b = tree_structure({"m": Layer(1, 2, "a")}), tree_structure({"m": Layer(1, 2, "b")})
    assert describe_mismatch(a, b, "tree") == (
        "tree['m'] is a Layer with name='a' here, a Layer with name='b' there (the static data differ)"
    )


def test_a_dataclass_made_at_run_time_is_freed() -> None:
    def make() -> weakref.ref[type]:
        @dataclass
        class Local:
            x: Any
            f: Any = field(metadata={"static": True})

        tree = Local(1, lambda: tree)
        treedef = tree_structure([tree])
        assert treedef.unflatten([2])[0].x == 2
        return weakref.ref(Local)

    reference = make()
    forget_learned()
    gc.collect()
    assert reference() is None


def test_a_class_pickled_with_its_attributes_leaves_its_node_type_behind() -> None:
    tree_structure(Layer(1, 2))
    kind = vars(Layer)["__functrans_node_type__"]
    assert pickle.loads(pickle.dumps(kind)) is None
