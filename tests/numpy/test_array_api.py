"""The array API standard: namespaces, what ours says of itself, programs that know it alone, DLPack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import dlpack, errors

ROOT = Path(__file__).resolve().parents[2]


def test_tracers_have_this_namespace() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(x.__array_namespace__())
        seen.append(x.__array_namespace__(api_version="2023.12"))
        seen.append((x.device, x.to_device("cpu").shape))
        return (x * 2.0).sum()

    for call in (ft.jit(f), ft.grad(f), ft.vmap(f)):
        call(np.ones((2, 2)))
    assert seen[::3] == [fnp] * 3 and seen[1::3] == [fnp] * 3
    assert seen[2::3] == [("cpu", (2, 2)), ("cpu", (2, 2)), ("cpu", (2,))]


def test_what_the_namespace_says_of_itself() -> None:
    info = fnp.__array_namespace_info__()
    assert info.devices() == ["cpu"] == ft.devices("cpu")
    assert info.capabilities()["data-dependent shapes"]
    assert info.default_dtypes()["real floating"] == np.float64
    assert set(info.dtypes(kind="bool")) == {"bool"}
    assert fnp.__array_api_version__ == np.__array_api_version__


def test_every_name_of_the_standard_is_there() -> None:
    missing = [name for name in STANDARD.split() if not hasattr(fnp, name)]
    missing += [f"linalg.{name}" for name in LINALG.split() if not hasattr(fnp.linalg, name)]
    missing += [f"fft.{name}" for name in FFT.split() if not hasattr(fnp.fft, name)]
    assert missing == []


STANDARD = """
    abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh bitwise_and
    bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bool broadcast_arrays broadcast_to
    can_cast ceil clip complex128 complex64 concat conj copysign cos cosh count_nonzero cumulative_prod cumulative_sum
    diff divide e empty empty_like equal exp expand_dims expm1 eye finfo flip float32 float64 floor floor_divide
    from_dlpack full full_like greater greater_equal hypot iinfo imag inf int16 int32 int64 int8 isdtype isfinite isin
    isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor
    matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis multiply nan negative newaxis nextafter
    nonzero not_equal ones ones_like permute_dims pi positive pow prod real reciprocal remainder repeat reshape
    result_type roll round searchsorted sign signbit sin sinh sort sqrt square squeeze stack std subtract sum take
    take_along_axis tan tanh tensordot tile tril triu trunc uint16 uint32 uint64 uint8 unique_all unique_counts
    unique_inverse unique_values unstack var vecdot where zeros zeros_like
"""
LINALG = """
    cholesky cross det diagonal eig eigh eigvals eigvalsh inv matmul matrix_norm matrix_power matrix_rank
    matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""
FFT = "fft fftfreq fftn fftshift hfft ifft ifftn ifftshift ihfft irfft irfftn rfft rfftfreq rfftn"


def test_programs_of_other_packages_are_differentiated_and_compiled() -> None:
    command = [sys.executable, str(ROOT / "tests" / "numpy" / "array_api_programs.py")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 9
    assert [line for line in lines if not line.endswith(": True")] == []


# -- DLPack ------------------------------------------------------------------------------------------------------------


class Exporter:
    """An array of another library, which hands out its memory."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.array.__dlpack_device__()
        return device


def test_memory_is_shared_with_other_libraries() -> None:
    x = np.arange(6.0).reshape(2, 3)
    y = dlpack.from_dlpack(Exporter(x))
    assert type(y) is np.ndarray and np.shares_memory(x, y)
    np.testing.assert_array_equal(y, x)
    copied = dlpack.from_dlpack(Exporter(x), copy=True)
    assert not np.shares_memory(copied, x)
    np.testing.assert_array_equal(fnp.from_dlpack(Exporter(x)), x)
    table = Exporter(x)
    np.testing.assert_array_equal(ft.jit(lambda z: z * fnp.from_dlpack(table))(2.0), 2.0 * x)
    gradient = ft.jit(ft.grad(lambda z: (z**2).sum()))(x)
    np.testing.assert_array_equal(np.from_dlpack(Exporter(gradient)), 2.0 * x)
    with pytest.raises(errors.ArgumentError, match="__dlpack__"):
        dlpack.from_dlpack([1.0, 2.0])
    with pytest.raises(errors.ArgumentError, match="device"):
        dlpack.from_dlpack(x, device="abacus")


def test_a_tracer_has_no_memory_to_share() -> None:
    for call in (ft.jit(lambda x: np.from_dlpack(x)), ft.grad(lambda x: dlpack.from_dlpack(x).sum())):
        with pytest.raises(errors.TracerArrayError, match="DLPack"):
            call(np.ones(2))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.complex128])
def test_dtypes_that_memory_is_shared_in(dtype: Any) -> None:
    assert dlpack.is_supported_dtype(dtype)
    x = np.ones(3, dtype)
    np.testing.assert_array_equal(dlpack.from_dlpack(Exporter(x)), x, strict=True)


@pytest.mark.parametrize("dtype", ["U3", object, "datetime64[s]", [("a", float)]])
def test_dtypes_that_it_is_not(dtype: Any) -> None:
    assert not dlpack.is_supported_dtype(dtype)
