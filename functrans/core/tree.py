"""Pytrees: nested containers of arrays, taken apart into leaves and a structure, and put together again.

Containers are dict (keys sorted), list, tuple, namedtuple, None (which has no leaves), OrderedDict,
defaultdict, dataclasses and classes registered here; anything else is a leaf. Subclasses of the built-in
containers are leaves unless they are registered.

This module holds the functions on trees. Below it: `treedef` (node types, their registry, structures),
`tree_nodes` (the built-in containers), `tree_classes` (how a user's class becomes a node), `tree_paths` (key
paths, mismatches); above it `tree_compile` (functions generated for one structure).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from functrans.core.tree_classes import (
    Partial,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    static,
)
from functrans.core.tree_nodes import TUPLE
from functrans.core.tree_paths import (
    DictKey,
    Difference,
    FlattenedIndexKey,
    GetAttrKey,
    KeyEntry,
    KeyPath,
    SequenceKey,
    difference_text,
    differences,
    keystr,
    short_keystr,
)
from functrans.core.treedef import (
    LEAF,
    NodeError,
    PyTreeDef,
    kinds,
    make_treedef,
    open_tree,
    open_treedef,
    open_with_keys,
    raise_with_path,
    register_leaf,
)
from functrans.errors import TreeStructureError

IsLeaf: TypeAlias = Callable[[Any], bool]

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyEntry",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "broadcast_prefix",
    "describe_mismatch",
    "equality_errors",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "prefix_errors",
    "register_dataclass",
    "register_leaf",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]


class _Missing:
    def __repr__(self) -> str:
        return "<not given>"


_MISSING: Any = _Missing()


# --- flattening and building --------------------------------------------------------------------------------


def tree_flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a pytree and its structure.

    Args:
        tree: nested containers; anything that is no container is a leaf. None is a container without leaves.
        is_leaf: called with every node on the way down; where it is true the node is taken as a leaf.

    Raises:
        TreeStructureError: dict keys that cannot be sorted, a container that contains itself, nesting deeper
            than Python's recursion, a registered class whose functions do not return what they should.

    >>> leaves, treedef = tree_flatten({"w": [1.0, 2.0], "b": 3.0})
    >>> leaves
    [3.0, 1.0, 2.0]
    >>> treedef
    PyTreeDef({'b': *, 'w': [*, *]})
    """
    leaves: list[Any] = []
    try:
        if is_leaf is None:
            kind = kinds[type(tree)]
            if kind is not None:
                return leaves, kind.flatten(tree, leaves)
            leaves.append(tree)
            return leaves, LEAF
        return leaves, _flatten_until(tree, leaves, is_leaf)
    except (NodeError, RecursionError) as error:
        raise_with_path(tree, error)


def _flatten_until(tree: Any, leaves: list[Any], is_leaf: IsLeaf) -> PyTreeDef:
    kind = None if is_leaf(tree) else kinds[type(tree)]
    if kind is None:
        leaves.append(tree)
        return LEAF
    children, aux = kind.to_children(tree)
    return make_treedef(kind, aux, [_flatten_until(child, leaves, is_leaf) for child in children])


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of structure `treedef` with the given leaves: the inverse of `tree_flatten`.

    Raises:
        TreeStructureError: the number of leaves is not `treedef.num_leaves`.

    >>> leaves, treedef = tree_flatten((1, [2, 3]))
    >>> tree_unflatten(treedef, [10, 20, 30])
    (10, [20, 30])
    """
    return treedef.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a pytree, in the order of `tree_flatten`.

    >>> tree_leaves({"b": 2, "a": (1, None)})
    [1, 2]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf | None = None) -> PyTreeDef:
    """The structure of a pytree.

    >>> tree_structure({"b": 2, "a": (1, None)})
    PyTreeDef({'a': (*, None), 'b': *})
    """
    return tree_flatten(tree, is_leaf)[1]


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """Like `tree_flatten`, each leaf paired with its key path.

    Args:
        is_leaf_takes_path: call `is_leaf(path, node)` instead of `is_leaf(node)`.

    >>> pairs, treedef = tree_flatten_with_path({"w": [1.0, 2.0]})
    >>> [(keystr(path), leaf) for path, leaf in pairs]
    [("['w'][0]", 1.0), ("['w'][1]", 2.0)]
    """
    pairs: list[tuple[KeyPath, Any]] = []
    stop: Callable[[KeyPath, Any], bool] | None = is_leaf
    if is_leaf is not None and not is_leaf_takes_path:
        test = is_leaf

        def stop(path: KeyPath, node: Any) -> bool:
            return test(node)

    try:
        return pairs, _flatten_paths(tree, (), pairs, stop)
    except (NodeError, RecursionError) as error:
        raise_with_path(tree, error)


def _flatten_paths(
    tree: Any, path: KeyPath, pairs: list[tuple[KeyPath, Any]], stop: Callable[[KeyPath, Any], bool] | None
) -> PyTreeDef:
    kind = None if stop is not None and stop(path, tree) else kinds[type(tree)]
    if kind is None:
        pairs.append((path, tree))
        return LEAF
    keys, children, aux = open_with_keys(kind, tree)
    treedefs = [_flatten_paths(child, (*path, key), pairs, stop) for key, child in zip(keys, children, strict=True)]
    return make_treedef(kind, aux, treedefs)


def tree_leaves_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The pairs (key path, leaf) of a pytree.

    >>> [(keystr(path), leaf) for path, leaf in tree_leaves_with_path((1, {"a": 2}))]
    [('[0]', 1), ("[1]['a']", 2)]
    """
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


# --- functions over leaves ----------------------------------------------------------------------------------


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Applies `f` to the leaves of a tree, together with what stands at the same places in further trees.

    Args:
        rest: trees of which `tree` is a prefix: where it has a leaf they may have a subtree, which `f` gets.

    Raises:
        TreeStructureError: a further tree does not begin with the structure of the first, and where.

    >>> tree_map(lambda p, g: p - g, {"w": 3, "b": 1}, {"w": 1, "b": 1})
    {'b': 0, 'w': 2}
    """
    leaves, treedef = tree_flatten(tree, is_leaf)
    if not rest:
        return treedef.unflatten(list(map(f, leaves)))
    return treedef.unflatten(list(map(f, leaves, *_matching_leaves(treedef, rest, "tree_map"))))


def _matching_leaves(treedef: PyTreeDef, rest: Sequence[Any], caller: str) -> list[list[Any]]:
    columns = []
    for position, other in enumerate(rest):
        try:
            leaves, other_treedef = _flatten_quietly(other)
            columns.append(leaves if other_treedef is treedef else treedef.flatten_up_to(other))
        except TreeStructureError as error:
            raise TreeStructureError(f"{caller}: tree number {position + 2} does not fit the first: {error}") from None
    return columns


def _flatten_quietly(tree: Any) -> tuple[list[Any], PyTreeDef | None]:
    """Flattens a tree whose structure is mostly that of another, which is quicker than matching the two.

    What cannot be flattened may stand where the other has a leaf, and is then no error.
    """
    try:
        return tree_flatten(tree)
    except TreeStructureError:
        return [], None


def tree_map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """Like `tree_map`, but `f` gets the key path of the leaf as its first argument.

    >>> tree_map_with_path(lambda path, x: f"{keystr(path)}={x}", {"a": 1, "b": [2]})
    {'a': "['a']=1", 'b': ["['b'][0]=2"]}
    """
    pairs, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    paths, leaves = [path for path, _ in pairs], [leaf for _, leaf in pairs]
    columns = _matching_leaves(treedef, rest, "tree_map_with_path")
    return treedef.unflatten(list(map(f, paths, leaves, *columns)))


def tree_reduce(
    function: Callable[[Any, Any], Any], tree: Any, initializer: Any = _MISSING, is_leaf: IsLeaf | None = None
) -> Any:
    """Folds the leaves of a tree from the left.

    Raises:
        TreeStructureError: the tree has no leaves and there is no initializer.

    >>> tree_reduce(lambda total, x: total + x, {"a": 1, "b": (2, 3)})
    6
    """
    leaves = tree_leaves(tree, is_leaf)
    if initializer is not _MISSING:
        return functools.reduce(function, leaves, initializer)
    if not leaves:
        raise TreeStructureError("tree_reduce: the tree has no leaves; give an initializer")
    return functools.reduce(function, leaves)


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = _MISSING,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """Combines the leaves of a tree pairwise, in a balanced tree: `operation` must be associative.

    Raises:
        TreeStructureError: the tree has no leaves and there is no identity.

    >>> tree_reduce_associative(lambda a, b: f"({a}{b})", ["a", "b", "c", "d"])
    '((ab)(cd))'
    """
    leaves = tree_leaves(tree, is_leaf)
    if not leaves:
        if identity is _MISSING:
            raise TreeStructureError("tree_reduce_associative: the tree has no leaves; give an identity")
        return identity
    while len(leaves) > 1:
        paired = [operation(a, b) for a, b in zip(leaves[::2], leaves[1::2], strict=False)]
        leaves = paired if len(leaves) % 2 == 0 else [*paired, leaves[-1]]
    return leaves[0]


def tree_all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether all leaves are true.

    >>> tree_all({"a": True, "b": [1, 0]})
    False
    """
    return all(tree_leaves(tree, is_leaf))


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether no element of an iterable is a container.

    >>> all_leaves([1, "a"]), all_leaves([1, (2,)]), all_leaves([None])
    (True, False, False)
    """
    return all(kinds[type(x)] is None or (is_leaf is not None and bool(is_leaf(x))) for x in iterable)


def tree_transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any) -> Any:
    """Turns a tree of structure outer of inner into one of structure inner of outer.

    Args:
        inner_treedef: may be None, and is then read off the first subtree.

    Raises:
        TreeStructureError: the tree is not of structure outer of inner.

    >>> outer, inner = tree_structure({"a": 0, "b": 0}), tree_structure((0, 0))
    >>> tree_transpose(outer, inner, {"a": (1, 2), "b": (3, 4)})
    ({'a': 1, 'b': 3}, {'a': 2, 'b': 4})
    """
    leaves, treedef = tree_flatten(pytree_to_transpose)
    if inner_treedef is None:
        if outer_treedef.num_leaves == 0:
            raise TreeStructureError(
                f"tree_transpose: {outer_treedef} has no leaves to read the inner structure off; give it"
            )
        inner_treedef = tree_structure(outer_treedef.flatten_up_to(pytree_to_transpose)[0])
    expected = outer_treedef.compose(inner_treedef)
    if treedef != expected:
        raise TreeStructureError(
            f"tree_transpose: Mismatch: the tree is not the outer structure {outer_treedef} with the inner "
            f"structure {inner_treedef} at each leaf.\n"
            f"{describe_mismatch(treedef, expected, 'tree', 'in the tree', 'expected')}"
        )
    size = inner_treedef.num_leaves
    columns = [outer_treedef.unflatten(leaves[i::size]) for i in range(size)]
    return inner_treedef.unflatten(columns)


# --- prefixes and mismatches --------------------------------------------------------------------------------


def broadcast_prefix(
    prefix_tree: Any,
    full_tree: Any,
    is_leaf: IsLeaf | None = None,
    *,
    name: str = "prefix",
    full_name: str = "tree",
) -> list[Any]:
    """The leaves of a prefix of a tree, each repeated for every leaf of the tree below it.

    Args:
        prefix_tree: a tree that stops early: its leaves stand for whole subtrees of `full_tree`.
        is_leaf: applied to the prefix alone; `lambda x: x is None` makes None a value of the prefix.
        name, full_name: how an error message calls the two.

    Raises:
        TreeStructureError: the structures part before the prefix has ended; the message says at which path.

    >>> broadcast_prefix((0, {"a": 1, "b": 2}), ([1, 1], {"a": 1, "b": (1, 1)}))
    [0, 0, 1, 2, 2]
    """
    leaves, treedef = tree_flatten(prefix_tree, is_leaf)
    if treedef is LEAF:
        return leaves * tree_structure(full_tree).num_leaves
    if tree_structure(full_tree) is treedef:
        return leaves
    try:
        subtrees = treedef.flatten_up_to(full_tree)
    except TreeStructureError:
        raise prefix_errors(prefix_tree, full_tree, is_leaf, name=name, full_name=full_name)[0] from None
    out: list[Any] = []
    for leaf, subtree in zip(leaves, subtrees, strict=True):
        out.extend([leaf] * tree_structure(subtree).num_leaves)
    return out


def prefix_errors(
    prefix_tree: Any,
    full_tree: Any,
    is_leaf: IsLeaf | None = None,
    *,
    name: str = "prefix",
    full_name: str = "tree",
) -> list[TreeStructureError]:
    """Why one tree is no prefix of another: an error, ready to raise, for each place where they part.

    >>> print(prefix_errors((0, [0]), (1, (2,)), name="in_axes", full_name="args")[0])
    in_axes is no prefix of args: in_axes[1] is a list of 1, args[1] is a tuple of 1 (the types differ)
    """
    treedef = tree_structure(prefix_tree, is_leaf)
    return [
        TreeStructureError(
            f"{name} is no prefix of {full_name}: {name}{short_keystr(found.path)} is {found.first}, "
            f"{full_name}{short_keystr(found.path)} is {found.second} ({found.reason})"
        )
        for found in differences(treedef, full_tree, open_treedef, open_tree, prefix=True)
    ]


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """A tree of the structure of `full_tree` whose leaves are those of its prefix, repeated.

    Raises:
        TreeStructureError: `prefix_tree` is no prefix of `full_tree`.

    >>> tree_broadcast((1, 2), (0, {"a": 0, "b": 0}))
    (1, {'a': 2, 'b': 2})
    """
    return tree_structure(full_tree).unflatten(broadcast_prefix(prefix_tree, full_tree, is_leaf))


def describe_mismatch(
    first: PyTreeDef,
    second: PyTreeDef,
    name: str = "",
    first_place: str = "here",
    second_place: str = "there",
) -> str:
    """How two structures differ, one line for each place; empty where they are equal.

    >>> a, b = tree_structure({"w": [1, 2]}), tree_structure({"w": (1, 2)})
    >>> describe_mismatch(a, b, "params")
    "params['w'] is a list of 2 here, a tuple of 2 there (the types differ)"
    """
    found = differences(first, second, open_treedef, open_treedef, prefix=False)
    return "\n".join([difference_text(difference, name, first_place, second_place) for difference in found])


def equality_errors(first: Any, second: Any, is_leaf: IsLeaf | None = None) -> list[Difference]:
    """The places where the structures of two trees differ: path, what stands there in each, why they differ.

    >>> [difference] = equality_errors({"w": [1, 2]}, {"w": (1, 2)})
    >>> keystr(difference.path), difference.first, difference.second
    ("['w']", 'a list of 2', 'a tuple of 2')
    """
    if is_leaf is None:
        return list(differences(first, second, open_tree, open_tree, prefix=False))
    a, b = tree_structure(first, is_leaf), tree_structure(second, is_leaf)
    return list(differences(a, b, open_treedef, open_treedef, prefix=False))


# --- treedefs and single levels -----------------------------------------------------------------------------


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple whose elements have the given structures.

    >>> treedef_tuple([tree_structure(0), tree_structure([0])])
    PyTreeDef((*, [*]))
    """
    return make_treedef(TUPLE, None, list(treedefs))


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the root's children.

    >>> treedef_children(tree_structure((0, [0])))
    [PyTreeDef(*), PyTreeDef([*])]
    """
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether a structure is a single leaf.

    >>> treedef_is_leaf(tree_structure(1.0)), treedef_is_leaf(tree_structure(()))
    (True, False)
    """
    return treedef is LEAF


def is_tree_node(typ: type) -> bool:
    """Whether instances of a class are containers.

    >>> is_tree_node(dict), is_tree_node(int)
    (True, False)
    """
    return kinds[typ] is not None


def flatten_one_level(tree: Any) -> tuple[list[Any], Any]:
    """The children of a container, themselves not flattened, and its static data.

    Raises:
        TreeStructureError: `tree` is a leaf.

    >>> flatten_one_level({"b": (1, 2), "a": 3})
    ([3, (1, 2)], ('a', 'b'))
    """
    pairs, aux = flatten_one_level_with_keys(tree)
    return [child for _, child in pairs], aux


def flatten_one_level_with_keys(tree: Any) -> tuple[list[tuple[KeyEntry, Any]], Any]:
    """Like `flatten_one_level`, each child paired with its key.

    >>> pairs, aux = flatten_one_level_with_keys([5])
    >>> pairs
    [(SequenceKey(idx=0), 5)]
    """
    kind = kinds[type(tree)]
    if kind is None:
        raise TreeStructureError(f"flatten_one_level: can't tree-flatten type {type(tree).__qualname__}: it is a leaf")
    keys, children, aux = open_with_keys(kind, tree)
    return list(zip(keys, children, strict=True)), aux
