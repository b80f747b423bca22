"""Random programs as a user writes them: the text of a function of NumPy arrays, and arguments at which it is smooth.

A program is drawn line by line. Each line is run as soon as it is drawn, so that the next one knows shapes and values:
one whose result is not finite, is large, or is near a kink (a tie of maxima, a comparison of almost equal numbers) is not
kept. What fails is therefore a text that can be read, pasted and shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hypothesis import strategies as st

import functrans as ft

T = TypeVar("T")

SHAPES: list[tuple[int, ...]] = [(), (3,), (2, 3), (3, 3), (1, 3), (2, 1), (1,), (2, 2, 3), (0,), (0, 3)]
MARGIN = 0.05
BOUND = 30.0
CONSTANTS = {
    "C3": np.array([0.5, -1.25, 0.75]),
    "C23": np.array([[0.25, -0.5, 1.5], [-0.75, 1.25, 0.5]]),
    "CS": np.float64(0.75),
    "I3": np.array([2, 0, 2]),
    "B3": np.array([True, False, True]),
}
INDENT = "    "
ROUNDED = (
    "ft.",
    " @ ",
    "float_power(",
    "logaddexp.reduce(",
    "dot(",
    "matmul(",
    "einsum(",
    "convolve(",
    "kron(",
    "norm(",
)


class Program(NamedTuple):
    """A function's text, the function, and arguments at which it is smooth."""

    text: str
    function: Callable[..., Any]
    args: tuple[Any, ...]

    @property
    def exact(self) -> bool:
        """Whether every operation rounds in one way, compiled or not.

        BLAS and the vector units take other paths for other layouts, which inner transformations choose, and some
        functions have two forms.
        """
        return not any(name in self.text for name in ROUNDED)

    def __repr__(self) -> str:
        return f"{self.text}\nargs = {self.args!r}\n"


def _namespace() -> dict[str, Any]:
    return {"np": np, "ft": ft, **CONSTANTS}


def _shape(x: Any) -> tuple[int, ...]:
    return np.shape(x)


def _fits(a: Any, b: Any) -> bool:
    try:
        np.broadcast_shapes(_shape(a), _shape(b))
    except ValueError:
        return False
    return True


def _apart(x: Any, y: Any = 0.0) -> bool:
    return bool(np.all(np.abs(np.subtract(x, y)) > MARGIN))


def _distinct(x: Any, axis: int | None) -> bool:
    """Whether no two elements along an axis are near each other, so that sorting and maxima are smooth."""
    return bool(np.all(np.diff(np.sort(x, axis=axis), axis=-1 if axis is None else axis) > MARGIN))


class Writer:
    """Draws the lines of one function; those of an inner function are drawn by a writer of their own."""

    def __init__(self, draw: st.DrawFn, names: list[int], values: dict[str, Any], depth: int, everywhere: bool) -> None:
        self.draw = draw
        self.names = names
        self.values = values
        self.depth = depth
        self.everywhere = everywhere
        """Only operations that are smooth everywhere: the function is going to be called at other points as well."""
        self.lines: list[str] = []
        self.mine: list[str] = []

    def fresh(self, letter: str) -> str:
        self.names[0] += 1
        return f"{letter}{self.names[0]}"

    def choose(self, options: Sequence[T]) -> T:
        chosen: T = self.draw(st.sampled_from(options))
        return chosen

    def pick(self, want: Callable[[Any], bool] = lambda v: True, constants: bool = False) -> str | None:
        """The name of a value that is wanted, most likely of a recent one."""
        names = [n for n in self.mine if want(self.values[n])]
        if constants:
            names += [n for n in ("C3", "C23", "CS") if want(self.values[n])]
        if len(names) > 2 and self.draw(st.booleans()):
            names = names[-2:]
        return self.choose(names[::-1]) if names else None

    def value(self, name: str) -> Any:
        return self.values[name]

    def add(self, text: str, letter: str = "v") -> str | None:
        """Add the line that names the value of an expression, if that value is smooth and of moderate size."""
        with np.errstate(all="ignore"):
            found = eval(text, self.values)
        if (
            np.asarray(found).dtype != np.float64
            or not np.all(np.isfinite(found))
            or np.max(np.abs(found), initial=0) > BOUND
        ):
            return None
        if np.size(found) > 40:
            return None
        name = self.fresh(letter)
        self.values[name] = found
        self.mine.append(name)
        self.lines.append(f"{name} = {text}")
        return name

    def block(self, lines: Sequence[str]) -> None:
        """Add a statement that defines functions."""
        exec("\n".join(lines), self.values)
        self.lines.extend(lines)

    # -- lines ----------------------------------------------------------------------------------------------------

    def unary(self) -> str | None:
        a = self.pick()
        assert a is not None
        return self.choose(SMOOTH).format(a)

    def guarded_unary(self) -> str | None:
        """A function that is not smooth, or not defined, everywhere."""
        a = self.pick()
        assert a is not None
        template, allowed = self.choose(GUARDED)
        return None if self.everywhere or not allowed(self.value(a)) else template.format(a)

    def binary(self) -> str | None:
        a = self.pick()
        assert a is not None
        b = self.pick(lambda v: _fits(v, self.value(a)), constants=True)
        return None if b is None else self.choose(BINARY).format(a, b)

    def with_number(self) -> str | None:
        a = self.pick()
        assert a is not None
        return self.choose(NUMBER).format(
            a, self.choose(["2", "0.5", "-1.5", "3", "np.float64(0.25)", "C3[1]", "True"])
        )

    def guarded_binary(self) -> str | None:
        a = self.pick()
        assert a is not None
        b = self.pick(lambda v: _fits(v, self.value(a)), constants=True)
        if b is None or self.everywhere:
            return None
        template, allowed = self.choose(GUARDED_BINARY)
        return template.format(a, b) if allowed(self.value(a), self.value(b)) else None

    def reduction(self) -> str | None:
        a = self.pick(lambda v: isinstance(v, (np.ndarray, np.generic)) and np.size(v) > 0)
        if a is None:
            return None
        ndim = np.ndim(self.value(a))
        axis = self.choose([None, *range(-ndim, ndim)])
        if ndim and self.draw(st.booleans()):
            return self.choose(ALONG).format(a, axis if axis is not None else -1)
        options = f"axis={axis}" + self.choose(["", ", keepdims=True"])
        if self.draw(st.booleans()) or self.everywhere:
            return self.choose(REDUCTIONS).format(a, options)
        x = self.value(a)
        if not _distinct(np.ravel(x) if axis is None else x, None if axis is None else axis) or not _apart(x):
            return None
        return self.choose(GUARDED_REDUCTIONS).format(a, options)

    def movement(self) -> str | None:
        a = self.pick(lambda v: isinstance(v, np.ndarray))
        if a is None:
            return None
        x = self.value(a)
        options = [t for t, allowed in MOVEMENTS if allowed(x)]
        return self.choose(options).format(a, self.choose(list(range(-x.ndim, x.ndim)) or [0]))

    def joining(self) -> str | None:
        a = self.pick(lambda v: np.ndim(v) > 0)
        if a is None:
            return None
        x = self.value(a)
        b = self.pick(lambda v: _shape(v) == x.shape, constants=True)
        axis = self.choose(range(-x.ndim, x.ndim))
        return self.choose(JOINS).format(a, b, axis)

    def update(self) -> str | None:
        a = self.pick(lambda v: np.ndim(v) > 0 and len(v) > 0)
        if a is None:
            return None
        b = self.pick(lambda v: _shape(v) in ((), _shape(self.value(a))[1:]))
        return None if b is None else self.choose(UPDATES).format(a, b)

    def product(self) -> str | None:
        a = self.pick(lambda v: np.ndim(v) > 0)
        if a is None:
            return None
        x = self.value(a)
        inner = x.shape[-1]
        b = self.pick(lambda v: np.ndim(v) in (1, 2) and _shape(v)[-min(np.ndim(v), 2)] == inner, constants=True)
        if b is None or self.draw(st.integers(0, 3)) == 0:
            b = self.pick(lambda v: np.ndim(v) == 1)
            if x.ndim > 2 or b is None:
                return None
            return self.choose(["np.outer({0}, {1})", "np.multiply.outer({0}, {1})", "np.kron({0}, {1})"]).format(a, b)
        return self.choose(
            ["{0} @ {1}", "np.dot({0}, {1})", "np.matmul({0}, {1})", "np.tensordot({0}, {1}, ([-1], [-{2}]))"]
        ).format(a, b, min(np.ndim(self.value(b)), 2))

    # -- inner functions and transformations ---------------------------------------------------------------------------

    def inner(self, params: Sequence[Any], scalar: bool, everywhere: bool, closed: bool) -> str:
        """Define a function of positional parameters that have the given values; with ``closed`` it captures nothing."""
        name = self.fresh("g")
        names = [self.fresh("u") for _ in params]
        values = dict(self.values)
        values.update(zip(names, params, strict=True))
        body = Writer(self.draw, self.names, values, self.depth - 1, everywhere or self.everywhere)
        body.mine = [*([] if closed else self.mine[-2:]), *names]
        body.run(self.draw(st.integers(1, 3)))
        result = body.pick(lambda v: isinstance(v, (np.ndarray, np.generic))) or f"np.sin({names[0]})"
        if body.lines and body.mine:
            result = body.mine[-1] if self.draw(st.booleans()) else result
        if scalar:
            result = self.choose(["np.sum({0})", "np.mean(np.sin({0}))", "({0} * {0}).sum()"]).format(result)
            if "mean" in result:
                result = result.replace("np.mean", "np.sum")
        self.block(
            [f"def {name}({', '.join(names)}):", *[INDENT + line for line in body.lines], f"{INDENT}return {result}"]
        )
        return name

    def transformed(self) -> str | None:
        if self.depth == 0:
            return None
        kind = self.choose(list(TRANSFORMED))
        return TRANSFORMED[kind](self)

    def run(self, count: int) -> None:
        for _ in range(count):
            text = self.choose(LINES)(self)
            if text is not None:
                self.add(text)


# -- templates --------------------------------------------------------------------------------------------------------

SMOOTH = [
    "np.sin({0})", "np.cos({0})", "np.tanh({0})", "np.exp(-{0} * {0})", "np.exp({0} / 8)", "np.arctan({0})", "{0}**2", "{0}**3",
    "-{0}", "+{0}", "np.square({0})", "np.sqrt(1 + {0} * {0})", "np.log(2.0 + {0}**2)", "1 / (1 + {0}**2)", "np.sinh(np.sin({0}))",
    "np.log1p({0} * {0})", "np.expm1(np.tanh({0}))", "np.arcsinh({0})", "np.logaddexp({0}, 0.5)", "np.float_power(1 + {0}**2, 0.3)",
    "(1 + {0} * {0}) ** -0.5", "2.0 ** np.sin({0})", "np.positive({0})", "np.sinc({0} / 7)", "np.reciprocal(2 + np.cos({0}))",
    "np.power(2 + np.sin({0}), {0} / 10)", "np.exp2({0} / 9)", "np.nan_to_num({0})", "np.hypot({0}, 1.0)",
    "np.zeros_like({0}) + {0}", "np.ones_like({0})", "ft.numpy.asarray({0})", "np.copy({0})", "np.real({0})", "np.polyval([0.5, -1.0, 2.0], {0})",
    "np.degrees({0} / 9)", "np.where(True, {0}, np.cos({0}))", "np.arctan2({0}, 2 + np.sin({0}))", "np.multiply({0}, 2, dtype=float)",
]  # fmt: skip
GUARDED: list[tuple[str, Callable[[Any], bool]]] = [
    ("np.abs({0})", _apart),
    ("abs({0})", _apart),
    ("np.sqrt(abs({0}))", _apart),
    ("np.log(np.abs({0}))", _apart),
    ("1 / {0}", lambda x: bool(np.all(np.abs(x) > 0.2))),
    ("np.sign({0}) * {0}", _apart),
    ("np.maximum({0}, 0)", _apart),
    ("np.clip({0}, -0.7, 0.8)", lambda x: _apart(x, -0.7) and _apart(x, 0.8)),
    ("np.where({0} > 0.3, {0}**2, np.sin({0}))", lambda x: _apart(x, 0.3)),
    ("({0} > 0.3) * {0}", lambda x: _apart(x, 0.3)),
    ("np.floor({0}) + {0}", lambda x: _apart(x, np.round(x))),
    ("{0} % 1.0", lambda x: _apart(x, np.round(x))),
    ("np.where({0} > 0, np.log(np.where({0} > 0, {0}, 1.0)), {0})", _apart),
    ("np.cbrt({0})", _apart),
    ("np.arcsin({0} / 2)", lambda x: bool(np.all(np.abs(x) < 1.5))),
    ("abs({0}) ** 0.75", _apart),
    ("np.heaviside({0}, 0.5) + np.sin({0})", _apart),
    ("np.fmax({0}, 0.25)", lambda x: _apart(x, 0.25)),
    ("np.copysign(2.0 + np.sin({0}), {0})", _apart),
    ("np.select([{0} > 0, {0} <= 0], [{0}**2, 3 * {0}])", _apart),
    ("np.piecewise({0}, [{0} > 0, {0} <= 0], [np.sin, lambda t: t * 2])", lambda x: np.ndim(x) > 0 and _apart(x)),
]
BINARY = [
    "{0} + {1}", "{0} - {1}", "{0} * {1}", "np.add({0}, {1})", "np.multiply({1}, {0})", "{0} / (2 + {1} * {1})", "{1} - {0}",
    "np.where(B3[0], {0}, {1})", "np.hypot({0}, 1 + {1} * {1})", "np.arctan2({0}, 1 + {1}**2)", "np.logaddexp({0}, {1})",
    "np.subtract({0}, {1})", "np.true_divide({0}, np.exp({1} / 8))", "(1 + {0}**2) ** np.sin({1})", "np.float64(2) * {0} + {1}",
    "np.broadcast_arrays({0}, {1})[0] * 1.5", "np.add({0}, {1}, where=True)",
]  # fmt: skip
NUMBER = [
    "{0} * {1}",
    "{1} * {0}",
    "{0} + {1}",
    "{1} - {0}",
    "{0} / {1}",
    "np.multiply({1}, {0})",
    "np.maximum({0} * 0 + 2, {1}) + {0}",
]
GUARDED_BINARY: list[tuple[str, Callable[[Any, Any], bool]]] = [
    ("np.maximum({0}, {1})", _apart),
    ("np.minimum({1}, {0})", _apart),
    ("np.where({0} > {1}, {0} * {1}, {1} - {0})", _apart),
    ("np.where({0} < {1}, {0}, 0.0)", _apart),
    ("({0} >= {1}) * {0} - {1}", _apart),
    ("{0} / {1}", lambda a, b: bool(np.all(np.abs(b) > 0.2))),
    ("np.fmin({0}, {1})", _apart),
    ("np.clip({0}, {1}, None)", _apart),
    ("np.abs({0}) ** {1}", lambda a, b: _apart(a)),
    ("np.arctan2({0}, {1})", lambda a, b: _apart(a)),
]
REDUCTIONS = [
    "np.sum({0}, {1})", "{0}.sum({1})", "np.mean({0}, {1})", "{0}.mean({1})", "np.prod(np.tanh({0}) + 1, {1})", "np.var({0}, {1})",
    "np.std({0} + np.arange(np.size({0})).reshape(np.shape({0})) * 9.0, {1}) / 9", "np.add.reduce({0}, {1})", "np.logaddexp.reduce({0}.ravel())",
    "np.sqrt(1 + np.sum({0}**2, {1}))", "np.average({0})", "np.sum({0}, where=np.ones(np.shape({0}), bool), {1})",
]  # fmt: skip
GUARDED_REDUCTIONS = [
    "np.max({0}, {1})", "{0}.min({1})", "np.amax({0}, {1})", "np.median({0}, {1})", "np.ptp({0}, {1})", "np.linalg.norm({0})",
    "np.quantile({0}, 0.3, {1})", "{0}.ravel()[np.argmax({0})]", "np.max({0}, {1}, initial=-9.0)", "np.sort({0}, axis=-1) if np.ndim({0}) == 1 else np.nanmax({0}, {1})",
]  # fmt: skip
ALONG = [
    "np.cumsum({0}, axis={1})", "np.cumprod(np.cos({0}), axis={1})", "np.diff({0}, axis={1})", "np.flip({0}, axis={1})",
    "np.roll({0}, 1, axis={1})", "np.repeat({0}, 2, axis={1})", "np.take({0}, [0, -1, 0], axis={1})", "np.expand_dims({0}, {1})",
    "np.cumsum({0}, axis={1})[..., ::-1]", "np.exp({0}) / np.sum(np.exp({0}), axis={1}, keepdims=True)", "np.moveaxis({0}, {1}, 0)",
    "np.concatenate(np.split({0}, [1], axis={1})[::-1], axis={1})", "np.delete({0}, 0, axis={1})", "np.insert({0}, 0, 0.5, axis={1})",
    "np.compress([True], {0}, axis={1})", "np.add.accumulate({0}, axis={1})", "np.apply_along_axis(lambda t: t * t[0], {1}, {0})",
    "np.swapaxes({0}, 0, {1})", "np.log(np.sum(np.exp({0}), axis={1}))", "np.append({0}, {0}, axis={1})",
]  # fmt: skip
MOVEMENTS: list[tuple[str, Callable[[Any], bool]]] = [
    ("{0}.T", lambda x: True),
    ("{0}.reshape(-1)", lambda x: True),
    ("np.reshape({0}, (1, -1))", lambda x: x.size > 0),
    ("{0}.ravel()", lambda x: True),
    ("np.ravel({0}, order='F')", lambda x: True),
    ("{0}[..., None]", lambda x: True),
    ("{0}[None]", lambda x: True),
    ("np.broadcast_to({0}, (2,) + np.shape({0}))", lambda x: True),
    ("np.squeeze({0})", lambda x: True),
    ("{0}[()]", lambda x: True),
    ("{0}[...]", lambda x: True),
    ("np.tile({0}, 2)", lambda x: True),
    ("np.pad({0}, 1)", lambda x: x.ndim > 0),
    ("np.pad({0}, 1, mode='edge')", lambda x: x.ndim > 0 and x.size > 0),
    ("{0}[::-1]", lambda x: x.ndim > 0),
    ("{0}[1:]", lambda x: x.ndim > 0),
    ("{0}[..., :-1]", lambda x: x.ndim > 0),
    ("{0}[-1]", lambda x: x.ndim > 0 and len(x) > 0),
    ("{0}[..., 0]", lambda x: x.ndim > 0 and x.shape[-1] > 0),
    ("{0}[[0, -1]]", lambda x: x.ndim > 0 and len(x) > 0),
    ("{0}[..., I3]", lambda x: x.ndim > 0 and x.shape[-1] == 3),
    ("{0}[..., B3]", lambda x: x.ndim > 0 and x.shape[-1] == 3),
    ("{0}[I3, I3[::-1]]", lambda x: x.ndim > 1 and x.shape[:2] == (3, 3)),
    ("{0}[:, None, I3]", lambda x: x.ndim == 2 and x.shape[1] == 3),
    ("{0}[0, ::2]", lambda x: x.ndim > 1 and len(x) > 0),
    ("np.diag({0})", lambda x: x.ndim == 1 or x.ndim == 2),
    ("np.trace({0})", lambda x: x.ndim == 2),
    ("np.triu({0})", lambda x: x.ndim >= 2),
    ("np.rot90({0})", lambda x: x.ndim >= 2),
    ("np.swapaxes({0}, 0, -1)", lambda x: x.ndim >= 2),
    ("np.einsum('ij->ji', {0})", lambda x: x.ndim == 2),
    ("np.einsum('ij,ij->i', {0}, {0})", lambda x: x.ndim == 2),
    ("np.einsum('...i,...i', {0}, {0})", lambda x: x.ndim >= 1),
    ("np.stack([{0}, {0} * 2])[1]", lambda x: True),
    ("sum({0})", lambda x: x.ndim > 0 and len(x) > 0),
    ("{0}.flatten()[::2]", lambda x: True),
    ("np.roll({0}, 1)", lambda x: True),
    ("{0}.copy()", lambda x: True),
    ("{0}.astype(np.float64)", lambda x: True),
    ("{0}.swapaxes({1}, 0)", lambda x: x.ndim > 0),
    ("np.take_along_axis({0}, np.argsort({0}, axis=-1) * 0, axis=-1)", lambda x: x.ndim > 0 and x.size > 0),
    ("np.vander({0}, 3)", lambda x: x.ndim == 1),
    ("np.outer({0}, {0})", lambda x: True),
    ("np.convolve({0}, C3)", lambda x: x.ndim == 1 and x.size > 0),
    ("np.interp(0.4, np.arange(3.0), {0})", lambda x: x.shape == (3,)),
    ("np.cross({0}, C3)", lambda x: x.ndim > 0 and x.shape[-1] == 3),
]
JOINS = [
    "np.concatenate([{0}, {1}], axis={2})", "np.stack([{0}, {1}], axis={2})", "np.hstack([{0}, {1}])", "np.vstack(({0}, {1}))",
    "np.dstack([{0}, {1}])", "np.concatenate([{0}, np.ones_like({1}), {0}], axis={2})", "np.append({0}, {1})",
    "np.block([[{0}], [{1}]])", "np.column_stack([{0}, {1}])",
]  # fmt: skip
UPDATES = [
    "ft.numpy.at({0})[0].set({1})", "ft.numpy.at({0})[-1].add({1})", "ft.numpy.at({0})[:1].multiply({1})",
    "ft.numpy.at({0})[[0, 0]].add({1})", "ft.numpy.at({0})[::-1].set({1})",
]  # fmt: skip


def _arrays(writer: Writer, count: int) -> list[str]:
    names = [writer.pick(lambda v: isinstance(v, (np.ndarray, np.generic))) for _ in range(count)]
    return [n for n in names if n is not None]


def _call(
    writer: Writer, template: str, scalar: bool = False, everywhere: bool = False, closed: bool = False
) -> str | None:
    names = _arrays(writer, writer.draw(st.integers(1, 2)))
    if not names:
        return None
    g = writer.inner([writer.value(n) for n in names], scalar, everywhere, closed)
    args = ", ".join(names)
    tuple_ = f"({args},)"
    tangents = "(" + "".join(f"np.cos({n}), " for n in names) + ")"
    return template.format(g=g, args=args, tuple=tuple_, tangents=tangents, first=names[0])


def _mapped(writer: Writer) -> str | None:
    a = writer.pick(lambda v: np.ndim(v) > 0 and len(v) > 0)
    if a is None:
        return None
    x = writer.value(a)
    b = writer.pick(lambda v: isinstance(v, (np.ndarray, np.generic)))
    axis = writer.choose([0, -1]) if x.shape[-1] else 0
    row = np.take(x, 0, axis=axis)
    out = writer.choose(["", ", out_axes=-1"])
    if b is not None and writer.draw(st.booleans()):
        g = writer.inner([row, writer.value(b)], False, True, False)
        inner = writer.choose([g, f"ft.jit({g})"])
        return f"ft.vmap({inner}, in_axes=({axis}, None){out})({a}, {b})"
    scalar = writer.draw(st.booleans())
    g = writer.inner([row], scalar, True, False)
    inner = writer.choose(
        [f"ft.grad({g})", f"ft.jit(ft.grad({g}))", f"ft.value_and_grad({g})"] if scalar else [g, f"ft.jit({g})"]
    )
    return f"ft.vmap({inner}, in_axes={axis}{out})({a})" + ("[1]" if "value" in inner else "")


def _looped(writer: Writer) -> str | None:
    """A loop over the rows of an array."""
    a = writer.pick(lambda v: np.ndim(v) > 0 and len(v) > 0)
    if a is None:
        return None
    g = writer.inner([writer.value(a)[0]], False, True, False)
    return writer.choose(
        [
            f"ft.lax.map({g}, {a})",
            f"ft.lax.scan(lambda c, u: (np.cos(c) + np.sum({g}(u)), {g}(u) * c), 0.5, {a})[1]",
            f"ft.lax.scan(lambda c, u: (np.sin(c) * np.sum({g}(u)), None), np.float64(0.5), {a}, reverse=True)[0]",
        ]
    )


def _repeated(writer: Writer) -> str | None:
    """A loop whose body is not smooth everywhere would need a look at every round."""
    a = writer.pick(lambda v: isinstance(v, np.ndarray))
    if a is None:
        return None
    g = writer.inner([writer.value(a)], False, True, False)
    return f"ft.lax.fori_loop(0, 2, lambda i, u: (np.sin(u) + 0.1 * np.sum({g}(u))) * i, {a} * 1.0)"


def _custom(writer: Writer) -> str | None:
    names = _arrays(writer, writer.draw(st.integers(1, 2)))
    if not names:
        return None
    g = writer.inner([writer.value(n) for n in names], False, False, True)
    h = writer.fresh("h")
    kinds = writer.choose(["jvp", "vjp", "both"])
    lines = [f"{h} = ft.custom_{'jvp' if kinds == 'both' else kinds}({g})"]
    if kinds != "vjp":
        lines.append(f"{h}.defjvp(lambda primals, tangents: ft.jvp({g}, primals, tangents))")
    if kinds != "jvp":
        lines.append(f"{h}.defvjp(lambda *xs: ({g}(*xs), xs), lambda xs, ct: ft.vjp({g}, *xs)[1](ct))")
    writer.block(lines)
    return f"{h}({', '.join(names)})"


TRANSFORMED: dict[str, Callable[[Writer], str | None]] = {
    "jit": lambda w: _call(w, "ft.jit({g})({args})"),
    "twice": lambda w: _call(w, "(lambda k: k({args}) + k({args}))(ft.jit({g}))"),
    "grad": lambda w: _call(w, "ft.grad({g})({args})", scalar=True),
    "grad of jit": lambda w: _call(w, "ft.grad(ft.jit({g}))({args})", scalar=True),
    "jit of grad": lambda w: _call(w, "ft.jit(ft.grad({g}))({args})", scalar=True),
    "value": lambda w: _call(w, "ft.value_and_grad({g})({args})[0]", scalar=True),
    "tangent": lambda w: _call(w, "ft.jvp({g}, {tuple}, {tangents})[1]"),
    "linearize": lambda w: _call(w, "ft.linearize({g}, {args})[1](*{tangents})"),
    "vjp": lambda w: _call(w, "(lambda pair: pair[1](np.cos(pair[0])))(ft.vjp({g}, {args}))[0]"),
    "jacfwd": lambda w: _call(w, "ft.jacfwd({g})({args})"),
    "jacrev": lambda w: _call(w, "ft.jacrev({g})({args})"),
    "stopped": lambda w: _call(w, "{g}({args}) + ft.stop_gradient(2.0) * {first}.sum()"),
    "elementwise": lambda w: _call(w, "ft.elementwise_grad({g})({args})"),
    "hessian": lambda w: _call(w, "np.sum(ft.hessian({g})({args}))", scalar=True),
    "hvp": lambda w: _call(w, "ft.jvp(ft.grad({g}, argnums=0), {tuple}, {tangents})[1]", scalar=True),
    "cond": lambda w: _call(w, "ft.lax.cond(np.sum({first}) > 0.31, {g}, lambda *us: {g}(*us) * 0.5, {args})"),
    "choice": lambda w: _call(w, "ft.lax.switch(5, [{g}, lambda *us: np.sum({g}(*us)) + {g}(*us)], {args})"),
    "numpy code": lambda w: _call(w, "ft.numpy_code({g})({args})"),
    "looped": _looped,
    "repeated": _repeated,
    "vmap": _mapped,
    "custom": _custom,
}
LINES: list[Callable[[Writer], str | None]] = [
    Writer.unary,
    Writer.binary,
    Writer.movement,
    Writer.reduction,
    Writer.guarded_unary,
    Writer.guarded_binary,
    Writer.with_number,
    Writer.joining,
    Writer.product,
    Writer.update,
    Writer.transformed,
    Writer.transformed,
]


# -- whole programs ---------------------------------------------------------------------------------------------------


@st.composite
def arguments(draw: st.DrawFn) -> Any:
    """An array, a 0-d one, a NumPy scalar or a Python float; elements are at least 0.01 apart from each other."""
    shape = draw(st.sampled_from(SHAPES))
    size = int(np.prod(shape))
    seed = draw(st.integers(0, 50))
    x = (np.random.default_rng(seed).permutation(size) + 0.5 + seed % 7 / 7) * 0.23 - 0.1 * size
    x = x.reshape(shape)
    if shape:
        return x if draw(st.integers(0, 3)) else np.asfortranarray(x)
    return {"float": float(x), "numpy": np.float64(x), "array": x}[draw(st.sampled_from(["float", "numpy", "array"]))]


@st.composite
def programs(draw: st.DrawFn, lines: int = 5, depth: int = 2) -> Program:
    """A program with pytrees of float64 arrays and numbers as arguments and results."""
    leaves = draw(st.lists(arguments(), min_size=1, max_size=3))
    writer = Writer(draw, [0], _namespace(), depth, False)
    packing = draw(st.sampled_from(["positional", "dict", "tuple"]))
    names = ["x", "y", "z"][: len(leaves)]
    if packing == "positional":
        head, args = [f"def f({', '.join(names)}):"], tuple(leaves)
    elif packing == "dict":
        head = ["def f(p):", f"{INDENT}{', '.join(names)}, = {', '.join(f'p[{n!r}]' for n in names)},"]
        args = (dict(zip(names, leaves, strict=True)),)
    else:
        head = ["def f(p, *rest):", f"{INDENT}{', '.join(names)}, = *p, *rest"]
        args = (leaves[:2], *leaves[2:])
    writer.values.update(zip(names, leaves, strict=True))
    writer.mine = list(names)
    writer.run(draw(st.integers(1, lines)))
    results = [writer.mine[-1], *draw(st.lists(st.sampled_from(writer.mine), max_size=2))]
    form = draw(st.sampled_from(["one", "tuple", "dict", "more"]))
    result = {
        "one": results[0],
        "tuple": f"({', '.join(results)},)",
        "dict": "{" + ", ".join(f"'{i}': {r}" for i, r in enumerate(results)) + "}",
        "more": f"[{results[0]}, None, (2.5, {results[-1]}), np.argmax(np.ravel({results[0]})) if np.size({results[0]}) else 3]",
    }[form]
    text = "\n".join([*head, *[INDENT + line for line in writer.lines], f"{INDENT}return {result}"])
    values = _namespace()
    exec(compile(text, "<a random program>", "exec"), values)
    return Program(text, values["f"], args)
