"""Arithmetic on numbers in generated programs: operators in place of calls, and numbers that NumPy need not convert.

On a NumPy scalar an operator takes a tenth of the time of the ufunc, and gives the same bits. A Python number beside
an array costs a ufunc nearly as much again as the call itself, which an array without axes does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Literal, Var
from functrans.core.structural import broadcast_p, convert_p, rebox_p

OPERATORS: Mapping[str, str] = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "true_divide": "{} / {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "absolute": "abs({})",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
}
_COMPARISONS = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
_DIVISIONS = frozenset({"divide", "true_divide"})  # Python divides by zero with an error.
_MIXING = frozenset({"add", "subtract", "multiply"})
_WHOLE = {"floor_divide": "{} // {}", "remainder": "{} % {}"}
_LARGEST = 65504.0
"""Numbers up to here are finite in every type of floats."""
_NUMBERS = (np.dtype(np.float64), np.dtype(np.int64))
"""The types that Python's own numbers have in a program."""


def infix(eqn: Eqn, number: bool) -> str | None:
    """The expression of an operation on numbers, None where it has to be called.

    Args:
        number: whether operands and result are Python numbers; see ``as_numbers``.
    """
    if number:
        return _on_numbers(eqn)
    template = OPERATORS.get(eqn.prim.scalar or "")
    avals: Sequence[ShapedArray] = [a.aval for a in eqn.inputs]
    if template is None or any(a.shape != () or a.box == "array" for a in avals):
        return None
    if all(a.box == "python" for a in avals):
        return None
    # Integers of NumPy warn where they overflow, and the ufunc does not.
    floats = all(a.dtype.char in "fd" if a.box == "numpy" else a.dtype.kind in "if" for a in avals)
    return template if floats else None


def _on_numbers(eqn: Eqn) -> str | None:
    """The expression of an operation on Python numbers; None where Python has another opinion of it than NumPy."""
    out = eqn.outs[0].aval
    if eqn.prim is broadcast_p or (eqn.prim is rebox_p and out.box != "python"):
        return "{}" if out.shape == () and out.dtype in _NUMBERS else None
    if eqn.prim is convert_p:
        (x,) = eqn.inputs
        kinds = x.aval.dtype.kind + out.dtype.kind
        return {"ff": "{}", "ii": "{}", "if": "float({})"}.get(kinds) if out.dtype in _NUMBERS else None
    name = eqn.prim.scalar or ""
    kinds = "".join([a.aval.dtype.kind for a in eqn.inputs])
    if set(kinds) - {"i", "f"} or eqn.params or (name not in _COMPARISONS and out.dtype not in _NUMBERS):
        return None
    if name in _DIVISIONS:
        divisor = _literal(eqn.inputs[1])
        return "{} / {}" if divisor and "f" in kinds and abs(divisor) < 1 << 53 else None
    if name in _WHOLE:
        divisor = _literal(eqn.inputs[1])
        return _WHOLE[name] if kinds == "ii" and divisor and divisor != -1 else None
    if name in _COMPARISONS and len(set(kinds)) > 1:
        # NumPy compares an integer with a float as floats.
        whole = [_literal(a) for a in eqn.inputs if a.aval.dtype.kind == "i"]
        return OPERATORS[name] if all(w is not None and abs(w) < 1 << 53 for w in whole) else None
    return OPERATORS.get(name)


def _literal(atom: Atom) -> Any:
    return atom.value if isinstance(atom, Literal) else None


def grows(eqn: Eqn) -> bool:
    """Whether an operation on integers may leave the 64 bits of a program's; a step of a counter does not."""
    if eqn.prim.scalar is None or eqn.outs[0].aval.dtype.kind != "i" or eqn.prim.scalar in _WHOLE:
        return False
    steps = [a.value for a in eqn.inputs if isinstance(a, Literal)]
    return not (eqn.prim.scalar in ("add", "subtract") and any(abs(step) < 1 << 16 for step in steps))


def as_numbers(
    nodes: Sequence[Any], outs: Sequence[Atom], plain: Iterable[Var] = (), free: int = 0, stores: Collection[int] = ()
) -> set[Atom]:
    """The results that may be Python numbers, although their type is NumPy's.

    These are what is computed of Python numbers alone and read by nobody but operations that give such numbers, and
    by those that ask for a Python number.

    Args:
        nodes: equations, or what stands for them.
        plain: values that come as Python numbers.
        free: how many of the last ``outs`` may be Python numbers too.
        stores: the nodes that write their second operand to a place of an array, a Python number as well.
    """
    found: set[Atom] = set()
    given = set(plain)
    wanting = [n.inputs[2:] if i in stores else () if _unboxes(n) else n.inputs for i, n in enumerate(nodes)]

    def on_numbers(node: Any) -> bool:
        return all(a.aval.box == "python" or a in given or a in found for a in node.inputs)

    for node in nodes:
        if getattr(node, "prim", None) is None or len(node.outs) != 1 or node.outs[0].aval.shape != ():
            continue
        if _on_numbers(node) is not None and on_numbers(node):
            found.add(node.outs[0])
    lost: set[Atom] = found.intersection(outs[: len(outs) - free])
    while True:
        for node, wants in zip(nodes, wanting, strict=True):
            if node.outs and node.outs[0] in found:
                if not on_numbers(node):
                    lost.add(node.outs[0])
            else:
                lost |= found.intersection(wants)
        if not lost:
            return found
        found -= lost
        lost = set()


def mixed(nodes: Sequence[Any], numbers: Collection[Atom]) -> set[Atom]:
    """The conversions of an integer to a float that Python makes by itself, beside a float."""
    readers: dict[Any, list[Any]] = {}
    made: set[Atom] = set()
    for node in nodes:
        for a in node.inputs:
            readers.setdefault(a, []).append(node)
        if getattr(node, "prim", None) is convert_p and node.outs[0] in numbers:
            if node.inputs[0].aval.dtype.kind == "i" and node.outs[0].aval.dtype.kind == "f":
                made.add(node.outs[0])
    found = set()
    for a in made:
        (reader, *more) = readers.get(a) or (None,)
        if not more and reader is not None and reader.outs[0] in numbers and reader.prim.scalar in _MIXING:
            others = [b for b in reader.inputs if b is not a]
            if len(others) == 1 and others[0] not in made and others[0].aval.dtype.kind == "f":
                found.add(a)
    return found


def _unboxes(node: Any) -> bool:
    return getattr(node, "prim", None) is rebox_p and node.params["box"] == "python"


def only_unboxed(nodes: Sequence[Any], outs: Sequence[Atom]) -> set[Atom]:
    """The variables that equations, or what stands for them, read only to convert them to Python numbers."""
    read: dict[Atom, bool] = {}
    for node in nodes:
        unboxes = _unboxes(node)
        for atom in node.inputs:
            read[atom] = unboxes and read.get(atom, True)
    kept = set(outs)
    return {atom for atom, unboxed in read.items() if unboxed and isinstance(atom, Var) and atom not in kept}


def stored(nodes: Sequence[Any], outs: Sequence[Atom], stores: Collection[int]) -> set[tuple[Atom, ...]]:
    """The results of equations that box a number only for it to be written to a place of an array."""
    if not stores:
        return set()
    others: set[Atom] = set(outs)
    for i, node in enumerate(nodes):
        others.update((node.inputs[0], *node.inputs[2:]) if i in stores else node.inputs)
    written = {nodes[i].inputs[1] for i in stores} - others
    return {
        node.outs
        for node in nodes
        if getattr(node, "prim", None) in (broadcast_p, rebox_p)
        and node.outs[0] in written
        and node.inputs[0].aval.shape == ()
    }


WIDTH = 1 << 63


def wrapped(value: int) -> int:
    """An integer brought back to 64 bits, as NumPy's wrap around."""
    return (value + WIDTH) % (2 * WIDTH) - WIDTH


def refuse(value: int) -> None:
    """Refuse an integer of more than 64 bits, as NumPy does."""
    raise OverflowError(f"Python integer {value} out of bounds for int64")


@cache
def _pairs(function: np.ufunc) -> frozenset[str]:
    """The types of operands of which a ufunc takes two that are alike."""
    return frozenset(t.split("->")[0] for t in function.types)


def number_as_array(value: Any, function: Any, dtypes: Iterable[DType]) -> np.ndarray[Any, Any] | None:
    """A Python number as what a ufunc makes of it beside arrays of some types; None where that is not plain to see."""
    kind = type(value)
    distinct = set(dtypes)
    if len(distinct) != 1 or kind not in (int, float) or not isinstance(function, np.ufunc):
        return None
    (dtype,) = distinct
    if dtype.isbuiltin != 1 or dtype.kind not in ("fc" if kind is float else "iufc"):
        return None
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-_LARGEST, _LARGEST)
    if not low <= value <= high or dtype.char * 2 not in _pairs(function):
        return None
    converted = np.array(value, dtype)
    converted.flags.writeable = False
    return converted


def spelled(value: Any) -> str:
    """A number as a name: ``n2_0`` for 2.0, ``minus_1`` for -1."""
    text = repr(value).replace("e-", "e_minus_")
    return f"minus_{text[1:]}" if text.startswith("-") else f"n{text}"
