"""The jaxpr: a small, typed, functional expression language in let-normal form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.primitive import Params, Primitive, Trait
from functrans.core.trace import aval_of
from functrans.util.cache import WeakMemo
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
        super().__init__(SizeAval(self))

    def __repr__(self) -> str:
        return f"n{id(self) % 1000}"


class SizeAval(ShapedArray):
    """The type of a size variable: a Python int to everything but staging, which finds the variable by it.

    A function staged for types among which there are a size and arrays of that size binds a size variable of its own,
    and a shape rule says by it that a result is the size of other results.
    """

    __slots__ = ("var",)

    def __init__(self, var: SizeVar) -> None:
        super().__init__((), np.dtype(np.int64), "python")
        self.var = var


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
        sized: whether it binds size variables.
    """

    __slots__ = ("__weakref__", "_memo", "consts", "constvars", "effects", "eqns", "invars", "outvars", "sized")

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
        self.sized = SizeVar in {*map(type, self.invars), *map(type, self.constvars)} or any(
            [type(out) is SizeVar for eqn in self.eqns for out in eqn.outs]
        )
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


def with_constant(jaxpr: Jaxpr, value: Any) -> Jaxpr:
    """The jaxpr with a constant in the place of its first input; hoisting that gives the jaxpr itself."""
    bound = Jaxpr(
        jaxpr.invars[1:], jaxpr.eqns, jaxpr.outvars, (jaxpr.invars[0], *jaxpr.constvars), (value, *jaxpr.consts)
    )
    if not jaxpr.constvars:
        bound._memo["hoisted"] = jaxpr
    return bound


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


def axes_of(prim: Primitive, params: Params) -> frozenset[Any]:
    """The named axes that an application computes across: its own, or those of its regions."""
    if Trait.COLLECTIVE in prim.traits:
        return frozenset(params["axes"])
    if prim.kind is None:
        return frozenset()
    inside = [*subjaxprs(Eqn(prim, (), (), params))]
    inside += [rules.jaxpr for rules in params.values() if isinstance(getattr(rules, "jaxpr", None), Jaxpr)]
    return frozenset[Any]().union(*map(axes_in, inside))


axes_in: WeakMemo[frozenset[Any]] = WeakMemo(
    lambda jaxpr: frozenset[Any]().union(*(axes_of(eqn.prim, eqn.params) for eqn in jaxpr.eqns))
)
"""``axes_in(jaxpr)``: the named axes that a jaxpr computes across."""


def dce(jaxpr: Jaxpr, keep: Sequence[bool] | None = None) -> Jaxpr:
    """The jaxpr without the equations that neither its (kept) outputs nor an effect need. Inputs stay."""
    outvars = [v for i, v in enumerate(jaxpr.outvars) if keep is None or keep[i]]
    live = {v for v in outvars if isinstance(v, Var)}
    sized = jaxpr.sized
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
            live.update(sizes_of(eqn))
    consts = [(v, c) for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if v in live]
    return Jaxpr(jaxpr.invars, reversed(eqns), outvars, [v for v, _ in consts], [c for _, c in consts])


def without_effects(eqn: Eqn) -> Eqn:
    """A region without those of its effects that give no result it needs, for running it a second time."""
    if not eqn.effects:
        return eqn

    def silent(value: Any) -> Any:
        if type(value) is tuple:
            return tuple([silent(item) for item in value])
        return _silent(value) if isinstance(value, Jaxpr) else value

    params = {key: silent(value) for key, value in eqn.params.items()}
    return eqn._replace(params=params, effects=effects_of(eqn.prim, params))


def _silent(jaxpr: Jaxpr) -> Jaxpr:
    found = jaxpr._memo.get("silent")
    if found is None:
        needed: set[Atom] = set(jaxpr.outvars)
        eqns: list[Eqn] = []
        for eqn in reversed(jaxpr.eqns):
            if not needed.isdisjoint(eqn.outs) or not eqn.effects:
                eqns.append(without_effects(eqn))
                needed.update(eqn.inputs)
        found = jaxpr._memo["silent"] = dce(jaxpr.replace(eqns=eqns[::-1]))
    return found


def used_inputs(jaxpr: Jaxpr) -> list[bool]:
    """Which inputs an equation, an output or the type of a used input refers to."""
    used: set[Atom] = set(jaxpr.outvars)
    for eqn in jaxpr.eqns:
        used.update(eqn.inputs)
    if jaxpr.sized:
        used.update(size for eqn in jaxpr.eqns for size in sizes_of(eqn))
        used.update([size for v in jaxpr.invars if v in used for size in sizes_in(v.aval)])
    return [v in used for v in jaxpr.invars]


def rename(jaxpr: Jaxpr, inputs: Sequence[Atom]) -> tuple[list[Eqn], list[Atom]]:
    """The equations and outputs of a jaxpr with its inputs replaced and its own variables fresh, to inline it."""
    env: dict[Var, Atom] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Atom) -> Atom:
        return env.get(atom, atom) if isinstance(atom, Var) else atom

    def extent(size: SizeVar) -> Any:
        new = read(size)
        return int(new.value) if isinstance(new, Literal) else new

    eqns = []
    for eqn in jaxpr.eqns:
        outs = tuple([SizeVar() if isinstance(out, SizeVar) else Var(out.aval) for out in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
        if jaxpr.sized:
            eqn = eqn._replace(params=resize_params(eqn.params, extent))
            for out in outs:
                if type(out) is Var:
                    out.aval = resize(out.aval, extent)
        eqns.append(eqn._replace(inputs=tuple(map(read, eqn.inputs)), outs=outs))
    return eqns, [read(v) for v in jaxpr.outvars]


def sizes_in(value: Any) -> Iterator[SizeVar]:
    """The size variables that a type, or a parameter's value, refers to."""
    if isinstance(value, SizeVar):
        yield value
    elif isinstance(value, (ShapedArray, tuple)):
        for item in value.shape if isinstance(value, ShapedArray) else value:
            yield from sizes_in(item)


def sizes_of(eqn: Eqn) -> Iterator[SizeVar]:
    """The size variables in the parameters of an equation and in the types of its results."""
    for value in (*eqn.params.values(), *(out.aval for out in eqn.outs)):
        yield from sizes_in(value)


Extent = Callable[[SizeVar], Any]


def resize(value: Any, extent: Extent) -> Any:
    """A type or a parameter's value with other size variables, or numbers, in place of its size variables."""
    if isinstance(value, SizeVar):
        return extent(value)
    if isinstance(value, ShapedArray):
        if not any([isinstance(d, SizeVar) for d in value.shape]):
            return value
        return value.update(shape=tuple([extent(d) if isinstance(d, SizeVar) else d for d in value.shape]))
    return tuple([resize(item, extent) for item in value]) if type(value) is tuple else value


def resize_params(params: Params, extent: Extent) -> Params:
    """The parameters of an equation with other sizes."""
    return {key: resize(value, extent) for key, value in params.items()}


def result_avals(jaxpr: Jaxpr, avals: Sequence[ShapedArray]) -> list[ShapedArray]:
    """The types of a jaxpr's results for operands of given types, which may have other sizes than its inputs say.

    Sizes that the jaxpr finds itself are as it calls them.
    """
    if not jaxpr.sized:
        return list(jaxpr.out_avals)
    known: dict[SizeVar, Any] = {}
    for var, aval in zip(jaxpr.invars, avals, strict=True):
        if isinstance(var, SizeVar) and isinstance(aval, SizeAval):
            known[var] = aval.var
    for var, aval in zip(jaxpr.invars, avals, strict=True):
        for mine, given in zip(var.aval.shape, aval.shape, strict=False):
            if isinstance(mine, SizeVar):
                known.setdefault(mine, given)
    return [
        known[a.var].aval
        if isinstance(a, SizeAval) and isinstance(known.get(a.var), SizeVar)
        else resize(a, lambda size: known.get(size, size))
        for a in jaxpr.out_avals
    ]


def result_vars(avals: Sequence[ShapedArray]) -> tuple[Var, ...]:
    """Variables for the results of an equation. The sizes that its operation finds are new with each equation."""
    found = {a.var: SizeVar() for a in avals if type(a) is SizeAval}
    if not found:
        return tuple([Var(aval) for aval in avals])
    return tuple(
        [found[a.var] if type(a) is SizeAval else Var(resize(a, lambda size: found.get(size, size))) for a in avals]
    )


def differ(a: ShapedArray, b: ShapedArray) -> bool:
    """Whether two types differ in shape or dtype, where sizes of different jaxprs may be one."""
    if a.dtype != b.dtype or len(a.shape) != len(b.shape):
        return True
    return any(
        [
            m != n and not (isinstance(m, SizeVar) or isinstance(n, SizeVar))
            for m, n in zip(a.shape, b.shape, strict=True)
        ]
    )
