"""Where arrays live and how they move; settings and reports of compilation; computing at once while tracing."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.core import primitive

TREE = {"w": 1.5, "b": np.arange(3.0)}


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for CuPy: arrays over host memory on two devices, which remember that they were waited for."""
    module = ModuleType("cupy")
    waited: list[int] = []

    class Device:
        current = 0

        def __init__(self, id: int) -> None:
            self.id = id

        def __enter__(self) -> Device:
            Device.current = self.id
            return self

        def __exit__(self, *error: object) -> None:
            Device.current = 0

        def synchronize(self) -> None:
            waited.append(self.id)

    class ndarray:
        __module__ = "cupy"

        def __init__(self, host: Any) -> None:
            self.host = np.array(host)
            self.shape, self.ndim, self.dtype, self.device = self.host.shape, self.host.ndim, self.host.dtype, None
            self.device = Device(Device.current)

        def get(self) -> Any:
            return self.host.copy()

        def copy(self) -> ndarray:
            return ndarray(self.host)

    cuda = ModuleType("cuda")
    runtime = ModuleType("runtime")
    vars(runtime).update(getDeviceCount=lambda: 2, CUDARuntimeError=type("CUDARuntimeError", (Exception,), {}))
    vars(cuda).update(Device=Device, runtime=runtime)
    vars(module).update(ndarray=ndarray, array=lambda x: ndarray(getattr(x, "host", x)), cuda=cuda, waited=waited)
    module.__spec__ = ModuleSpec("cupy", None)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_the_host_is_a_device() -> None:
    assert ft.devices("cpu") == ft.local_devices("cpu") == ["cpu"]
    assert ft.device_count("cpu") == ft.local_device_count("cpu") == 1
    assert ft.devices()[0] == "cpu"
    with pytest.raises(errors.ArgumentError, match="platform"):
        ft.devices("tpu")
    assert ft.default_backend() in ("numpy", "llvm", "cupy")


def test_arrays_are_copied_where_they_are() -> None:
    moved = ft.device_put(TREE, "cpu")
    np.testing.assert_array_equal(moved["b"], TREE["b"])
    assert not np.shares_memory(moved["b"], TREE["b"])
    assert moved["w"].dtype == float
    assert ft.device_get(TREE)["b"] is TREE["b"]
    assert ft.block_until_ready(TREE) is TREE
    gradient = ft.jit(ft.grad(lambda t: ft.device_put(t)["w"] * 2.0 + np.sum(t["b"])))(TREE)
    assert gradient["w"] == 2.0
    with pytest.raises(errors.ArgumentError, match=r"functrans\.devices"):
        ft.device_put(TREE, "gpu")
    with pytest.raises(errors.ArgumentError, match="str"):
        ft.device_put({"name": "x"})
    with pytest.raises(errors.TracerArrayError):
        ft.jit(ft.device_get)(np.ones(2))


def test_arrays_move_between_devices(cupy: Any) -> None:
    first, second = ft.devices("cuda")
    assert ft.device_count() == 3
    there = ft.device_put(TREE, second)
    assert type(there["b"]) is cupy.ndarray and there["b"].device.id == second.id
    assert ft.device_put(there)["b"] is not there["b"]
    again = ft.device_put(there, first)
    assert again["b"].device.id == first.id
    np.testing.assert_array_equal(ft.device_put(there, "cpu")["b"], TREE["b"])
    np.testing.assert_array_equal(ft.device_get(there)["b"], TREE["b"])
    assert ft.block_until_ready(there) is there
    assert cupy.waited == [second.id]
    with pytest.raises(errors.ArgumentError, match="traced value"):
        ft.jit(lambda x: ft.device_put(x, second))(np.ones(2))


# -- reports and settings ---------------------------------------------------------------------------------------------


def test_compilations_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    def scaled(x: Any) -> Any:
        return 3.0 * x

    with caplog.at_level(logging.WARNING, logger="functrans"), ft.log_compiles(), ft.explain_cache_misses():
        f = ft.jit(scaled)
        f(np.ones(2))
        f(np.ones(2))
        f(np.ones(3))
    ft.jit(scaled)(np.ones(4))
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 3
    assert texts[0].startswith("jit(scaled) was traced for (f64[2])")
    assert texts[2].startswith("jit(scaled) was traced again") and "f64[2]" in texts[2] and "f64[3]" in texts[2]


def test_programs_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "registry", primitive.registry.copy())
    calls: list[int] = []

    def shape(x: Any) -> Any:
        calls.append(1)
        return x if len(calls) == 1 else x.update(dtype=np.dtype(np.float32))

    forgetful = primitive.Primitive("forgetful", shape=shape, impl=lambda xp, x: x)
    with ft.enable_checks(), pytest.raises(errors.JaxprError, match="forgetful"):
        ft.jit(lambda x: forgetful.bind(x))(np.ones(2))


def test_names_of_calls() -> None:
    f = ft.named_call(lambda x: np.sin(x), name="layer")
    assert "layer" in str(ft.make_jaxpr(f)(1.0).eqns[0].source)
    assert ft.grad(ft.jit(f))(0.0) == 1.0
    with pytest.raises(errors.ArgumentError, match="name must be a string"):
        ft.named_call(f, name=3)


def test_what_is_computed_at_once() -> None:
    @ft.jit
    def f(x: Any) -> Any:
        with ft.ensure_compile_time_eval():
            table = ft.numpy.cumsum(ft.numpy.arange(4))
            assert type(table) is np.ndarray
        return x.reshape(int(table[-1]))

    assert f(np.ones((2, 3))).shape == (6,)

    def wrong(x: Any) -> Any:
        with ft.ensure_compile_time_eval():
            return ft.lax.sin(x)

    with pytest.raises(errors.LeakedTracerError, match="ensure_compile_time_eval"):
        ft.jit(wrong)(1.0)


def test_types_of_values() -> None:
    seen: list[str] = []
    ft.jit(lambda x: (seen.append(str(ft.typeof(x))), x)[1])(np.ones((2, 3), np.float32))
    assert seen == ["f32[2,3]"]
    assert str(ft.typeof(2)) == "i64[]*"
    with pytest.raises(errors.ArgumentError, match="str"):
        ft.typeof("2")


def test_leaks_have_two_names() -> None:
    kept: list[Any] = []
    with ft.check_tracer_leaks(), pytest.raises(errors.LeakedTracerError, match="outlived"):
        ft.jit(lambda x: (kept.append(x), x)[1])(1.0)
