"""Checks of a call's arguments, step by step: the part of ``caller`` that reads Python objects."""

from __future__ import annotations

from functrans.backends.llvm import arrays
from functrans.backends.llvm.caller_tables import APART, Op, Text


def steps(t: Text) -> None:
    t.block("step")
    t.do("%op = phi ptr [ %first, %args_done ], [ %following, %next ]")
    code = t.get("i64", "%op")
    t.do(f"%source = load i64, ptr {t.at('%op', 8)}")
    t.do(f"%a = load ptr, ptr {t.at('%op', 16)}")
    t.do(f"%b = load i64, ptr {t.at('%op', 24)}")
    t.do(f"%target = load i64, ptr {t.at('%op', 32)}")
    t.do("%where = getelementptr i8, ptr %frame, i64 %source")
    t.do("%to = getelementptr i8, ptr %frame, i64 %target")
    t.do("%x = load ptr, ptr %where")
    names = [n for n in vars(Op) if n.isupper() and n not in ("BYTES", "END")]
    cases = " ".join(f"i64 {getattr(Op, n)}, label %op_{n}" for n in names)
    t.do(f"switch i64 {code}, label %made [ {cases} ]")
    for name in names:
        t.block(f"op_{name}")
        _STEPS[name](t)
    t.block("next")
    t.do(f"%following = getelementptr i8, ptr %op, i64 {Op.BYTES}")
    t.do("br label %step")


def _next(t: Text) -> None:
    t.do("br label %next")


def _array(t: Text) -> None:
    """``a`` is the dtype, ``b`` the address of the shape, ``d`` the number of axes and whether it is ``APART``."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "@PyArray_Type")
    axes = t.get("i64", "%op", 40)
    ndim = t.let(f"and i64 {axes}, {APART - 1}")
    t.same(t.let(f"zext i32 {t.get('i32', '%x', arrays.NDIM)} to i64"), ndim, "i64")
    t.do("br label %dims")
    t.block("dims")
    shape, wanted = t.get("ptr", "%x", arrays.DIMS), t.let("inttoptr i64 %b to ptr")
    i, _ = t.loop("dim", "dims", ndim)
    at = t.let(f"mul i64 {i}, 8")
    t.same(t.get("i64", shape, at), t.get("i64", wanted, at), "i64")
    t.turn("dim")
    dtype = t.get("ptr", "%x", arrays.DTYPE)
    t.do(f"br i1 {t.let(f'icmp eq ptr {dtype}, %a')}, label %flags, label %other, !prof !0")
    t.block("flags")
    flags = t.get("i32", "%x", arrays.FLAGS)
    ready = t.let(f"icmp eq i32 {t.let(f'and i32 {flags}, {arrays.READY}')}, {arrays.READY}")
    t.do(f"br i1 {ready}, label %take, label %apart, !prof !0")
    t.block("apart")
    aligned = t.let(f"icmp ne i32 {t.let(f'and i32 {flags}, {arrays.ALIGNED}')}, 0")
    apart = t.let(f"icmp uge i64 {axes}, {APART}")
    t.do(f"br i1 {t.let(f'and i1 {aligned}, {apart}')}, label %miss, label %convert")
    t.block("take")
    t.put("ptr", t.get("ptr", "%x", arrays.DATA), "%to")
    _next(t)
    # Another object that may stand for the same dtype, in the other byte order perhaps.
    t.block("other")
    t.same(t.get("i32", dtype, arrays.NUMBER), t.get("i32", "%a", arrays.NUMBER), "i32")
    native = t.let(f"icmp eq i8 {t.get('i8', dtype, arrays.ORDER)}, {t.get('i8', '%a', arrays.ORDER)}")
    t.do(f"br i1 {native}, label %flags, label %convert")
    t.block("convert")
    t.do("call void @Py_IncRef(ptr %a)")
    flags = str(arrays.READY | arrays.NATIVE)
    copy = t.let(f"call ptr @PyArray_FromArray(ptr %x, ptr %a, i32 {flags})")
    t.require(t.let(f"icmp ne ptr {copy}, null"), "error")
    t.do(f"call void @hold(ptr %held, ptr {copy})")
    t.put("ptr", t.get("ptr", copy, arrays.DATA), "%to")
    _next(t)


def _scalar(t: Text) -> None:
    """A NumPy scalar, a Python float or complex: ``a`` is its type."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "%a")
    t.put("ptr", t.at("%x", arrays.VALUE), "%to")
    _next(t)


def _int(t: Text) -> None:
    """A Python int: ``a`` is its type, ``b`` where its value goes."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "%a")
    value = t.let("call i64 @PyLong_AsLongLongAndOverflow(ptr %x, ptr %overflow)")
    t.same(t.get("i32", "%overflow"), "0", "i32")
    place = t.at("%frame", "%b")
    t.put("i64", value, place)
    t.put("ptr", place, "%to")
    _next(t)


def _items(t: Text, stem: str, items: str, before: str, owned: bool) -> None:
    """Copy the items of a container to the frame."""
    i, _ = t.loop(stem, before, "%b")
    at = t.let(f"mul i64 {i}, 8")
    item = t.get("ptr", items, at)
    t.put("ptr", item, "%to", at)
    if owned:
        _own(t, stem, item)
    t.turn(stem)


def _own(t: Text, stem: str, item: str) -> None:
    t.do(f"br i1 %owns, label %{stem}_own, label %{stem}_owned")
    t.block(f"{stem}_own")
    t.do(f"call void @Py_IncRef(ptr {item})")
    t.do(f"call void @hold(ptr %held, ptr {item})")
    t.do(f"br label %{stem}_owned")
    t.block(f"{stem}_owned")


def _tuple(t: Text) -> None:
    """A tuple, or a namedtuple: ``a`` is its type, ``b`` its length."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "%a")
    t.same(t.get("i64", "%x", arrays.SIZE), "%b", "i64")
    t.do("br label %tuple")
    t.block("tuple")
    _items(t, "item", t.at("%x", arrays.ITEMS), "tuple", owned=False)
    _next(t)


def _list(t: Text) -> None:
    t.same(t.get("ptr", "%x", arrays.TYPE), "@functrans_list")
    t.same(t.get("i64", "%x", arrays.SIZE), "%b", "i64")
    t.do("br label %list")
    t.block("list")
    _items(t, "entry", t.get("ptr", "%x", arrays.LIST_ITEMS), "list", owned=True)
    _next(t)


def _dict(t: Text) -> None:
    """``a`` is the address of the keys, ``b`` their number."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "@functrans_dict")
    t.same(t.let("call i64 @PyDict_Size(ptr %x)"), "%b", "i64")
    t.do("br label %dict")
    t.block("dict")
    i, _ = t.loop("key", "dict", "%b")
    at = t.let(f"mul i64 {i}, 8")
    item = t.let(f"call ptr @PyDict_GetItemWithError(ptr %x, ptr {t.get('ptr', '%a', at)})")
    t.require(t.let(f"icmp ne ptr {item}, null"), "error_or_miss")
    t.put("ptr", item, "%to", at)
    _own(t, "key", item)
    t.turn("key")
    _next(t)
    t.block("error_or_miss")
    found = t.let("call ptr @PyErr_Occurred()")
    t.do(f"br i1 {t.let(f'icmp eq ptr {found}, null')}, label %miss, label %error")


def _is(t: Text) -> None:
    t.same("%x", "%a")
    _next(t)


def _equal(t: Text) -> None:
    """``a`` is the type, ``b`` the object that it has to equal."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "%a")
    wanted = t.let("inttoptr i64 %b to ptr")
    found = t.let(f"call i32 @PyObject_RichCompareBool(ptr %x, ptr {wanted}, i32 2)")
    t.require(t.let(f"icmp sge i32 {found}, 0"), "error")
    t.require(t.let(f"icmp ne i32 {found}, 0"))
    _next(t)


def _bits(t: Text) -> None:
    """A number of type ``a`` whose eight bytes at ``target`` are ``b``."""
    t.same(t.get("ptr", "%x", arrays.TYPE), "%a")
    t.same(t.get("i64", "%x", "%target"), "%b", "i64")
    _next(t)


def _hook(t: Text) -> None:
    """``a`` is called with the object: it gives a tuple of ``b`` items, or None."""
    t.put("ptr", "%x", "%one")
    t.do("%found = call ptr @PyObject_Vectorcall(ptr %a, ptr %one, i64 1, ptr null)")
    t.require(t.let("icmp ne ptr %found, null"), "error")
    t.do("call void @hold(ptr %held, ptr %found)")
    t.same(t.get("ptr", "%found", arrays.TYPE), "@functrans_tuple")
    t.same(t.get("i64", "%found", arrays.SIZE), "%b", "i64")
    t.do("br label %hook")
    t.block("hook")
    _items(t, "child", t.at("%found", arrays.ITEMS), "hook", owned=False)
    _next(t)


def _loaded(t: Text, stem: str, item: str, otherwise: str = "miss") -> None:
    t.require(t.let(f"icmp ne ptr {item}, null"), otherwise)
    t.put("ptr", item, "%to")
    _own(t, stem, item)
    _next(t)


def _cell(t: Text) -> None:
    """What a closure cell ``a`` holds."""
    _loaded(t, "cell", t.get("ptr", "%a", arrays.VALUE))


def _item(t: Text) -> None:
    """The item of a dict under the key ``b``; the dict is ``a``, or else stands in the frame."""
    given = t.let("icmp ne ptr %a, null")
    names = t.let(f"select i1 {given}, ptr %a, ptr %x")
    key = t.let("inttoptr i64 %b to ptr")
    _loaded(t, "named_item", t.let(f"call ptr @PyDict_GetItemWithError(ptr {names}, ptr {key})"), "error_or_miss")


def _defaults(t: Text) -> None:
    """The tuple of default arguments of the function ``a``."""
    _loaded(t, "default", t.let("call ptr @PyFunction_GetDefaults(ptr %a)"))


def _kwdefaults(t: Text) -> None:
    """The dict of those of parameters that are given by name."""
    _loaded(t, "kwdefault", t.let("call ptr @PyFunction_GetKwDefaults(ptr %a)"))


def _namespace(t: Text) -> None:
    """The attribute ``__dict__`` of the object ``a``."""
    found = t.let("call ptr @PyObject_GetAttr(ptr %a, ptr @functrans_dict_name)")
    t.require(t.let(f"icmp ne ptr {found}, null"), "error")
    t.do(f"call void @hold(ptr %held, ptr {found})")
    t.same(t.get("ptr", found, arrays.TYPE), "@functrans_dict")
    t.put("ptr", found, "%to")
    _next(t)


def _const(t: Text) -> None:
    t.put("ptr", "%a", "%to")
    _next(t)


_STEPS = {
    "ARRAY": _array, "SCALAR": _scalar, "INT": _int, "TUPLE": _tuple, "LIST": _list, "DICT": _dict, "IS": _is,
    "EQUAL": _equal, "BITS": _bits, "HOOK": _hook, "CELL": _cell, "ITEM": _item, "DEFAULTS": _defaults,
    "NAMESPACE": _namespace, "CONST": _const, "KWDEFAULTS": _kwdefaults,
}  # fmt: skip
