"""Einstein summation: a contraction of any number of arrays, written as labels of their axes.

The labels are turned into a plan once for each signature: what to do with each operand by itself (diagonals, sums),
then which two operands to contract next. Every step is a primitive, so derivatives and batching need no rules here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from functrans import errors
from functrans.core.structural import rebox, reduce_sum, transpose
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul
from functrans.lax.contraction import dot_general_p, strong
from functrans.lax.diagonal import diagonal
from functrans.lax.movement import expand_dims, squeeze

Label = str | int
"""A letter; or, for an axis that an ellipsis stands for, its position counted from the last such axis, negative."""
Labels = tuple[Label, ...]
Path = tuple[tuple[int, ...], ...]


# -- the text ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _parse(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of each operand and of the result."""
    text = "".join(subscripts.split())
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise errors.ArgumentError(
            f"einsum: the subscripts {subscripts!r} describe {len(terms)} operands, but {len(ndims)} were given"
        )
    operands = tuple(
        _labels(subscripts, term, ndim, f"operand {i}") for i, (term, ndim) in enumerate(zip(terms, ndims, strict=True))
    )
    every = [label for labels in operands for label in labels]
    dotted = sorted({label for label in every if isinstance(label, int)})
    if not arrow:
        return operands, (*dotted, *sorted({s for s in every if isinstance(s, str) and every.count(s) == 1}))
    if "..." in output:
        out = _labels(subscripts, output, len(output) - 3 + len(dotted), "the result")
    else:
        out = _labels(subscripts, output, len(output), "the result")
        if dotted:
            raise errors.ArgumentError(
                f"einsum: the result of {subscripts!r} has no ellipsis, though axes that an operand's ellipsis stands "
                f"for are not summed over. Write '...' in the result too"
            )
    for label in out:
        if out.count(label) > 1:
            raise errors.ArgumentError(f"einsum: the result of {subscripts!r} has the label {label!r} twice")
        if label not in every:
            raise errors.ArgumentError(f"einsum: the label {label!r} of the result of {subscripts!r} is no operand's")
    return operands, out


def _labels(subscripts: str, term: str, ndim: int, which: str) -> Labels:
    before, dots, after = term.partition("...")
    for character in before + after:
        if not (character.isascii() and character.isalpha()):
            raise errors.ArgumentError(
                f"einsum: {character!r} in the subscripts {subscripts!r} ({which}) is no label: labels are ASCII "
                f"letters, '...' stands for any axes, ',' separates operands, '->' precedes the result"
            )
    rest = ndim - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise errors.ShapeError(
            f"einsum: {term!r} in {subscripts!r} ({which}) names {len(before) + len(after)} axes, but there are {ndim}"
            + ("" if rest < 0 else "; '...' stands for the others")
        )
    return (*before, *range(-rest, 0), *after)


# -- the plan ---------------------------------------------------------------------------------------------------


class Prepared(NamedTuple):
    """What is done with one operand before it meets another."""

    diagonals: tuple[tuple[int, int], ...]
    dropped: tuple[int, ...]
    summed: tuple[int, ...]


class Contraction(NamedTuple):
    """A step: the operands at two places are contracted, and the result goes to the end of the list."""

    left: int
    right: int
    dimension_numbers: tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]


class Product(NamedTuple):
    """A step: the operands at two places are multiplied elementwise, their axes permuted and new ones put in."""

    left: int
    right: int
    axes: tuple[tuple[int, ...], tuple[int, ...]]
    new: tuple[tuple[int, ...], tuple[int, ...]]


class Plan(NamedTuple):
    prepared: tuple[Prepared, ...]
    steps: tuple[Contraction | Product, ...]
    axes: tuple[int, ...]


@lru_cache(maxsize=1024)
def _plan(subscripts: str, shapes: tuple[tuple[Any, ...], ...], optimize: str | Path) -> Plan:
    operands, out = _parse(subscripts, tuple(map(len, shapes)))
    sizes = _extents(subscripts, operands, shapes)
    prepared = []
    terms: list[Labels] = []
    for labels, shape in zip(operands, shapes, strict=True):
        step, rest = _prepare(labels, shape, sizes)
        prepared.append(step)
        terms.append(rest)
    for i, labels in enumerate(terms):
        wanted = {*out, *(label for j, other in enumerate(terms) if j != i for label in other)}
        prepared[i] = prepared[i]._replace(summed=tuple(a for a, s in enumerate(labels) if s not in wanted))
        terms[i] = tuple(s for s in labels if s in wanted)
    steps: list[Contraction | Product] = []
    for i, j in _pairs(terms, out, sizes, optimize):
        x, y = terms[i], terms[j]
        terms = [t for k, t in enumerate(terms) if k not in (i, j)]
        step_ij, labels = _contract(i, j, x, y, {label for t in terms for label in t}, out, not terms)
        steps.append(step_ij)
        terms.append(labels)
    (last,) = terms
    return Plan(tuple(prepared), tuple(steps), tuple(last.index(label) for label in out))


def _extents(subscripts: str, operands: Sequence[Labels], shapes: Sequence[tuple[Any, ...]]) -> dict[Label, Any]:
    sizes: dict[Label, Any] = {}
    for i, (labels, shape) in enumerate(zip(operands, shapes, strict=True)):
        for label, extent in zip(labels, shape, strict=True):
            first = shape[labels.index(label)]
            if first != extent:
                raise errors.ShapeError(
                    f"einsum: the label {label!r} of {subscripts!r} stands for axes of extents {first} and {extent} of "
                    f"one operand, whose shape is {shape}"
                )
            known = sizes.setdefault(label, extent)
            if known == 1:
                sizes[label] = extent
            elif extent not in (1, known):
                raise errors.ShapeError(
                    f"einsum: the label {label!r} of {subscripts!r} has extent {known} in one operand and {extent} in "
                    f"operand {i}; the operands have shapes {', '.join(map(str, shapes))}"
                )
    return sizes


def _prepare(labels: Labels, shape: tuple[Any, ...], sizes: dict[Label, Any]) -> tuple[Prepared, Labels]:
    """Diagonals for repeated labels; axes of extent 1 that another operand repeats are dropped."""
    names, extents = list(labels), list(shape)
    diagonals = []
    while len(set(names)) < len(names):
        first = next(a for a, label in enumerate(names) if label in names[a + 1 :])
        second = names.index(names[first], first + 1)
        diagonals.append((first, second))
        label, extent = names[first], extents[first]
        for a in (second, first):
            del names[a], extents[a]
        names.append(label)
        extents.append(extent)
    dropped = tuple(a for a, label in enumerate(names) if extents[a] == 1 and sizes[label] != 1)
    return Prepared(tuple(diagonals), dropped, ()), tuple(s for a, s in enumerate(names) if a not in dropped)


def _contract(
    i: int, j: int, x: Labels, y: Labels, wanted: set[Label], out: Labels, last: bool
) -> tuple[Contraction | Product, Labels]:
    """The step that contracts two operands, and the labels of its result. Each of their labels is shared or wanted."""
    kept = {*wanted, *out}
    shared = [label for label in x if label in y]
    contracted = [label for label in shared if label not in kept]
    free_x, free_y = [s for s in x if s not in shared], [s for s in y if s not in shared]
    if not contracted:
        labels = out if last else (*x, *free_y)
        sides = (x, y)
        axes = tuple(tuple(side.index(s) for s in labels if s in side) for side in sides)
        new = tuple(tuple(a for a, s in enumerate(labels) if s not in side) for side in sides)
        return Product(i, j, (axes[0], axes[1]), (new[0], new[1])), labels
    batch = [s for s in (out if last else x) if s in shared and s not in contracted]
    straight, swapped = (*batch, *free_x, *free_y), (*batch, *free_y, *free_x)
    if last and swapped == out and straight != out:
        i, j, x, y, straight = j, i, y, x, swapped
    dims = (
        (tuple(x.index(s) for s in contracted), tuple(y.index(s) for s in contracted)),
        (tuple(x.index(s) for s in batch), tuple(y.index(s) for s in batch)),
    )
    return Contraction(i, j, dims), straight


# -- in which order ---------------------------------------------------------------------------------------------


def _pairs(
    terms: Sequence[Labels], out: Labels, sizes: dict[Label, Any], optimize: str | Path
) -> list[tuple[int, int]]:
    """The contraction path, two operands at a time. Results go to the end of the list of operands."""
    numbers = {label: extent if isinstance(extent, int) else 1 << 10 for label, extent in sizes.items()}
    sets = [frozenset(t) for t in terms]
    keep = frozenset(out)
    if isinstance(optimize, str):
        order = _optimal if optimize == "optimal" else _greedy
        return order(sets, keep, numbers)
    path: list[tuple[int, int]] = []
    for group in optimize:
        if len(set(group)) != len(group) or any(not 0 <= g < len(sets) for g in group):
            raise errors.ArgumentError(
                f"einsum: {group} in optimize does not name distinct ones of {len(sets)} operands"
            )
        places = sorted(group)
        while len(places) > 1:
            i, j = places[0], places[1]
            path.append((i, j))
            sets = _after(sets, i, j, keep)
            places = [*(p - 2 for p in places[2:]), len(sets) - 1]
    return path + _greedy(sets, keep, numbers)


def _after(terms: Sequence[frozenset[Label]], i: int, j: int, keep: frozenset[Label]) -> list[frozenset[Label]]:
    rest = [t for k, t in enumerate(terms) if k not in (i, j)]
    return [*rest, (terms[i] | terms[j]) & keep.union(*rest)]


def _size(labels: Iterable[Label], sizes: dict[Label, int]) -> int:
    size = 1
    for label in labels:
        size *= sizes[label]
    return size


def _greedy(terms: list[frozenset[Label]], keep: frozenset[Label], sizes: dict[Label, int]) -> list[tuple[int, int]]:
    """Contracts the pair whose result adds least to what is held in memory, with the fewest products among equals."""
    path = []
    while len(terms) > 1:

        def cost(pair: tuple[int, int], terms: list[frozenset[Label]] = terms) -> tuple[int, int]:
            i, j = pair
            grown = _size(_after(terms, i, j, keep)[-1], sizes) - _size(terms[i], sizes) - _size(terms[j], sizes)
            return grown, _size(terms[i] | terms[j], sizes)

        best = min(combinations(range(len(terms)), 2), key=cost)
        path.append(best)
        terms = _after(terms, *best, keep)
    return path


OPTIMAL_LIMIT = 8
"""Up to this many operands every order is considered; the number of orders grows faster than exponentially."""


def _optimal(terms: list[frozenset[Label]], keep: frozenset[Label], sizes: dict[Label, int]) -> list[tuple[int, int]]:
    """The order with the fewest products."""
    if len(terms) > OPTIMAL_LIMIT:
        return _greedy(terms, keep, sizes)
    n = len(terms)
    best: dict[int, tuple[int, int]] = {1 << i: (0, 0) for i in range(n)}
    labels = {1 << i: t for i, t in enumerate(terms)}
    for group in sorted(range(1, 1 << n), key=int.bit_count):
        if group in best:
            continue
        outside = keep.union(*(t for i, t in enumerate(terms) if not group >> i & 1))
        low = group & -group
        part = (group - 1) & group
        candidates = []
        while part:
            if part & low:
                other = group ^ part
                work = _size(labels[part] | labels[other], sizes)
                candidates.append((best[part][0] + best[other][0] + work, part))
            part = (part - 1) & group
        best[group] = min(candidates)
        part = best[group][1]
        labels[group] = (labels[part] | labels[group ^ part]) & outside
    path: list[tuple[int, int]] = []
    places = [1 << i for i in range(n)]

    def visit(group: int) -> None:
        if group in places:
            return
        part = best[group][1]
        visit(part)
        visit(group ^ part)
        i, j = sorted((places.index(part), places.index(group ^ part)))
        path.append((i, j))
        places[:] = [*(p for k, p in enumerate(places) if k not in (i, j)), group]

    visit((1 << n) - 1)
    return path


def _path_of(optimize: Any) -> str | Path:
    if isinstance(optimize, bool):
        return "optimal"
    if isinstance(optimize, str):
        if optimize in ("greedy", "optimal"):
            return optimize
    elif isinstance(optimize, Sequence) and len(optimize):
        if optimize[0] in ("greedy", "optimal"):
            return str(optimize[0])
        given = optimize[1:] if optimize[0] == "einsum_path" else optimize
        if all(isinstance(group, Sequence) and not isinstance(group, str) for group in given):
            return tuple(tuple(int(g) for g in group) for group in given)
    raise errors.ArgumentError(
        f"einsum: optimize must be a bool, 'greedy', 'optimal' or a path ['einsum_path', (0, 1), ...], got {optimize!r}"
    )


# -- the function -----------------------------------------------------------------------------------------------


def einsum(subscripts: str, *operands: Any, optimize: Any = True) -> Any:
    """Einstein summation with NumPy's syntax: sums of products over labelled axes.

    Args:
        subscripts: labels of the axes of each operand, separated by commas, then ``->`` and the labels of the result.
            Without ``->`` the result has the labels that appear once, in alphabetical order. ``...`` stands for any
            number of axes, which broadcast. A label repeated in one operand takes its diagonal, one that the
            result lacks is summed over. Axes of extent 1 broadcast against others with their label.
        operands: arrays of one dtype.
        optimize: in which order operands are contracted. A bool or ``"optimal"``: the fewest products (the greedy order
            for more than eight operands); ``"greedy"``; or a path as ``np.einsum_path`` returns it.

    Returns:
        An array; a NumPy scalar where no label is left. Sums are formed by matrix products, so that they agree with
        ``np.einsum``'s to rounding. A single operand whose axes are only permuted, or its diagonal, is a view.

    Raises:
        ArgumentError: subscripts that cannot be read.
        ShapeError: subscripts that do not fit the operands.

    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> einsum("ij,kj->ik", x, x)
    array([[ 5., 14.],
           [14., 50.]])
    >>> einsum("...j->...", x)
    array([ 3., 12.])
    >>> einsum("ii", np.ones((3, 3)))
    np.float64(3.0)
    """
    if not isinstance(subscripts, str):
        raise errors.ArgumentError(
            f"einsum: the subscripts must be a string such as 'ij,jk->ik', got {type(subscripts).__name__}; "
            f"functrans.numpy.einsum takes the form with lists of axes as well"
        )
    arrays = [strong(x) for x in operands]
    avals = [aval_of(x) for x in arrays]
    plan = _plan(subscripts, tuple([a.shape for a in avals]), _path_of(optimize))
    if any(a.dtype != avals[0].dtype for a in avals):
        raise errors.DTypeError(
            f"einsum: operands of types {', '.join(map(str, avals))} must have one dtype. functrans.numpy promotes as "
            f"NumPy does; functrans.lax wants an explicit convert_element_type(x, dtype)"
        )
    arrays = [_apply(step, x) for step, x in zip(plan.prepared, arrays, strict=True)]
    for step in plan.steps:
        x, y = arrays[step.left], arrays[step.right]
        if isinstance(step, Contraction):
            out = dot_general_p.bind(x, y, dimension_numbers=step.dimension_numbers)
        else:
            x, y = (
                expand_dims(transpose(side, axes), new)
                for side, axes, new in zip((x, y), step.axes, step.new, strict=True)
            )
            out = mul(x, y)
        arrays = [a for k, a in enumerate(arrays) if k not in (step.left, step.right)]
        arrays.append(out)
    return rebox(transpose(arrays[0], plan.axes), "numpy")


def _apply(step: Prepared, x: Any) -> Any:
    for axis1, axis2 in step.diagonals:
        x = diagonal(x, 0, axis1, axis2)
    return reduce_sum(squeeze(x, step.dropped) if step.dropped else x, step.summed)
