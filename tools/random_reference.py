"""Writes the reference figures of samplers, initializers and images: one ``.npz`` beside each table of cases.

    python tools/random_reference.py [--seeds N [--only TEXT]]

They come from JAX in its 64-bit mode, which has to be installed for this alone. With ``--seeds`` nothing is written:
this package is compared with it for the seeds 0 to N - 1, and each case that differs is printed with the largest
difference met, as a multiple of its tolerance.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    # The table of cases, the module that its calls take, and where the figures stand.
    "tests.random.cases": ("random", ROOT / "tests" / "random" / "reference.npz"),
    "tests.nn.initializer_cases": ("nn.initializers", ROOT / "tests" / "nn" / "initializers.npz"),
    "tests.image.cases": ("image", ROOT / "tests" / "image" / "reference.npz"),
}


def module(library: str, name: str) -> Any:
    """A module of the reference or of this package."""
    return importlib.import_module(f"{library}.{name}")


def setup() -> None:
    """Both libraries as they are compared."""
    sys.path.insert(0, str(ROOT))
    importlib.import_module("jax").config.update("jax_enable_x64", True)


def write() -> None:
    seeds = importlib.import_module("tests.random.cases").SEEDS
    key = module("jax", "random").key
    for table, (name, path) in TABLES.items():
        cases, theirs = importlib.import_module(table).CASES, module("jax", name)
        number = 1 if name == "image" else 2 if name == "nn.initializers" else len(seeds)
        figures = {
            f"{label}/{i}": np.asarray(case.call(theirs, key(seed)))
            for label, case in cases.items()
            for i, seed in enumerate(seeds[:number])
        }
        np.savez_compressed(path, allow_pickle=False, **figures)
        print(f"{path.relative_to(ROOT)}: {len(figures)} figures, {path.stat().st_size} bytes")


def compare(seeds: int, only: str) -> int:
    keys = module("jax", "random").key, module("functrans", "random").key
    failures = total = 0
    for table, (name, _) in TABLES.items():
        theirs, ours = module("jax", name), module("functrans", name)
        for label, case in importlib.import_module(table).CASES.items():
            if only not in label:
                continue
            worst = max(
                excess(
                    np.asarray(case.call(ours, keys[1](seed))),
                    np.asarray(case.call(theirs, keys[0](seed))),
                    case.rtol,
                    case.atol,
                )
                for seed in range(1 if name == "image" else seeds)
            )
            # What it has compiled would fill the memory in time.
            importlib.import_module("jax").clear_caches()
            total += 1
            if worst > 1:
                failures += 1
                print(f"{label}: {worst:.3g} times the tolerance", flush=True)
    print(f"{total} cases, {seeds} seeds: {failures} differ")
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
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=0, help="compare with the reference in place of writing")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    options = parser.parse_args(arguments)
    setup()
    if options.seeds:
        return 1 if compare(options.seeds, options.only) else 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
