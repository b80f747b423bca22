"""Object code on disk, so that a process need not generate again what an earlier one did.

A file holds the code of one module, under a name that is a digest of everything the code depends on: the text of the
module, which names what lies outside of it by symbols and never by addresses, the processor with its features, the
versions of LLVM, llvmlite, Python, NumPy and functrans, and the effort of code generation.

What is read here is executed. The directory is therefore made for its user alone, and is not used where it belongs to
somebody else or others may write to it. A file is written under another name and renamed, so that processes that share
the directory see whole files; one that is damaged, or that something else wrote, is taken for absent and replaced.

Tracing, passes and the emission of the text are done in any case. On the NumPy backend they are nearly all there is:
to read a program of 1000 operations back takes longer than to make it again (77 against 50 milliseconds), and nothing
is kept there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from functrans.config import config

MAGIC = b"functrans object code, form 1\n"
SUFFIX = ".object"
_HEAD = len(MAGIC) + hashlib.sha256().digest_size
_DAY = 86400.0
_KEPT = 0.75
"""The part of the allowed bytes that is left after an eviction, so that not every write has to look for more."""


class Statistics(NamedTuple):
    """What the cache did in this process.

    Attributes:
        directory: where it is; None where it is off, with ``reason`` saying why.
        hits, misses: modules that were found there, and that were not.
        written: modules that were stored.
        refused: files that were damaged or foreign.
        evicted: files that were deleted to stay below ``config.native_cache_bytes``.
        bytes: how much there is, as of the last time that it was counted.
    """

    directory: Path | None
    reason: str
    hits: int
    misses: int
    written: int
    refused: int
    evicted: int
    bytes: int


class ObjectCache:
    """A directory of object code.

    Args:
        versions: what else than a module's text its code depends on.
    """

    def __init__(self, versions: str) -> None:
        self.versions = versions
        self.counts = dict.fromkeys(("hits", "misses", "written", "refused", "evicted"), 0)
        self.size = 0
        self.counted = False
        self._checked: dict[str, tuple[Path | None, str]] = {}
        self._lock = threading.Lock()

    def get(self, text: str, generate: Callable[[], bytes]) -> bytes:
        """The code of a module: from the directory, or as ``generate`` makes it, which is stored then."""
        directory, _ = self.directory()
        if directory is None:
            return generate()
        name = hashlib.sha256(f"{self.versions}\n{text}".encode()).hexdigest() + SUFFIX
        found = self._read(directory / name)
        if found is not None:
            self._count("hits")
            return found
        self._count("misses")
        image = generate()
        self._write(directory, name, image)
        return image

    def statistics(self) -> Statistics:
        """What was found and stored so far."""
        directory, reason = self.directory()
        return Statistics(directory, reason, **self.counts, bytes=self.size)

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    # -- the directory ------------------------------------------------------------------------------------------

    def directory(self) -> tuple[Path | None, str]:
        """The directory, made if need be; None, and why, where there is none that is safe."""
        if not config.native_cache:
            return None, "config.native_cache is off"
        chosen = config.native_cache_dir or ""
        with self._lock:
            if chosen not in self._checked:
                self._checked[chosen] = self._prepared(chosen)
            return self._checked[chosen]

    def _prepared(self, chosen: str) -> tuple[Path | None, str]:
        directory = (Path(chosen) if chosen else user_directory()) / "native"
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            fault = _fault(directory)
        except OSError as error:
            # A home that cannot be written to is common, and nobody asked for this directory.
            if chosen:
                _warn(f"{directory} cannot be made ({error})")
            return None, f"{directory} cannot be made: {error}"
        if fault:
            _warn(f"{directory} {fault}")
            return None, f"{directory} {fault}"
        return directory, ""

    # -- files --------------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> bytes | None:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            with open(os.open(path, flags), "rb") as file:
                known = os.fstat(file.fileno())
                content = file.read() if stat.S_ISREG(known.st_mode) and not _foreign(known) else b""
            image = _unpacked(content)
            if image is None:
                self._count("refused")
            elif time.time() - known.st_mtime > _DAY:
                os.utime(path)  # The oldest are those that nobody has read for the longest time.
        except FileNotFoundError:
            return None
        except OSError:
            self._count("refused")
            return None
        return image

    def _write(self, directory: Path, name: str, image: bytes) -> None:
        try:
            handle, partial = tempfile.mkstemp(dir=directory, prefix=".", suffix=".partial")
            try:
                with open(handle, "wb") as file:
                    file.write(_packed(image))
                os.replace(partial, directory / name)
            except BaseException:
                with suppress(OSError):
                    os.unlink(partial)
                raise
        except OSError:
            return  # A full disk, or a directory that is gone: the program runs all the same.
        with self._lock:
            self.counts["written"] += 1
            self.size += len(image) + _HEAD
            if not self.counted or self.size > config.native_cache_bytes:
                self._evict(directory)

    def _evict(self, directory: Path) -> None:
        """Count what there is, and delete the oldest files if it is too much."""
        files = []
        for entry in os.scandir(directory):
            with suppress(OSError):  # Another process may have deleted it.
                known = entry.stat(follow_symlinks=False)
                if entry.name.endswith(SUFFIX):
                    files.append((known.st_mtime, known.st_size, entry.path))
                elif entry.name.endswith(".partial") and time.time() - known.st_mtime > _DAY:
                    os.unlink(entry.path)  # Its writer did not live to rename it.
        self.size = sum(size for _, size, _ in files)
        self.counted = True
        if self.size <= config.native_cache_bytes:
            return
        for _, size, path in sorted(files):
            if self.size <= config.native_cache_bytes * _KEPT:
                break
            with suppress(OSError):
                os.unlink(path)
            self.size -= size
            self.counts["evicted"] += 1


def _packed(image: bytes) -> bytes:
    return MAGIC + hashlib.sha256(image).digest() + image


def _unpacked(content: bytes) -> bytes | None:
    """The code in a file's content; None where it is not what was written."""
    image = content[_HEAD:]
    if not image or content[:_HEAD] != MAGIC + hashlib.sha256(image).digest():
        return None
    return image


def _foreign(known: os.stat_result) -> bool:
    """Whether somebody else owns a file, or others may write to it; Windows keeps profiles apart by itself."""
    return hasattr(os, "geteuid") and (known.st_uid != os.geteuid() or bool(known.st_mode & 0o022))


def _fault(directory: Path) -> str:
    known = directory.lstat()
    if not stat.S_ISDIR(known.st_mode):
        return "is not a directory"
    if hasattr(os, "geteuid"):
        if known.st_uid != os.geteuid():
            return "belongs to another user"
        if known.st_mode & 0o077:
            return "is open to other users: its mode has to be 0700"
    return ""


def _warn(fault: str) -> None:
    warnings.warn(
        f"functrans keeps no object code: {fault}. Set FUNCTRANS_CACHE_DIR to a directory of yours, or "
        f"functrans.config.native_cache to False",
        RuntimeWarning,
        stacklevel=2,
    )


def user_directory() -> Path:
    """Where the system wants a user's caches to be."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "functrans" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "functrans"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "functrans"


def versions_of(*more: Any) -> str:
    """What object code depends on besides the text of its module."""
    package = sys.modules["functrans"].__version__  # it lies above this module
    facts = (platform.python_implementation(), sys.version, np.__version__, package, *more)
    return "\n".join(map(str, facts))
