"""Selections whose dead branch is harmless: the "double where", done by the program instead of the programmer.

``where(x > 0, log(x), 0)`` has the right value, and at zero the derivative ``0 * inf``: the branch that was not chosen
receives the cotangent zero, which the derivative of the logarithm there turns into NaN. The cure that everybody
writes by hand is a second ``where``, around the argument. Here it is derived. Going backwards, each variable gets a
mask of the elements that some derivative can reach: a selection lets a branch be reached where it is chosen. Going
forwards, an elementwise operation whose result is reached in part gets its operands through a selection of its own,
with the value that the primitive names as ``safe`` in the other elements. What selections look at to decide, and what
has no derivative, sees the values as they were.

Multiplying by a "strong zero" (``0 * inf = 0``) was not an option: it hides NaNs that are no artefact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import sized
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, dce, subjaxprs
from functrans.core.primitive import Trait, Undefined
from functrans.core.stage import stage
from functrans.core.structural import broadcast, broadcast_to, convert, rebox
from functrans.core.trace import aval_of, source_context
from functrans.lax.compare import gt, logical_and, logical_not, logical_or
from functrans.lax.movement import reshape
from functrans.lax.reduction import reduce_any
from functrans.lax.selection import select, select_p
from functrans.passes.base import with_bodies

ALL = object()
"""The mask of a variable that derivatives reach in every element."""


def guard_selects(jaxpr: Jaxpr) -> Jaxpr:
    """A jaxpr of the same values, to the bit, in which the dead branches of selections do no harm to derivatives."""
    if not _selects(jaxpr):
        return jaxpr
    return dce(stage(_Guarded(jaxpr), jaxpr.in_avals, "safe_where"))


def _selects(jaxpr: Jaxpr) -> bool:
    return any(eqn.prim is select_p or any(map(_selects, subjaxprs(eqn))) for eqn in jaxpr.eqns)


class _Guarded:
    """The program, as a function to be staged."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.plain: dict[Atom, Any] = {}
        """The values as they are without guards."""
        self.guarded: dict[Atom, Any] = {}
        """The values that derivatives go through, where they are others."""
        self.masks: dict[Atom, Any] = {}
        self.made: dict[Any, Any] = {}
        """Guards that have been put up, and the masks that they are kept by."""

    def __call__(self, *args: Any) -> list[Any]:
        jaxpr = self.jaxpr
        self.plain.update(zip(jaxpr.constvars, jaxpr.consts, strict=True))
        self.plain.update(zip(jaxpr.invars, args, strict=True))
        eqns = [self._run(eqn) for eqn in jaxpr.eqns]
        for v in jaxpr.outvars:
            self._reach(v, ALL)
        for eqn in reversed(eqns):
            with source_context(eqn.source):
                self._spread(eqn)
        for eqn in eqns:
            with source_context(eqn.source):
                self._guard(eqn)
        return [v.value if isinstance(v, Literal) else self._live(v) for v in jaxpr.outvars]

    def _plain(self, atom: Atom) -> Any:
        return atom.value if isinstance(atom, Literal) else self.plain[atom]

    def _live(self, atom: Atom) -> Any:
        return self.guarded.get(atom, self._plain(atom)) if isinstance(atom, Var) else self._plain(atom)

    def _bind(self, eqn: Eqn, inputs: Sequence[Any]) -> Sequence[Any]:
        out = eqn.prim.bind(*inputs, **eqn.params)
        return out if eqn.prim.multiple else [out]

    def _run(self, eqn: Eqn) -> Eqn:
        """Record an equation as it is; what is inside its own jaxprs is guarded already."""
        eqn = with_bodies(eqn, guard_selects, ("loop", "branch", "call"))
        if self.jaxpr.sized:
            eqn = sized(eqn, self.plain)
        with source_context(eqn.source):
            self.plain.update(zip(eqn.outs, self._bind(eqn, [self._plain(a) for a in eqn.inputs]), strict=True))
        return eqn

    # -- backwards: which elements derivatives reach ------------------------------------------------------------------

    def _reach(self, atom: Atom, mask: Any) -> None:
        if isinstance(atom, Literal) or not dtypes.is_inexact(atom.aval.dtype):
            return
        now = self.masks.get(atom)
        if mask is ALL or now is ALL:
            self.masks[atom] = ALL
        else:
            self.masks[atom] = mask if now is None else logical_or(now, mask)

    def _spread(self, eqn: Eqn) -> None:
        prim, mask = eqn.prim, self._reached(eqn)
        if mask is None:
            return
        if prim is select_p:
            pred, x, y = eqn.inputs
            chosen = broadcast_to(self._plain(pred), eqn.outs[0].aval.shape)
            for branch, here in ((x, chosen), (y, logical_not(chosen))):
                self._reach(branch, _reduced(here if mask is ALL else logical_and(mask, here), branch.aval.shape))
            return
        inverse: Callable[[Any], list[Any]] | None = None
        if mask is not ALL:
            if prim.has(Trait.ELEMENTWISE):
                inverse = lambda m: [_reduced(m, a.aval.shape) for a in eqn.inputs]  # noqa: E731
            elif prim.has(Trait.REDUCTION) and isinstance(eqn.params.get("axes"), tuple):
                inverse = lambda m: [_expanded(m, a.aval, eqn.params["axes"]) for a in eqn.inputs]  # noqa: E731
            elif prim.has(Trait.MOVEMENT) and prim.transpose is not None:
                inverse = lambda m: self._moved_back(eqn, m)  # noqa: E731
        for atom, m in zip(eqn.inputs, inverse(mask) if inverse else [ALL] * len(eqn.inputs), strict=True):
            self._reach(atom, ALL if m is None else m)

    def _reached(self, eqn: Eqn) -> Any:
        """The mask of an equation's results together; None where no derivative reaches them."""
        found = [m for v in eqn.outs if (m := self.masks.get(v)) is not None]
        if len(found) < 2 or any(m is ALL for m in found):
            return found[0] if len(found) == 1 else ALL if found else None
        return functools.reduce(logical_or, found) if eqn.prim.has(Trait.ELEMENTWISE) else ALL

    def _moved_back(self, eqn: Eqn, mask: Any) -> list[Any]:
        """The mask of a movement's operands: its transpose brings every element back to where it came from."""
        assert eqn.prim.transpose is not None
        linear = [dtypes.is_inexact(a.aval.dtype) for a in eqn.inputs]
        operands = [
            Undefined(shaped(a.aval.shape, np.dtype(float))) if moved else self._plain(a)
            for a, moved in zip(eqn.inputs, linear, strict=True)
        ]
        counts = eqn.prim.transpose(convert(mask, np.float64), *operands, **eqn.params)
        zero = np.float64(0.0)
        return [None if c is None or not moved else gt(c, zero) for c, moved in zip(counts, linear, strict=True)]

    # -- forwards: what stands in the other elements ------------------------------------------------------------------

    def _guard(self, eqn: Eqn) -> None:
        mask = self._reached(eqn)
        if eqn.effects or mask is None:
            return
        inputs = [self._live(a) for a in eqn.inputs]
        if mask is not ALL and eqn.prim.safe is not None and eqn.prim.has(Trait.ELEMENTWISE):
            safe = eqn.prim.safe if isinstance(eqn.prim.safe, tuple) else (eqn.prim.safe,) * len(inputs)
            inputs = [self._behind(x, a, mask, s) for x, a, s in zip(inputs, eqn.inputs, safe, strict=True)]
        if any(x is not self._plain(a) for x, a in zip(inputs, eqn.inputs, strict=True)):
            self.guarded.update(zip(eqn.outs, self._bind(eqn, inputs), strict=True))

    def _behind(self, x: Any, atom: Atom, mask: Any, safe: float | None) -> Any:
        """An operand with the safe value in the elements that no derivative reaches."""
        aval = atom.aval
        if (
            safe is None
            or not dtypes.is_inexact(aval.dtype)
            or (isinstance(atom, Literal) and np.isfinite(atom.value).all())
        ):
            return x
        key = (id(x), id(mask), safe)
        if key not in self.made:
            chosen = select(_reduced(mask, aval.shape), x, aval.dtype.type(safe))
            # What the key names is kept alive with it.
            self.made[key] = (rebox(chosen, aval.box), x, mask)
        return self.made[key][0]


def _reduced(mask: Any, shape: tuple[Any, ...]) -> Any:
    """The mask of an operand of this shape that was broadcast: whether any of its copies is reached."""
    if mask is ALL:
        return mask
    now = aval_of(mask).shape
    if now == shape:
        return mask
    lead = len(now) - len(shape)
    repeated = tuple(i for i, n in enumerate(now) if i < lead or (n != 1 and shape[i - lead] == 1))
    return reshape(reduce_any(mask, repeated), shape)


def _expanded(mask: Any, aval: ShapedArray, axes: tuple[int, ...]) -> Any:
    """The mask of what was reduced: every element counts where the result does."""
    kept = [a for a in range(aval.ndim) if a not in axes]
    if len(kept) != aval_of(mask).ndim:
        return ALL
    return broadcast(mask, aval.shape, kept)
