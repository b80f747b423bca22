"""The verifier: whether a jaxpr is well formed and typed as its primitives' rules say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from functrans import errors
from functrans.core.avals import ShapedArray, aval_of_concrete
from functrans.core.jaxpr import NO_EFFECTS, Atom, Eqn, Jaxpr, Literal, SizeVar, Var, effects_of, sizes_in
from functrans.core.printer import aval_text, eqn_text, variable_names
from functrans.core.trace import aval_of, is_array


def check(jaxpr: Jaxpr) -> None:
    """Verify a jaxpr, as passes must leave it.

    - Every variable is bound once, before it is used; the size variables that types and parameters refer to are
      among the variables bound so far, or bound side by side with the variable of that type.
    - The types of literals and constants are those of their values.
    - Each equation has the results that the primitive's shape rule gives, in number, shape, dtype and box; its
      parameters are hashable; its effects are those of the primitive or of its regions.
    - The jaxprs among its parameters are well formed and closed: they refer to no variable outside and have no
      constants, which would be hidden from transformations.
    - The effects of the jaxpr are those of its equations together.

    Raises:
        JaxprError: naming the equation, its text and the line of the user's program that it comes from.

    >>> from functrans.core.parser import from_text
    >>> check(from_text("{ lambda ; a:f64[3] . let b:f64[4] = add a 1.0 in (b,) }"))
    Traceback (most recent call last):
        ...
    functrans.errors.JaxprError: equation 0, `b:f64[4] = add a 1.0`: result 0 has type f64[4], and the shape rule of
        'add' gives f64[3]
    """
    _Checker(jaxpr, "").run()


class _Checker:
    """Checks one jaxpr; those in its parameters have a checker, and so a scope, of their own."""

    def __init__(self, jaxpr: Jaxpr, where: str) -> None:
        self.jaxpr = jaxpr
        self.where = where
        self.scope: set[Var] = set()
        self.eqn: tuple[int, Eqn] | None = None

    def fail(self, message: str, cause: Exception | None = None) -> NoReturn:
        place = self.where
        if self.eqn is not None:
            i, eqn = self.eqn
            source = f" from {eqn.source}" if eqn.source is not None else ""
            place += f"equation {i}, `{eqn_text(eqn, variable_names(self.jaxpr))}`{source}: "
        raise errors.JaxprError(f"{place}{message}") from cause

    def run(self) -> None:
        jaxpr = self.jaxpr
        if len(jaxpr.constvars) != len(jaxpr.consts):
            self.fail(f"there are {len(jaxpr.constvars)} variables for constants, and {len(jaxpr.consts)} constants")
        self.bind((*jaxpr.constvars, *jaxpr.invars))
        for i, (var, const) in enumerate(zip(jaxpr.constvars, jaxpr.consts, strict=True)):
            if not is_array(const):
                self.fail(f"constant {i} is no array but a {type(const).__name__}")
            if aval_of(const) != var.aval:
                self.fail(f"constant {i} has type {aval_of(const)}, and its variable has {self.type(var.aval)}")
        for i, eqn in enumerate(jaxpr.eqns):
            self.eqn = i, eqn
            self.equation(eqn)
        self.eqn = None
        for i, atom in enumerate(jaxpr.outvars):
            self.use(atom, f"output {i}")
        effects = NO_EFFECTS.union(*(e.effects for e in jaxpr.eqns))
        if jaxpr.effects != effects:
            self.fail(f"the jaxpr says its effects are {_listed(jaxpr.effects)}; its equations have {_listed(effects)}")

    def type(self, aval: ShapedArray) -> str:
        return aval_text(aval, variable_names(self.jaxpr))

    def bind(self, variables: Sequence[Var]) -> None:
        """Bring variables that are bound side by side into scope."""
        for var in variables:
            if var in self.scope:
                self.fail(f"the variable {variable_names(self.jaxpr)[var]!r} is bound a second time")
            self.scope.add(var)
        for var in variables:
            if not self.in_scope(var.aval):
                self.fail(f"the type {self.type(var.aval)} refers to a size variable that is not bound so far")

    def in_scope(self, value: Any) -> bool:
        return all(size in self.scope for size in sizes_in(value))

    def use(self, atom: Atom, what: str) -> None:
        if isinstance(atom, Literal):
            found = aval_of_concrete(atom.value)
            if found is None or found.shape != ():
                self.fail(f"{what}, the literal {atom.value!r}, is no number; arrays are constants, not literals")
            if found != atom.aval:
                self.fail(f"{what}, the literal {atom.value!r}, has type {found}, and says that it has {atom.aval}")
        elif atom not in self.scope:
            name = variable_names(self.jaxpr).get(atom)
            self.fail(f"{what} is {f'bound only later, as {name!r}' if name else 'a variable that nothing binds'}")

    def equation(self, eqn: Eqn) -> None:
        for i, atom in enumerate(eqn.inputs):
            self.use(atom, f"operand {i}")
        for key, value in eqn.params.items():
            self.parameter(key, value)
        expected = self.results(eqn)
        if len(eqn.outs) != len(expected):
            self.fail(f"it binds {len(eqn.outs)} results, and {eqn.prim.name!r} has {len(expected)}")
        self.bind(eqn.outs)
        known: dict[SizeVar, Any] = {}
        for i, (out, aval) in enumerate(zip(eqn.outs, expected, strict=True)):
            if not self.agree(aval, out.aval, known):
                self.fail(
                    f"result {i} has type {self.type(out.aval)}, and the shape rule of {eqn.prim.name!r} gives "
                    f"{self.type(aval)}"
                )
        try:
            effects = effects_of(eqn.prim, eqn.params)
        except Exception as error:
            self.fail(f"the rule for the effects of {eqn.prim.name!r} rejects it: {error}", error)
        if eqn.effects != effects:
            self.fail(f"its effects are {_listed(eqn.effects)}; those of {eqn.prim.name!r} are {_listed(effects)}")

    def parameter(self, key: str, value: Any) -> None:
        try:
            hash(value)
        except TypeError as error:
            self.fail(f"the parameter {key!r} cannot be hashed: {error}", error)
        if not self.in_scope(value):
            self.fail(f"the parameter {key!r} refers to a size variable that is not bound so far")
        assert self.eqn is not None
        i, eqn = self.eqn
        for sub in _jaxprs_in(value):
            where = f"{self.where}in the parameter {key!r} of equation {i} ({eqn.prim.name}): "
            if sub.constvars:
                self.fail(
                    f"the jaxpr in the parameter {key!r} has constants; they must be operands (Jaxpr.hoisted), so that "
                    f"transformations see them"
                )
            _Checker(sub, where).run()

    def results(self, eqn: Eqn) -> list[ShapedArray]:
        try:
            found = eqn.prim.shape(*[a.aval for a in eqn.inputs], **eqn.params)
        except Exception as error:
            operands = ", ".join(self.type(a.aval) for a in eqn.inputs)
            self.fail(
                f"the shape rule of {eqn.prim.name!r} rejects operands of types ({operands}): "
                f"{type(error).__name__}: {error}",
                error,
            )
        results = list(found) if eqn.prim.multiple else [found]
        for aval in results:
            if not isinstance(aval, ShapedArray):
                wanted = "a sequence of avals" if eqn.prim.multiple else "an aval"
                self.fail(f"the shape rule of {eqn.prim.name!r} gives {aval!r}, not {wanted}")
        return results

    def agree(self, expected: ShapedArray, found: ShapedArray, known: dict[SizeVar, Any]) -> bool:
        """Whether two types are one, up to what the shape rule calls the sizes that are new in this equation."""
        if expected == found:
            return True
        if (expected.dtype, expected.box, expected.ndim) != (found.dtype, found.box, found.ndim):
            return False
        for a, b in zip(expected.shape, found.shape, strict=True):
            if isinstance(a, SizeVar) and a not in self.scope:
                a = known.setdefault(a, b)
            if a != b:
                return False
        return True


def _jaxprs_in(value: Any) -> Iterator[Jaxpr]:
    if isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _jaxprs_in(item)


def _listed(effects: Iterable[str]) -> str:
    return ", ".join(sorted(effects)) or "none"
