"""The built-in containers, namedtuples and dataclasses as pytree nodes."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from functrans.core.static_data import STR_ONLY, brief
from functrans.core.tree_paths import DictKey, FlattenedIndexKey, GetAttrKey, KeyEntry, SequenceKey
from functrans.core.treedef import (
    LEAF,
    Flattener,
    NodeError,
    NodeType,
    PyTreeDef,
    article,
    declared_leaves,
    flatten_children,
    kinds,
    leaf_types,
    make_treedef,
    register,
    register_leaf,
    registered,
    rules,
)


def _sorted_keys(tree: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(tree)
    except TypeError as error:
        shown = ", ".join([f"{brief(key, 40)} ({type(key).__name__})" for key in islice(tree, 6)])
        more = ", ..." if len(tree) > 6 else ""
        raise NodeError(
            f"the keys of a {type(tree).__name__} cannot be sorted ({error}). The keys are {shown}{more}. A "
            "pytree takes the entries of a dict in sorted order: use keys of one type that can be compared, or "
            "an OrderedDict, which keeps its own order.",
            tree,
        ) from None


def _sequence_flattener(own: NodeType) -> Flattener:
    table = own.interned
    flat: dict[int, PyTreeDef] = {}

    def flatten(tree: Any, leaves: list[Any]) -> PyTreeDef:
        n = len(tree)
        if n > 3 and leaf_types.issuperset(map(type, tree)):
            leaves += tree
            return flat.get(n) or remember(n)
        children = []
        nested = False
        for child in tree:
            kind = kinds[type(child)]
            if kind is None:
                leaves.append(child)
                children.append(LEAF)
            else:
                children.append(kind.flatten(child, leaves))
                nested = True
        if not nested:
            return flat.get(n) or remember(n)
        known = table.get(tuple(map(id, children)))
        return (known and known()) or make_treedef(own, None, children)

    def remember(n: int) -> PyTreeDef:
        treedef = make_treedef(own, None, [LEAF] * n)
        if n <= 64:
            flat[n] = treedef
        return treedef

    return flatten


_SHAPES_LIMIT = 4096


class _DictShape(NamedTuple):
    """The sorted keys of a dict, what takes its values in that order, its treedef if all are leaves."""

    keys: tuple[str, ...]
    values: Callable[[dict[Any, Any]], Any]
    flat: PyTreeDef


_dict_shapes: dict[tuple[str, ...], _DictShape] = {}


def _flatten_dict(tree: dict[Any, Any], leaves: list[Any]) -> PyTreeDef:
    if not tree:
        return _EMPTY_DICT
    names = tuple(tree)
    shape = _dict_shapes.get(names)
    if shape is None:
        return _flatten_new_dict(tree, names, leaves)
    for name in names:
        if type(name) is not str:
            return _flatten_new_dict(tree, names, leaves)
    keys, values_of, flat = shape
    values = values_of(tree)
    if len(names) > 3 and leaf_types.issuperset(map(type, values)):
        leaves += values
        return flat
    children = []
    nested = False
    for child in values:
        kind = kinds[type(child)]
        if kind is None:
            leaves.append(child)
            children.append(LEAF)
        else:
            children.append(kind.flatten(child, leaves))
            nested = True
    if not nested:
        return flat
    known = _dicts.get((keys, tuple(map(id, children))))
    return (known and known()) or make_treedef(DICT, keys, children)


def _flatten_new_dict(tree: dict[Any, Any], names: tuple[Any, ...], leaves: list[Any]) -> PyTreeDef:
    keys = tuple(_sorted_keys(tree))
    if STR_ONLY.issuperset(map(type, keys)):
        if len(_dict_shapes) >= _SHAPES_LIMIT:
            _dict_shapes.clear()
        _dict_shapes[names] = _DictShape(keys, _values_getter(keys), make_treedef(DICT, keys, [LEAF] * len(keys)))
    return make_treedef(DICT, keys, flatten_children([tree[key] for key in keys], leaves))


def _values_getter(keys: tuple[str, ...]) -> Callable[[dict[Any, Any]], Any]:
    return itemgetter(*keys) if len(keys) > 1 else lambda tree: [tree[key] for key in keys]


def _flatten_none(tree: None, leaves: list[Any]) -> PyTreeDef:
    return _NONE_TREEDEF


def _sequence_keys(aux: Any, n: int) -> Sequence[KeyEntry]:
    return [SequenceKey(i) for i in range(n)]


def _dict_keys(aux: Any, n: int) -> Sequence[KeyEntry]:
    return [DictKey(key) for key in aux]


def _keys_noun(name: str) -> Callable[[Any, int], str]:
    return lambda aux, n: f"{article(name)} with keys {brief(list(aux), 200)}" if n else f"an empty {name}"


TUPLE = NodeType(
    tuple,
    lambda tree: (tree, None),
    lambda aux, children: tuple(children),
    keys=_sequence_keys,
    noun=lambda aux, n: f"a tuple of {n}",
    text=lambda aux, texts: f"({', '.join(texts)}{',' if len(texts) == 1 else ''})",
)
TUPLE.flatten = _sequence_flattener(TUPLE)
LIST = NodeType(
    list,
    lambda tree: (tree, None),
    lambda aux, children: list(children),
    keys=_sequence_keys,
    noun=lambda aux, n: f"a list of {n}",
    text=lambda aux, texts: f"[{', '.join(texts)}]",
)
LIST.flatten = _sequence_flattener(LIST)


def _dict_children(tree: dict[Any, Any]) -> tuple[Sequence[Any], Any]:
    keys = tuple(_sorted_keys(tree))
    return [tree[key] for key in keys], keys


DICT = NodeType(
    dict,
    _dict_children,
    lambda keys, children: dict(zip(keys, children)),  # noqa: B905 - quicker, and the callers have counted
    keys=_dict_keys,
    noun=_keys_noun("dict"),
    text=lambda keys, texts: f"{{{', '.join([f'{k!r}: {text}' for k, text in zip(keys, texts, strict=True)])}}}",
)
DICT.flatten = _flatten_dict
_dicts = DICT.interned
_EMPTY_DICT = make_treedef(DICT, (), ())
NONE = NodeType(
    type(None),
    lambda tree: ((), None),
    lambda aux, children: None,
    noun=lambda aux, n: "None",
    text=lambda aux, texts: "None",
    flatten=_flatten_none,
)
_NONE_TREEDEF = make_treedef(NONE, None, ())
ORDERED_DICT = NodeType(
    OrderedDict,
    lambda tree: (list(tree.values()), tuple(tree)),
    lambda keys, children: OrderedDict(zip(keys, children, strict=True)),
    keys=_dict_keys,
    noun=_keys_noun("OrderedDict"),
)


def _defaultdict_children(tree: defaultdict[Any, Any]) -> tuple[Sequence[Any], Any]:
    values, keys = _dict_children(tree)
    return values, (tree.default_factory, keys)


DEFAULT_DICT = NodeType(
    defaultdict,
    _defaultdict_children,
    lambda aux, children: defaultdict(aux[0], zip(aux[1], children, strict=True)),
    keys=lambda aux, n: _dict_keys(aux[1], n),
    noun=lambda aux, n: f"{_keys_noun('defaultdict')(aux[1], n)} and default_factory {brief(aux[0])}",
)


def _namedtuple_rule(cls: type[Any]) -> NodeType | None:
    names: Any = getattr(cls, "_fields", None)
    if not (issubclass(cls, tuple) and isinstance(names, tuple) and hasattr(cls, "_make")):
        return None
    keys = [GetAttrKey(name) for name in names]
    return NodeType(
        cls,
        lambda tree: (tuple(tree), None),
        lambda aux, children: cls._make(children),
        keys=lambda aux, n: keys,
        noun=lambda aux, n: f"a namedtuple {cls.__name__}",
        text=lambda aux, texts: f"CustomNode(namedtuple[{cls.__name__}], [{', '.join(texts)}])",
    )


def dataclass_type(cls: type[Any], data: Sequence[str], meta: Sequence[str]) -> NodeType:
    """The node type of a class whose constructor takes the named fields as keywords."""
    data, meta = tuple(data), tuple(meta)
    keys = [GetAttrKey(name) for name in data]
    names = data + meta

    def to_children(tree: Any) -> tuple[Sequence[Any], Any]:
        return [getattr(tree, name) for name in data], tuple([getattr(tree, name) for name in meta])

    def from_children(aux: tuple[Any, ...], children: Iterable[Any]) -> Any:
        return cls(**dict(zip(names, (*children, *aux), strict=True)))

    def noun(aux: Any, n: int) -> str:
        static = ", ".join([f"{name}={brief(value)}" for name, value in zip(meta, aux, strict=True)])
        return f"{article(cls.__name__)} with {static}" if static else article(cls.__name__)

    return NodeType(cls, to_children, from_children, keys=lambda aux, n: keys, noun=noun)


def split_fields(cls: type[Any], drop: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Data and meta fields of a dataclass: those its constructor takes, meta where declared `static`."""
    fields = [field for field in dataclasses.fields(cls) if field.init and field.name not in drop]
    meta = [field.name for field in fields if field.metadata.get("static", False)]
    return [field.name for field in fields if field.name not in meta], meta


def _dataclass_rule(cls: type[Any]) -> NodeType | None:
    if not dataclasses.is_dataclass(cls) or issubclass(cls, enum.Enum):
        return None
    owner = next((base for base in cls.__mro__[1:] if base in registered or base in declared_leaves), None)
    data, meta = split_fields(cls)
    why = ""
    if owner is not None:
        why = f"it derives from {owner.__qualname__}, which is registered, and is not registered itself"
    else:
        try:
            inspect.signature(cls).bind(**dict.fromkeys(data + meta))
        except (TypeError, ValueError) as error:
            why = f"its constructor cannot be called with its fields {data + meta} alone ({error})"
    if not why:
        return dataclass_type(cls, data, meta)

    def refuse(tree: Any, leaves: Any = None) -> NoReturn:
        raise NodeError(
            f"the dataclass {cls.__qualname__} cannot be used as a pytree as it stands: {why}. Say how it is "
            "taken apart and put together with register_dataclass or register_pytree_node, or make it static "
            "with register_static.",
            tree,
        )

    return NodeType(cls, refuse, refuse, flatten=refuse)


for _kind in (TUPLE, LIST, DICT, NONE, ORDERED_DICT, DEFAULT_DICT):
    register(_kind, "functrans")
for _key_class in (SequenceKey, DictKey, GetAttrKey, FlattenedIndexKey):
    register_leaf(_key_class)
rules += [_namedtuple_rule, _dataclass_rule]
