"""Reading the text form of a jaxpr, as ``printer`` writes it. Line breaks and indentation mean nothing."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Box, ShapedArray, aval_of_concrete, shaped
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var, effects_of
from functrans.core.primitive import Primitive, find
from functrans.core.printer import DTYPE_NAME, KEYWORDS, UNBOUND
from functrans.core.records import record_class, singleton
from functrans.core.trace import aval_of

Consts = Sequence[Any] | Callable[[ShapedArray], Any]
Scope = dict[str, Var]

_NUMBER = r"(?:inf|nan|[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)"
_COMPLEX = re.compile(rf"\((-?{_NUMBER})([+-]{_NUMBER})j\)")
_TOKEN = re.compile(
    rf"""
    (?P<space>    (?:\s|\#[^\n]*)+ )
  | (?P<complex>  \(-?{_NUMBER}[+-]{_NUMBER}j\) )
  | (?P<number>   -?{_NUMBER}(?![A-Za-z0-9_.]) )
  | (?P<string>   b?'(?:[^'\\\n]|\\.)*' | b?"(?:[^"\\\n]|\\.)*" )
  | (?P<word>     [A-Za-z_][A-Za-z0-9_]* )
  | (?P<opaque>   <[^<>\n]*> )
  | (?P<mark>     \.\.\. | [][(){{}}:;.,=*~@?] )
    """,
    re.VERBOSE,
)
_BOXES: dict[str, Box] = {"*": "python", "~": "array"}
_BUILTINS: dict[str, Callable[..., Any]] = {"slice": slice, "range": range}


def from_text(text: str, consts: Consts = ()) -> Jaxpr:
    """The jaxpr that a text says, the inverse of ``to_text``.

    Args:
        text: what ``str(jaxpr)`` gives; comments behind ``#`` are passed over.
        consts: the arrays for the variables before the semicolon, whose contents the text does not hold: a
            sequence, or a function that gives one for its type.

    Raises:
        JaxprError: if the text cannot be read; the message says at which line and column, and why.

    Types of results are taken from the text; ``functrans.core.check.check`` compares them with the primitives' rules.

    >>> jaxpr = from_text('''
    ... { lambda ; a:f64[3] . let
    ...     b:f64[3] = add a 2.0
    ...   in (b,) }
    ... ''')
    >>> jaxpr.out_avals
    (f64[3],)
    >>> from_text("{ lambda ; a:f64[3] . let in (b,) }")
    Traceback (most recent call last):
        ...
    functrans.errors.JaxprError: line 1, column 31: no variable 'b' is bound here
        { lambda ; a:f64[3] . let in (b,) }
                                      ^
    """
    parser = _Parser(text)
    jaxpr = parser.jaxpr(consts)
    parser.expect("", "the end of the text")
    return jaxpr


def value_from_text(text: str) -> Any:
    """The value of a parameter that a text says, the inverse of ``value_text``.

    >>> value_from_text("((0, 1), f32, name, 2.0:f32[])")
    ((0, 1), dtype('float32'), 'name', np.float32(2.0))
    """
    parser = _Parser(text)
    value = parser.value({})
    parser.expect("", "the end of the text")
    return value


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Extent(NamedTuple):
    """An extent that a size variable gives, before it is known which."""

    token: _Token


class _Type(NamedTuple):
    """A type as it is written; None as its dtype for ``size``."""

    dtype: DType | None
    extents: tuple[int | _Extent, ...] = ()
    box: Box = "numpy"


class _Parser:
    """Reads tokens from left to right, with two tokens of look-ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.rest = self._tokens()
        self.next = next(self.rest)

    def _tokens(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                self.fail(_Token("", self.text[at], at), f"{self.text[at]!r} has no meaning here")
            at = found.end()
            if found.lastgroup != "space":
                yield _Token(found.lastgroup or "", found.group(), found.start())
        yield _Token("end", "", len(self.text))

    def fail(self, token: _Token, message: str, cause: Exception | None = None) -> NoReturn:
        start = self.text.rfind("\n", 0, token.at) + 1
        line, column = self.text.count("\n", 0, token.at) + 1, token.at - start + 1
        shown = self.text[start:].partition("\n")[0]
        caret = " " * (column - 1) + "^"
        raise errors.JaxprError(f"line {line}, column {column}: {message}\n    {shown}\n    {caret}") from cause

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.next
        if token.kind == "opaque":
            self.fail(token, f"{token.text} stands for an object that text cannot hold; build the jaxpr in Python")
        if token.text == UNBOUND:
            self.fail(token, f"{UNBOUND} stands for a variable that nothing binds")
        self.fail(token, f"{wanted} should stand here, not {repr(token.text) if token.text else 'the end of the text'}")

    def take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.next = next(self.rest)
        return token

    def following(self) -> str:
        """The text of the token behind the next one."""
        found = _TOKEN.match(self.text, self.next.at + len(self.next.text))
        if found is not None and found.lastgroup == "space":
            found = _TOKEN.match(self.text, found.end())
        return found.group() if found is not None else ""

    def at(self, text: str) -> bool:
        return self.next.text == text and self.next.kind in ("mark", "word", "end")

    def accept(self, text: str) -> bool:
        if not self.at(text):
            return False
        self.take()
        return True

    def expect(self, text: str, wanted: str = "") -> _Token:
        if not self.at(text):
            self.unexpected(wanted or repr(text))
        return self.take()

    def word(self, wanted: str) -> _Token:
        if self.next.kind != "word":
            self.unexpected(wanted)
        return self.take()

    def name(self, wanted: str) -> _Token:
        """The name of a variable."""
        if self.next.kind != "word" or self.next.text in KEYWORDS:
            self.unexpected(wanted)
        return self.take()

    def items(self, close: str, item: Callable[[], Any]) -> list[Any]:
        """Items with commas between them, and perhaps one behind the last, up to a closing mark."""
        found = []
        while not self.accept(close):
            found.append(item())
            if not self.at(close):
                self.expect(",", f"',' or {close!r}")
        return found

    # The program.

    def jaxpr(self, consts: Consts | None) -> Jaxpr:
        """``consts`` is None for a jaxpr in a parameter, which has no constants."""
        scope: Scope = {}
        self.expect("{")
        start = self.expect("lambda")
        effects: Any = frozenset()
        if self.accept("["):
            self.expect("effects")
            self.expect("=")
            effects = self.value(scope)
            self.expect("]")
        constants = self.binders(";")
        inputs = self.binders(".")
        variables = self.bind([*constants, *inputs], scope)
        constvars, invars = variables[: len(constants)], variables[len(constants) :]
        self.expect("let")
        eqns = []
        while not self.at("in"):
            eqns.append(self.eqn(scope))
        self.take()
        self.expect("(")
        outvars = self.items(")", lambda: self.atom(scope))
        self.expect("}")
        jaxpr = Jaxpr(invars, eqns, outvars, constvars, self.constants(start, constvars, consts))
        if jaxpr.effects != effects:
            said, found = (", ".join(sorted(e)) or "none" for e in (effects, jaxpr.effects))
            self.fail(start, f"the header names these effects: {said}; the equations have: {found}")
        return jaxpr

    def constants(self, start: _Token, constvars: Sequence[Var], consts: Consts | None) -> list[Any]:
        if consts is None:
            if constvars:
                self.fail(start, "a jaxpr in a parameter has no constants: pass them as operands (Jaxpr.hoisted)")
            return []
        values = [consts(v.aval) for v in constvars] if callable(consts) else list(consts)
        if len(values) != len(constvars):
            self.fail(
                start,
                f"arrays for the constants: {len(constvars)} are needed, {len(values)} were given. A text does not "
                f"hold their contents: pass them as from_text(text, consts)",
            )
        for i, (var, value) in enumerate(zip(constvars, values, strict=True)):
            if aval_of(value) != var.aval:
                self.fail(start, f"constant {i} has type {var.aval}, and a value of type {aval_of(value)} was given")
        return values

    def binders(self, stop: str) -> list[tuple[_Token, _Type]]:
        found = []
        while not self.accept(stop):
            token = self.name(f"a variable or {stop!r}")
            self.expect(":", f"':' and the type of {token.text}")
            found.append((token, self.type()))
        return found

    def bind(self, binders: Sequence[tuple[_Token, _Type]], scope: Scope) -> list[Var]:
        """Variables for binders that stand side by side. Their types may refer to each other's sizes."""
        for token, written in binders:
            if token.text in scope:
                self.fail(token, f"the variable {token.text!r} is bound a second time")
            scope[token.text] = SizeVar() if written.dtype is None else Var(shaped((), written.dtype))
        for token, written in binders:
            if written.dtype is not None:
                scope[token.text].aval = self.aval(written, scope)
        return [scope[token.text] for token, _ in binders]

    def eqn(self, scope: Scope) -> Eqn:
        if self.accept("("):
            self.expect(")")
            self.expect("=")
            binders = []
        else:
            if self.next.kind != "word":
                self.unexpected("an equation or 'in'")
            binders = self.binders("=")
        at = self.next
        prim = self.primitive()
        params: dict[str, Any] = {}
        if self.accept("["):
            while not self.accept("]"):
                key = self.word("a parameter or ']'")
                if key.text in params:
                    self.fail(key, f"the parameter {key.text!r} is given twice")
                self.expect("=")
                params[key.text] = self.value(scope)
        inputs = []
        while not (self.at("in") or self.at("(")):
            # A name with a colon behind it binds the first result of the next equation.
            if self.next.kind == "word" and self.following() == ":" and self.next.text not in ("True", "False"):
                break
            inputs.append(self.atom(scope))
        outs = self.bind(binders, scope)
        try:
            effects = effects_of(prim, params)
        except Exception as error:
            self.fail(at, f"the parameters of {prim.name!r} do not fit its rule for effects: {error}", error)
        return Eqn(prim, tuple(inputs), tuple(outs), params, None, effects)

    def primitive(self) -> Primitive:
        token = self.next
        name = self.string() if token.kind == "string" else self.word("a primitive").text
        try:
            return find(name)
        except errors.JaxprError as error:
            self.fail(token, str(error), error)

    def atom(self, scope: Scope) -> Atom:
        token = self.next
        if token.kind in ("number", "complex") or token.text in ("True", "False"):
            return Literal(self.number())
        name = self.name("a variable or a number").text
        if name not in scope:
            self.fail(token, f"no variable {name!r} is bound here")
        return scope[name]

    # Types.

    def type(self) -> _Type:
        token = self.word("a type")
        if token.text == "size":
            return _Type(None)
        dtype = self.dtype(token)
        self.expect("[", "'[' and the extents")
        extents = tuple(self.items("]", self.extent))
        mark = self.next.text
        if mark in _BOXES and not extents:
            self.take()
            return _Type(dtype, (), _BOXES[mark])
        return _Type(dtype, extents)

    def extent(self) -> int | _Extent:
        if self.next.kind == "number" and self.next.text.isdigit():
            return int(self.take().text)
        return _Extent(self.name("an extent"))

    def dtype(self, token: _Token) -> DType:
        try:
            return dtypes.from_short_name(token.text)
        except KeyError:
            self.fail(token, f"no dtype is named {token.text!r}")

    def aval(self, written: _Type, scope: Scope) -> ShapedArray:
        assert written.dtype is not None
        shape: list[Any] = []
        for extent in written.extents:
            if isinstance(extent, _Extent):
                size = scope.get(extent.token.text)
                if not isinstance(size, SizeVar):
                    self.fail(extent.token, f"no size variable {extent.token.text!r} is bound here")
                shape.append(size)
            else:
                shape.append(extent)
        return shaped(tuple(shape), written.dtype, written.box)

    # Parameters and numbers.

    def value(self, scope: Scope) -> Any:
        token = self.next
        if token.kind in ("number", "complex") or token.text in ("True", "False"):
            return self.number()
        if token.kind == "string":
            return self.string()
        if self.accept("None"):
            return None
        if self.accept("..."):
            return Ellipsis
        if self.accept("("):
            return tuple(self.items(")", lambda: self.value(scope)))
        if self.accept("@"):
            name = self.word("a name")
            try:
                return singleton(name.text)
            except KeyError:
                self.fail(name, f"no object is named @{name.text}; functrans.core.records.name_singleton names one")
        if self.at("{"):
            return self.braces(scope)
        name = self.name("a value")
        if self.accept("("):
            return self.record(name, scope)
        if self.accept("."):
            return self.member(name)
        known = scope.get(name.text)
        if isinstance(known, SizeVar):
            return known
        if not DTYPE_NAME.fullmatch(name.text):
            return name.text
        dtype = self.dtype(name)
        if not self.accept("["):
            return dtype
        extents = tuple(self.items("]", self.extent))
        box: Box = _BOXES[self.take().text] if self.next.text in _BOXES and not extents else "numpy"
        return self.aval(_Type(dtype, extents, box), scope)

    def braces(self, scope: Scope) -> Any:
        """A jaxpr or a set."""
        if self.following() == "lambda":
            return self.jaxpr(None)
        self.take()
        return frozenset(self.items("}", lambda: self.value(scope)))

    def string(self) -> Any:
        token = self.take()
        try:
            return ast.literal_eval(token.text)
        except (SyntaxError, ValueError) as error:
            self.fail(token, f"the string cannot be read: {error}", error)

    def record(self, name: _Token, scope: Scope) -> Any:
        """A slice, a range or a registered record, behind its opening parenthesis."""
        if name.text in _BUILTINS:
            parts = self.items(")", lambda: self.value(scope))
            return self.construct(name, lambda: _BUILTINS[name.text](*parts))

        def field() -> tuple[str, Any]:
            key = self.word("a field").text
            self.expect("=")
            return key, self.value(scope)

        cls = self.registered(name)
        fields = dict(self.items(")", field))
        return self.construct(name, lambda: cls(**fields))

    def member(self, name: _Token) -> Any:
        """A member of a registered enum, behind the dot."""
        cls: Any = self.registered(name)
        token = self.word("a member")
        if not issubclass(cls, enum.Enum) or token.text not in cls.__members__:
            self.fail(token, f"{name.text} has no member {token.text!r}")
        return cls[token.text]

    def registered(self, name: _Token) -> Any:
        try:
            return record_class(name.text)
        except KeyError:
            self.fail(
                name,
                f"no record type {name.text!r} is registered for reading; decorate the class with "
                f"functrans.core.records.readable, and import its module",
            )

    def construct(self, name: _Token, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:
            self.fail(name, f"no {name.text} can be made of these fields: {error}", error)

    def number(self) -> Any:
        """A Python number, or with a type behind a colon one of that type."""
        token = self.take()
        if not self.accept(":"):
            return _python_number(token.text)
        written = self.type()
        if written.dtype is None or written.extents:
            self.fail(token, "a number in an equation has a dtype and no axes")
        aval = shaped((), written.dtype, written.box)
        try:
            value = _number(token.text, aval)
        except (ValueError, OverflowError) as error:
            self.fail(token, f"{token.text} is no value of type {aval}", error)
        if aval_of_concrete(value) != aval:
            self.fail(token, f"{token.text} is no value of type {aval}")
        return value


def _python_number(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    parts = _COMPLEX.fullmatch(text)
    if parts is not None:
        return complex(float(parts[1]), float(parts[2]))
    return int(text) if text.removeprefix("-").isdigit() else float(text)


def _number(text: str, aval: ShapedArray) -> Any:
    if aval.box == "python":
        return _python_number(text)
    scalar = _numpy_number(text, aval.dtype)
    return np.asarray(scalar, aval.dtype) if aval.box == "array" else scalar


def _numpy_number(text: str, dtype: DType) -> Any:
    if dtype == dtypes.float0:
        return np.zeros((), dtype)[()]
    kind = dtypes.kind(dtype)
    if kind in "biu":
        number = _python_number(text)
        if type(number) is not (bool if kind == "b" else int):
            raise ValueError
        return dtype.type(number)
    parts = _COMPLEX.fullmatch(text)
    if kind == "c":
        number = np.zeros((), dtype)
        part = dtypes.real_dtype(dtype)
        number.real, number.imag = (part.type(p) for p in parts.groups()) if parts is not None else (part.type(text), 0)
        return number[()]
    if parts is not None:
        raise ValueError
    return dtype.type(text if dtype.kind == "f" else float(text))
