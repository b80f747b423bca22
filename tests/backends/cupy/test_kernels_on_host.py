"""Generated CUDA text, run by the host: against NumPy, in several orders of threads, and with addresses checked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.cupy import rows
from functrans.backends.cupy.driver import Slots, prelude
from functrans.backends.cupy.nvrtc import nvrtc
from functrans.backends.cupy.program import CudaBackend
from functrans.backends.cupy.values import Launch
from functrans.core import dtypes
from tests.backends.cupy.host import Batch, HostDriver
from tests.backends.cupy.programs import samples, shapes, written
from tests.kernel.test_kernels import layer_norm, softmax

GROUPS: dict[str, Callable[[], Iterator[Any]]] = {"written": written, "shapes": shapes, "samples": samples}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@cache
def batch(group: str) -> Batch:
    return Batch(list(GROUPS[group]()))


def disagreement(found: Any, expected: np.ndarray[Any, Any]) -> str:
    """How a result differs by more than rounding; nothing if it does not."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{found.shape} instead of {expected.dtype}{expected.shape}"
    eps = float(dtypes.finfo(expected.dtype).eps) if dtypes.is_inexact(expected.dtype) else 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64 if eps else expected.dtype
    try:
        np.testing.assert_allclose(found.astype(wide), expected.astype(wide), rtol=16 * eps, atol=16 * eps)
    except AssertionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("group", GROUPS)
def test_kernels_against_numpy(group: str) -> None:
    programs = batch(group)
    assert len(programs.programs) > 50
    wrong = {}
    for name, (case, _) in programs.programs.items():
        for found, expected in zip(programs.run(name), case.expected(), strict=True):
            if text := disagreement(found, expected):
                wrong[name] = text
    assert not wrong


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_threads_changes_no_bit(order: int) -> None:
    programs = batch("shapes")
    for name in programs.programs:
        for a, b in zip(programs.run(name), programs.run(name, order), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_rows_cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks for short rows, and pieces of a few elements."""
    monkeypatch.setattr(rows, "ONE_WARP", 256)
    monkeypatch.setattr(rows, "PIECE", 64)
    monkeypatch.setattr(rows, "REGISTERS", 1)
    programs = Batch([c for c in written() if "30x40" in c.name])
    assert any("_pieces" in text for text in programs.prefixes)
    for name, (case, _) in programs.programs.items():
        for found, expected in zip(programs.run(name), case.expected(), strict=True):
            assert not disagreement(found, expected), name


ADDRESSES = """
import numpy as np
from tests.backends.cupy.host import Batch
from tests.backends.cupy.programs import shapes
with np.errstate(all="ignore"):
    programs = Batch([c for c in shapes() if "float32" in c.name or "complex" in c.name])
    for name in programs.programs:
        programs.run(name, flags=("-O1", "-fsanitize=address"))
print("all", len(programs.programs))
"""


def test_addresses_lie_in_their_arrays() -> None:
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    root = str(Path(__file__).parents[3])
    settings = {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", ADDRESSES], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 30


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90", "sm_100"])
def test_kernels_compile(architecture: str) -> None:
    log = nvrtc().compile(prelude() + batch("written").source + batch_of("shapes"), architecture).log
    used = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
    assert len(used) > 200 and max(used) <= 128


def batch_of(group: str) -> str:
    """The source of a second batch, whose programs have names of their own."""
    return batch(group).source.replace("program_", f"{group}_")


def test_no_row_is_spilled() -> None:
    """Rows of softmax and layer norm that are kept in registers stay there."""
    sources = []
    for n, size in enumerate((128, 1024, 2048, 8192, 16384)):
        x = np.ones((64, size), np.float32)
        for f, args in ((softmax, (x,)), (layer_norm, (x, x[0], x[0]))):
            text = CudaBackend().as_text(ft.jit(f).lower(*args).jaxpr, "cuda")
            assert "kept" in text
            sources.append(text.replace("kernel_0", f"kernel_{n}_{f.__name__}"))
    log = nvrtc().compile(prelude() + "".join(sources), "sm_90").log
    assert [int(n) for n in re.findall(r"(\d+) bytes spill stores", log)] == [0] * 10


# -- launches ---------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((60, 70))


def launches(f: Callable[..., Any], *args: Any) -> list[str]:
    driver = HostDriver()
    run = CudaBackend(lambda: driver).prepare(ft.jit(f).lower(*args).jaxpr, np, False, frozenset())
    for found, expected in zip(run(*args), ft.tree.leaves(f(*args)), strict=True):
        assert not disagreement(np.asarray(found), np.asarray(expected))
    return driver.launches


def test_a_chain_is_one_kernel() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20):
            x = np.tanh(x * 1.5 + 0.25)
        return x

    assert launches(chain, X) == ["kernel_0"]


def test_rows_are_one_kernel() -> None:
    assert launches(softmax, X) == ["kernel_0"]
    assert launches(layer_norm, X, X[0], X[0]) == ["kernel_0"]


def test_arrays_that_lie_badly_are_copied() -> None:
    """A pack is 16 bytes: what begins elsewhere, or is not in one piece, is copied first."""
    base = np.linspace(0.0, 1.0, 4001).astype(np.float32)
    assert launches(lambda x: np.sin(x) * 2, base[1:]) == ["kernel_0"]
    assert launches(lambda x: np.sin(x) * 2, base[:4000].reshape(40, 100).T) == ["kernel_0"]
    assert launches(lambda x: np.sin(x) * 2, base[::-2]) == ["kernel_0"]


def test_a_training_step() -> None:
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(s) / 4 for s in ((8, 32), (32,), (32, 4), (4,))]
    x, y = rng.standard_normal((16, 8)), rng.integers(0, 4, 16)

    def loss(params: Any, x: Any, y: Any) -> Any:
        w1, b1, w2, b2 = params
        z = np.tanh(x @ w1 + b1) @ w2 + b2
        top = np.max(z, 1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z - top), 1)) + top[:, 0] - z[np.arange(16), y])

    def step(params: Any, x: Any, y: Any) -> Any:
        return [p - 0.1 * g for p, g in zip(params, ft.grad(loss)(params, x, y), strict=True)]

    jaxpr = ft.jit(step).lower(params, x, y).jaxpr
    driver = HostDriver()
    run = CudaBackend(lambda: driver).prepare(jaxpr, np, False, frozenset())
    for _ in range(3):
        found = run(*params, x, y)
        for a, b in zip(found, step(params, x, y), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        params = list(found)
    assert driver.launches


def test_threads_that_miss_a_barrier_are_found() -> None:
    """The host's device tells a kernel that is wrong from one that is right."""
    source = """
    extern "C" __global__ void kernel_0(const f64* b0, f64* b1) {
      __shared__ f64 tile[64];
      tile[threadIdx.x] = b0[threadIdx.x];
      b1[threadIdx.x] = tile[63 - threadIdx.x];
    }
    FT_EXPORT(kernel_0)
    """
    x = np.arange(64.0)
    results = []
    for order in (0, 1):
        driver, out = HostDriver(order), np.zeros(64)
        launch = Launch("kernel_0", (1, 1, 1), (64, 1, 1), False)
        slots = Slots(2)
        parameters = slots.bind([driver.pointer(x), driver.pointer(out)])
        driver.launch(driver.function(driver.load(source), launch), launch, parameters)
        results.append(out)
    assert not np.array_equal(*results)
