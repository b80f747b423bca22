"""A recurrent network that learns to spell, by ``lax.scan``.

One step of the network reads a character and changes its state; ``lax.scan`` runs it along a text, and its
gradient is back-propagation through time. ``vmap`` adds the batch, ``checkpoint`` keeps the memory of a long
text small:

    def step(state, character):
        state = cell(parameters, state, character)
        return state, logits(parameters, state)

    _, predictions = ft.lax.scan(step, state, characters)

The cell is a gated recurrent unit (Cho et al., 2014). It is trained on the license of this package, by Adam
(Kingma and Ba, 2015), and then writes by itself: one more scan, which draws each character by
``ft.random.categorical`` from what it predicts after the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from reporting import Report, argument_parser, report_of

import functrans as ft

Array = npt.NDArray[Any]
Parameters = dict[str, Any]

TEXT = Path(__file__).resolve().parents[1] / "LICENSE"
LENGTH, BATCH, RATE = 40, 16, 1e-2


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        losses: the cross-entropy of a character, in nats, at each step.
        uniform: that of guessing.
        sample: what the network writes.
        remat_difference: largest difference of a gradient with checkpointed steps and without.
    """

    losses: list[float]
    uniform: float
    sample: str
    remat_difference: float


def initial(size: int, characters: int) -> Parameters:
    random = np.random.RandomState(0)

    def matrix(*shape: int) -> Array:
        return random.normal(0.0, shape[0] ** -0.5, shape)

    return {
        "read": matrix(characters, 3 * size),
        "gates": matrix(size, 2 * size),
        "candidate": matrix(size, size),
        "bias": np.zeros(3 * size),
        "out": matrix(size, characters),
    }


def cell(p: Parameters, state: Any, character: Any) -> Any:
    """The state after one character, given by its number."""
    given = p["read"][character] + p["bias"]
    size = state.shape[0]
    gates = ft.nn.sigmoid(given[: 2 * size] + state @ p["gates"])
    update, reset = gates[:size], gates[size:]
    candidate = np.tanh(given[2 * size :] + (reset * state) @ p["candidate"])
    return update * state + (1 - update) * candidate


def cross_entropy(p: Parameters, text: Any, remat: bool = False) -> Any:
    """The mean loss of predicting each character of a text from those before it."""
    advance = ft.checkpoint(cell, prevent_cse=False) if remat else cell

    def step(state: Any, pair: Any) -> tuple[Any, Any]:
        character, following = pair
        state = advance(p, state, character)
        logits = state @ p["out"]
        return state, ft.scipy.special.logsumexp(logits) - logits[following]

    start = np.zeros(p["candidate"].shape[0])
    return np.mean(ft.lax.scan(step, start, (text[:-1], text[1:]))[1])


def loss(p: Parameters, texts: Any, remat: bool = False) -> Any:
    return np.mean(ft.vmap(lambda text: cross_entropy(p, text, remat))(texts))


@ft.jit
def adam(p: Parameters, moments: tuple[Any, Any], texts: Any, n: Any) -> tuple[Parameters, tuple[Any, Any], Any]:
    value, gradient = ft.value_and_grad(loss)(p, texts)
    first = ft.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = ft.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, moments[1], gradient)

    def moved(x: Any, m: Any, v: Any) -> Any:
        return x - RATE * m / (1 - 0.9**n) / (np.sqrt(v / (1 - 0.99**n)) + 1e-8)

    return ft.tree.map(moved, p, first, second), (first, second), value


@ft.jit
def written(p: Parameters, key: Any, first: Any, keys: Any) -> Any:
    """The numbers of characters that the network draws one after another."""

    def step(carry: Any, key: Any) -> tuple[Any, Any]:
        state, character = carry
        state = cell(p, state, character)
        character = ft.random.categorical(key, 1.5 * (state @ p["out"]))
        return (state, character), character

    return ft.lax.scan(step, (np.zeros(p["candidate"].shape[0]), first), keys)[1]


def main(argv: Sequence[str] | None = None) -> Result:
    report: Report = report_of(argument_parser(__doc__).parse_args(argv))
    text = " ".join(TEXT.read_text(encoding="utf-8").split())
    alphabet = sorted(set(text))
    numbers = np.array([alphabet.index(c) for c in text])
    size, steps = (32, 90) if report.quick else (64, 250)
    parameters = initial(size, len(alphabet))
    random = np.random.RandomState(1)

    def draw() -> Array:
        starts = random.randint(0, len(numbers) - LENGTH, BATCH)
        return numbers[starts[:, None] + np.arange(LENGTH + 1)]

    few = draw()[:2]
    plain, again = (ft.grad(loss)(parameters, few, remat) for remat in (False, True))
    difference = max(float(np.max(np.abs(plain[name] - again[name]))) for name in plain)

    zero = ft.tree.map(np.zeros_like, parameters)
    moments = zero, zero
    losses: list[float] = []
    for n in report.progress(range(1, steps + 1), "training", steps):
        parameters, moments, value = adam(parameters, moments, draw(), float(n))
        losses.append(float(value))
    report.heading(f"A gated recurrent network of {size} units, {len(alphabet)} characters")
    marks = [0, *range(steps // 5 - 1, steps, steps // 5)]
    report.table(["step", "loss (nats a character)"], [[m + 1, f"{losses[m]:.3f}"] for m in marks])
    key = ft.random.key(0)
    found = written(parameters, key, numbers[0], ft.random.split(key, 160))
    sample = alphabet[numbers[0]] + "".join(alphabet[i] for i in found)
    report.say(f"\nit writes: {sample}")

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(losses)
        axes.axhline(np.log(len(alphabet)), color="0.6", linestyle=":", label="guessing")
        axes.set(xlabel="step", ylabel="nats a character", title="learning to spell")
        axes.legend()

    report.plot("char_rnn", (6.0, 4.0), fill)
    return Result(losses, float(np.log(len(alphabet))), sample, difference)


if __name__ == "__main__":
    main()
