"""BLAS and LAPACK by address: the library that NumPy or SciPy bring along, called from native code without Python.

NumPy's wheels carry an OpenBLAS with 64-bit integers, SciPy's one with 32-bit ones; both prefix its names. Elsewhere
(Accelerate, a system's BLAS that the process has loaded) the plain names are looked for where NumPy's own extension
module is linked. Where none is found, there is no library: own kernels or calls of NumPy do the work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from functrans.backends.llvm.builder import Builder
from functrans.backends.llvm.gemm import Product
from functrans.config import Config, config

LETTERS = {"float": "s", "double": "d", "cfloat": "c", "cdouble": "z"}


@dataclass(frozen=True)
class Library:
    """A loaded library.

    Attributes:
        handle: what ctypes knows it by; its functions stay where they are as long as the process lives.
        prefix, suffix: what its names have around the usual ones; of ``dgemm_``, the suffix takes the place of ``_``.
        integer: the LLVM type of its integers.
    """

    handle: ctypes.CDLL
    prefix: str
    suffix: str
    integer: str

    def address(self, name: str) -> int | None:
        """Where a function is, by its whole name."""
        found = getattr(self.handle, name, None)
        return None if found is None else ctypes.cast(found, ctypes.c_void_p).value

    def lapack(self, name: str) -> str:
        """A routine's name in this library."""
        return f"{self.prefix}{name}_{self.suffix}"

    def cblas(self, name: str) -> str:
        return f"{self.prefix}cblas_{name}{self.suffix}"

    def control(self, name: str) -> str:
        return f"{self.prefix}openblas_{name}{self.suffix}"


def _candidates() -> Iterator[Path]:
    """Files of libraries that packages bring along."""
    import numpy

    roots = [Path(numpy.__file__).parent]
    from importlib.util import find_spec

    scipy = find_spec("scipy")
    if scipy is not None and scipy.origin is not None:
        roots.append(Path(scipy.origin).parent)
    for root in roots:
        for folder in (root.parent / f"{root.name}.libs", root / ".dylibs", root.parent / f"{root.name}.libs" / "lib"):
            if folder.is_dir():
                yield from sorted(p for p in folder.iterdir() if "openblas" in p.name)


@cache
def library() -> Library | None:
    """The first library that has what is needed; None if there is none."""
    for path in _candidates():
        try:
            handle = ctypes.CDLL(str(path))
        except OSError:
            continue
        for prefix in ("scipy_", ""):
            for suffix, integer in (("64_", "i64"), ("", "i32")):
                found = Library(handle, prefix, suffix, integer)
                if found.address(found.cblas("dgemm")) and found.address(found.lapack("dpotrf")):
                    return found
    return None


def leading(row: int, column: int) -> bool:
    """Whether a matrix with these steps is one of BLAS: contiguous along one axis, the other one apart."""
    return (column == 1 and row >= 1) or (row == 1 and column >= 1)


def symbols(ty: str) -> dict[str, int]:
    """What ``gemm`` calls."""
    found = library()
    assert found is not None
    names = [found.cblas(f"{LETTERS[ty]}gemm")]
    return {name: found.address(name) or 0 for name in names} | thread_symbols(found)


def thread_symbols(found: Library) -> dict[str, int]:
    """What ``threads`` calls and reads."""
    names = _threading(found)
    known = {name: found.address(name) or 0 for name in names}
    return known | {_CELL: ctypes.addressof(_wanted)} if names else {}


def _threading(found: Library) -> list[str]:
    """The functions that say how many threads there are, and how many there should be."""
    names = [found.control("get_num_threads"), found.control("set_num_threads")]
    return names if all(found.address(name) for name in names) else []


def gemm(b: Builder, p: Product, x: str, y: str, out: str) -> None:
    """``out = x y`` for matrices as ``leading`` wants them."""
    found = library()
    assert found is not None
    name, i = found.cblas(f"{LETTERS[p.ty]}gemm"), found.integer
    (k,) = p.k
    scalar = "ptr" if p.ty.startswith("c") else p.ty
    b.declared[name] = (
        f"declare void @{name}(i32, i32, i32, {i}, {i}, {i}, {scalar}, ptr, {i}, ptr, {i}, {scalar}, ptr, {i})"
    )
    one, nought = "1.0", "0.0"
    if p.ty.startswith("c"):
        one, nought = "@blas_one", "@blas_nought"
        b.declared[one] = "@blas_one = private constant [2 x double] [double 1.0, double 0.0]"
        if p.ty == "cfloat":
            one = "@blas_onef"
            b.declared[one] = "@blas_onef = private constant [2 x float] [float 1.0, float 0.0]"
        b.declared[nought] = "@blas_nought = private constant [2 x double] zeroinitializer"

    def side(row: int, column: int) -> tuple[int, int]:
        return (111, row) if column == 1 else (112, column)

    (tx, lx), (ty, ly) = side(p.xm, k.x), side(k.y, p.yn)
    lx, ly = max(lx, k.extent if tx == 111 else p.m), max(ly, p.n if ty == 111 else k.extent)
    with threads(b, found):
        b.do(
            f"call void @{name}(i32 101, i32 {tx}, i32 {ty}, {i} {p.m}, {i} {p.n}, {i} {k.extent}, {scalar} {one}, "
            f"ptr {x}, {i} {lx}, ptr {y}, {i} {ly}, {scalar} {nought}, ptr {out}, {i} {max(p.om, p.n)})"
        )


# -- threads --------------------------------------------------------------------------------------------------------

_wanted = ctypes.c_int32(config.threads)
"""``config.threads``, where native code reads it."""
_CELL = "functrans_blas_threads"


def _changed(value: int) -> None:
    _wanted.value = value


vars(Config)["threads"].changed = _changed


@contextmanager
def threads(b: Builder, found: Library) -> Iterator[None]:
    """The library runs what is emitted inside on as many threads as the settings say, and is left as it was."""
    names = _threading(found)
    if not names:
        yield
        return
    get, change = names
    b.declared[get] = f"declare i32 @{get}()"
    b.declared[change] = f"declare void @{change}(i32)"
    b.declared[_CELL] = f"@{_CELL} = external global i32"
    wanted = b.emit(f"load i32, ptr @{_CELL}")
    before = b.emit(f"call i32 @{get}()")
    set_at_all = b.emit(f"icmp ne i32 {wanted}, 0")
    other = b.emit(f"icmp ne i32 {wanted}, {before}")
    change_it = b.emit(f"and i1 {set_at_all}, {other}")
    with b.guarded(change_it):
        b.do(f"call void @{change}(i32 {wanted})")
    yield
    with b.guarded(change_it):
        b.do(f"call void @{change}(i32 {before})")
