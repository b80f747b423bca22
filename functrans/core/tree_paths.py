"""Key paths: where a leaf stands inside a pytree, and how two structures differ, said by path."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from functrans.core.static_data import same_aux

KeyEntry: TypeAlias = Hashable
KeyPath: TypeAlias = tuple[KeyEntry, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceKey:
    """Position `idx` in a list or a tuple; prints as `[0]`."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def __hash__(self) -> int:
        return hash((SequenceKey, self.idx))


@dataclasses.dataclass(frozen=True, slots=True)
class DictKey:
    """Entry `key` of a dict, an OrderedDict or a defaultdict; prints as `['w']`."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def __hash__(self) -> int:
        return hash((DictKey, self.key))


@dataclasses.dataclass(frozen=True, slots=True)
class GetAttrKey:
    """Attribute `name` of a namedtuple, a dataclass or a registered class; prints as `.bias`."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def __hash__(self) -> int:
        return hash((GetAttrKey, self.name))


@dataclasses.dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """Child number `key` of a class registered without keys; prints as `[<flat index 0>]`."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"

    def __hash__(self) -> int:
        return hash((FlattenedIndexKey, self.key))


def _simple_text(entry: KeyEntry) -> str:
    match entry:
        case SequenceKey(value) | DictKey(value) | GetAttrKey(value) | FlattenedIndexKey(value):
            return str(value)
    return str(entry)


def keystr(path: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """The text of a key path.

    With `simple=True` each entry is its bare index, key or name, which with a separator gives names such as
    those of a checkpoint.

    >>> path = (DictKey("w"), SequenceKey(0), GetAttrKey("bias"))
    >>> keystr(path)
    "['w'][0].bias"
    >>> keystr(path, simple=True, separator="/")
    'w/0/bias'
    """
    return separator.join(_simple_text(entry) if simple else str(entry) for entry in path)


def short_keystr(path: KeyPath, limit: int = 8) -> str:
    """The text of a path that may be very long: its first entries, then how many were left out."""
    if len(path) <= limit:
        return keystr(path)
    return f"{keystr(path[:limit])}... ({len(path) - limit} more)"


class Level(NamedTuple):
    """One level of a tree or of a treedef: what kind of node it is and what hangs below it.

    kind      the node type; None for a leaf
    noun      how an error message speaks of it: "a tuple of 2"
    aux       its static data
    keys      one key per child
    children  the children: subtrees or treedefs, whatever `open_level` was given
    """

    kind: object | None
    noun: str
    aux: Any
    keys: Sequence[KeyEntry]
    children: Sequence[Any]


class Difference(NamedTuple):
    """One place where two structures differ: `first` and `second` say what stands there in each."""

    path: KeyPath
    first: str
    second: str
    reason: str


OpenLevel: TypeAlias = Callable[[Any], Level]


def _named_alike(first: Level, second: Level) -> tuple[Level, Level]:
    """Gives a treedef, which knows the children of a registered class by number, the keys of the instance."""
    if first.kind is second.kind and len(first.keys) == len(second.keys):
        if all([isinstance(key, FlattenedIndexKey) for key in first.keys]):
            return first._replace(keys=second.keys), second
        if all([isinstance(key, FlattenedIndexKey) for key in second.keys]):
            return first, second._replace(keys=first.keys)
    return first, second


def _reason(first: Level, second: Level) -> str:
    if first.kind is None or second.kind is None:
        return "one is a leaf, the other is a container"
    if first.kind is not second.kind:
        return "the types differ"
    if first.keys != second.keys:
        missing = [_simple_repr(key) for key in first.keys if key not in second.keys]
        surplus = [_simple_repr(key) for key in second.keys if key not in first.keys]
        if all(isinstance(key, SequenceKey) for key in (*first.keys, *second.keys)):
            return "the lengths differ"
        if not missing and not surplus:
            return "the keys are in another order"
        parts = [f"only the first has {', '.join(missing)}"] if missing else []
        parts += [f"only the second has {', '.join(surplus)}"] if surplus else []
        return "; ".join(parts)
    if len(first.children) != len(second.children):
        return "the numbers of children differ"
    return "the static data differ"


def _simple_repr(entry: KeyEntry) -> str:
    return repr(entry.key) if isinstance(entry, DictKey) else str(entry)


def differences(
    first: Any,
    second: Any,
    open_first: OpenLevel,
    open_second: OpenLevel,
    *,
    prefix: bool,
    path: KeyPath = (),
) -> Iterator[Difference]:
    """Every place where two structures part, outermost first; below such a place nothing is compared.

    With `prefix` a leaf of the first matches whatever stands in the second.
    """
    a = open_first(first)
    if prefix and a.kind is None:
        return
    b = open_second(second)
    if a.kind is None and b.kind is None:
        return
    a, b = _named_alike(a, b)
    if a.kind is not b.kind or len(a.children) != len(b.children) or not same_aux(a.aux, b.aux):
        yield Difference(path, a.noun, b.noun, _reason(a, b))
        return
    for key, child_a, child_b in zip(a.keys, a.children, b.children, strict=True):
        yield from differences(child_a, child_b, open_first, open_second, prefix=prefix, path=(*path, key))


def difference_text(difference: Difference, name: str, first_place: str, second_place: str) -> str:
    """One line: `params['w'] is a list of 2 here, a tuple of 2 there (the types differ)`."""
    path, first, second, reason = difference
    where = f"{name}{short_keystr(path)}" or "the root"
    if first == second:
        return f"{where} is {first} in both, but {reason}"
    return f"{where} is {first} {first_place}, {second} {second_place} ({reason})"


def find_cycle(
    tree: Any, children_of: Callable[[Any], Sequence[tuple[KeyEntry, Any]]]
) -> tuple[KeyPath, KeyPath | None]:
    """Looks for a container that contains itself.

    Returns the deepest path seen and None, or, where there is a cycle, the path of the inner occurrence and
    that of the container it repeats. Iterative, for it runs when recursion has failed, and with a limit, for a
    registered class may make new containers without end.
    """
    deepest: KeyPath = ()
    limit = 10 * sys.getrecursionlimit()
    path: list[KeyEntry] = []
    on_path: list[Any] = [tree]
    pending = [iter(children_of(tree))]
    depth_of = {id(tree): 0}
    while pending:
        item = next(pending[-1], None)
        if item is None:
            if len(path) > len(deepest):
                deepest = tuple(path)
            pending.pop()
            del depth_of[id(on_path.pop())]
            if path:
                path.pop()
            continue
        key, child = item
        if id(child) in depth_of:
            return (*path, key), tuple(path[: depth_of[id(child)]])
        children = children_of(child)
        if children:
            path.append(key)
            on_path.append(child)
            depth_of[id(child)] = len(path)
            pending.append(iter(children))
            if len(path) > limit:
                return tuple(path), None
    return deepest, None
