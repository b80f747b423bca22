"""How a user's class becomes a pytree node."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from functrans.core.static_data import brief
from functrans.core.tree_nodes import dataclass_type, split_fields
from functrans.core.tree_paths import GetAttrKey, KeyEntry
from functrans.core.treedef import NodeError, NodeType, register
from functrans.errors import TreeStructureError

C = TypeVar("C", bound=type)


def _checked(caller: str, cls: type, result: Any, tree: Any) -> tuple[list[Any], Any]:
    """Children and static data from what a user's flattening function returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise NodeError(
            f"the flattening function of {cls.__qualname__}, given to {caller}, should return a tuple "
            f"(children, aux_data), got {brief(result)}",
            tree,
        )
    try:
        children = list(result[0])
    except TypeError:
        raise NodeError(
            f"the flattening function of {cls.__qualname__}, given to {caller}, should return a tuple "
            f"(children, aux_data) where children is iterable, got {brief(result)}",
            tree,
        ) from None
    return children, result[1]


def _keyed_functions(
    caller: str, cls: type, function: Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Any]]
) -> Callable[[Any], tuple[list[tuple[KeyEntry, Any]], Any]]:
    def with_keys(tree: Any) -> tuple[list[tuple[KeyEntry, Any]], Any]:
        pairs, aux = _checked(caller, cls, function(tree), tree)
        if not all([isinstance(pair, tuple) and len(pair) == 2 for pair in pairs]):
            raise NodeError(
                f"the flattening function of {cls.__qualname__}, given to {caller}, should return pairs "
                f"(key, child), got {brief(pairs)}",
                tree,
            )
        return pairs, aux

    return with_keys


def _require_class(caller: str, cls: Any) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"{caller}: expected a class, got {brief(cls)}")


def register_pytree_node(
    nodetype: type[Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, tuple[Any, ...]], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Any]] | None = None,
) -> None:
    """Makes instances of a class containers.

    Args:
        nodetype: the class; instances of its subclasses stay leaves.
        flatten_func: instance -> (children, aux_data); static data must be hashable for use under `jit`.
        unflatten_func: (aux_data, tuple of children) -> instance. It is also called with children that are
            no arrays (tracers, None, whole subtrees), so it must not convert or check them.
        flatten_with_keys_func: instance -> ((key, child) pairs, aux_data); without it the children are
            named by their number in key paths.

    Raises:
        TreeStructureError: the class is registered already.
        TypeError: `nodetype` is no class.

    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register_pytree_node(Pair, lambda p: ((p.x, p.y), None), lambda _, xy: Pair(*xy))
    >>> from functrans.core.tree import tree_map
    >>> doubled = tree_map(lambda x: 2 * x, Pair(1, 2))
    >>> doubled.x, doubled.y
    (2, 4)
    """
    _register("register_pytree_node", nodetype, flatten_func, unflatten_func, flatten_with_keys_func)


def _register(
    caller: str,
    cls: type[Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None,
    unflatten_func: Callable[[Any, tuple[Any, ...]], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Any]] | None,
) -> None:
    _require_class(caller, cls)
    with_keys = None if flatten_with_keys_func is None else _keyed_functions(caller, cls, flatten_with_keys_func)

    def to_children(tree: Any) -> tuple[Sequence[Any], Any]:
        if flatten_func is not None:
            return _checked(caller, cls, flatten_func(tree), tree)
        assert with_keys is not None
        pairs, aux = with_keys(tree)
        return [child for _, child in pairs], aux

    kind = NodeType(cls, to_children, lambda aux, children: unflatten_func(aux, tuple(children)), with_keys=with_keys)
    register(kind, caller)


def register_pytree_with_keys(
    nodetype: type[Any],
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Any]],
    unflatten_func: Callable[[Any, tuple[Any, ...]], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Makes instances of a class containers whose children have keys.

    Args:
        nodetype: the class.
        flatten_with_keys: instance -> ((key, child) pairs, aux_data), with keys such as `GetAttrKey("x")`.
        unflatten_func: (aux_data, tuple of children) -> instance.
        flatten_func: instance -> (children, aux_data), used where no keys are needed.

    Raises:
        TreeStructureError: the class is registered already.

    >>> class Point:
    ...     def __init__(self, x):
    ...         self.x = x
    >>> register_pytree_with_keys(Point, lambda p: ([(GetAttrKey("x"), p.x)], None), lambda _, x: Point(*x))
    >>> from functrans.core.tree import keystr, tree_leaves_with_path
    >>> [(keystr(path), leaf) for path, leaf in tree_leaves_with_path(Point([7]))]
    [('.x[0]', 7)]
    """
    _register("register_pytree_with_keys", nodetype, flatten_func, unflatten_func, flatten_with_keys)


def _require_methods(caller: str, cls: type, names: Sequence[str]) -> None:
    missing = [name for name in names if not callable(getattr(cls, name, None))]
    if missing:
        raise TypeError(f"{caller}: {cls.__qualname__} has no method {' and no method '.join(missing)}")


def register_pytree_node_class(cls: C) -> C:
    """Class decorator: `tree_flatten(self)` and `tree_unflatten(cls, aux_data, children)` make a container.

    Raises:
        TypeError: one of the two methods is missing.
        TreeStructureError: the class is registered already.

    >>> @register_pytree_node_class
    ... class Scale:
    ...     def __init__(self, s):
    ...         self.s = s
    ...     def tree_flatten(self):
    ...         return (self.s,), None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux_data, children):
    ...         return cls(*children)
    >>> from functrans.core.tree import tree_leaves
    >>> tree_leaves(Scale(3.0))
    [3.0]
    """
    caller = "register_pytree_node_class"
    _require_class(caller, cls)
    _require_methods(caller, cls, ["tree_flatten", "tree_unflatten"])
    owner: Any = cls
    _register(caller, cls, lambda tree: tree.tree_flatten(), owner.tree_unflatten, None)
    return cls


def register_pytree_with_keys_class(cls: C) -> C:
    """Class decorator: like `register_pytree_node_class`, with `tree_flatten_with_keys(self)`.

    `tree_flatten` is used where no keys are needed, if the class has it.

    Raises:
        TypeError: `tree_flatten_with_keys` or `tree_unflatten` is missing.
        TreeStructureError: the class is registered already.
    """
    caller = "register_pytree_with_keys_class"
    _require_class(caller, cls)
    _require_methods(caller, cls, ["tree_flatten_with_keys", "tree_unflatten"])
    owner: Any = cls
    flatten = (lambda tree: tree.tree_flatten()) if hasattr(cls, "tree_flatten") else None
    _register(caller, cls, flatten, owner.tree_unflatten, lambda tree: tree.tree_flatten_with_keys())
    return cls


def static(**kwargs: Any) -> Any:
    """A dataclass field that holds static data: takes the arguments of `dataclasses.field`.

    >>> @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     activation: str = static(default="relu")
    >>> from functrans.core.tree import tree_leaves
    >>> tree_leaves(Layer(2.0))
    [2.0]
    """
    metadata = dict(kwargs.pop("metadata", None) or {})
    return dataclasses.field(metadata={**metadata, "static": True}, **kwargs)


def register_dataclass(
    nodetype: C,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> C:
    """Registers a dataclass as a container; also a decorator.

    A dataclass need not be registered to be a container: then all fields that its constructor takes are data
    but for those declared with `static`. Registering says which are which, and takes other classes too.

    An instance is rebuilt by calling the class with its fields as keywords, so `__post_init__` runs again: it
    must not convert or check arrays, and fields with `init=False` are what it makes of the others.

    Args:
        nodetype: the class.
        data_fields: the names of the fields that are children; by default those not declared `static`.
        meta_fields: the names of the fields that are static data, which must be hashable for use under `jit`.
            Either both are given, or neither.
        drop_fields: fields that are neither, and are left to their defaults.

    Raises:
        TreeStructureError: the class is registered already; a field is named twice, not at all, or unknown.
        TypeError: `nodetype` is no class, one list is missing, or both are and it is no dataclass.

    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Affine:
    ...     w: float
    ...     b: float
    ...     name: str = static(default="affine")
    >>> from functrans.core.tree import tree_map
    >>> tree_map(lambda x: 10 * x, Affine(1.0, 2.0))
    Affine(w=10.0, b=20.0, name='affine')
    """
    caller = "register_dataclass"
    _require_class(caller, nodetype)
    is_dataclass = dataclasses.is_dataclass(nodetype)
    if data_fields is None and meta_fields is None:
        if not is_dataclass:
            raise TypeError(
                f"{caller}: data_fields and meta_fields are required when nodetype is not a dataclass. "
                f"Got nodetype={nodetype!r}"
            )
        data, meta = split_fields(nodetype, drop_fields)
    elif data_fields is None or meta_fields is None:
        raise TypeError(
            f"{caller}: data_fields and meta_fields must both be specified when either is specified. "
            f"Got data_fields={data_fields} meta_fields={meta_fields}."
        )
    else:
        data, meta = list(data_fields), list(meta_fields)
    named = [*data, *meta, *drop_fields]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise TreeStructureError(f"{caller}: {nodetype.__qualname__}: fields named twice: {', '.join(twice)}")
    if is_dataclass:
        _check_fields(caller, nodetype, named)
    register(dataclass_type(nodetype, data, meta), caller)
    return nodetype


def _check_fields(caller: str, cls: type[Any], named: list[str]) -> None:
    init_fields = {field.name for field in dataclasses.fields(cls) if field.init}
    for word, names in (("Missing", init_fields - set(named)), ("Unexpected", set(named) - init_fields)):
        if names:
            raise TreeStructureError(
                f"{caller}: data_fields and meta_fields must include all dataclass fields that the "
                f"constructor of {cls.__qualname__} takes, and no others (drop_fields lists those to leave out). "
                f"{word} fields: {{{', '.join(map(repr, sorted(names)))}}}"
            )


def register_static(cls: C) -> C:
    """Class decorator: instances are containers without leaves, static data from one end to the other.

    `jit` then retraces when an argument of the class compares unequal to the one it was traced with, so the
    class needs `__eq__` and `__hash__` that agree.

    Raises:
        TypeError: `cls` is no class.
        TreeStructureError: the class is registered already.

    >>> @register_static
    ... class Mode(str):
    ...     pass
    >>> from functrans.core.tree import tree_leaves
    >>> tree_leaves((1, Mode("train")))
    [1]
    """
    _require_class("register_static", cls)
    kind = NodeType(
        cls,
        lambda tree: ((), tree),
        lambda aux, children: aux,
        noun=lambda aux, n: f"the static {brief(aux)}",
    )
    register(kind, "register_static")
    return cls


class _OpaqueCallable:
    """Hides an inner `functools.partial` from `Partial`, which would merge it: its arguments stay static."""

    __slots__ = ("function",)

    def __init__(self, function: functools.partial[Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self.function == (other.function if isinstance(other, _OpaqueCallable) else other)

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return repr(self.function)


class Partial(functools.partial[Any]):
    """`functools.partial` as a container: the bound arguments are children, the function is static.

    So a function that captures arrays can be an argument or a result of a transformed function. An inner
    `functools.partial` stays closed: its arguments are static, not leaves.

    >>> import operator
    >>> from functrans.core.tree import tree_map
    >>> add_two = Partial(operator.add, 2)
    >>> tree_map(lambda x: 10 * x, add_two)(3)
    23
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Partial:
        if isinstance(func, functools.partial) and not isinstance(func, Partial):
            func = _OpaqueCallable(func)
        return super().__new__(cls, func, *args, **kwargs)


def _build_partial(func: Callable[..., Any], children: Iterable[Any]) -> Partial:
    args, keywords = children
    return Partial(func, *args, **keywords)


register(
    NodeType(
        Partial,
        lambda partial: ((partial.args, partial.keywords), partial.func),
        _build_partial,
        keys=lambda func, n: [GetAttrKey("args"), GetAttrKey("keywords")],
        noun=lambda func, n: f"a Partial of {brief(func)}",
    ),
    "Partial",
)
