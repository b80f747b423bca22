"""The native function that calls of jitted functions enter: checks, results, and the program between, by tables.

One function serves every program. A table of a few words for each argument says what it has to be, another how the
results are made and put together; ``dispatch`` writes them. The alternative, a function generated for each signature,
spares some nanoseconds a call and costs milliseconds of code generation a signature.

A jitted function holds a *chain*: the tables of the signatures that it was called with last. The first that fits is
run; where none does, the Python function is called, which knows everything.
"""

from __future__ import annotations

from functrans.backends.llvm import arrays
from functrans.backends.llvm.caller_checks import steps
from functrans.backends.llvm.caller_results import boxes, call, together
from functrans.backends.llvm.caller_tables import CHAIN, ENTRY, NO_LOCK, ON_STACK, OWNS, Text, pointer
from functrans.util import vectorcall

FUNCTIONS = (
    "PySet_Size", "PyContextVar_Get", "PyDict_GetItemWithError", "PyDict_Size", "PyDict_New", "PyDict_SetItem",
    "PyTuple_New", "PyList_New", "PyObject_Vectorcall", "PyObject_RichCompareBool", "PyObject_GetAttr",
    "PyLong_AsLongLongAndOverflow", "PyErr_Clear", "PyErr_ExceptionMatches", "PyErr_Occurred", "PyEval_SaveThread",
    "PyErr_Fetch", "PyErr_NormalizeException", "PyErr_SetObject", "PyException_SetTraceback",
    "PyEval_RestoreThread", "PyFloat_FromDouble", "PyLong_FromLongLong", "PyComplex_FromDoubles", "Py_IncRef",
    "Py_DecRef", "PyMethod_New", "PyFunction_GetDefaults", "PyFunction_GetKwDefaults", "PyArray_NewFromDescr",
    "PyArray_Scalar", "PyArray_FromArray", "PyArray_Type", "PyMem_RawMalloc", "PyErr_NoMemory", "_Py_NoneStruct",
    "_Py_TrueStruct", "_Py_FalseStruct",
)  # fmt: skip
"""What the text calls of the C API."""

_DECLARED = """
declare i64 @PySet_Size(ptr)
declare i32 @PyContextVar_Get(ptr, ptr, ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare i64 @PyDict_Size(ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare void @PyErr_Clear()
declare i32 @PyErr_ExceptionMatches(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_Fetch(ptr, ptr, ptr)
declare void @PyErr_NormalizeException(ptr, ptr, ptr)
declare void @PyErr_SetObject(ptr, ptr)
declare i32 @PyException_SetTraceback(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyComplex_FromDoubles(double, double)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyMethod_New(ptr, ptr)
declare ptr @PyFunction_GetDefaults(ptr)
declare ptr @PyFunction_GetKwDefaults(ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare ptr @PyArray_FromArray(ptr, ptr, i32)
declare ptr @PyMem_RawMalloc(i64)
declare ptr @PyErr_NoMemory()
@PyArray_Type = external global i8
@_Py_NoneStruct = external global i8
@_Py_TrueStruct = external global i8
@_Py_FalseStruct = external global i8
@functrans_tuple = external global i8
@functrans_list = external global i8
@functrans_dict = external global i8
@functrans_exception = external global i8
@functrans_dict_name = external global i8
@functrans_modes = external global i8
@functrans_trace = external global i8
@functrans_generation = external global i8
"""


def text() -> str:
    """The module."""
    parts = [
        _DECLARED,
        _names(),
        _hold(),
        _release(),
        _try(),
        _show(),
        _enter(),
        _calls(),
        '!0 = !{!"branch_weights", i32 2000, i32 1}\n',
    ]
    return "\n".join(parts)


def _function(head: str, t: Text) -> str:
    return "\n".join([f"define {head} nounwind {{", "entry:", *t.lines, "}", ""])


def _names() -> str:
    """Whether two tuples hold the same names; either may be null for none."""
    t = Text()
    t.require(t.let("icmp ne ptr %given, null"), "no")
    n = t.get("i64", "%given", arrays.SIZE)
    t.do("br label %length")
    t.block("length")
    empty = t.let("icmp eq ptr %wanted, null")
    t.do(f"br i1 {empty}, label %none, label %both")
    t.block("none")
    nothing = t.let(f"icmp eq i64 {n}, 0")
    t.do(f"ret i1 {nothing}")
    t.block("both")
    t.same(n, t.get("i64", "%wanted", arrays.SIZE), "i64", "no")
    t.do("br label %start")
    t.block("start")
    i, _ = t.loop("each", "start", n)
    at = t.let(f"mul i64 {i}, 8")
    at = t.let(f"add i64 {at}, {arrays.ITEMS}")
    t.same(t.get("ptr", "%given", at), t.get("ptr", "%wanted", at), "ptr", "no")
    t.turn("each")
    t.do("ret i1 true")
    t.block("no")
    t.do("ret i1 false")
    return _function("internal i1 @names(ptr %given, ptr %wanted)", t)


def _hold() -> str:
    """Remember a reference that the end of the call gives back."""
    t = Text()
    n = t.get("i64", "%held")
    more = t.let(f"add i64 {n}, 1")
    t.put("i64", more, "%held")
    at = t.let(f"mul i64 {more}, 8")
    t.put("ptr", "%object", "%held", at)
    t.do("ret void")
    return _function("internal void @hold(ptr %held, ptr %object)", t)


def _release() -> str:
    """Give the references of a call back, and its frame."""
    t = Text()
    n = t.get("i64", "%held")
    t.do("br label %start")
    t.block("start")
    i, _ = t.loop("each", "start", n)
    at = t.let(f"mul i64 {i}, 8")
    at = t.let(f"add i64 {at}, 8")
    t.do(f"call void @Py_DecRef(ptr {t.get('ptr', '%held', at)})")
    t.turn("each")
    small = t.let(f"icmp ule i64 {t.field('frame')}, {ON_STACK}")
    t.do(f"br i1 {small}, label %done, label %keep")
    t.block("keep")
    t.do(f"%giver = {pointer(t.field('give', 'ptr'))}")
    t.do(f"br i1 {t.let('icmp ne ptr %giver, null')}, label %back, label %list_of_frames")
    t.block("back")
    t.do("call void %giver(ptr null, ptr %frame, i64 0)")
    t.do("br label %done")
    t.block("list_of_frames")
    t.put("ptr", t.field("free", "ptr"), "%frame")
    t.put("ptr", "%frame", "%table", 8 * ENTRY.index("free"))
    t.do("br label %done")
    t.block("done")
    t.do("ret void")
    return _function("internal void @release(ptr %table, ptr %frame, ptr %held)", t)


def _take_frame(t: Text) -> None:
    """Memory for the call: on the stack, or a frame that an earlier call left."""
    size = t.field("frame")
    small = t.let(f"icmp ule i64 {size}, {ON_STACK}")
    t.do(f"br i1 {small}, label %stack, label %heap")
    t.block("stack")
    t.do(f"%local = alloca i8, i64 {size}, align 64")
    t.do("br label %begin")
    t.block("heap")
    t.do(f"%taker = {pointer(t.field('take', 'ptr'))}")
    t.do(f"br i1 {t.let('icmp ne ptr %taker, null')}, label %pool, label %list_of_frames")
    t.block("pool")
    t.do(f"%pooled = call ptr %taker(ptr null, i64 {size})")
    t.do(f"br i1 {t.let('icmp ne ptr %pooled, null')}, label %begin, label %memory, !prof !0")
    t.block("list_of_frames")
    t.do(f"%kept = load ptr, ptr {t.at('%table', 8 * ENTRY.index('free'))}")
    t.do("%none = icmp eq ptr %kept, null")
    t.do("br i1 %none, label %new, label %again")
    t.block("again")
    t.put("ptr", t.get("ptr", "%kept"), "%table", 8 * ENTRY.index("free"))
    t.do("br label %begin")
    t.block("new")
    t.do(f"%room = add i64 {size}, 128")
    t.do("%raw = call ptr @PyMem_RawMalloc(i64 %room)")
    t.do("%failed = icmp eq ptr %raw, null")
    t.do("br i1 %failed, label %memory, label %aligned")
    t.block("aligned")
    # The address that the system gave stands before the frame, where the table's end finds it.
    address = t.let("ptrtoint ptr %raw to i64")
    up = t.let(f"add i64 {address}, 127")
    down = t.let(f"and i64 {up}, -64")
    offset = t.let(f"sub i64 {down}, {address}")
    t.do(f"%fresh = getelementptr i8, ptr %raw, i64 {offset}")
    t.put("ptr", "%raw", "%fresh", -8)
    t.do("br label %begin")
    t.block("begin")
    t.do("%frame = phi ptr [ %local, %stack ], [ %pooled, %pool ], [ %kept, %again ], [ %fresh, %aligned ]")


def _try() -> str:
    """Run the program of a table if the arguments fit: its result, null where an exception is set, 1 if they do not."""
    t = Text()
    t.do("%one = alloca ptr")
    t.do("%overflow = alloca i32")
    t.same("%nargs", t.field("nargs"), "i64", "unfit")
    wanted = t.field("names", "ptr")
    same = t.let(f"icmp eq ptr %given, {wanted}")
    t.do(f"br i1 {same}, label %named, label %compare")
    t.block("compare")
    equal = t.let(f"call i1 @names(ptr %given, ptr {wanted})")
    t.do(f"br i1 {equal}, label %named, label %unfit")
    t.block("named")
    _take_frame(t)
    t.do(f"%held = getelementptr i8, ptr %frame, i64 {t.field('held')}")
    t.put("i64", "0", "%held")
    t.do(f"%operands = getelementptr i8, ptr %frame, i64 {t.field('operands')}")
    t.do(f"%numbers = getelementptr i8, ptr %frame, i64 {t.field('numbers')}")
    t.do(f"%results = getelementptr i8, ptr %frame, i64 {t.field('results')}")
    flags = t.field("flags")
    t.do(f"%owned = and i64 {flags}, {OWNS}")
    t.do("%owns = icmp ne i64 %owned, 0")
    t.do(f"%free = and i64 {flags}, {NO_LOCK}")
    t.do("%unlocks = icmp ne i64 %free, 0")
    t.do("br label %copy")
    t.block("copy")
    i, _ = t.loop("args", "copy", t.field("total"))
    at = t.let(f"mul i64 {i}, 8")
    t.put("ptr", t.get("ptr", "%args", at), "%frame", at)
    t.turn("args")
    t.do(f"%first = {pointer(t.field('ops', 'ptr'))}")
    t.do("br label %step")
    steps(t)
    call(t)
    boxes(t)
    together(t)
    t.block("done")
    t.do("%out = phi ptr [ %single, %whole ], [ %tree, %built ]")
    calls = t.field("calls")
    t.put("i64", t.let(f"add i64 {calls}, 1"), "%table", 8 * ENTRY.index("calls"))
    t.do("call void @release(ptr %table, ptr %frame, ptr %held)")
    t.do("ret ptr %out")
    # The ends of calls that failed.
    t.block("drop")
    t.do("%count = phi i64 [ %made_i, %lost ], [ %n_out, %failing ], [ %n_out, %unboxed ]")
    t.do("br label %dropping")
    t.block("dropping")
    i, _ = t.loop("drop", "dropping", "%count")
    at = t.let(f"mul i64 {i}, 8")
    t.do(f"call void @Py_DecRef(ptr {t.get('ptr', '%results', at)})")
    t.turn("drop")
    t.do("br label %raise")
    t.block("raise")
    t.do("call void @release(ptr %table, ptr %frame, ptr %held)")
    t.do("ret ptr null")
    t.block("memory")
    t.do(f"ret ptr {t.let('call ptr @PyErr_NoMemory()')}")
    t.block("error")
    found = t.let("call i32 @PyErr_ExceptionMatches(ptr @functrans_exception)")
    t.do(f"br i1 {t.let(f'icmp ne i32 {found}, 0')}, label %clear, label %raise")
    t.block("clear")
    t.do("call void @PyErr_Clear()")
    t.do("br label %miss")
    t.block("miss")
    t.do("call void @release(ptr %table, ptr %frame, ptr %held)")
    t.do("br label %unfit")
    t.block("unfit")
    t.do("ret ptr inttoptr (i64 1 to ptr)")
    return _function("internal ptr @try(ptr %table, ptr %args, i64 %nargs, ptr %given)", t)


# -- entry -----------------------------------------------------------------------------------------------------------


def _enter() -> str:
    """The function that a jitted function is called by."""
    t = Text()
    t.do("%value = alloca ptr")
    t.do(f"%chain = load ptr, ptr {t.at('%self', vectorcall.CHAIN)}")
    t.do("%nargs = and i64 %nargsf, 9223372036854775807")
    words = {name: 8 * i for i, name in enumerate(CHAIN)}
    t.do(f"%slow = load ptr, ptr {t.at('%chain', words['slow'])}")
    t.same(t.let("call i64 @PySet_Size(ptr @functrans_modes)"), "0", "i64", "python")
    found = t.let("call i32 @PyContextVar_Get(ptr @functrans_trace, ptr null, ptr %value)")
    t.same(found, "0", "i32", "unknown")
    trace = t.get("ptr", "%value")
    t.do(f"call void @Py_DecRef(ptr {trace})")
    t.same(trace, "@_Py_NoneStruct", "ptr", "python")
    now = t.get("ptr", t.get("ptr", "@functrans_generation", arrays.LIST_ITEMS))
    t.same(now, t.get("ptr", "%chain", words["generation"]), "ptr", "python")
    t.do(f"%owner = load ptr, ptr {t.at('%chain', words['owner'])}")
    t.do("call void @Py_IncRef(ptr %owner)")
    count = t.get("i64", "%chain", words["count"])
    t.do("br label %tables")
    t.block("tables")
    i, _ = t.loop("table", "tables", count)
    at = t.let(f"mul i64 {i}, 8")
    at = t.let(f"add i64 {at}, {words['first']}")
    table = t.get("ptr", "%chain", at)
    t.do(f"%result = call ptr @try(ptr {table}, ptr %args, i64 %nargs, ptr %names)")
    t.do(f"br i1 {t.let('icmp eq ptr %result, inttoptr (i64 1 to ptr)')}, label %table_turn, label %ran")
    t.block("table_end")
    t.turn("table")
    t.do("call void @Py_DecRef(ptr %owner)")
    t.do("br label %python")
    t.block("ran")
    t.do(f"br i1 {t.let('icmp ne ptr %result, null')}, label %done, label %failed, !prof !0")
    t.block("failed")
    t.do(f"call void @show(ptr {t.get('ptr', '%chain', words['present'])})")
    t.do("br label %done")
    t.block("done")
    t.do("call void @Py_DecRef(ptr %owner)")
    t.do("ret ptr %result")
    t.block("unknown")
    t.do("call void @PyErr_Clear()")
    t.do("br label %python")
    t.block("python")
    room = t.let("icmp slt i64 %nargsf, 0")
    t.do(f"br i1 {room}, label %before, label %method")
    # The caller has left a word before the arguments, which `self` goes to.
    t.block("before")
    place = t.at("%args", -8)
    kept = t.get("ptr", place)
    t.put("ptr", "%self", place)
    more = t.let("add i64 %nargs, 1")
    answer = t.let(f"call ptr @PyObject_Vectorcall(ptr %slow, ptr {place}, i64 {more}, ptr %names)")
    t.put("ptr", kept, place)
    t.do(f"ret ptr {answer}")
    t.block("method")
    bound = t.let("call ptr @PyMethod_New(ptr %slow, ptr %self)")
    t.require(t.let(f"icmp ne ptr {bound}, null"), "nothing")
    answer = t.let(f"call ptr @PyObject_Vectorcall(ptr {bound}, ptr %args, i64 %nargs, ptr %names)")
    t.do(f"call void @Py_DecRef(ptr {bound})")
    t.do(f"ret ptr {answer}")
    t.block("nothing")
    t.do("ret ptr null")
    return _function("ptr @functrans_call(ptr %self, ptr %args, i64 %nargsf, ptr %names)", t)


def _show() -> str:
    """Replace the exception that is set by what a Python function makes of it for the user."""
    t = Text()
    for name in ("type", "error", "trace", "one"):
        t.do(f"%{name} = alloca ptr")
    t.do("call void @PyErr_Fetch(ptr %type, ptr %error, ptr %trace)")
    t.do("call void @PyErr_NormalizeException(ptr %type, ptr %error, ptr %trace)")
    trace, error, kind = t.get("ptr", "%trace"), t.get("ptr", "%error"), t.get("ptr", "%type")
    t.do(f"br i1 {t.let(f'icmp ne ptr {trace}, null')}, label %traced, label %call")
    t.block("traced")
    t.let(f"call i32 @PyException_SetTraceback(ptr {error}, ptr {trace})")
    t.do("br label %call")
    t.block("call")
    t.put("ptr", error, "%one")
    t.do("%shown = call ptr @PyObject_Vectorcall(ptr %present, ptr %one, i64 1, ptr null)")
    t.do(f"br i1 {t.let('icmp ne ptr %shown, null')}, label %set, label %end")
    t.block("set")
    t.do(f"call void @PyErr_SetObject(ptr {t.get('ptr', '%shown', arrays.TYPE)}, ptr %shown)")
    t.do("call void @Py_DecRef(ptr %shown)")
    t.do("br label %end")
    t.block("end")
    for value in (kind, error, trace):
        t.do(f"call void @Py_DecRef(ptr {value})")
    t.do("ret void")
    return _function("internal void @show(ptr %present)", t)


def _calls() -> str:
    """A builtin that does nothing, which dispatch is measured against."""
    t = Text()
    t.do("call void @Py_IncRef(ptr @_Py_NoneStruct)")
    t.do("ret ptr @_Py_NoneStruct")
    return _function("ptr @functrans_nothing(ptr %self, ptr %args, i64 %nargs, ptr %names)", t)
