"""Node types, the registry of them, and treedefs: the structure of a pytree.

Flattening runs at each call of a compiled function, so it is laid out for speed:

* One dictionary takes `type(x)` to its node type, or to None for a leaf; a container whose children are all
  leaves is recognised by one set operation and never looped over in Python.
* Treedefs are interned: two equal structures are one object, so that comparing and hashing them, at each
  look-up in a cache of compiled functions, is comparing and hashing addresses. The alternative, structural
  equality, costs a Python call per node. Interning must not confuse what Python calls equal (`1`, `1.0` and
  `True`), nor keep alive what a user stores as static data: keys are made of types, plain values and addresses
  alone, and the table holds treedefs weakly. Treedefs with other static data compare by structure
  (`OpaqueTreeDef`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn, TypeAlias, TypeVar

from functrans.core.static_data import STR_ONLY, brief, is_stable, same_aux, token_of
from functrans.core.tree_paths import (
    Difference,
    FlattenedIndexKey,
    KeyEntry,
    KeyPath,
    Level,
    difference_text,
    differences,
    find_cycle,
    keystr,
    short_keystr,
)
from functrans.errors import TreeStructureError

C = TypeVar("C", bound=type)
Flattener: TypeAlias = Callable[[Any, list[Any]], "PyTreeDef"]
ToChildren: TypeAlias = Callable[[Any], tuple[Sequence[Any], Any]]
FromChildren: TypeAlias = Callable[[Any, Iterable[Any]], Any]


class ForkSafeLock:
    """A re-entrant lock that a child process gets anew: a thread that held it does not exist there."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.RLock()


registry_lock = ForkSafeLock()


class NodeError(TreeStructureError):
    """A container that cannot be flattened; whoever holds the root adds the path to it."""

    def __init__(self, message: str, node: Any = None) -> None:
        super().__init__(message)
        self.node = node


class NodeType:
    """One kind of container.

    cls            the class of its instances
    to_children    instance -> (children, aux)
    from_children  (aux, iterable of children) -> instance
    keys           (aux, number of children) -> a key per child
    with_keys      instance -> ((key, child) pairs, aux), for classes whose keys depend on the instance
    noun           (aux, number of children) -> how an error message speaks of an instance
    text           (aux, texts of the children) -> what stands in the repr of a treedef
    flatten        appends the leaves of an instance to a list and returns its treedef
    """

    __slots__ = (
        "cls", "flatten", "from_children", "interned", "keys", "noun", "text", "to_children", "with_keys",
    )  # fmt: skip

    def __init__(
        self,
        cls: type,
        to_children: ToChildren,
        from_children: FromChildren,
        *,
        keys: Callable[[Any, int], Sequence[KeyEntry]] | None = None,
        with_keys: Callable[[Any], tuple[list[tuple[KeyEntry, Any]], Any]] | None = None,
        noun: Callable[[Any, int], str] | None = None,
        text: Callable[[Any, list[str]], str] | None = None,
        flatten: Flattener | None = None,
    ) -> None:
        self.cls = cls
        self.to_children = to_children
        self.from_children = from_children
        self.keys = keys or _index_keys
        self.with_keys = with_keys
        self.noun = noun or (lambda aux, n: f"{article(cls.__name__)} with {n} children")
        self.text = text
        self.flatten: Flattener = flatten or self._flatten
        self.interned: dict[Hashable, weakref.ref[PyTreeDef]] = {}

    def _flatten(self, tree: Any, leaves: list[Any]) -> PyTreeDef:
        children, aux = self.to_children(tree)
        return make_treedef(self, aux, flatten_children(children, leaves))

    def __repr__(self) -> str:
        return f"NodeType({self.cls.__qualname__})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Reached where a class is pickled by value, together with its attributes: the copy is looked at anew.
        return type(None), ()


def _index_keys(aux: Any, n: int) -> Sequence[KeyEntry]:
    return [FlattenedIndexKey(i) for i in range(n)]


def article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiouAEIOU" else f"a {noun}"


# --- treedefs -----------------------------------------------------------------------------------------------


class PyTreeDef:
    """The structure of a pytree without its leaves: immutable, hashable, quickly compared.

    Made by `tree_structure`, `tree_flatten`, `treedef_tuple`, not by hand.

    Attributes:
        num_leaves: how many leaves `unflatten` takes.
        num_nodes: how many nodes there are, leaves included.

    >>> treedef = kinds[dict].flatten({"b": (1, 2), "a": 0}, [])
    >>> treedef
    PyTreeDef({'a': *, 'b': (*, *)})
    >>> treedef.num_leaves, treedef.num_nodes
    (3, 5)
    >>> treedef.unflatten([10, 20, 30])
    {'a': 10, 'b': (20, 30)}
    """

    __slots__ = ("__weakref__", "aux", "child_treedefs", "flat", "kind", "num_leaves", "num_nodes", "opaque", "plain")
    aux: Any
    child_treedefs: tuple[PyTreeDef, ...]
    flat: bool
    kind: NodeType
    opaque: bool
    plain: bool
    num_leaves: int
    num_nodes: int

    def __init__(self, kind: NodeType | None, aux: Any, children: Sequence[PyTreeDef]) -> None:
        put = object.__setattr__
        put(self, "kind", kind)
        put(self, "aux", aux)
        put(self, "child_treedefs", tuple(children))
        put(self, "flat", all([child is LEAF for child in children]))
        put(self, "opaque", type(self) is not PyTreeDef)
        plain = aux is None or (type(aux) is tuple and STR_ONLY.issuperset(map(type, aux)))
        put(self, "plain", plain and all([child.plain for child in children]))
        put(self, "num_leaves", sum([child.num_leaves for child in children]) if kind is not None else 1)
        put(self, "num_nodes", 1 + sum([child.num_nodes for child in children]))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a PyTreeDef is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a PyTreeDef is immutable: cannot delete {name!r}")

    def __copy__(self) -> PyTreeDef:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PyTreeDef:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self is LEAF:
            return _leaf_treedef, ()
        return _restore_treedef, (self.kind.cls, self.aux, self.child_treedefs)

    def __repr__(self) -> str:
        return f"PyTreeDef({_structure_text(self)})"

    def node_data(self) -> tuple[type, Any] | None:
        """The class of the root and its static data (the keys of a dict); None for a leaf."""
        return None if self is LEAF else (self.kind.cls, self.aux)

    def children(self) -> list[PyTreeDef]:
        """The treedefs of the root's children."""
        return list(self.child_treedefs)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Builds the tree of this structure that has the given leaves, in the order of `tree_flatten`.

        Raises:
            TreeStructureError: the number of leaves is not `num_leaves`.
        """
        if type(leaves) is not list and type(leaves) is not tuple:
            leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise TreeStructureError(
                f"unflatten: got {len(leaves)} leaves for a structure of {self.num_leaves}: {_short(self)}"
            )
        if self is LEAF:
            return leaves[0]
        if self.flat:
            return self.kind.from_children(self.aux, leaves)
        return _build(self, iter(leaves))

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` that stand where this structure has its leaves.

        Raises:
            TreeStructureError: `tree` does not begin with this structure; the message says at which path.

        >>> treedef = kinds[tuple].flatten((0, 0), [])
        >>> treedef.flatten_up_to(([1, 2], {"a": 3}))
        [[1, 2], {'a': 3}]
        """
        try:
            subtrees = self.match(tree)
        except (NodeError, RecursionError) as error:
            raise_with_path(tree, error)
        if subtrees is None:
            first = next(
                differences(self, tree, open_treedef, open_tree, prefix=True),
                Difference((), _short(self), type(tree).__name__, "the structures differ"),
            )
            text = difference_text(first, "", "in the expected structure", "in the tree that was given")
            raise TreeStructureError(f"the tree does not have the expected structure: {text}. Expected: {_short(self)}")
        return subtrees

    def match(self, tree: Any) -> list[Any] | None:
        """What `flatten_up_to` returns, or None where that raises an error."""
        out: list[Any] = []
        return out if _collect(self, tree, out) else None

    def compose(self, inner: PyTreeDef) -> PyTreeDef:
        """This structure with the structure `inner` in place of each leaf."""
        if self is LEAF:
            return inner
        return make_treedef(self.kind, self.aux, [child.compose(inner) for child in self.child_treedefs])


class OpaqueTreeDef(PyTreeDef):
    """A treedef with static data of a class that has its own equality: compared by structure."""

    __slots__ = ("_hash",)
    _hash: int | None

    def __init__(self, kind: NodeType, aux: Any, children: Sequence[PyTreeDef]) -> None:
        super().__init__(kind, aux, children)
        object.__setattr__(self, "_hash", None)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, OpaqueTreeDef):
            return False
        if self.kind is not other.kind or self.child_treedefs != other.child_treedefs:
            return False
        return same_aux(self.aux, other.aux)

    def __hash__(self) -> int:
        if self._hash is None:
            try:
                aux_hash = hash(token_of(self.aux))
            except TypeError as error:
                raise TypeError(
                    f"the static data of a pytree node of type {self.kind.cls.__qualname__} cannot be hashed "
                    f"({error}): {brief(self.aux)}. Make it hashable (a tuple for a list, a frozen "
                    "dataclass), or make it a child (a data field)."
                ) from error
            object.__setattr__(self, "_hash", hash((id(self.kind), aux_hash, self.child_treedefs)))
        hashed: int = self._hash  # type: ignore[assignment]
        return hashed


LEAF = PyTreeDef(None, None, ())
object.__setattr__(LEAF, "flat", False)
_LEAF_ID = id(LEAF)


def _leaf_treedef() -> PyTreeDef:
    return LEAF


def _restore_treedef(cls: type, aux: Any, children: Sequence[PyTreeDef]) -> PyTreeDef:
    kind = kinds[cls]
    if kind is None:
        raise TreeStructureError(
            f"cannot restore a PyTreeDef: {cls.__qualname__} was a node where it was pickled and is none "
            "here. Register the class before unpickling."
        )
    return make_treedef(kind, aux, children)


def make_treedef(kind: NodeType, aux: Any, children: Sequence[PyTreeDef]) -> PyTreeDef:
    """The treedef with this root and these children: an existing one where there is one."""
    ids = tuple(map(id, children))
    if (aux is not None and not is_stable(aux)) or any([child.opaque for child in children]):
        return OpaqueTreeDef(kind, aux, children)
    shape: Hashable = len(ids) if ids.count(_LEAF_ID) == len(ids) else ids
    key = shape if aux is None else (token_of(aux), shape)
    known = kind.interned.get(key)
    treedef = None if known is None else known()
    return treedef if treedef is not None else _intern(kind, key, aux, children)


# Eager code flattens the same structures over and over and keeps no treedef: without these each would be made anew.
# Only such as hold no static data but strings are kept alive here.
_recent: deque[PyTreeDef] = deque(maxlen=512)


def _intern(kind: NodeType, key: Hashable, aux: Any, children: Sequence[PyTreeDef]) -> PyTreeDef:
    table = kind.interned

    def forget(dead: weakref.ref[PyTreeDef], lock: ForkSafeLock = registry_lock) -> None:
        with lock.lock:
            if table.get(key) is dead:
                del table[key]

    with registry_lock.lock:
        known = table.get(key)
        treedef = None if known is None else known()
        if treedef is None:
            treedef = PyTreeDef(kind, aux, children)
            table[key] = weakref.ref(treedef, forget)
            if treedef.plain:
                _recent.append(treedef)
        return treedef


def _build(treedef: PyTreeDef, leaves: Iterator[Any]) -> Any:
    if treedef.flat:
        return treedef.kind.from_children(treedef.aux, islice(leaves, treedef.num_leaves))
    children = [next(leaves) if child is LEAF else _build(child, leaves) for child in treedef.child_treedefs]
    return treedef.kind.from_children(treedef.aux, children)


def _collect(treedef: PyTreeDef, tree: Any, out: list[Any]) -> bool:
    """Appends to `out` what stands at the leaves of `treedef`; False as soon as the structures part."""
    if treedef is LEAF:
        out.append(tree)
        return True
    kind = treedef.kind
    if type(tree) is not kind.cls:
        return False
    children, aux = kind.to_children(tree)
    if len(children) != len(treedef.child_treedefs) or not same_aux(aux, treedef.aux):
        return False
    if treedef.flat:
        out.extend(children)
        return True
    for child, value in zip(treedef.child_treedefs, children, strict=True):
        if not _collect(child, value, out):
            return False
    return True


def _short(treedef: PyTreeDef) -> str:
    return brief(treedef, 300)


def _structure_text(treedef: PyTreeDef) -> str:
    if treedef is LEAF:
        return "*"
    kind, aux = treedef.kind, treedef.aux
    inner = [_structure_text(child) for child in treedef.child_treedefs]
    if kind.text is not None:
        return kind.text(aux, inner)
    return f"CustomNode({kind.cls.__name__}[{aux}], [{', '.join(inner)}])"


# --- flattening ---------------------------------------------------------------------------------------------


def flatten_children(children: Iterable[Any], leaves: list[Any]) -> list[PyTreeDef]:
    treedefs = []
    for child in children:
        kind = kinds[type(child)]
        if kind is None:
            leaves.append(child)
            treedefs.append(LEAF)
        else:
            treedefs.append(kind.flatten(child, leaves))
    return treedefs


# --- the registry -------------------------------------------------------------------------------------------

Rule: TypeAlias = Callable[[type[Any]], "NodeType | None"]

registered: dict[type, NodeType] = {}
declared_leaves: set[type] = set()
leaf_types: set[type] = set()
rules: list[Rule] = []
"""Recognise families of classes (namedtuples, dataclasses) that need not be registered."""
_LEARNED_LIMIT = 4096


class _Kinds(dict[type, NodeType | None]):
    """The node type of each class met so far, None for leaves; a new class is looked at once."""

    def __missing__(self, cls: type[Any]) -> NodeType | None:
        with registry_lock.lock:
            if len(self) > _LEARNED_LIMIT + len(registered):
                self.forget()
            kind = _classify(cls)
            self[cls] = kind
            if kind is None:
                leaf_types.add(cls)
            return kind

    def forget(self) -> None:
        """Lets go of the classes that were only met, so that classes made at run time do not pile up."""
        leaf_types.clear()
        self.clear()
        self.update(registered)


kinds = _Kinds()


def _classify(cls: type[Any]) -> NodeType | None:
    if cls in registered:
        return registered[cls]
    if cls in declared_leaves:
        return None
    # The node type of a class that nobody registered lives on the class, and goes when the class goes.
    own = cls.__dict__.get("__functrans_node_type__")
    if isinstance(own, NodeType) and own.cls is cls:
        return own
    for rule in rules:
        kind = rule(cls)
        if kind is not None:
            # A class that refuses attributes is known to `kinds` alone.
            with suppress(AttributeError, TypeError):
                cls.__functrans_node_type__ = kind
            return kind
    return None


def register(kind: NodeType, caller: str) -> NodeType:
    """Enters a node type into the registry."""
    cls = kind.cls
    with registry_lock.lock:
        if cls in registered or cls in declared_leaves:
            raise TreeStructureError(
                f"{caller}: {cls.__qualname__} is registered already; a class can be registered only once. "
                "Derive a class from it and register that one."
            )
        registered[cls] = kind
        leaf_types.discard(cls)
        kinds[cls] = kind
    return kind


def register_leaf(cls: C) -> C:
    """Class decorator: instances are leaves, although the class is a dataclass or a namedtuple."""
    with registry_lock.lock:
        if cls in registered:
            raise TreeStructureError(f"register_leaf: {cls.__qualname__} is registered already, as a node")
        declared_leaves.add(cls)
        kinds[cls] = None
        leaf_types.add(cls)
    return cls


# --- opening one level, for paths and messages --------------------------------------------------------------


def open_with_keys(kind: NodeType, tree: Any) -> tuple[Sequence[KeyEntry], Sequence[Any], Any]:
    """Keys, children and static data of an instance."""
    if kind.with_keys is not None:
        pairs, aux = kind.with_keys(tree)
        return [key for key, _ in pairs], [child for _, child in pairs], aux
    children, aux = kind.to_children(tree)
    return kind.keys(aux, len(children)), children, aux


def open_tree(tree: Any) -> Level:
    kind = kinds[type(tree)]
    if kind is None:
        return Level(None, f"a leaf ({_leaf_noun(tree)})", None, (), ())
    keys, children, aux = open_with_keys(kind, tree)
    return Level(kind, kind.noun(aux, len(children)), aux, keys, children)


def open_treedef(treedef: PyTreeDef) -> Level:
    if treedef is LEAF:
        return Level(None, "a leaf", None, (), ())
    kind, aux, children = treedef.kind, treedef.aux, treedef.child_treedefs
    return Level(kind, kind.noun(aux, len(children)), aux, kind.keys(aux, len(children)), children)


def _leaf_noun(leaf: Any) -> str:
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{type(leaf).__name__}, {dtype}, shape {shape}"
    return type(leaf).__name__


def _keyed_children(tree: Any) -> Sequence[tuple[KeyEntry, Any]]:
    kind = kinds[type(tree)]
    if kind is None:
        return ()
    keys, children, _ = open_with_keys(kind, tree)
    return list(zip(keys, children, strict=True))


def raise_with_path(tree: Any, error: NodeError | RecursionError) -> NoReturn:
    """Raises what went wrong while a tree was flattened, with the path of the container at fault."""
    if isinstance(error, NodeError):
        path = _path_of(tree, error.node)
        where = f"at {keystr(path)} in the tree: " if path else ""
        raise TreeStructureError(f"{where}{error}") from error.__cause__
    path, outer = find_cycle(tree, _keyed_children)
    if outer is not None:
        around = f"the container at {short_keystr(outer)}" if outer else "the tree itself"
        raise TreeStructureError(
            f"a pytree must not contain itself: what stands at {short_keystr(path)} is {around} again. "
            "Break the cycle, or wrap the object in a class registered with register_static."
        ) from None
    if len(path) < 100:
        raise error
    raise TreeStructureError(
        f"the tree is nested {len(path)} or more containers deep, beyond Python's recursion limit; the "
        f"deepest path begins {short_keystr(path)}. Use a flatter container, a list for a chain of pairs."
    ) from None


def _path_of(tree: Any, node: Any) -> KeyPath:
    """Where in a tree an object stands."""
    pending: list[tuple[KeyPath, Any]] = [((), tree)]
    while pending:
        path, subtree = pending.pop()
        if subtree is node:
            return path
        try:
            children = _keyed_children(subtree)
        except NodeError:
            continue
        pending.extend([((*path, key), child) for key, child in reversed(children)])
    return ()
