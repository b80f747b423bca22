"""The body of a loop, split into what is known before the tangents are there and what waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from functrans.core.avals import ShapedArray
from functrans.core.jaxpr import Jaxpr, Var
from functrans.interpreters.split import Again, split_jaxpr
from functrans.lax.control.region import fitted, results_fitted


class Halves(NamedTuple):
    """The two parts of a body, whose inputs are constants, carries and slices.

    Attributes:
        known: from known inputs to known carries, known results, and what is kept of the step.
        late: from constants, late carries and slices to late carries and results. Its constants are known ones and
            then late ones, its slices what was kept, known ones and then late ones.
        unknown: which inputs are late, the carries that become so included.
        unknown_out: which outputs are late.
        kept: the types of what is kept.
        fixed: the known constants that the late part needs, by their index among the inputs.
        stepped: the known slices that it needs.
    """

    known: Jaxpr
    late: Jaxpr
    unknown: tuple[bool, ...]
    unknown_out: tuple[bool, ...]
    kept: tuple[ShapedArray, ...]
    fixed: tuple[int, ...]
    stepped: tuple[int, ...]


def split_body(jaxpr: Jaxpr, n_consts: int, n_carry: int, unknown: Sequence[bool], everything: bool = False) -> Halves:
    """Split a body. A carry that depends on something late in some step is late.

    Args:
        everything: whether the late part computes all it needs from the inputs of the step, which alone are kept.
    """
    start = n_consts + n_carry
    again: Again = "all" if everything else n_consts
    late = list(unknown)
    while True:
        parts = split_jaxpr(jaxpr, late, again=again)
        grown = [a or b for a, b in zip(late[n_consts:start], parts.unknown_out, strict=False)]
        if grown == late[n_consts:start]:
            break
        late[n_consts:start] = grown
    late_out = [*grown, *parts.unknown_out[n_carry:]]
    n_known_out = len(parts.unknown_out) - sum(parts.unknown_out)
    atoms = iter(parts.known.outvars[:n_known_out])
    given = {j: next(atoms) for j, u in enumerate(parts.unknown_out) if not u}
    extra = iter(parts.known.outvars[n_known_out:])
    known_in = [i for i, u in enumerate(late) if not u]

    kept, rows = [], []  # what the known body gives besides, and the inputs of the late one that these are
    fixed: list[tuple[int, Var]] = []
    stepped: list[tuple[int, Var]] = []
    for var, i in zip(parts.unknown.invars, parts.residual_inputs, strict=False):
        place = None if i is None else known_in[i]
        if place is not None and place < n_consts:
            fixed.append((place, var))
        elif place is not None and place >= start:
            stepped.append((place, var))
        else:
            kept.append(parts.known.invars[i] if i is not None else next(extra))
            rows.append(var)
    forced = {}
    for j in range(n_carry):
        if grown[j] and not parts.unknown_out[j]:
            forced[j] = Var(given[j].aval)
            kept.append(given[j])
            rows.append(forced[j])

    body = parts.known.replace(outvars=[*(given[j] for j, u in enumerate(late_out) if not u), *kept])
    first = late[:n_consts].count(False)
    carry_avals = body.in_avals[first : first + grown.count(False)]
    known = results_fitted(body, (*carry_avals, *body.out_avals[len(carry_avals) :]))

    late_vars = dict(
        zip(
            [i for i, u in enumerate(late) if u],
            parts.unknown.invars[len(parts.residual_inputs) :],
            strict=True,
        )
    )
    late_atoms = iter(parts.unknown.outvars)
    results = {j: next(late_atoms) for j, u in enumerate(parts.unknown_out) if u} | forced
    rest = parts.unknown.replace(
        invars=[
            *(v for _, v in fixed),
            *(v for i, v in late_vars.items() if i < start),
            *rows,
            *(v for _, v in stepped),
            *(v for i, v in late_vars.items() if i >= start),
        ],
        outvars=[results[j] for j, u in enumerate(late_out) if u],
    )
    n_fixed = len(fixed) + sum(late[:n_consts])
    n_late = sum(grown)
    in_avals = list(rest.in_avals)
    for k in range(n_fixed + n_late, len(in_avals)):
        in_avals[k] = in_avals[k].update(box="numpy")
    carry_avals = tuple(in_avals[n_fixed : n_fixed + n_late])
    return Halves(
        known,
        fitted(rest, tuple(in_avals), (*carry_avals, *rest.out_avals[n_late:])),
        tuple(late),
        tuple(late_out),
        tuple(a.aval for a in kept),
        tuple(i for i, _ in fixed),
        tuple(i for i, _ in stepped),
    )
