"""Object code on disk: what is found again, what is refused, and what programs have in common."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.backends.llvm.cache import MAGIC, SUFFIX, ObjectCache, user_directory
from functrans.backends.llvm.runtime import machine, separated
from functrans.config import config, override


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    with override("native_cache", True), override("native_cache_dir", tmp_path):
        yield tmp_path / "native"


@pytest.fixture
def objects(directory: Path) -> ObjectCache:
    return ObjectCache("versions")


def never() -> bytes:
    raise AssertionError("what is on disk was generated again")


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{SUFFIX}"))


def test_what_was_stored_is_found(objects: ObjectCache, directory: Path) -> None:
    assert objects.get("text", lambda: b"code") == b"code"
    assert objects.get("text", never) == b"code"
    assert ObjectCache("versions").get("text", never) == b"code"
    assert objects.statistics()[2:] == (1, 1, 1, 0, 0, len(MAGIC) + 32 + 4)
    assert objects.statistics().directory == directory


def test_other_texts_and_versions_are_others(objects: ObjectCache) -> None:
    objects.get("text", lambda: b"code")
    assert objects.get("other", lambda: b"more") == b"more"
    assert ObjectCache("later").get("text", lambda: b"new") == b"new"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda c: b"", id="empty"),
        pytest.param(lambda c: c[:-1], id="truncated"),
        pytest.param(lambda c: c[: len(MAGIC) + 4], id="head"),
        pytest.param(lambda c: c[:-1] + b"!", id="changed"),
        pytest.param(lambda c: c + b"!", id="longer"),
        pytest.param(lambda c: b"x" + c[1:], id="foreign"),
    ],
)
def test_damaged_files_are_replaced(objects: ObjectCache, directory: Path, content: Any) -> None:
    objects.get("text", lambda: b"code")
    (path,) = files(directory)
    whole = path.read_bytes()
    path.write_bytes(content(whole))
    assert objects.get("text", lambda: b"code") == b"code"
    assert objects.statistics().refused == 1
    assert path.read_bytes() == whole
    assert objects.get("text", never) == b"code"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o750, 0o755])
def test_a_directory_open_to_others_is_not_used(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    objects = ObjectCache("versions")
    with pytest.warns(RuntimeWarning, match="its mode has to be 0700"):
        assert objects.get("text", lambda: b"code") == b"code"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # It is said once.
        objects.get("text", lambda: b"code")
    assert not files(directory)
    assert "0700" in objects.statistics().reason


def test_a_directory_of_somebody_else_is_not_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        ObjectCache("versions").get("text", lambda: b"code")
    assert not files(directory)


def test_a_link_to_a_directory_is_not_used(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match="is not a directory"):
        ObjectCache("versions").get("text", lambda: b"code")
    assert not files(tmp_path / "elsewhere")


def test_files_that_others_may_write_and_links_are_refused(objects: ObjectCache, directory: Path) -> None:
    objects.get("text", lambda: b"code")
    (path,) = files(directory)
    path.chmod(0o666)
    assert objects.get("text", lambda: b"new") == b"new"
    content = path.read_bytes()
    path.unlink()
    (directory / "there").write_bytes(content)
    path.symlink_to(directory / "there")
    assert objects.get("text", lambda: b"newer") == b"newer"
    assert objects.statistics().refused == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_directory_is_made_for_the_user_alone(objects: ObjectCache, directory: Path) -> None:
    before = os.umask(0)
    try:
        objects.get("text", lambda: b"code")
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files(directory))


def test_a_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with override("native_cache", True):
        with override("native_cache_dir", tmp_path / "file"):
            with pytest.warns(RuntimeWarning, match="cannot be made"):
                assert ObjectCache("versions").get("text", lambda: b"code") == b"code"
        monkeypatch.setattr("functrans.backends.llvm.cache.user_directory", lambda: tmp_path / "file")
        quiet = ObjectCache("versions")
        assert quiet.get("text", lambda: b"code") == b"code"
        assert "cannot be made" in quiet.statistics().reason


def test_it_is_off_where_the_setting_says_so(directory: Path) -> None:
    objects = ObjectCache("versions")
    with override("native_cache", False):
        assert objects.get("text", lambda: b"code") == b"code"
        assert objects.statistics().reason == "config.native_cache is off"
    assert not directory.exists()


def test_the_oldest_go_first(objects: ObjectCache, directory: Path) -> None:
    one = len(MAGIC) + 32 + 1000
    with override("native_cache_bytes", 4 * one):
        for i in range(4):
            objects.get(f"{i}", lambda: bytes(1000))
            for path in files(directory):
                os.utime(path, (time.time() - 10 * (4 - i),) * 2) if path.stat().st_mtime > time.time() - 5 else None
        objects.get("0", never)
        assert len(files(directory)) == 4
        objects.get("4", lambda: bytes(1000))
        kept = objects.statistics()
        assert (kept.evicted, kept.bytes, len(files(directory))) == (2, 3 * one, 3)
        objects.get("4", never)
        objects.get("3", never)
        objects.get("0", lambda: bytes(1000))


def test_what_is_read_after_a_day_is_young_again(objects: ObjectCache, directory: Path) -> None:
    objects.get("text", lambda: b"code")
    (path,) = files(directory)
    os.utime(path, (0, 0))
    objects.get("text", never)
    assert path.stat().st_mtime > time.time() - 60


def test_parts_that_a_writer_left_go_after_a_day(objects: ObjectCache, directory: Path) -> None:
    objects.get("text", lambda: b"code")
    old, new = directory / ".a.partial", directory / ".b.partial"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    ObjectCache("versions").get("other", lambda: b"code")
    assert not old.exists() and new.exists()


def test_a_directory_that_goes_away_is_no_error(objects: ObjectCache, directory: Path) -> None:
    objects.get("text", lambda: b"code")
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert objects.get("text", lambda: b"code") == b"code"


def test_threads_share_it(objects: ObjectCache, directory: Path) -> None:
    def work() -> None:
        for i in range(50):
            assert objects.get(f"{i % 10}", lambda: bytes(100)) == bytes(100)

    threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(files(directory)) == 10
    assert not list(directory.glob("*.partial"))


def test_settings_are_checked() -> None:
    with pytest.raises(errors.ArgumentError, match="native_cache_dir must be the path of a directory or None, got 3"):
        config.native_cache_dir = 3
    with pytest.raises(errors.ArgumentError, match="native_cache_bytes must be a positive integer, got 0"):
        config.native_cache_bytes = 0


def test_the_users_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_directory() == Path("/somewhere/functrans")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_directory() == Path("/home/somebody/.cache/functrans")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_directory() == Path("/home/somebody/Library/Caches/functrans")


# -- programs ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import numpy as np
import functrans as ft
from functrans.backends.llvm.runtime import machine

def f(x, y):
    return np.sin(x) @ np.tanh(y), np.sum(x, axis=0)

found = ft.jit(f, backend="llvm")(np.linspace(0.0, 1.0, 12).reshape(3, 4), np.ones((4, 2)))
print(found[0].tobytes().hex(), found[1].tobytes().hex())
kept = machine().objects.statistics()
print(kept.hits, kept.misses, kept.written)
"""


def run(directory: Path) -> list[str]:
    environment = {**os.environ, "FUNCTRANS_CACHE_DIR": str(directory), "FUNCTRANS_NATIVE_CACHE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_the_second_process_generates_nothing(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert first[0] == second[0]
    hits, misses, written = map(int, first[1].split())
    assert hits == 0 and misses == written > 0
    assert second[1] == f"{misses} 0 0"


def test_no_address_is_in_the_text() -> None:
    table = np.arange(12.0)

    def f(x: Any) -> Any:
        return ft.lax.fori_loop(0, 3, lambda i, c: np.sin(c @ c) + table[:9].reshape(3, 3), x)

    text = ft.jit(f, backend="llvm").lower(np.ones((3, 3))).as_text("llvm")
    numbers = {int(n) for n in re.findall(r"\b\d{12,}\b", text)}
    assert not numbers & {table.ctypes.data, id(table), id(None)}
    assert "inttoptr" not in text


# -- what programs have in common -----------------------------------------------------------------------------------

MODULE = """declare double @llvm.fabs.f64(double)
; shared table
@table = internal constant [2 x double] [double 2.0, double 5.0]
; end
; shared second
define internal double @second(double %x) noinline {
  %p = getelementptr double, ptr @table, i64 1
  %t = load double, ptr %p
  %r = fmul double %t, %x
  ret double %r
}
; end
; shared both
define internal double @both(double %x) noinline {
  %a = call double @llvm.fabs.f64(double %x)
  %r = call double @second(double %a)
  ret double %r
}
; end
define double @main(double %x) {
  %r = call double @both(double %x)
  %s = call double @second(double %r)
  ret double %s
}
"""


def test_shared_functions_are_modules_of_their_own() -> None:
    main, parts = separated(MODULE)
    assert "fmul" not in main and "declare double @both(double %x)" in main
    assert len(parts) == 2
    assert "declare double @second(double %x)" in parts[1] and "@table = internal" in parts[0]
    code = machine().load(MODULE, ["main"])
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.addresses["main"])(-3.0) == 75.0
    assert separated("define void @f() { ret void }\n") == ("define void @f() { ret void }\n", [])


def test_shared_functions_are_generated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generated: list[str] = []
    whole = type(machine())._generate

    def counted(self: Any, text: str) -> bytes:
        generated.append(text)
        return whole(self, text)

    monkeypatch.setattr(type(machine()), "_generate", counted)
    x = np.linspace(1.0, 2.0, 7)
    for n in range(2):
        f = ft.jit(lambda x, n=n: np.sin(x) + n, backend="llvm")
        np.testing.assert_allclose(f(x), np.sin(x) + n, rtol=1e-14)
    assert sum("define { <" in text for text in generated) <= 1
    assert sum("define i32" in text for text in generated) == 2


def test_operations_that_a_program_has_many_of_are_functions() -> None:
    def chain(length: int) -> Any:
        def f(x: Any) -> Any:
            for _ in range(length):
                x = np.sin(x) + 1.0
            return x

        return ft.jit(f, backend="llvm")

    x = np.linspace(-1.0, 1.0, 19)
    few, many = chain(3), chain(40)
    assert "@functrans_sin" not in few.lower(x).as_text("llvm")
    text = many.lower(x).as_text("llvm")
    assert text.count("define internal <8 x double> @functrans_sin_float64_8(") <= 1
    assert text.count("call <") >= 40
    expected = x
    for _ in range(40):
        expected = np.sin(expected) + 1.0
    np.testing.assert_allclose(many(x), expected, rtol=1e-13)
