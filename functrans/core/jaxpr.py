"""The jaxpr: a small, typed, functional expression language in let-normal form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Params, Primitive
from functrans.core.trace import aval_of
from functrans.util.source import Source

Effects = frozenset[str]
NO_EFFECTS: Effects = frozenset()


class Var:
    """A variable: bound once, by a jaxpr's input or by an equation."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var:{self.aval}"


class SizeVar(Var):
    """An integer variable that extents of later variables refer to: the length of an array known at run time."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(shaped((), np.dtype(np.int64), "python"))

    def __repr__(self) -> str:
        return f"n{id(self) % 1000}"


class Literal:
    """A Python or NumPy scalar that stands in an equation."""

    __slots__ = ("aval", "value")

    def __init__(self, value: Any, aval: ShapedArray | None = None) -> None:
        self.value = value
        self.aval = aval or aval_of(value)

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


Atom = Var | Literal


class Eqn(NamedTuple):
    """``outs = prim[params] inputs``, with the user's line that caused it."""

    prim: Primitive
    inputs: tuple[Atom, ...]
    outs: tuple[Var, ...]
    params: Params
    source: Source | None = None
    effects: Effects = NO_EFFECTS


class Jaxpr:
    """A function of arrays: inputs, equations, outputs, and the constants that it closes over.

    Attributes:
        invars: the inputs.
        eqns: the equations, in order; each binds new variables.
        outvars: the outputs, variables or literals.
        constvars, consts: variables bound to arrays that belong to the function, and these arrays, held by
            reference: their contents are read when the function runs.
        effects: what running it does besides computing results.
    """

    __slots__ = ("__weakref__", "_memo", "consts", "constvars", "effects", "eqns", "invars", "outvars")

    def __init__(
        self,
        invars: Iterable[Var],
        eqns: Iterable[Eqn],
        outvars: Iterable[Atom],
        constvars: Iterable[Var] = (),
        consts: Iterable[Any] = (),
    ) -> None:
        self.invars = tuple(invars)
        self.eqns = tuple(eqns)
        self.outvars = tuple(outvars)
        self.constvars = tuple(constvars)
        self.consts = tuple(consts)
        self.effects: Effects = NO_EFFECTS.union(*(e.effects for e in self.eqns)) if self.eqns else NO_EFFECTS
        self._memo: dict[Any, Any] = {}

    @property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        return tuple(v.aval for v in self.invars)

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return tuple(v.aval for v in self.outvars)

    def replace(self, **changes: Any) -> Jaxpr:
        """A copy with some of ``invars, eqns, outvars, constvars, consts`` changed."""
        fields = {name: getattr(self, name) for name in ("invars", "eqns", "outvars", "constvars", "consts")}
        return Jaxpr(**(fields | changes))

    def hoisted(self) -> tuple[Jaxpr, tuple[Any, ...]]:
        """The same function with its constants as leading inputs, and these constants."""
        if not self.constvars:
            return self, ()
        jaxpr = self._memo.get("hoisted")
        if jaxpr is None:
            jaxpr = self.replace(invars=self.constvars + self.invars, constvars=(), consts=())
            self._memo["hoisted"] = jaxpr
        return jaxpr, self.consts

    def __repr__(self) -> str:
        return _write(self)


_write: Callable[[Jaxpr], str] = object.__repr__


def write_with(write: Callable[[Jaxpr], str]) -> None:
    """Say how ``str`` writes a jaxpr. The printer, which lies above this module, registers itself here."""
    global _write
    _write = write


def without_sources(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr without the lines that its own equations came from, for one that serves many places."""
    return jaxpr.replace(eqns=[eqn._replace(source=None) for eqn in jaxpr.eqns])


def subjaxprs(eqn: Eqn) -> Iterator[Jaxpr]:
    """The jaxprs among an equation's parameters."""
    for value in eqn.params.values():
        if isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Jaxpr))


def effects_of(prim: Primitive, params: Params) -> Effects:
    """The effects of one application: those that the primitive declares, or those of its regions."""
    if prim.effects is not None:
        return prim.effects(**params)
    if prim.kind is None:
        return NO_EFFECTS
    eqn = Eqn(prim, (), (), params)
    return NO_EFFECTS.union(*(sub.effects for sub in subjaxprs(eqn)))


def dce(jaxpr: Jaxpr, keep: Sequence[bool] | None = None) -> Jaxpr:
    """The jaxpr without the equations that neither its (kept) outputs nor an effect need. Inputs stay."""
    outvars = [v for i, v in enumerate(jaxpr.outvars) if keep is None or keep[i]]
    live = {v for v in outvars if isinstance(v, Var)}
    sized = _binds_sizes(jaxpr)
    eqns: list[Eqn] = []
    for eqn in reversed(jaxpr.eqns):
        if sized:
            live.update(size for out in eqn.outs if out in live for size in sizes_in(out.aval))
        used = [out in live for out in eqn.outs]
        if not (any(used) or eqn.effects):
            continue
        if eqn.prim.dce is not None and not all(used) and not eqn.effects:
            eqn = eqn.prim.dce(eqn, used)
        eqns.append(eqn)
        live.update(a for a in eqn.inputs if isinstance(a, Var))
        if sized:
            live.update(_sizes_of(eqn))
    consts = [(v, c) for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if v in live]
    return Jaxpr(jaxpr.invars, reversed(eqns), outvars, [v for v, _ in consts], [c for _, c in consts])


def used_inputs(jaxpr: Jaxpr) -> list[bool]:
    """Which inputs an equation, an output or the type of a used input refers to."""
    used: set[Atom] = set(jaxpr.outvars)
    for eqn in jaxpr.eqns:
        used.update(eqn.inputs)
    if _binds_sizes(jaxpr):
        used.update(size for eqn in jaxpr.eqns for size in _sizes_of(eqn))
        used.update([size for v in jaxpr.invars if v in used for size in sizes_in(v.aval)])
    return [v in used for v in jaxpr.invars]


def rename(jaxpr: Jaxpr, inputs: Sequence[Atom]) -> tuple[list[Eqn], list[Atom]]:
    """The equations and outputs of a jaxpr with its inputs replaced and its own variables fresh, to inline it."""
    env: dict[Var, Atom] = dict(zip(jaxpr.invars, inputs, strict=True))
    sized = _binds_sizes(jaxpr)

    def read(atom: Atom) -> Atom:
        return env.get(atom, atom) if isinstance(atom, Var) else atom

    def resize(value: Any) -> Any:
        """A type or a parameter's value with the new size variables in place of the old, or with known sizes."""
        if isinstance(value, SizeVar):
            new = read(value)
            return int(new.value) if isinstance(new, Literal) else new
        if isinstance(value, ShapedArray):
            return value.update(shape=tuple(map(resize, value.shape)))
        return tuple(map(resize, value)) if type(value) is tuple else value

    eqns = []
    for eqn in jaxpr.eqns:
        outs = tuple([SizeVar() if isinstance(out, SizeVar) else Var(out.aval) for out in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
        if sized:
            eqn = eqn._replace(params={key: resize(value) for key, value in eqn.params.items()})
            for out in outs:
                out.aval = resize(out.aval)
        eqns.append(eqn._replace(inputs=tuple(map(read, eqn.inputs)), outs=outs))
    return eqns, [read(v) for v in jaxpr.outvars]


def sizes_in(value: Any) -> Iterator[SizeVar]:
    """The size variables that a type, or a parameter's value, refers to."""
    if isinstance(value, SizeVar):
        yield value
    elif isinstance(value, (ShapedArray, tuple)):
        for item in value.shape if isinstance(value, ShapedArray) else value:
            yield from sizes_in(item)


def _sizes_of(eqn: Eqn) -> Iterator[SizeVar]:
    """The size variables in the parameters of an equation and in the types of its results."""
    for value in (*eqn.params.values(), *(out.aval for out in eqn.outs)):
        yield from sizes_in(value)


def _binds_sizes(jaxpr: Jaxpr) -> bool:
    return any([type(v) is SizeVar for v in jaxpr.invars]) or any(
        [type(out) is SizeVar for eqn in jaxpr.eqns for out in eqn.outs]
    )
