"""Flattening and building for one structure, as generated Python.

A cached call of a compiled function sees the same structure again and again. Generated for that structure,
taking a tree apart is one type comparison per container and one look-up per leaf, several times quicker than
the general functions, which find the structure out anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from functrans.core.tree_nodes import DICT, LIST, NONE, TUPLE
from functrans.core.treedef import LEAF, PyTreeDef, kinds, leaf_types
from functrans.errors import TreeStructureError

Matcher: TypeAlias = Callable[[Any], list[Any] | None]
Builder: TypeAlias = Callable[[Sequence[Any]], Any]

# Generating takes time in proportion to the size, and Python's parser takes only so many nested brackets.
_MAX_NODES = 2000
_MAX_DEPTH = 40


def compile_matcher(treedef: PyTreeDef) -> Matcher:
    """A function that returns the leaves of a tree if it has exactly this structure, else None.

    Keys of a subclass of str match the plain strings that they equal.

    >>> from functrans.core.tree import tree_structure
    >>> match = compile_matcher(tree_structure(({"w": 0, "b": 0}, [0])))
    >>> match(({"w": 1.0, "b": 2.0}, [3.0]))
    [2.0, 1.0, 3.0]
    >>> match(({"w": 1.0, "b": 2.0}, (3.0,))) is None
    True
    """
    return _MatcherSource().function(treedef) if _is_small(treedef) else lambda tree: _match(treedef, tree)


def matching(treedef: PyTreeDef) -> tuple[list[str], list[str], dict[str, Any]] | None:
    """Statements that take a tree of one structure apart: they return None, or raise KeyError, for another structure.

    Returns:
        the statements, which read ``tree``; the names of the leaves, which are not looked at; what the statements
        refer to. None for structures that are too large, or that have containers of other classes than the built-in.
    """
    if not _is_small(treedef):
        return None
    source = _MatcherSource()
    source.visit(treedef, "tree")
    if any([leaf.startswith("*") for leaf in source.leaves]):
        return None
    return source.lines, source.leaves, source.scope


def compile_builder(treedef: PyTreeDef) -> Builder:
    """A function that does what `treedef.unflatten` does, for a list or a tuple of leaves.

    >>> from functrans.core.tree import tree_structure
    >>> build = compile_builder(tree_structure({"w": (0, 0), "b": 0}))
    >>> build([1, 2, 3])
    {'b': 1, 'w': (2, 3)}
    """
    return _BuilderSource().function(treedef) if _is_small(treedef) else treedef.unflatten


def _is_small(treedef: PyTreeDef) -> bool:
    return treedef.num_nodes <= _MAX_NODES and _fits_depth(treedef, _MAX_DEPTH)


def _fits_depth(treedef: PyTreeDef, depth: int) -> bool:
    return depth > 0 and all([_fits_depth(child, depth - 1) for child in treedef.child_treedefs])


def _match(treedef: PyTreeDef, tree: Any) -> list[Any] | None:
    leaves = treedef.match(tree)
    return leaves if leaves is not None and _are_leaves(leaves) else None


def _are_leaves(values: Sequence[Any]) -> bool:
    return all([kinds[type(value)] is None for value in values])


def _plain_keys(keys: Sequence[Any]) -> bool:
    return all([type(key) is str for key in keys])


class _MatcherSource:
    """Statements that take a tree apart into local variables, container by container."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.leaves: list[str] = []
        self.scope: dict[str, Any] = {"known_as_leaves": leaf_types.issuperset, "are_leaves": _are_leaves}
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name

    def function(self, treedef: PyTreeDef) -> Matcher:
        self.visit(treedef, "tree")
        body = "".join([f"        {line}\n" for line in self.lines])
        text = (
            f"def match(tree):\n    try:\n{body}        leaves = [{', '.join(self.leaves)}]\n"
            "    except KeyError:\n        return None\n"
            "    return leaves if known_as_leaves(map(type, leaves)) or are_leaves(leaves) else None\n"
        )
        exec(compile(text, "<functrans pytree matcher>", "exec"), self.scope)
        match: Matcher = self.scope["match"]
        return match

    def visit(self, treedef: PyTreeDef, tree: str) -> None:
        if treedef is LEAF:
            self.leaves.append(tree)
            return
        kind, aux, children = treedef.kind, treedef.aux, treedef.child_treedefs
        if kind is NONE:
            self.lines.append(f"if {tree} is not None: return None")
        elif kind is TUPLE or kind is LIST:
            wrong = f"type({tree}) is not {kind.cls.__name__} or len({tree}) != {len(children)}"
            self.lines.append(f"if {wrong}: return None")
            names = [self.name() for _ in children]
            if names:
                self.lines.append(f"{', '.join(names)}, = {tree}")
            for child, name in zip(children, names, strict=True):
                self.visit(child, name)
        elif kind is DICT and _plain_keys(aux):
            self.lines.append(f"if type({tree}) is not dict or len({tree}) != {len(children)}: return None")
            for key, child in zip(aux, children, strict=True):
                name = self.name()
                self.lines.append(f"{name} = {tree}[{key!r}]")
                self.visit(child, name)
        else:
            name = self.name()
            self.lines.append(f"{name} = {self.constant(treedef.match)}({tree})")
            self.lines.append(f"if {name} is None: return None")
            self.leaves.append(f"*{name}")


class _BuilderSource:
    """One expression of displays and calls over the leaves."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"wrong_count": _wrong_count}
        self.used = 0

    def constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name

    def function(self, treedef: PyTreeDef) -> Builder:
        expression = self.visit(treedef)
        names = "".join([f"l{i}, " for i in range(self.used)])
        take = f"    {names}= leaves\n" if names else ""
        text = (
            f"def build(leaves):\n    if len(leaves) != {self.used}:\n"
            f"        raise wrong_count(len(leaves), {self.used})\n"
            f"{take}    return {expression}\n"
        )
        exec(compile(text, "<functrans pytree builder>", "exec"), self.scope)
        build: Builder = self.scope["build"]
        return build

    def visit(self, treedef: PyTreeDef) -> str:
        if treedef is LEAF:
            self.used += 1
            return f"l{self.used - 1}"
        kind, aux = treedef.kind, treedef.aux
        children = [self.visit(child) for child in treedef.child_treedefs]
        as_tuple = f"({', '.join(children)}{',' if len(children) == 1 else ''})"
        if kind is NONE:
            return "None"
        if kind is TUPLE:
            return as_tuple
        if kind is LIST:
            return f"[{', '.join(children)}]"
        if kind is DICT and _plain_keys(aux):
            items = [f"{key!r}: {child}" for key, child in zip(aux, children, strict=True)]
            return f"{{{', '.join(items)}}}"
        return f"{self.constant(kind.from_children)}({self.constant(aux)}, {as_tuple})"


def _wrong_count(given: int, expected: int) -> TreeStructureError:
    return TreeStructureError(f"unflatten: got {given} leaves for a structure of {expected}")
