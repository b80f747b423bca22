"""What distributions have in common: operands, location and scale, support, and functions that follow from others.

A distribution is a record of functions in terms of ``functrans.lax``: they are computed by the same primitives whether
or not something is being transformed, and have derivatives in all operands. Out of the support a logarithmic density
is minus infinity and its derivative 0; parameters out of their domain give NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import rebox
from functrans.nn.arguments import together

Function = Callable[..., Any]


def both(*conditions: Any) -> Any:
    """The conjunction of some conditions."""
    out = conditions[0]
    for c in conditions[1:]:
        out = lax.logical_and(out, c)
    return out


def positive(*parameters: Any) -> Any:
    """Whether all parameters are above 0."""
    return both(*[lax.gt(p, 0.0) for p in parameters])


def probability(p: Any) -> Any:
    """Whether ``0 <= p <= 1``."""
    return both(lax.ge(p, 0.0), lax.le(p, 1.0))


def log_of(part: Any, rest: Any) -> Any:
    """The logarithm of a probability, from the other one where that is small; of 0, minus infinity of derivative 0."""
    zero, large = lax.eq(part, 0.0), lax.gt(part, 0.5)
    out = lax.select(large, lax.log1p(-lax.select(large, rest, 0.0)), lax.log(lax.select(zero, 1.0, part)))
    return rebox(lax.select(zero, -np.inf, out), "numpy")


class Family:
    """A family of distributions: its shape parameters, and whether they are valid.

    Attributes:
        name: SciPy's.
        names: the names of the parameters, in SciPy's order.
    """

    def __init__(self, name: str, shapes: Sequence[str], defaults: dict[str, float], valid: Function | None) -> None:
        self.name = name
        self.names = (*shapes, *defaults)
        self.shapes = len(shapes)
        self.defaults = defaults
        self.valid = valid

    def operands(self, method: str, x: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """The first operand and the parameters, in one dtype."""
        where = f"{self.name}.{method}"
        if len(args) > len(self.names):
            raise errors.ArgumentError(f"{where}: takes x and {', '.join(self.names)}; got {len(args) + 1} operands")
        given = dict(zip(self.names, args, strict=False))
        for key, value in kwargs.items():
            if key not in self.names or key in given:
                known = ", ".join(self.names)
                again = "is given twice" if key in given else f"is no parameter; they are {known}"
                raise errors.ArgumentError(f"{where}: {key!r} {again}")
            given[key] = value
        missing = [n for n in self.names if n not in given and n not in self.defaults]
        if missing:
            raise errors.ArgumentError(f"{where}: the parameter {missing[0]!r} is missing")
        return together(where, x, *[given.get(n, self.defaults.get(n)) for n in self.names])

    def checked(self, out: Any, parameters: Sequence[Any], extra: Any = None) -> Any:
        """The result, NaN where a parameter is invalid."""
        conditions = [] if extra is None else [extra]
        if self.valid is not None:
            conditions.append(self.valid(*parameters))
        if conditions:
            out = lax.select(both(*conditions), out, np.nan)
        return rebox(out, "numpy")

    def __repr__(self) -> str:
        return f"<distribution {self.name}({', '.join(self.names)})>"


def missing(name: str, method: str) -> errors.ArgumentError:
    return errors.ArgumentError(f"{name}.{method} is not implemented. Call SciPy's through functrans.pure_callback")


class Continuous(Family):
    """A family of continuous distributions with location and scale; see ``scipy.stats`` for each.

    The methods take ``x`` (or a probability ``q``), the shape parameters, ``loc`` and ``scale``, by position or name;
    all broadcast. Results have the dtype that the operands are promoted to, float64 for integers.

    Args:
        logpdf: the logarithmic density of ``y = (x - loc) / scale`` and the shapes, inside the support.
        support: its bounds, as functions of the shapes; None for unbounded.
        inner: a point inside the support, as a function of the shapes, that stands for points outside.
        cdf, sf, logcdf, logsf: functions as ``logpdf``.
        ppf, isf: functions of a probability and the shapes.
        valid: whether the shapes are in their domain.
    """

    def __init__(
        self,
        name: str,
        shapes: Sequence[str] = (),
        *,
        logpdf: Function,
        support: tuple[Function | None, Function | None] = (None, None),
        inner: Function | None = None,
        cdf: Function | None = None,
        sf: Function | None = None,
        logcdf: Function | None = None,
        logsf: Function | None = None,
        ppf: Function | None = None,
        isf: Function | None = None,
        valid: Function | None = None,
    ) -> None:
        super().__init__(name, shapes, {"loc": 0.0, "scale": 1.0}, valid)
        self.support = support
        self.inner = inner
        self.functions = {"logpdf": logpdf, "cdf": cdf, "sf": sf, "logcdf": logcdf, "logsf": logsf}
        self.inverses = {"ppf": ppf, "isf": isf}

    def _at(
        self,
        method: str,
        x: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        below: float,
        above: float,
        label: str | None = None,
    ) -> Any:
        """A function of ``(x - loc) / scale``, with constant values below and above the support."""
        function = self.functions[method]
        if function is None:
            raise missing(self.name, method)
        x, *parameters, loc, scale = self.operands(label or method, x, args, kwargs)
        good = lax.gt(scale, 0.0)
        scale = lax.select(good, scale, 1.0)
        y = lax.div(lax.sub(x, loc), scale)
        low, high = (None if bound is None else bound(*parameters) for bound in self.support)
        under = None if low is None else lax.lt(y, low)
        over = None if high is None else lax.gt(y, high)
        inside = y
        for outside in (under, over):
            if outside is not None:
                assert self.inner is not None
                inside = lax.select(outside, self.inner(*parameters), inside)
        out = function(inside, *parameters)
        if method == "logpdf":
            out = lax.sub(out, lax.log(scale))
        if under is not None:
            out = lax.select(under, below, out)
        if over is not None:
            out = lax.select(over, above, out)
        return self.checked(out, parameters, good)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the density."""
        return self._at("logpdf", x, args, kwargs, -np.inf, -np.inf)

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density."""
        return lax.exp(self._at("logpdf", x, args, kwargs, -np.inf, -np.inf, "pdf"))

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most ``x``."""
        return self._at("cdf", x, args, kwargs, 0.0, 1.0)

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than ``x``, where that is small too."""
        return self._at("sf", x, args, kwargs, 1.0, 0.0)

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``cdf``."""
        if self.functions["logcdf"] is None:
            return log_of(self.cdf(x, *args, **kwargs), self.sf(x, *args, **kwargs))
        return self._at("logcdf", x, args, kwargs, -np.inf, 0.0)

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``sf``."""
        if self.functions["logsf"] is None:
            return log_of(self.sf(x, *args, **kwargs), self.cdf(x, *args, **kwargs))
        return self._at("logsf", x, args, kwargs, 0.0, -np.inf)

    def _inverse(self, method: str, q: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        function = self.inverses[method]
        if function is None:
            raise missing(self.name, method)
        q, *parameters, loc, scale = self.operands(method, q, args, kwargs)
        inside = probability(q)
        y = function(lax.select(inside, q, 0.5), *parameters)
        return self.checked(lax.add(lax.mul(y, scale), loc), parameters, both(inside, lax.gt(scale, 0.0)))

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The inverse of ``cdf``: the quantile of a probability; NaN for what is none."""
        return self._inverse("ppf", q, args, kwargs)

    def isf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The inverse of ``sf``."""
        return self._inverse("isf", q, args, kwargs)


class Discrete(Family):
    """A family of distributions of whole numbers with a location; see ``scipy.stats`` for each.

    The methods take ``k``, the shape parameters and ``loc``, by position or name; all broadcast. The logarithmic
    probability of what is no whole number, or not in the support, is minus infinity.

    Args:
        logpmf: the logarithmic probability of ``k - loc`` and the shapes, inside the support.
        support: its lowest number, and its highest as a function of the shapes or None.
        cdf, sf: the probability of at most and of more than a whole number, inside the support.
        ppf: the quantile of a probability.
        valid: whether the shapes are in their domain.
    """

    def __init__(
        self,
        name: str,
        shapes: Sequence[str],
        *,
        logpmf: Function,
        support: tuple[int, Function | None] = (0, None),
        cdf: Function | None = None,
        sf: Function | None = None,
        ppf: Function | None = None,
        valid: Function | None = None,
    ) -> None:
        super().__init__(name, shapes, {"loc": 0.0}, valid)
        self.support = support
        self.mass = logpmf
        self.functions = {"cdf": cdf, "sf": sf}
        self.quantile = ppf

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability of ``k``."""
        k, *parameters, loc = self.operands("logpmf", k, args, kwargs)
        n = lax.sub(k, loc)
        low, high = self.support
        inside = both(lax.ge(n, float(low)), lax.eq(lax.floor(n), n))
        if high is not None:
            inside = both(inside, lax.le(n, high(*parameters)))
        out = self.mass(lax.select(inside, n, float(low)), *parameters)
        return self.checked(lax.select(inside, out, -np.inf), parameters, lax.eq(k, k))

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of ``k``."""
        return lax.exp(self.logpmf(k, *args, **kwargs))

    def _tail(self, method: str, k: Any, args: Sequence[Any], kwargs: dict[str, Any], below: float) -> Any:
        function = self.functions[method]
        if function is None:
            raise missing(self.name, method)
        k, *parameters, loc = self.operands(method, k, args, kwargs)
        n = lax.floor(lax.sub(k, loc))
        low, high = self.support
        under = lax.lt(n, float(low))
        inside = lax.select(under, float(low), n)
        over = None
        if high is not None:
            over = lax.ge(n, high(*parameters))
            inside = lax.select(over, float(low), inside)
        out = lax.select(under, below, function(inside, *parameters))
        if over is not None:
            out = lax.select(over, 1.0 - below, out)
        return self.checked(out, parameters, lax.eq(k, k))

    def cdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most ``k``."""
        return self._tail("cdf", k, args, kwargs, 0.0)

    def sf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than ``k``, where that is small too."""
        return self._tail("sf", k, args, kwargs, 1.0)

    def logcdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``cdf``."""
        return log_of(self.cdf(k, *args, **kwargs), self.sf(k, *args, **kwargs))

    def logsf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of ``sf``."""
        return log_of(self.sf(k, *args, **kwargs), self.cdf(k, *args, **kwargs))

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Any:
        """The smallest number of which ``cdf`` is at least ``q``."""
        if self.quantile is None:
            raise missing(self.name, "ppf")
        q, *parameters, loc = self.operands("ppf", q, args, kwargs)
        return self.checked(lax.add(self.quantile(q, *parameters), loc), parameters, probability(q))
