"""Static data of pytree nodes: when two pieces of it are interchangeable."""

from __future__ import annotations

from typing import Any

from functrans.errors import TreeStructureError

_ATOMS = frozenset({int, bool, str, bytes, type(None)})
STR_ONLY = frozenset({str})


class _Address:
    """Marks, in a token, static data that is equal only to itself."""


def token_of(aux: Any) -> Any:
    """Static data in a form that is equal exactly where it is interchangeable: 1, 1.0 and True are not."""
    cls: Any = type(aux)
    if cls in _ATOMS:
        return cls, aux
    if cls is tuple:
        # A tuple of plain strings, such as the keys of a dict, stands for itself: tokens begin with a class.
        return aux if STR_ONLY.issuperset(map(type, aux)) else (tuple, *map(token_of, aux))
    if cls is float:
        return float, aux.hex()
    if cls is complex:
        return complex, aux.real.hex(), aux.imag.hex()
    if cls.__eq__ is object.__eq__ and cls.__hash__ is not None:
        return _Address, id(aux)
    return cls, aux


def is_stable(aux: Any) -> bool:
    """Whether a token of this static data is made of plain values and addresses alone."""
    cls: Any = type(aux)
    if cls is tuple:
        return STR_ONLY.issuperset(map(type, aux)) or all(map(is_stable, aux))
    return cls in _ATOMS or cls is float or cls is complex or (cls.__eq__ is object.__eq__ and cls.__hash__ is not None)


def same_aux(first: Any, second: Any) -> bool:
    """Whether two pieces of static data are interchangeable."""
    if first is second:
        return True
    a, b = token_of(first), token_of(second)
    try:
        return bool(a == b)
    except Exception as error:
        raise TreeStructureError(
            f"the static data of two pytree nodes could not be compared: comparing {brief(first)} with "
            f"{brief(second)} raised {type(error).__name__}: {error}. Static data must have an equality that "
            "gives a bool; an array belongs among the children (the data fields of a dataclass)."
        ) from error


def brief(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
