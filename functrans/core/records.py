"""The parameter values that a jaxpr's text calls by a name: record types and singletons.

Numbers, strings, tuples, dtypes and jaxprs have a spelling of their own. A record (a namedtuple, a frozen dataclass)
is written as ``Name(field=value)``, a member of an enum as ``Name.MEMBER``, a singleton as ``@name``. What is
registered here can be read back.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, TypeVar

from functrans import errors

R = TypeVar("R", bound=type)

_records: dict[str, type] = {}
_singletons: dict[str, Any] = {}
_singleton_names: dict[int, str] = {}


def readable(cls: R) -> R:
    """Class decorator for an enum, a namedtuple or a frozen dataclass whose values may be read from a jaxpr's text.

    Raises:
        ArgumentError: for any other class, and where another class of that name is registered.

    >>> from typing import NamedTuple
    >>> from functrans.core.parser import value_from_text
    >>> from functrans.core.printer import value_text
    >>> @readable
    ... class ExampleWindow(NamedTuple):
    ...     size: int
    ...     strides: tuple[int, ...]
    >>> text = value_text(ExampleWindow(3, (1, 2)))
    >>> text
    'ExampleWindow(size=3, strides=(1, 2))'
    >>> value_from_text(text)
    ExampleWindow(size=3, strides=(1, 2))
    """
    if not (issubclass(cls, enum.Enum) or is_namedtuple(cls) or is_frozen_dataclass(cls)):
        raise errors.ArgumentError(f"readable: {cls.__name__} is no enum, namedtuple or frozen dataclass")
    known = _records.setdefault(cls.__name__, cls)
    if known is not cls and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise errors.ArgumentError(
            f"readable: the name {cls.__name__!r} belongs to {known.__module__}.{known.__qualname__}; a text could not "
            f"tell it from {cls.__module__}.{cls.__qualname__}. Rename one of them"
        )
    _records[cls.__name__] = cls
    return cls


def name_singleton(name: str, value: object) -> None:
    """Let ``@name`` stand for an object in texts, as for a backend of which there is one.

    Raises:
        ArgumentError: if the name is no identifier, or stands for another object.
    """
    if not (name.isidentifier() and name.isascii()):
        raise errors.ArgumentError(f"name_singleton: {name!r} is no identifier of ASCII letters and digits")
    if _singletons.setdefault(name, value) is not value:
        raise errors.ArgumentError(f"name_singleton: @{name} stands for another object already: {_singletons[name]!r}")
    _singleton_names[id(value)] = name


def singleton_name(value: object) -> str | None:
    """The name that an object was given, None if it has none."""
    name = _singleton_names.get(id(value))
    return name if name is not None and _singletons[name] is value else None


def singleton(name: str) -> Any:
    """The object that ``@name`` stands for; KeyError if nothing has that name."""
    return _singletons[name]


def record_class(name: str) -> type:
    """The registered record class of that name; KeyError if there is none."""
    return _records[name]


def is_namedtuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_frozen_dataclass(cls: type) -> bool:
    params = getattr(cls, "__dataclass_params__", None)
    return params is not None and bool(params.frozen)


def record_fields(value: Any) -> list[tuple[str, Any]] | None:
    """The fields that make a namedtuple or a frozen dataclass instance, by name; None for other objects."""
    cls: Any = type(value)
    if isinstance(value, tuple) and is_namedtuple(cls):
        return list(zip(cls._fields, value, strict=True))
    if is_frozen_dataclass(cls):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init]
    return None
