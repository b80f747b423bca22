"""Memory for large results and arenas, which is kept when it is freed and used again.

A C library gives large blocks back to the system at once, and the next result pays for every page anew, several times
what computing it takes. Blocks from 64 KiB up are kept here, by size classes an eighth of a power of two apart, up to
``functrans.config.kept_memory`` bytes together; beyond, those of other classes go first.

Arrays know their allocator (NEP 49): those made here name it, and no setting of NumPy is touched. Memory is freed with
or without the interpreter's lock, so that a lock of its own guards the table.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any, ClassVar

import numpy as np

from functrans.backends.llvm import arrays
from functrans.backends.llvm.runtime import machine
from functrans.config import config
from functrans.core.dtypes import DType
from functrans.util.cache import on_clear

SMALLEST = 1 << 16
"""Bytes of the smallest block that is kept: below, the C library does as well."""
_CLASSES = 200
_HEADER = 64
"""Bytes before a block's own: the address that the system gave, its size, its class, the next free block."""
_HUGE = 1 << 22
"""Bytes from which the system is asked for large pages."""

_TEXT = """
%struct.pool = type {{ i32, i64, i64, i64, [{classes} x ptr] }}
@functrans_pool = internal global %struct.pool zeroinitializer
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare i32 @functrans_yield()
declare i32 @functrans_advise(ptr, i64, i32)
declare i64 @llvm.ctlz.i64(i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define internal void @pool_lock() nounwind {{
entry:
  br label %try
try:
  %pair = cmpxchg ptr @functrans_pool, i32 0, i32 1 acquire monotonic
  %won = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %won, label %done, label %wait
wait:
  %y = call i32 @functrans_yield()
  br label %try
done:
  ret void
}}
define void @functrans_pool_unlock() nounwind {{
entry:
  store atomic i32 0, ptr @functrans_pool release, align 4
  ret void
}}
define internal i64 @pool_size(i64 %n) nounwind {{
entry:
  %zeros = call i64 @llvm.ctlz.i64(i64 %n, i1 true)
  %log = sub i64 60, %zeros
  %step = shl i64 1, %log
  %mask = sub i64 %step, 1
  %more = add i64 %n, %mask
  %keep = xor i64 %mask, -1
  %size = and i64 %more, %keep
  ret i64 %size
}}
define internal i64 @pool_class(i64 %size) nounwind {{
entry:
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 true)
  %log = sub i64 60, %zeros
  %part = lshr i64 %size, %log
  %eighth = and i64 %part, 7
  %power = sub i64 %log, 13
  %base = mul i64 %power, 8
  %class = add i64 %base, %eighth
  ret i64 %class
}}
define internal void @pool_release(ptr %block) nounwind {{
entry:
  %h = getelementptr i8, ptr %block, i64 -{header}
  %base = load ptr, ptr %h
  call void @PyMem_RawFree(ptr %base)
  ret void
}}
define internal void @pool_release_all(ptr %first) nounwind {{
entry:
  br label %head
head:
  %block = phi ptr [ %first, %entry ], [ %next, %body ]
  %end = icmp eq ptr %block, null
  br i1 %end, label %done, label %body
body:
  %np = getelementptr i8, ptr %block, i64 {next}
  %next = load ptr, ptr %np
  call void @pool_release(ptr %block)
  br label %head
done:
  ret void
}}
define internal ptr @pool_evict(i64 %target, i64 %spared) nounwind {{
entry:
  %heldp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 2
  %handp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 3
  br label %head
head:
  %gone = phi ptr [ null, %entry ], [ %gone, %turn ], [ %block, %pop ]
  %seen = phi i64 [ 0, %entry ], [ %seen1, %turn ], [ %seen, %pop ]
  %held = load i64, ptr %heldp
  %over = icmp sgt i64 %held, %target
  %left = icmp slt i64 %seen, {classes}
  %go = and i1 %over, %left
  br i1 %go, label %look, label %done
look:
  %hand = load i64, ptr %handp
  %bin = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 4, i64 %hand
  %block = load ptr, ptr %bin
  %empty = icmp eq ptr %block, null
  %own = icmp eq i64 %hand, %spared
  %pass = or i1 %empty, %own
  br i1 %pass, label %turn, label %pop
turn:
  %hand1 = add i64 %hand, 1
  %wrap = icmp eq i64 %hand1, {classes}
  %hand2 = select i1 %wrap, i64 0, i64 %hand1
  store i64 %hand2, ptr %handp
  %seen1 = add i64 %seen, 1
  br label %head
pop:
  %np = getelementptr i8, ptr %block, i64 {next}
  %following = load ptr, ptr %np
  store ptr %following, ptr %bin
  store ptr %gone, ptr %np
  %szp = getelementptr i8, ptr %block, i64 {size}
  %sz = load i64, ptr %szp
  %held1 = sub i64 %held, %sz
  store i64 %held1, ptr %heldp
  br label %head
done:
  ret ptr %gone
}}
define void @functrans_pool_trim(i64 %target) nounwind {{
entry:
  call void @pool_lock()
  %gone = call ptr @pool_evict(i64 %target, i64 -1)
  call void @functrans_pool_unlock()
  call void @pool_release_all(ptr %gone)
  ret void
}}
define i64 @functrans_pool_held() nounwind {{
entry:
  %heldp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 2
  %held = load i64, ptr %heldp
  ret i64 %held
}}
define void @functrans_pool_cap(i64 %cap) nounwind {{
entry:
  %capp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 1
  store i64 %cap, ptr %capp
  call void @functrans_pool_trim(i64 %cap)
  ret void
}}
define internal ptr @pool_new(i64 %size, i64 %class) nounwind {{
entry:
  %whole = add i64 %size, {slack}
  %fits = icmp ugt i64 %whole, %size
  br i1 %fits, label %get, label %none
get:
  %first = call ptr @PyMem_RawMalloc(i64 %whole)
  %failed = icmp eq ptr %first, null
  br i1 %failed, label %retry, label %place
retry:
  call void @functrans_pool_trim(i64 0)
  %second = call ptr @PyMem_RawMalloc(i64 %whole)
  %out = icmp eq ptr %second, null
  br i1 %out, label %none, label %place
none:
  ret ptr null
place:
  %base = phi ptr [ %first, %get ], [ %second, %retry ]
  %a = ptrtoint ptr %base to i64
  %b = add i64 %a, {align_up}
  %c = and i64 %b, -64
  %offset = sub i64 %c, %a
  %block = getelementptr i8, ptr %base, i64 %offset
  %h = getelementptr i8, ptr %block, i64 -{header}
  store ptr %base, ptr %h
  %szp = getelementptr i8, ptr %block, i64 {size}
  store i64 %size, ptr %szp
  %clp = getelementptr i8, ptr %block, i64 {class_at}
  store i64 %class, ptr %clp
  %large = icmp uge i64 %size, {huge}
  br i1 %large, label %advise, label %done
advise:
  %p1 = add i64 %c, 4095
  %p2 = and i64 %p1, -4096
  %po = sub i64 %p2, %c
  %page = getelementptr i8, ptr %block, i64 %po
  %whole_pages = sub i64 %size, 4096
  %ignored = call i32 @functrans_advise(ptr %page, i64 %whole_pages, i32 14)
  br label %done
done:
  ret ptr %block
}}
define ptr @functrans_take(ptr %context, i64 %n) nounwind {{
entry:
  %kept = icmp uge i64 %n, {smallest}
  %sane = icmp ult i64 %n, {largest}
  %both = and i1 %kept, %sane
  br i1 %both, label %pooled, label %plain
plain:
  %zero = icmp eq i64 %n, 0
  %some = select i1 %zero, i64 1, i64 %n
  %own = call ptr @pool_new(i64 %some, i64 -1)
  ret ptr %own
pooled:
  %size = call i64 @pool_size(i64 %n)
  %class = call i64 @pool_class(i64 %size)
  %bin = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 4, i64 %class
  call void @pool_lock()
  %block = load ptr, ptr %bin
  %empty = icmp eq ptr %block, null
  br i1 %empty, label %fresh, label %found
found:
  %np = getelementptr i8, ptr %block, i64 {next}
  %following = load ptr, ptr %np
  store ptr %following, ptr %bin
  %heldp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 2
  %held = load i64, ptr %heldp
  %held1 = sub i64 %held, %size
  store i64 %held1, ptr %heldp
  call void @functrans_pool_unlock()
  ret ptr %block
fresh:
  call void @functrans_pool_unlock()
  %made = call ptr @pool_new(i64 %size, i64 %class)
  ret ptr %made
}}
define void @functrans_give(ptr %context, ptr %block, i64 %n) nounwind {{
entry:
  %nothing = icmp eq ptr %block, null
  br i1 %nothing, label %done, label %some
some:
  %clp = getelementptr i8, ptr %block, i64 {class_at}
  %class = load i64, ptr %clp
  %plain = icmp slt i64 %class, 0
  br i1 %plain, label %release, label %keep
release:
  call void @pool_release(ptr %block)
  br label %done
keep:
  %szp = getelementptr i8, ptr %block, i64 {size}
  %size = load i64, ptr %szp
  %capp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 1
  %heldp = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 2
  call void @pool_lock()
  %cap = load i64, ptr %capp
  %room = sub i64 %cap, %size
  %held = load i64, ptr %heldp
  %full = icmp sgt i64 %held, %room
  br i1 %full, label %evict, label %put
evict:
  %never = icmp slt i64 %room, 0
  br i1 %never, label %drop, label %others
others:
  %gone = call ptr @pool_evict(i64 %room, i64 %class)
  %left = load i64, ptr %heldp
  %still = icmp sgt i64 %left, %room
  br i1 %still, label %full_of_own, label %put
full_of_own:
  call void @functrans_pool_unlock()
  call void @pool_release_all(ptr %gone)
  call void @pool_release(ptr %block)
  br label %done
drop:
  call void @functrans_pool_unlock()
  call void @pool_release(ptr %block)
  br label %done
put:
  %old = phi ptr [ null, %keep ], [ %gone, %others ]
  %bin = getelementptr %struct.pool, ptr @functrans_pool, i64 0, i32 4, i64 %class
  %top = load ptr, ptr %bin
  %np = getelementptr i8, ptr %block, i64 {next}
  store ptr %top, ptr %np
  store ptr %block, ptr %bin
  %now = load i64, ptr %heldp
  %more = add i64 %now, %size
  store i64 %more, ptr %heldp
  call void @functrans_pool_unlock()
  call void @pool_release_all(ptr %old)
  br label %done
done:
  ret void
}}
define ptr @functrans_take_zeros(ptr %context, i64 %n, i64 %each) nounwind {{
entry:
  %pair = call {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64 %n, i64 %each)
  %bytes = extractvalue {{ i64, i1 }} %pair, 0
  %too_many = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %too_many, label %none, label %get
get:
  %block = call ptr @functrans_take(ptr null, i64 %bytes)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %none, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %bytes, i1 false)
  ret ptr %block
none:
  ret ptr null
}}
declare {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64, i64)
define ptr @functrans_resize(ptr %context, ptr %block, i64 %n) nounwind {{
entry:
  %made = call ptr @functrans_take(ptr null, i64 %n)
  %failed = icmp eq ptr %made, null
  %old = icmp ne ptr %block, null
  br i1 %failed, label %none, label %got
none:
  ret ptr null
got:
  br i1 %old, label %copy, label %done
copy:
  %szp = getelementptr i8, ptr %block, i64 {size}
  %size = load i64, ptr %szp
  %shrinks = icmp ult i64 %n, %size
  %bytes = select i1 %shrinks, i64 %n, i64 %size
  call void @llvm.memcpy.p0.p0.i64(ptr %made, ptr %block, i64 %bytes, i1 false)
  call void @functrans_give(ptr null, ptr %block, i64 0)
  br label %done
done:
  ret ptr %made
}}
declare void @Py_IncRef(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
@PyArray_Type = external global i8
define ptr @functrans_array(ptr %dtype, i32 %ndim, ptr %dims, i64 %bytes, ptr %handler) nounwind {{
entry:
  %block = call ptr @functrans_take(ptr null, i64 %bytes)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %none, label %make
none:
  %error = call ptr @PyErr_NoMemory()
  ret ptr null
make:
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @PyArray_NewFromDescr(
    ptr @PyArray_Type, ptr %dtype, i32 %ndim, ptr %dims, ptr null, ptr %block, i32 {carray}, ptr null)
  %out = icmp eq ptr %array, null
  br i1 %out, label %lost, label %done
lost:
  call void @functrans_give(ptr null, ptr %block, i64 0)
  ret ptr null
done:
  %fp = getelementptr i8, ptr %array, i64 {flags}
  %f = load i32, ptr %fp
  %g = or i32 %f, {owns}
  store i32 %g, ptr %fp
  %hp = getelementptr i8, ptr %array, i64 {handler}
  call void @Py_IncRef(ptr %handler)
  store ptr %handler, ptr %hp
  ret ptr %array
}}
define ptr @functrans_empty(ptr %self, ptr %args) nounwind {{
entry:
  %spec = getelementptr i8, ptr %self, i64 {bytes_at}
  %dtype = load ptr, ptr %spec, align 1
  %p1 = getelementptr i8, ptr %spec, i64 8
  %handler = load ptr, ptr %p1, align 1
  %p2 = getelementptr i8, ptr %spec, i64 16
  %bytes = load i64, ptr %p2, align 1
  %p3 = getelementptr i8, ptr %spec, i64 24
  %ndim = load i32, ptr %p3, align 1
  %dims = getelementptr i8, ptr %spec, i64 32
  %array = call ptr @functrans_array(ptr %dtype, i32 %ndim, ptr %dims, i64 %bytes, ptr %handler)
  ret ptr %array
}}
"""

_NAMES = (
    "functrans_take", "functrans_give", "functrans_take_zeros", "functrans_resize", "functrans_pool_trim",
    "functrans_pool_held", "functrans_pool_cap", "functrans_pool_unlock", "functrans_array", "functrans_empty",
)  # fmt: skip


class _Handler(ctypes.Structure):
    """NumPy's ``PyDataMem_Handler``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    ]


def text() -> str:
    """The allocator as LLVM IR."""
    return _TEXT.format(
        classes=_CLASSES,
        header=_HEADER,
        size=8 - _HEADER,
        class_at=16 - _HEADER,
        next=24 - _HEADER,
        slack=_HEADER + 63,
        align_up=_HEADER + 63,
        huge=_HUGE,
        smallest=SMALLEST,
        largest=1 << 40,
        carray=arrays.READY | arrays.WRITEABLE,
        flags=arrays.FLAGS,
        owns=arrays.OWNS_DATA,
        handler=arrays.HANDLER,
        bytes_at=arrays.BYTES,
    )


class Allocator:
    """The allocator of this process, which lives as long as the process does.

    Attributes:
        addresses: of its functions.
        handler: the capsule that its arrays name as their allocator.
    """

    def __init__(self) -> None:
        names = ("PyMem_RawMalloc", "PyMem_RawFree", "Py_IncRef", "PyErr_NoMemory", "PyArray_NewFromDescr")
        found = arrays.symbols(*names, "PyArray_Type") | _system()
        code = machine().load(text(), list(_NAMES), found)
        self.addresses: dict[str, int] = code.addresses
        void, size = ctypes.c_void_p, ctypes.c_int64
        self._cap = ctypes.CFUNCTYPE(None, size)(self.addresses["functrans_pool_cap"])
        self._trim = ctypes.CFUNCTYPE(None, size)(self.addresses["functrans_pool_trim"])
        self._held = ctypes.CFUNCTYPE(size)(self.addresses["functrans_pool_held"])
        self._unlock = ctypes.CFUNCTYPE(None)(self.addresses["functrans_pool_unlock"])
        self.give = ctypes.CFUNCTYPE(None, void, void, size)(self.addresses["functrans_give"])
        functions = ("functrans_take", "functrans_take_zeros", "functrans_resize", "functrans_give")
        self._record = _Handler(b"functrans", 1, None, *[self.addresses[name] for name in functions])
        capsule = ctypes.PYFUNCTYPE(ctypes.py_object, void, ctypes.c_char_p, void)
        self.handler = capsule(("PyCapsule_New", ctypes.pythonapi))(
            ctypes.addressof(self._record), b"mem_handler", None
        )
        self._method = _Method(b"empty", self.addresses["functrans_empty"], _NOARGS, None)
        self._dtypes: dict[int, DType] = {}
        self._cap(config.kept_memory)
        # Arrays call these functions when they die, the last ones after everything else of the interpreter.
        for immortal in (self, code, machine(), machine().linker):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(immortal))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def held(self) -> int:
        """The bytes that are kept now."""
        return int(self._held())

    def trim(self) -> None:
        """Give everything that is kept back to the system."""
        self._trim(0)

    def limit(self, size: int) -> None:
        """Keep at most so many bytes."""
        self._cap(size)

    def maker(self, shape: tuple[int, ...], dtype: DType) -> Callable[[], Any]:
        """A builtin that gives a new array of this shape and dtype at each call."""
        size = prod(shape) * dtype.itemsize
        self._dtypes[id(dtype)] = dtype
        spec = struct.pack(f"=QQqiI{len(shape)}q", id(dtype), id(self.handler), size, len(shape), 0, *shape)
        signature = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p
        )
        made: Callable[[], Any] = signature(("PyCMethod_New", ctypes.pythonapi))(
            ctypes.addressof(self._method), spec, None, None
        )
        return made


_NOARGS = 0x4


class _Method(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def _system() -> dict[str, int]:
    """What the system offers: how a thread gives way, and how large pages are asked for."""
    if sys.platform == "win32":
        library = ctypes.WinDLL("kernel32")
        give_way: Any = library.SwitchToThread
        advise: Any = library.GetCurrentThreadId  # It takes no arguments, and asks for nothing.
    else:
        library = ctypes.CDLL(None)
        give_way = library.sched_yield
        advise = library.madvise if sys.platform == "linux" else library.getpagesize
    return {
        "functrans_yield": ctypes.cast(give_way, ctypes.c_void_p).value or 0,
        "functrans_advise": ctypes.cast(advise, ctypes.c_void_p).value or 0,
    }


@cache
def allocator() -> Allocator:
    """The allocator; made at first use."""
    made = Allocator()
    on_clear(made.trim)
    vars(type(config))["kept_memory"].changed = made.limit
    return made


def pooled(shape: tuple[int, ...], dtype: DType) -> bool:
    """Whether an array is large enough for its memory to be kept."""
    return np.dtype(dtype).itemsize * prod(shape) >= SMALLEST
