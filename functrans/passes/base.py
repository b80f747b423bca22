"""What a pass is, and what passes share: walking a jaxpr, and applying a pass to the bodies of loops and branches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from functrans import errors
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var
from functrans.core.primitive import Kind
from functrans.util.cache import WeakMemo


@dataclass(frozen=True)
class Pass:
    """A rewriting of jaxprs that preserves meaning.

    Attributes:
        name: what it is switched by, and the heading of its text.
        exact: whether results stay the same bit for bit. If not, it reassociates.
    """

    name: str
    exact: bool = True

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        """The rewritten jaxpr; the same object where nothing changes."""
        raise NotImplementedError


class Pipeline(tuple[Pass, ...]):
    """Passes in order. An immutable tuple, with a few ways to make another one.

    >>> from functrans.passes import default
    >>> default.without("cse").names == tuple(n for n in default.names if n != "cse")
    True
    """

    def __new__(cls, passes: Iterable[Pass] = ()) -> Pipeline:
        return super().__new__(cls, tuple(passes))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self)

    def without(self, *names: str) -> Pipeline:
        """The pipeline without the passes of these names.

        Raises:
            ArgumentError: it has no such pass.
        """
        for name in names:
            if name not in self.names:
                raise errors.ArgumentError(
                    f"without: there is no pass {name!r}; the passes are {', '.join(self.names)}"
                )
        return Pipeline(p for p in self if p.name not in names)

    def exact(self) -> Pipeline:
        """The passes that keep every bit."""
        return Pipeline(p for p in self if p.exact)

    def steps(self, jaxpr: Jaxpr) -> Iterator[tuple[str, Jaxpr]]:
        """The jaxpr after each pass."""
        for p in self:
            jaxpr = p.run(jaxpr)
            yield p.name, jaxpr

    def __call__(self, jaxpr: Jaxpr) -> Jaxpr:
        return _optimised(jaxpr, self)

    def __repr__(self) -> str:
        return f"Pipeline({' -> '.join(self.names)})"


def _run(jaxpr: Jaxpr, pipeline: Pipeline) -> Jaxpr:
    for p in pipeline:
        jaxpr = p.run(jaxpr)
    return jaxpr


_optimised: WeakMemo[Jaxpr] = WeakMemo(_run)


class Rewriter:
    """Equations being written anew, with what replaces the variables of the old ones."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.env: dict[Atom, Atom] = {}
        self.eqns: list[Eqn] = []
        self.definition: dict[Atom, Eqn] = {}
        self.changed = False

    def read(self, atom: Atom) -> Atom:
        return self.env.get(atom, atom) if isinstance(atom, Var) else atom

    def inputs(self, eqn: Eqn) -> Eqn:
        """The equation with the inputs that it has now."""
        env = self.env
        if env and any([a in env for a in eqn.inputs]):
            return eqn._replace(inputs=tuple([env.get(a, a) for a in eqn.inputs]))
        return eqn

    def keep(self, eqn: Eqn) -> None:
        self.eqns.append(eqn)
        for v in eqn.outs:
            self.definition[v] = eqn

    def replace(self, var: Var, by: Atom) -> None:
        self.env[var] = by
        self.changed = True

    def finish(self, **changes: Any) -> Jaxpr:
        """The rewritten jaxpr; the old one where nothing changed."""
        if not self.changed:
            return self.jaxpr
        outvars = tuple([self.read(v) for v in self.jaxpr.outvars])
        return self.jaxpr.replace(eqns=self.eqns, outvars=outvars, **changes)


def with_bodies(eqn: Eqn, change: Callable[[Jaxpr], Jaxpr], kinds: tuple[Kind, ...] = ("loop", "branch")) -> Eqn:
    """An equation with its regions changed: as a rule the bodies of loops and the branches of conditionals."""
    if eqn.prim.kind not in kinds:
        return eqn
    params = dict(eqn.params)
    for name, value in eqn.params.items():
        if isinstance(value, Jaxpr):
            params[name] = change(value)
        elif isinstance(value, tuple) and any(isinstance(v, Jaxpr) for v in value):
            params[name] = tuple([change(v) if isinstance(v, Jaxpr) else v for v in value])
    if all(params[name] is value for name, value in eqn.params.items() if isinstance(value, Jaxpr)) and all(
        len(params[name]) == len(value) and all(a is b for a, b in zip(params[name], value, strict=True))
        for name, value in eqn.params.items()
        if isinstance(value, tuple)
    ):
        return eqn
    return eqn._replace(params=params)


def literal_key(atom: Literal) -> tuple[Any, ...]:
    """What tells two literals apart: NaN is itself, and 0.0 is not -0.0."""
    return (Literal, type(atom.value), repr(atom.value), atom.aval)
