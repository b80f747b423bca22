"""Random programs through the whole compiler, with tiles of a few elements, compared with eager evaluation.

Two kinds: programs of smooth functions (``tests.testing.random_programs``), with every transformation and control flow;
and straight ones of several dtypes, made here, that see NaN, infinities, zeros of both signs and integers that wrap.
The latter must agree to the bit. So must the former, where nothing is summed and no matrix product is taken: a sum over
an axis that tiles cut adds in another order, and is compared up to ``BOUND`` of the largest number in the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

import functrans as ft
from functrans.backends.numpy import program, tiles
from functrans.core.trace import aval_of
from tests.passes.proofs import pool, same_bits
from tests.testing.random_programs import Program, programs

BOUND = 1e-13
SUMMED = ("sum", "mean", "average", "std", "var", "prod", "logaddexp", "trace", "norm", "polyval", "cumprod", "interp")
DTYPES = [np.dtype(t) for t in ("f8", "f8", "f4", "f2", "i4", "u1", "c16", "?")]
SHAPES = [(3, 4), (4,), (3, 1), (5, 3, 4), (), (2, 0), (70,)]


@contextmanager
def tiny(tile_bytes: int = 64) -> Iterator[None]:
    """Fusion and tiles for arrays of any size."""
    with (
        patch.object(program, "SMALL", 2),
        patch.object(program, "PARALLEL_BYTES", 64),
        patch.object(program, "is_one_call", lambda kernel: False),
        patch.object(tiles, "TILE_BYTES", tile_bytes),
    ):
        yield


def compare(found: Any, expected: Any, exact: bool, text: str) -> None:
    """Two results agree in structure, types, and bits."""
    ours, tree = ft.tree.flatten(found)
    theirs, expected_tree = ft.tree.flatten(expected)
    assert tree == expected_tree, text
    scale = max([1.0, *[float(np.max(np.abs(b), initial=0.0)) for b in theirs if not exact]])
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b), f"{text}\n{a!r}\n{b!r}"
        if exact:
            assert same_bits(a, b), f"{text}\n{a!r}\n{b!r}"
        else:
            np.testing.assert_allclose(a, b, rtol=BOUND, atol=BOUND * scale, err_msg=text)


def check_smooth(sample: Program) -> None:
    """One program of smooth functions."""
    with np.errstate(all="ignore"):
        exact = sample.exact and not any(word in sample.text for word in SUMMED)
        compare(ft.jit(sample.function)(*sample.args), sample.function(*sample.args), exact, repr(sample))


def run_smooth(count: int, start: int) -> None:
    """As many programs of smooth functions, drawn from a seed."""

    @seed(start)
    @settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None, derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(sample=programs())
    def run(sample: Program) -> None:
        check_smooth(sample)

    run()


# -- straight programs -------------------------------------------------------------------------------------------------


class Straight(NamedTuple):
    """A program without control flow: the text of a function, and its arguments."""

    text: str
    args: tuple[Any, ...]

    @property
    def function(self) -> Callable[..., Any]:
        scope: dict[str, Any] = {"np": np, "ft": ft}
        exec(compile(self.text, "<a random program>", "exec"), scope)
        made: Callable[..., Any] = scope["f"]
        return made


UNARY = ["-{0}", "+{0}", "np.abs({0})", "np.square({0})", "np.negative(-{0})", "np.abs(-{0})"]
FLOATS = ["np.sqrt({0})", "np.floor(np.floor({0}))", "np.sign({0})", "{0} / 4.0", "{0} ** 2", "{0} * -1.0",
          "np.rint({0})", "-({0} * 2.5)", "({0} - 0.0)", "({0} + -0.0)", "np.nan_to_num({0})",
          "np.trunc({0})"]  # fmt: skip
BINARY = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} - -{1}", "-{0} + {1}", "-{0} * -{1}",
          "np.where({0} == {1}, {0}, {1})", "np.where(~({0} != {1}), {1}, np.where({0} != {1}, {0}, {1}))"]  # fmt: skip
ORDERED = [
    "np.maximum({0}, {1})",
    "np.minimum({0}, {1})",
    "np.where({0} < {1}, {0}, {1})",
    "np.where(~({0} < {1}), {0}, {1})",
]
TRUTHS = ["~{0}", "~~{0}", "{0} & {1}", "{0} | {1}", "{0} ^ {1}", "np.logical_not({0})", "{0} & {0}"]
MOVED = ["{0}.T", "{0}.T.T", "{0}.reshape(-1)", "{0}[..., None]", "{0}[None]", "{0}[..., ::-1]", "np.flip({0})",
         "np.concatenate([{0}, {0}], -1)", "np.concatenate([{0}, {0}], 0)[1:]", "{0}[..., 1:][..., ::2]",
         "np.stack([{0}, {0}])", "np.broadcast_to({0}, (2, *np.shape({0})))", "np.roll({0}, 1, -1)",
         "np.pad({0}, 1)[1:-1]", "np.expand_dims({0}, 0)", "np.moveaxis({0}[None], 0, -1)"]  # fmt: skip
REDUCED = ["{0}.any(-1)", "{0}.all()", "{0}.any(0)", "np.broadcast_to({0}, (2, *np.shape({0}))).all(0)"]
LARGEST = ["np.max({0}, -1)", "np.argmax({0}, 0)", "np.min({0})", "np.max(np.max({0}, -1), 0)"]


def straight(rng: np.random.Generator, lines: int = 8) -> Straight:
    """A straight program: each line is run when it is drawn, and one that NumPy refuses is not kept."""
    values: dict[str, Any] = {}
    for k in range(int(rng.integers(1, 4))):
        dtype, shape = DTYPES[rng.integers(len(DTYPES))], SHAPES[rng.integers(len(SHAPES))]
        # NumPy multiplies complex scalars by another loop than arrays, which tells when products are infinite.
        shape = (1,) if shape == () and dtype.kind == "c" else shape
        chosen = rng.choice(pool(dtype), shape)
        values[f"x{k}"] = chosen[()] if shape == () else chosen
    args = tuple(values.values())
    text = [f"def f({', '.join(values)}):"]
    while len(text) <= lines:
        names = [list(values)[min(len(values) - 1, int(rng.integers(len(values) + 2)))] for _ in range(2)]
        a, b = (np.asarray(values[n]) for n in names)
        kind = a.dtype.kind
        choices = [MOVED] if a.ndim else []
        choices += [TRUTHS, REDUCED] if kind == b.dtype.kind == "b" else [UNARY] if kind != "b" else []
        choices += [BINARY] if kind != "b" and a.dtype == b.dtype else []
        choices += [ORDERED, LARGEST] if kind in "iu" and a.dtype == b.dtype else []
        choices += [["np.where({0} < {1}, {0}, {1})"]] if kind == "f" and a.dtype == b.dtype else []
        choices += [FLOATS] if kind == "f" else []
        choices += [[f"{{0}}.astype(np.{d})" for d in (("complex128",) if kind == "c" else ("float64", "complex128"))]]
        choices += [[f"{{0}}.astype(np.{d})" for d in ("float32", "int64", "uint8")]] if kind in "biu" else []
        group = choices[rng.integers(len(choices))]
        name, line = f"v{len(text)}", group[rng.integers(len(group))].format(*names)
        try:
            with np.errstate(all="ignore"):
                value = eval(line, {"np": np}, values)
        except (ValueError, TypeError, IndexError):
            continue  # NumPy refuses it: shapes that do not broadcast, an empty axis, a dtype.
        if np.size(value) <= 2000 and not (np.ndim(value) == 0 and kind == "c"):
            values[name] = value
            text.append(f"    {name} = {line}")
    made = [n for n in values if n.startswith("v")]
    results = [made[-1], *rng.choice(made, 2)]
    return Straight("\n".join([*text, f"    return {', '.join(results)}"]), args)


def check_straight(sample: Straight) -> None:
    """One straight program."""
    with np.errstate(all="ignore"):
        f = sample.function
        compare(ft.jit(f)(*sample.args), f(*sample.args), True, f"{sample.text}\nargs = {sample.args!r}")


def run_straight(count: int, start: int) -> None:
    """As many straight programs, drawn from a seed."""
    for k in range(count):
        check_straight(straight(np.random.default_rng([start, k])))
