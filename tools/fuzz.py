"""Runs random programs through the whole compiler and compares them with eager evaluation.

    python tools/fuzz.py [--programs N] [--seed S] [--tile BYTES] [--threads T] [--backend numpy|llvm]

Half of them are straight programs of several dtypes with NaN, infinities and both zeros, which must agree to the bit;
half are smooth programs with transformations and control flow. On the native backend every primitive is run on its
samples and on variants of them besides. The first that differs is printed, and can be pasted.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from functrans.config import override
from functrans.core.primitive import load_all
from tests.backends.llvm import fuzzing as native
from tests.passes.fuzzing import run_smooth, run_straight, tiny


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=2000, help="how many programs are run")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="what they are drawn from; the time by default"
    )
    parser.add_argument("--tile", type=int, default=64, help="the bytes of a tile")
    parser.add_argument("--threads", type=int, default=2, help="how many threads kernels run on")
    parser.add_argument("--backend", choices=("numpy", "llvm"), default="numpy", help="what runs them")
    chosen = parser.parse_args()
    print(f"{chosen.programs} programs from seed {chosen.seed}", flush=True)
    started = time.perf_counter()
    warnings.simplefilter("ignore")
    try:
        half = chosen.programs // 2
        if chosen.backend == "llvm":
            load_all()
            with native.units(chosen.tile // 8), override("threads", chosen.threads):
                native.run_straight(half, chosen.seed)
                native.run_smooth(chosen.programs - half, chosen.seed)
            with native.units(0):
                native.run_primitives(chosen.seed, 2)
        else:
            with tiny(chosen.tile), override("threads", chosen.threads):
                run_straight(half, chosen.seed)
                run_smooth(chosen.programs - half, chosen.seed)
    except AssertionError as error:
        options = f"--programs {chosen.programs} --seed {chosen.seed} --backend {chosen.backend}"
        print(f"DIFFERENT: python tools/fuzz.py {options}\n{error}")
        return 1
    print(f"all agree, in {time.perf_counter() - started:.1f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
