"""Writes the reference figures of the samplers: ``tests/random/reference.npz``.

    python tools/random_reference.py [--seeds N [--only TEXT]]

They come from JAX in its 64-bit mode, which has to be installed for this alone. With ``--seeds`` nothing is written:
the samplers of this package are compared with it for the seeds 0 to N - 1, and each case that differs is printed with
the largest difference met, in units of rounding.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "random" / "reference.npz"
sys.path.insert(0, str(ROOT))


def reference() -> Any:
    """The samplers that the figures come from."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.random


def write() -> None:
    from tests.random.cases import CASES, SEEDS

    samplers = reference()
    figures = {}
    for name, case in CASES.items():
        for i, seed in enumerate(SEEDS):
            figures[f"{name}/{i}"] = np.asarray(case.call(samplers, samplers.key(seed)))
    np.savez_compressed(REFERENCE, **figures)
    print(f"{len(figures)} figures, {REFERENCE.stat().st_size} bytes")


def compare(seeds: int, only: str) -> int:
    import functrans as ft
    from tests.random.cases import CASES

    samplers = reference()
    failures = 0
    chosen = {name: case for name, case in CASES.items() if only in name}
    for name, case in chosen.items():
        worst = 0.0
        for seed in range(seeds):
            ours = np.asarray(case.call(ft.random, ft.random.key(seed)))
            theirs = np.asarray(case.call(samplers, samplers.key(seed)))
            worst = max(worst, excess(ours, theirs, case.rtol, case.atol))
        if worst > 1:
            failures += 1
            print(f"{name}: {worst:.3g} times the tolerance", flush=True)
    print(f"{len(chosen)} cases, {seeds} seeds: {failures} differ")
    return failures


def excess(ours: Any, theirs: Any, rtol: float, atol: float) -> float:
    """The largest difference as a multiple of the tolerance: 0 for equal arrays, infinite for other shapes."""
    if ours.shape != theirs.shape:
        return np.inf
    if theirs.dtype.kind not in "fc" or rtol == atol == 0:
        return 0.0 if np.array_equal(ours, theirs, equal_nan=theirs.dtype.kind in "fc") else np.inf
    info = np.finfo(theirs.dtype)
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return np.inf
    # Compiled code may take numbers below the least normal one for zero.
    tolerance = float(info.tiny) + float(info.eps) * (atol + rtol * np.abs(theirs[finite]))
    return float(np.max(np.abs(ours[finite] - theirs[finite]) / tolerance, initial=0.0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=0, help="compare with the reference in place of writing")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    options = parser.parse_args(arguments)
    if options.seeds:
        return 1 if compare(options.seeds, options.only) else 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
