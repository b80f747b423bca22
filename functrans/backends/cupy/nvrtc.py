"""CUDA text to machine code by NVRTC, from CuPy where it is installed, else from NVIDIA's own wheel; kept on disk.

No driver and no device take part: a machine without a GPU compiles for any architecture.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import os
import sysconfig
import tempfile
from functools import cache
from glob import glob
from pathlib import Path
from typing import NamedTuple

from functrans import errors

OPTIONS = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")
"""Products and sums are rounded one by one, as NumPy rounds them: a kernel waits for memory, not for arithmetic."""


class Compiled(NamedTuple):
    """Machine code, and what the compiler says of registers and of memory that they spill to."""

    image: bytes
    log: str


class Nvrtc:
    """The compiler's library."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(_library())
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
        self.version = (major.value, minor.value)

    def compile(self, source: str, architecture: str) -> Compiled:
        """Compile a source text for an architecture such as ``"sm_90"``.

        Raises:
            MissingBackendError: the compiler rejects the text or does not know the architecture; with its log.
        """
        library, program = self.library, ctypes.c_void_p()
        created = library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"functrans.cu", 0, None, None)
        self._check(created, "nvrtcCreateProgram")
        try:
            options = [o.encode() for o in (f"-arch={architecture}", *OPTIONS)]
            status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            log = self._text(program, "ProgramLog").decode(errors="replace").rstrip("\0")
            if status:
                raise errors.MissingBackendError(
                    f"NVRTC {self.version[0]}.{self.version[1]} does not compile a kernel for {architecture}: {log}"
                )
            return Compiled(self._text(program, "CUBIN"), log)
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), what)
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, text), what)
        return text.raw

    def _check(self, status: int, what: str) -> None:
        if status:
            raise errors.MissingBackendError(f"NVRTC failed in {what} with status {status}")


def _library() -> str:
    """The path or the name of the library."""
    found = sorted(glob(f"{sysconfig.get_paths()['purelib']}/nvidia/*/lib/libnvrtc.so.*"))
    found = [f for f in found if "builtins" not in f and ".alt." not in f]
    if found:
        return found[-1]
    name = ctypes.util.find_library("nvrtc")
    if name is None:
        raise errors.MissingBackendError(
            "kernels for a CUDA device are compiled by NVRTC, which is not installed: python -m pip install "
            "nvidia-cuda-nvrtc"
        )
    return name


@cache
def nvrtc() -> Nvrtc:
    """The compiler."""
    return Nvrtc()


def compile_source(source: str, architecture: str) -> bytes:
    """The machine code of a source text: from disk if it was compiled before, with the same compiler and options."""
    compiler = nvrtc()
    key = repr((source, architecture, compiler.version, OPTIONS))
    folder = _folder()
    path = None if folder is None else folder / f"{hashlib.sha256(key.encode()).hexdigest()}.cubin"
    if path is not None:
        found = _read(path)
        if found is not None:
            return found
    image = compiler.compile(source, architecture).image
    if path is not None:
        _write(path, image)
    return image


def _folder() -> Path | None:
    """The private folder of compiled modules; None where there is none that is the user's own."""
    base = os.environ.get("FUNCTRANS_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "functrans"
    )
    folder = Path(base) / "cubin"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
        return None
    return folder


def _read(path: Path) -> bytes | None:
    """A module, where the file is whole."""
    try:
        text = path.read_bytes()
    except OSError:
        return None
    digest, image = text[:32], text[32:]
    return image if hashlib.sha256(image).digest() == digest else None


def _write(path: Path, image: bytes) -> None:
    """Replace a file at once, so that another process never reads half of it."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(image).digest() + image)
        os.replace(name, path)
    except OSError:
        return  # a full disk or a folder that is gone: the program has its code all the same
