"""The text form of a jaxpr. ``parser`` reads it back, so that a pass can be tested by texts alone.

::

    { lambda c:f64[3] ; a:f64[3,4] b:f32[] . let
        d:f64[3,4] = mul a 2.0
        e:f64[4] = sum[axes=(0,)] d
      in (e, 3.0:f32[]) }

Constants stand before the semicolon, inputs behind it. A type is the repr of its aval: ``f64[]`` is a NumPy scalar,
``f64[]*`` a Python number, ``f64[]~`` a 0-d array. A bare number is a Python number, one with a type is of that type.
A variable of type ``size`` may be an extent of others (``n:size x:f64[n,3]``).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, aval_of_concrete
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var, write_with
from functrans.core.records import record_fields, singleton_name

KEYWORDS = frozenset({"lambda", "let", "in", "None", "True", "False", "inf", "nan"})
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
DTYPE_NAME = re.compile(r"bool|float0|bf16|[iufc][0-9]+(_\w+)?")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WIDTH = 90

UNBOUND = "?"

Names = Mapping[Var, str]


def to_text(jaxpr: Jaxpr, *, source: bool = False) -> str:
    """The text of a jaxpr: what ``str`` gives.

    Variables are named ``a``, ``b``, … in the order inputs, constants, results of equations, so that equal programs
    have equal texts. The contents of constants are left out.

    Args:
        jaxpr: any jaxpr, also one that is not well formed: ``?`` stands for a variable that nothing binds.
        source: whether a comment behind each equation says which line of the user's program it comes from.

    >>> from functrans.core.avals import shaped
    >>> from functrans.core.stage import stage
    >>> from functrans.core.structural import add, reduce_sum
    >>> print(to_text(stage(lambda x: [reduce_sum(add(x, 2.0), (0,))], [shaped((3, 4), np.dtype("float64"))])))
    { lambda ; a:f64[3,4] . let
        b:f64[3,4] = add a 2.0
        c:f64[4] = sum[axes=(0,)] b
      in (c,) }
    """
    return _Writer(jaxpr, source).jaxpr(0)


write_with(to_text)


def eqn_text(eqn: Eqn, names: Names) -> str:
    """One equation, for error messages: with ``{ … }`` in place of the jaxprs in its parameters."""
    return _Writer(None, False, names, nested=False).eqn(eqn, 0)


def value_text(value: Any) -> str:
    """The text of a parameter's value."""
    return _Writer(None, False).value(value, 0)


def variable_names(jaxpr: Jaxpr) -> dict[Var, str]:
    """The name that the text gives to each variable which the jaxpr itself binds."""
    names: dict[Var, str] = {}
    fresh = _fresh_names()
    for var in (*jaxpr.invars, *jaxpr.constvars, *(out for eqn in jaxpr.eqns for out in eqn.outs)):
        if var not in names:
            names[var] = next(fresh)
    return names


def _fresh_names() -> Iterator[str]:
    for length in count(1):
        for letters in product(_LETTERS, repeat=length):
            name = "".join(letters)
            if name not in KEYWORDS and not DTYPE_NAME.fullmatch(name):
                yield name


def aval_text(aval: ShapedArray, names: Names) -> str:
    """The text of a type, its size variables by name."""
    if not any(isinstance(d, SizeVar) for d in aval.shape):
        return repr(aval)
    extents = ",".join(names.get(d, UNBOUND) if isinstance(d, SizeVar) else str(d) for d in aval.shape)
    return f"{dtypes.short_name(aval.dtype)}[{extents}]"


class _Writer:
    """Writes one jaxpr; those in its parameters have a writer, and so a scope, of their own."""

    def __init__(self, jaxpr: Jaxpr | None, source: bool, names: Names | None = None, nested: bool = True) -> None:
        self.program = jaxpr
        self.source = source
        self.nested = nested
        self.names: Names = variable_names(jaxpr) if names is None and jaxpr is not None else names or {}
        self.sizes = {name for var, name in self.names.items() if isinstance(var, SizeVar)}

    # Layout: equations stand four columns further right than the brace that opens their jaxpr, ``in`` two.

    def jaxpr(self, indent: int) -> str:
        assert self.program is not None
        lines = [f"{{ {self._header()} let"]
        for eqn in self.program.eqns:
            comment = f"  # {eqn.source}" if self.source and eqn.source is not None else ""
            lines.append(f"{' ' * (indent + 4)}{self.eqn(eqn, indent + 4)}{comment}")
        lines.append(f"{' ' * (indent + 2)}in {self._sequence([self.atom(a) for a in self.program.outvars])} }}")
        return "\n".join(lines)

    def _nested(self, jaxpr: Jaxpr, indent: int) -> str:
        if not self.nested:
            return "{ … }"
        text = _Writer(jaxpr, self.source).jaxpr(indent)
        if len(jaxpr.eqns) <= 1 and "#" not in text:
            line = " ".join(part.strip() for part in text.split("\n"))
            if len(line) <= _WIDTH and len(text.split("\n")) <= 3:
                return line
        return text

    def _header(self) -> str:
        assert self.program is not None
        effects = f"[effects={self.value(self.program.effects, 0)}]" if self.program.effects else ""
        constants, inputs = (
            "".join(f" {self.binder(v)}" for v in group) for group in (self.program.constvars, self.program.invars)
        )
        return f"lambda{effects}{constants} ;{inputs} ."

    def eqn(self, eqn: Eqn, indent: int) -> str:
        outs = " ".join(map(self.binder, eqn.outs)) or "()"
        params = " ".join(f"{key}={self.value(value, indent)}" for key, value in eqn.params.items())
        call = self._word(eqn.prim.name) + (f"[{params}]" if params else "")
        return " ".join([outs, "=", call, *map(self.atom, eqn.inputs)])

    def binder(self, var: Var) -> str:
        kind = "size" if isinstance(var, SizeVar) else aval_text(var.aval, self.names)
        return f"{self.names.get(var, UNBOUND)}:{kind}"

    def atom(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            return literal_text(atom)
        return self.names.get(atom, UNBOUND)

    # Parameters.

    def value(self, value: Any, indent: int) -> str:
        """The text of a parameter's value; ``<…>`` for an object that has none which could be read back."""
        if value is None or value is Ellipsis:
            return "None" if value is None else "..."
        if isinstance(value, enum.Enum):
            return f"{type(value).__name__}.{value.name}" if value.name else f"<{type(value).__name__}>"
        if isinstance(value, (np.generic, bool, int, float, complex)):
            return _scalar_text(value)
        if isinstance(value, str):
            return self._word(value)
        if isinstance(value, bytes):
            return repr(value)
        if isinstance(value, Jaxpr):
            return self._nested(value, indent)
        if isinstance(value, SizeVar):
            return self.names.get(value, UNBOUND)
        if isinstance(value, ShapedArray):
            return aval_text(value, self.names)
        if isinstance(value, np.dtype):
            return _dtype_text(value) or _opaque(value)
        if isinstance(value, (slice, range)):
            parts = (value.start, value.stop, value.step)
            return f"{type(value).__name__}({', '.join(self.value(p, indent) for p in parts)})"
        if isinstance(value, frozenset):
            return f"{{{', '.join(sorted(self.value(v, indent) for v in value))}}}"
        fields = record_fields(value)
        if fields is not None:
            return f"{type(value).__name__}({', '.join(f'{k}={self.value(v, indent)}' for k, v in fields)})"
        if isinstance(value, tuple):
            return self._sequence([self.value(v, indent) for v in value])
        name = singleton_name(value)
        return f"@{name}" if name is not None else _opaque(value)

    def _word(self, text: str) -> str:
        """A string, in quotes where it could be taken for something else."""
        plain = _IDENTIFIER.fullmatch(text) and text not in KEYWORDS and text not in self.sizes
        return text if plain and not DTYPE_NAME.fullmatch(text) else repr(text)

    @staticmethod
    def _sequence(items: Sequence[str]) -> str:
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def literal_text(literal: Literal) -> str:
    """A number that stands in an equation: bare if it is a Python number, else with its type."""
    if aval_of_concrete(literal.value) != literal.aval or literal.aval.shape != ():
        return f"<{literal.value!r}:{literal.aval}>"
    if literal.aval.box == "python":
        return _scalar_text(literal.value)
    return f"{_digits(literal.value[()])}:{literal.aval}"


def _scalar_text(value: Any) -> str:
    if isinstance(value, np.generic):
        dtype = _dtype_text(value.dtype)
        return _opaque(value) if dtype is None else f"{_digits(value)}:{dtype}[]"
    # A subclass of a number type writes itself as it likes, so it is reduced to the number first.
    if isinstance(value, complex):
        return _complex(repr(float(value.real)), repr(float(value.imag)))
    return repr(next(t for t in (bool, int, float) if isinstance(value, t))(value))


def _dtype_text(dtype: np.dtype[Any]) -> str | None:
    """The short name of a dtype, None for one that no array of a jaxpr can have."""
    try:
        return dtypes.short_name(dtype) if dtype.isnative else None
    except KeyError:
        return None


def _digits(value: Any) -> str:
    """The fewest digits that give a NumPy scalar back."""
    dtype = value.dtype
    if dtype.kind == "c":
        return _complex(_digits(value.real), _digits(value.imag))
    if dtype.kind in "biu":
        return str(value)
    if dtype == dtypes.float0:
        return "0"
    if dtype.kind != "f" or not np.isfinite(value):
        return repr(float(value))
    # NumPy's own repr of half precision differs between its versions; the shortest digits do not.
    digits = np.format_float_scientific(value, unique=True)
    shortest = repr(float(digits))
    return shortest if dtype.type(shortest) == value else digits


def _complex(real: str, imag: str) -> str:
    sign = "" if imag.startswith("-") else "+"
    return f"({real}{sign}{imag}j)"


def _opaque(value: Any) -> str:
    """What can be said of an object that text cannot hold, the same in every run."""
    kind = "class" if isinstance(value, type) else "function" if callable(value) else type(value).__name__
    label = getattr(value, "__name__", None) or getattr(value, "name", None)
    if not isinstance(label, str):
        return f"<{type(value).__name__}>"
    return f"<{kind} {re.sub(r'[<>]|[^ -~]', '', label)}>"
