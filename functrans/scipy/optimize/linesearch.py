"""A step length that satisfies the strong Wolfe conditions, found by a traced loop.

Bracketing and zooming are algorithms 3.5 and 3.6 of J. Nocedal and S. J. Wright, "Numerical Optimization" (2nd ed.,
2006). They are one loop here, in which each turn evaluates the function once: so a batch of searches, each in a phase
of its own, runs side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans import lax
from functrans import numpy as fnp

BRACKET, ZOOM, FOUND, FAILED = range(4)
_GUARD = 0.1
"""The part of an interval at either end in which no interpolated step may lie."""


class Point(NamedTuple):
    """A step and the function there: value, slope along the direction, gradient."""

    step: Any
    value: Any
    slope: Any
    gradient: Any


class _State(NamedTuple):
    phase: Any
    count: Any
    trial: Any
    low: Point
    high: Point


def wolfe_search(
    value_and_grad: Callable[[Any], tuple[Any, Any]],
    x: Any,
    direction: Any,
    value: Any,
    gradient: Any,
    first: Any,
    c1: float = 1e-4,
    c2: float = 0.9,
    limit: int = 20,
) -> tuple[Point, Any, Any]:
    """A step along a direction of descent, the function there, whether it will do, and how many evaluations it took.

    Args:
        value_and_grad: the function of a vector and its gradient.
        x, direction, value, gradient: where the search starts.
        first: the step to try first.
        c1, c2: the constants of sufficient decrease and of the slope.
        limit: the most evaluations. After them a step that decreases the function is taken if one was seen.
    """
    slope = fnp.dot(gradient, direction)
    start = Point(fnp.zeros_like(value), value, slope, gradient)

    def evaluate(step: Any) -> Point:
        f, g = value_and_grad(x + step * direction)
        return Point(step, f, fnp.dot(g, direction), g)

    def turn(s: _State) -> _State:
        new = evaluate(s.trial)
        low, high = s.low, s.high
        # Written so that a NaN counts as too high.
        decreased = (new.value <= value + c1 * new.step * slope) & ((new.value < low.value) | (s.count == 0))
        flat = fnp.abs(new.slope) <= -c2 * slope
        good = decreased & flat
        bracketing = s.phase == BRACKET
        # In the bracketing phase ``low`` is the step before: the interval lies between it and the new one.
        onward = bracketing & decreased & ~flat & (new.slope < 0)
        turned = new.slope * fnp.where(bracketing, fnp.ones_like(new.step), high.step - low.step) >= 0
        upper = _choose(decreased, _choose(turned, low, high), new)
        lower = _choose(decreased, new, low)
        phase = fnp.where(good, FOUND, fnp.where(onward, BRACKET, ZOOM))
        trial = fnp.where(onward, 2.0 * new.step, _between(lower, upper))
        count = s.count + 1
        phase = fnp.where((phase < FOUND) & (count >= limit), FAILED, phase)
        return _State(phase.astype(np.int64), count, trial, lower, upper)

    state = _State(np.int64(BRACKET), np.int64(0), fnp.asarray(first)[()], start, start)
    done = lax.while_loop(lambda s: s.phase < FOUND, turn, state)
    accepted = (done.phase == FOUND) | ((done.low.step > 0) & (done.low.value < value))
    return done.low, accepted, done.count


def _choose(condition: Any, a: Point, b: Point) -> Point:
    return Point(*[fnp.where(condition, p, q) for p, q in zip(a, b, strict=True)])


def _between(a: Point, b: Point) -> Any:
    """The minimizer of the cubic through two points with their slopes (equation 3.59), or else their middle."""
    width = b.step - a.step
    safe = fnp.where(width == 0, fnp.ones_like(width), width)
    d1 = a.slope + b.slope - 3.0 * (b.value - a.value) / safe
    square = d1 * d1 - a.slope * b.slope
    d2 = fnp.sign(safe) * fnp.sqrt(fnp.where(square > 0, square, fnp.zeros_like(square)))
    divisor = b.slope - a.slope + 2.0 * d2
    step = b.step - width * (b.slope + d2 - d1) / fnp.where(divisor == 0, fnp.ones_like(divisor), divisor)
    part = (step - a.step) / safe
    usable = (square >= 0) & (divisor != 0) & (part >= _GUARD) & (part <= 1 - _GUARD)
    return fnp.where(usable, step, a.step + 0.5 * width)
