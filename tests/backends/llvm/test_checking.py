"""Finding mistakes of native code: checked addresses, poison, guard pages, where a NaN comes from."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.backends.llvm import checking, emit, nest, rows, values
from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.checking import CheckedBuilder
from functrans.backends.llvm.runtime import machine
from functrans.config import override
from tests.backends.llvm.guarded import more
from tests.kernel.test_kernels import PROGRAMS

OTHERS = more()


@pytest.fixture
def checks() -> Iterator[None]:
    with override("native_checks", True), np.errstate(all="ignore"):
        yield


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, chunks and runs of a few elements, so that the edges of all of them are met."""
    monkeypatch.setattr(emit, "PARALLEL_COST", 1)
    for name, value in {"BLOCK": 8, "CHUNK": 4, "COLUMNS": 8, "ABREAST": 2, "FEW_UNITS": 4}.items():
        monkeypatch.setattr(nest, name, value)
    monkeypatch.setattr(rows, "TURNS", 2)


def agree(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    found = ft.jit(f, backend="llvm")(*args)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(f(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 if np.asarray(b).dtype.itemsize < 8 else 1e-9, atol=1e-7)


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_stay_in_bounds(name: str) -> None:
    f, args, _ = PROGRAMS[name]
    agree(f, args)


@pytest.mark.usefixtures("checks", "pieces")
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_pieces_stay_in_bounds(name: str) -> None:
    f, args, _ = PROGRAMS[name]
    agree(f, args)


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("name", [n for n in OTHERS if "float32" not in n])
def test_other_programs_stay_in_bounds(name: str) -> None:
    agree(*OTHERS[name])


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("by", [-1, 17])
def test_a_mistake_is_an_error_with_the_line(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    whole = values.Values._first

    def off(self: Any, flat: Any, c: int) -> str:
        return str(self.b.iadd(whole(self, flat, c), str(by)))

    monkeypatch.setattr(values.Values, "_first", off)
    f = ft.jit(lambda x: np.sin(x) * by, backend="llvm")
    with pytest.raises(RuntimeError, match=rf"at offset {8 * by} in an? \w+ of 136 bytes .*test_checking.py:\d+"):
        f(np.ones(17))


@pytest.mark.usefixtures("checks")
def test_what_is_never_written_reads_as_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Builder, "store", lambda *args: None)
    for shape in ((7,), (3, 50)):
        assert np.isnan(ft.jit(lambda x: np.sin(x) * 2.0, backend="llvm")(np.ones(shape))).all()


def test_checks_are_compiled_for_themselves() -> None:
    f = ft.jit(lambda x: np.sin(x) + 1.0, backend="llvm")
    x = np.ones(9)
    plain = f.lower(x).as_text("llvm")
    f(x)
    with override("native_checks", True):
        assert "functrans_out_of_bounds" in f.lower(x).as_text("llvm")
        f(x)
    assert "functrans_out_of_bounds" not in plain
    assert f.trace_count == 2
    f(x)
    assert f.trace_count == 2


# -- single accesses --------------------------------------------------------------------------------------------------


def run(write: Callable[[CheckedBuilder], None], size: int, at: int = 0) -> list[str]:
    """What is found when a function of a pointer to some bytes, and an offset, has run."""
    declared: dict[str, str] = {}
    helpers: dict[str, str] = {}
    b = CheckedBuilder(machine().fma, declared, helpers)
    write(b)
    text = "\n".join([*declared.values(), "define void @f(ptr %p, i64 %at) {", "entry:", *b.lines, "  ret void", "}"])
    code = machine().load(text + "\n", ["f"])
    memory = np.zeros(size + 256, np.uint8)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code.addresses["f"])
    function(memory.ctypes.data + 128, at)
    found = list(checking._found)
    checking._found.clear()
    assert not memory[:128].any() and not memory[128 + size :].any()
    return found


def ones(ty: str, w: int, b: Builder) -> V:
    return b.const(1, ty, w)


@pytest.mark.parametrize("ty", ["double", "float", "i8", "cdouble"])
@pytest.mark.parametrize("w", [1, 4])
@pytest.mark.parametrize("kind", ["load", "store", "masked load", "masked store", "gather", "scatter"])
def test_ends_of_memory(kind: str, w: int, ty: str) -> None:
    each = {"double": 8, "float": 4, "i8": 1, "cdouble": 16}[ty]
    size = 6 * each

    def write(b: CheckedBuilder) -> None:
        pointer = b.address(b.bound("%p", size, "a thing"), ty, "%at")
        mask = V("<" + ", ".join(f"i1 {k == 0}".lower() for k in range(w)) + ">", "i1", w)
        value = b.const(1 + 0j if ty == "cdouble" else 1, ty, w)
        if kind == "load":
            b.load(ty, w, pointer)
        elif kind == "store":
            b.store(value, pointer)
        elif kind == "masked load":
            b.load(ty, w, pointer, mask)
        elif kind == "masked store":
            b.store(value, pointer, mask)
        elif kind == "gather":
            b.gather(ty, w, pointer, b.lanes(w), mask, None)
        else:
            b.scatter(value, pointer, b.lanes(w), mask)

    reach = 1 if "m" in kind or "tt" in kind or "ga" in kind else w
    for at in (0, 6 - reach):
        assert not run(write, size, at)
    for at in (-1, 7 - reach, 1 << 40):
        if kind in ("gather", "scatter", "masked load", "masked store") or at != 1 << 40:
            (message, *_) = run(write, size, at)
            assert f"in a thing of {size} bytes" in message


# -- guard pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["ends", "starts"])
def test_programs_beside_pages_that_may_not_be_touched(which: str) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, str(Path(__file__).with_name("guarded.py")), which]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(ran.stdout.split()[0]) > 300


# -- NaNs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x: np.sum(np.log(x - 1.0)), id="value"),
        pytest.param(ft.grad(lambda x: np.sum(np.sqrt(np.minimum(x, 0.0)) * 0.0)), id="gradient"),
        pytest.param(lambda x: ft.lax.fori_loop(0, 2, lambda i, c: np.log(c) - 1.0, x), id="loop"),
    ],
)
def test_the_line_that_makes_a_nan(f: Callable[..., Any]) -> None:
    x = np.array([0.5, 2.0])
    messages = []
    for backend in ("numpy", "llvm"):
        g = ft.jit(f, backend=backend)
        with np.errstate(all="ignore"):
            g(x)
            with override("debug_nans", True), pytest.raises(errors.NonFiniteError) as caught:
                g(x)
            g(x)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "test_checking.py" in messages[0]
