"""What a call of a jitted function costs on the native backend, and whether it loses memory or references.

python tools/dispatch.py                  # times, interleaved, as medians
python tools/dispatch.py --calls 10000000 # memory and references over so many calls
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import resource
import statistics
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft
from functrans.backends.llvm.dispatch import entry
from functrans.backends.llvm.runtime import Code


def nothing() -> Callable[..., Any]:
    """A builtin of the same calling convention that does nothing."""

    class Owner:
        definition: Any = None

    class Linked:
        addresses = entry()

    flags = 0x80 | 0x2
    owner = Owner()
    made = Code.builtin(Linked, "functrans_nothing", owner)  # type: ignore[arg-type]
    owner.definition.flags = flags
    del made
    signature = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p)
    found: Callable[..., Any] = signature(("PyCMethod_New", ctypes.pythonapi))(
        ctypes.addressof(owner.definition), owner, None, None
    )
    return found


def ten(x: Any, y: Any) -> Any:
    """Ten operations."""
    a = x * y + x
    b = a - y * 2.0
    c = np.maximum(a, b) / (1.0 + x * x)
    return np.where(c > y, c, -c)


def tree(p: Any, x: Any) -> Any:
    """A function of twenty arrays in dicts, lists and tuples."""
    total = x
    for layer in p["layers"]:
        total = total * layer["w"] + layer["b"]
    return total


X = np.arange(8.0)
PARAMS = {"layers": [{"w": X + i, "b": X - i} for i in range(10)]}


def contenders() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    def both(p: Any, x: Any) -> Any:
        return {"layers": [{"w": q["w"] * x, "b": q["b"] * x} for q in p["layers"]]}

    return {
        "a builtin that does nothing": (nothing(), (X, X)),
        "np.add": (np.add, (X, X)),
        "ten operations, 8 elements": (ft.jit(ten, backend="llvm"), (X, X)),
        "a number and a NumPy scalar": (ft.jit(lambda x, a: (x * a).sum(), backend="llvm"), (X, 2.0)),
        "a static argument": (ft.jit(lambda x, n: x * n + x, backend="llvm", static_argnums=1), (X, "s" and 3)),
        "twenty arrays in, one out": (ft.jit(tree, backend="llvm"), (PARAMS, X)),
        "twenty arrays in, twenty out": (ft.jit(both, backend="llvm"), (PARAMS, X)),
        "ten operations, backend numpy": (ft.jit(ten, backend="numpy"), (X, X)),
    }


def times(rounds: int) -> None:
    timers = {}
    for name, (f, args) in contenders().items():
        f(*args)
        f(*args)
        names = ", ".join(f"a{i}" for i in range(len(args)))
        scope = {"f": f} | {f"a{i}": a for i, a in enumerate(args)}
        timers[name] = timeit.Timer(f"f({names})", globals=scope, timer=time.process_time)
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            found[name].append(timer.timeit(5000) / 5000 * 1e9)
    base = statistics.median(found["a builtin that does nothing"])
    for name, values in found.items():
        middle = statistics.median(values)
        print(f"{name:32s} {middle:8.0f} ns   least {min(values):6.0f}   above the builtin {middle - base:6.0f}")


def leaks(calls: int) -> None:
    for name, (f, args) in contenders().items():
        for _ in range(100):
            f(*args)
        gc.collect()
        watched = [X, *args, None, np.ndarray, np.float64, X.dtype, f]
        counts = [sys.getrefcount(w) for w in watched]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(calls):
            f(*args)
        gc.collect()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        now = [sys.getrefcount(w) for w in watched]
        drift = max(abs(a - b) for a, b in zip(counts, now, strict=True))
        print(f"{name:32s} {calls} calls: {after - before:+d} KiB at the most, references differ by {drift}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    if options.calls:
        leaks(options.calls)
    else:
        times(options.rounds)


if __name__ == "__main__":
    main()
