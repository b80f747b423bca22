"""Bad input: every exception is raised as its docstring says, names what is wrong, and points at the user's line.

The docstrings in ``functrans.errors`` hold two programs each. The one under ``Fails::`` raises exactly that class,
the one under ``Mended::`` runs, and ends with an assertion.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import backends, errors
from functrans.backends import base
from functrans.core import primitive
from functrans.util.source import is_internal
from tests.backends.cupy import standin

ROOT = Path(__file__).resolve().parents[1]
CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.FunctransError)]
NEVER_RAISED = "It is never raised itself"
RAISED = [c for c in CLASSES if NEVER_RAISED not in (c.__doc__ or "")]
by_name = pytest.mark.parametrize("cls", RAISED, ids=lambda c: c.__name__)


def programs(cls: type) -> dict[str, str]:
    """The programs in the docstring of an exception, by heading."""
    _, *parts = re.split(r"^(\w+)::$", inspect.cleandoc(cls.__doc__ or ""), flags=re.MULTILINE)
    return {heading: textwrap.dedent(body).strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def run(program: str) -> None:
    exec(compile(program, "<user program>", "exec"), {"__name__": "user_program", "np": np, "ft": ft})


def failure(program: str) -> errors.FunctransError:
    """The error that a program raises; its traceback begins with the program's own frames."""
    with pytest.raises(errors.FunctransError) as info:
        run(program)
    return info.value


def frames(error: BaseException, program: str) -> list[str]:
    """The traceback below this file: lines of the program, ``internal`` for a frame of the package, else the file."""
    lines = program.splitlines()
    shown = []
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == "<user program>":
            assert frame.lineno is not None
            shown.append(lines[frame.lineno - 1].strip())
        elif frame.filename != __file__:
            shown.append("internal" if is_internal(frame.filename) else frame.filename)
    return shown


@pytest.fixture(autouse=True)
def primitives_of_programs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "registry", primitive.registry.copy())


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for CuPy, whose kernels the NumPy backend runs."""
    monkeypatch.setattr(primitive, "_cupy", None)
    monkeypatch.setattr(base, "_device", [lambda: backends.find("numpy")])
    with standin.installed(monkeypatch):
        yield


# What the message of the failing program has to name: the function, the argument or value, what came and the mend.
NAMES = {
    "TreeStructureError": ["jvp(predict)", "tangents", "'w'", "'weights'"],
    "ShapeError": ["mul", "(3,)", "(4,)", "[:, None]"],
    "DTypeError": ["bitwise_and", "float64", "int"],
    "ArgumentError": ["grad(predict)", "argument 0['kind']", "str", "static"],
    "IndexingError": ["mask", "bool[3]", "positive_part", "where"],
    "GradientInputError": ["grad(loss)", "argument 0['w']", "i64[3]", "astype(float)"],
    "NonScalarOutputError": ["grad(squares)", "(3,)", ".sum()", "functrans.jacobian"],
    "OutputError": ["jit(summary)", "result['unit']", "str", "has_aux"],
    "ConcretizationError": ["jit(<lambda>)", "argument 1", "static", "i64[]"],
    "TracerBoolError": ["`if`", "bool[]", "(leaky)", "functrans.numpy.where"],
    "TracerConversionError": ["float()", "f64[]", "functrans.numpy", "stop_gradient"],
    "TracerArrayError": ["f64[]", "(rotated)", "functrans.numpy"],
    "LeakedTracerError": ["'add'", "f64[3]", "has ended", "checking_leaks"],
    "UnhashableStaticError": ["jit(<lambda>)", "argument 'powers'", "list", "tuple"],
    "StaticArgumentError": ["jit(scaled)", "static_argnames='scale'", "factor"],
    "BatchAxisError": ["vmap(predict)", "argument", "(2,)", "(5, 2)"],
    "MissingRuleError": ["'double'", "'jvp'", "custom_jvp"],
    "NotDifferentiableError": ["digits", "jumps everywhere", "stop_gradient"],
    "MutatedResidualError": ["written to", "copy"],
    "DetachedWriteError": ["numpy.add", "out=", "derivative"],
    "MixedArraysError": ["NumPy", "CuPy", "cupy.asarray"],
    "NonFiniteError": ["NaN", "'mul'", "(entropy)"],
    "CustomRuleError": ["reverse rule of clipped", "tuple", "float64", "(ct,)"],
    "MissingBackendError": ["'abacus'", "numpy"],
    "MissingExtraError": ["bfloat16", "ml_dtypes", "pip install functrans[dtypes]"],
    "JaxprError": ["equation 0", "b:f64[4] = add a 1.0", "f64[3]"],
    "ExportError": ["logged", "calls back into Python", "Leave callbacks out"],
    "AbsentNameError": ["functrans.default_matmul_precision", "dtype", "astype"],
    "KeyReuseError": ["functrans.random.normal", "split", "clone"],
    "PathLimitError": ["halved", "specialize=2", "while_loop"],
    "OrderedEffectError": ["debug.print", "vmap", "ordered"],
    "AxisNameError": ["pmean", "'batch'", "axis_name='batch'"],
    "RandomStateError": ["jit(noisy)", "random state", "argument"],
}


def test_the_programs_are_complete() -> None:
    assert [c.__name__ for c in RAISED] == list(NAMES)
    for cls in CLASSES:
        assert list(programs(cls)) == (["Fails", "Mended"] if cls in RAISED else [])
        assert (cls.__doc__ or "").partition("\n")[0].rstrip(".")


@by_name
def test_the_failing_program_fails(cls: type[errors.FunctransError]) -> None:
    error = failure(programs(cls)["Fails"])
    assert type(error) is cls
    for name in NAMES[cls.__name__]:
        assert name in str(error)


@by_name
def test_the_mended_program_runs(cls: type[errors.FunctransError]) -> None:
    program = programs(cls)["Mended"]
    last = ast.parse(program).body[-1]
    assert isinstance(last.body[-1] if isinstance(last, ast.With) else last, ast.Assert)
    run(program)


def test_the_mended_programs_can_fail() -> None:
    with pytest.raises(AssertionError):
        run(programs(errors.ShapeError)["Mended"].replace("6.0", "5.0"))


def test_no_base_class_is_raised() -> None:
    for cls in set(CLASSES) - set(RAISED):
        for path in (ROOT / "functrans").rglob("*.py"):
            assert not re.search(rf"raise \(?(errors\.)?{cls.__name__}\b", path.read_text(encoding="utf-8")), path


@by_name
def test_the_built_in_exception_is_kept(cls: type[errors.FunctransError]) -> None:
    built_in = [c for c in cls.__mro__ if c.__module__ == "builtins" and c not in (Exception, BaseException, object)]
    assert built_in, "code that catches Python's own exceptions would not catch this one"


# Further bad programs: the error each must raise, and what its message must name.
SUM = "def total(x):\n    return np.sum(x)\n"
BAD: dict[str, tuple[str, type[errors.FunctransError], list[str]]] = {
    "cotangents of another structure": (
        "value, pullback = ft.vjp(lambda x: {'a': x}, np.ones(2))\npullback({'b': np.ones(2)})",
        errors.TreeStructureError,
        ["cotangents", "'a'", "'b'"],
    ),
    "trees of two structures in tree.map": (
        "ft.tree.map(lambda a, b: a + b, {'w': 1.0}, {'v': 1.0})",
        errors.TreeStructureError,
        ["tree number 2", "'w'", "'v'"],
    ),
    "tangents that are no tuple": (
        SUM + "ft.jvp(total, np.ones(2), np.ones(2))",
        errors.ArgumentError,
        ["jvp(total)", "primals", "tuple"],
    ),
    "a tangent of another shape": (
        SUM + "ft.jvp(total, (np.ones(3),), (np.ones(4),))",
        errors.ShapeError,
        ["jvp(total)", "tangents[0]", "(4,)", "(3,)"],
    ),
    "a matrix product that does not fit": (
        "ft.jit(lambda a, b: a @ b)(np.ones((2, 3)), np.ones((2, 3)))",
        errors.ShapeError,
        ["matmul", "(2, 3)"],
    ),
    "a reshape to another size": (
        "ft.vmap(lambda x: x.reshape(2, 2))(np.ones((5, 3)))",
        errors.ShapeError,
        ["reshape", "(3,)", "(2, 2)"],
    ),
    "a Python integer given to grad": (
        "def square(x):\n    return x**2\nft.grad(square)(3)",
        errors.GradientInputError,
        ["grad(square)", "argument 0", "i64[]", "2.0 instead of 2"],
    ),
    "a boolean given to jacfwd": (
        SUM + "ft.jacfwd(total)(np.array([True]))",
        errors.GradientInputError,
        ["jacfwd(total)", "argument 0", "bool[1]"],
    ),
    "a gradient of a pair": (
        "def pair(x):\n    return np.sum(x), 1.0\nft.grad(pair)(np.ones(2))",
        errors.NonScalarOutputError,
        ["grad(pair)", "(*, *)", "has_aux=True"],
    ),
    "a gradient of None": (
        "def forgot(x):\n    np.sum(x)\nft.grad(forgot)(np.ones(2))",
        errors.NonScalarOutputError,
        ["grad(forgot)", "None"],
    ),
    "a gradient of a complex result": (
        SUM + "ft.grad(total)(np.ones(2) * 1j)",
        errors.NonScalarOutputError,
        ["grad(total)", "c128[]", "holomorphic=True"],
    ),
    "a gradient of a comparison": (
        "def above(x):\n    return x > 1.0\nft.grad(above)(2.0)",
        errors.NonScalarOutputError,
        ["grad(above)", "bool[]"],
    ),
    "has_aux without a pair": (
        SUM + "ft.grad(total, has_aux=True)(np.ones(2))",
        errors.OutputError,
        ["grad(total)", "has_aux=True", "pair"],
    ),
    "an object returned from vmap": (
        "def box(x):\n    return [x, object()]\nft.vmap(box)(np.ones(2))",
        errors.OutputError,
        ["vmap(box)", "result[1]", "object"],
    ),
    "argnums out of range": (
        SUM + "ft.grad(total, argnums=1)(np.ones(2))",
        errors.ArgumentError,
        ["grad(total)", "argnums=1", "1 positional argument"],
    ),
    "a value in place of a function": (
        "ft.grad(np.sum(np.ones(2)))",
        errors.ArgumentError,
        ["grad(f)(x), not grad(f(x))", "float64"],
    ),
    "an object given to jit": (
        SUM + "ft.jit(total)({'a': object()})",
        errors.ArgumentError,
        ["jit(total)", "['a']", "object", "static_argnums"],
    ),
    "a large static array": (
        "f = ft.jit(lambda x, table: x * table, static_argnums=1)\nf(np.ones(3), np.zeros(100_000))",
        errors.UnhashableStaticError,
        ["argument 1", "800000 bytes", "ordinary argument"],
    ),
    "static_argnums out of range": (
        SUM + "ft.jit(total, static_argnums=3)",
        errors.StaticArgumentError,
        ["jit(total)", "static_argnums=3", "1 positional argument"],
    ),
    "a tracer leaked into a later transformation": (
        "kept = []\nft.jit(lambda x: kept.append(x))(np.ones(2))\nft.grad(lambda x: np.sum(x * kept[0]))(np.ones(2))",
        errors.LeakedTracerError,
        ["'mul'", "f64[2]", "has ended"],
    ),
    "while on a tracer": (
        "def halve(x):\n    while x > 1.0:\n        x = x / 2.0\n    return x\nft.vmap(halve)(np.ones(3))",
        errors.TracerBoolError,
        ["`while`", "bool[]", "vmap"],
    ),
    "bool() of a tracer": (
        "ft.jit(lambda x: bool(x[0]))(np.ones(2))",
        errors.TracerBoolError,
        ["f64[]", "basic_index"],
    ),
    "float() of a tracer under jit": (
        "ft.jit(lambda x: float(x[0]))(np.ones(2))",
        errors.TracerConversionError,
        ["float()", "f64[]", "x.astype(float)"],
    ),
    "int() of a tracer": (
        "ft.jit(lambda x: int(x[0]))(np.ones(2))",
        errors.TracerConversionError,
        ["int()", "f64[]"],
    ),
    "complex() of a tracer": (
        "ft.jit(lambda x: complex(x[0]))(np.ones(2))",
        errors.TracerConversionError,
        ["complex()", "f64[]"],
    ),
    "item() of a tracer": (
        "ft.jit(lambda x: x[0].item())(np.ones(2))",
        errors.TracerConversionError,
        [".item()", "f64[]"],
    ),
    "an array element as a length": (
        "ft.jit(lambda n: list(range(n[0])))(np.array([3]))",
        errors.TracerConversionError,
        ["an index, a shape or a length", "i64[]"],
    ),
    "too few in_axes": (
        "def both(a, b):\n    return a + b\nft.vmap(both, in_axes=(0,))(np.ones(2), np.ones(2))",
        errors.BatchAxisError,
        ["vmap(both)", "in_axes has 1", "2 positional arguments"],
    ),
    "in_axes of another structure": (
        "ft.vmap(lambda p: p['w'], in_axes=({'v': 0},))({'w': np.ones(2)})",
        errors.BatchAxisError,
        ["in_axes", "'v'", "'w'"],
    ),
    "an axis that is not there": (
        SUM + "ft.vmap(total, in_axes=2)(np.ones((2, 2)))",
        errors.BatchAxisError,
        ["vmap(total)", "argument", "(2, 2)", "axis 2"],
    ),
    "nothing to map": (
        SUM + "ft.vmap(total, in_axes=None)(np.ones(2))",
        errors.BatchAxisError,
        ["vmap(total)", "axis_size="],
    ),
    "a batched result said to be shared": (
        "def twice(x):\n    return 2.0 * x\nft.vmap(twice, out_axes=None)(np.ones(2))",
        errors.BatchAxisError,
        ["vmap(twice)", "out_axes is None"],
    ),
    "a ufunc without a primitive": (
        "reverse = np.frompyfunc(lambda v: v, 1, 1)\nft.jit(lambda x: reverse(x))(np.ones(2))",
        errors.MissingRuleError,
        ["ufunc", "<lambda>"],
    ),
    "a primitive without a batch rule": (
        "from functrans.core.primitive import Primitive\n"
        "p = Primitive('unbatched', shape=lambda x: x, impl=lambda xp, x: x)\n"
        "ft.vmap(lambda x: p.bind(x))(np.ones(2))",
        errors.MissingRuleError,
        ["'unbatched'", "'batch'"],
    ),
    "out= of a ufunc": (
        "def f(x):\n    out = np.zeros(2)\n    np.sin(x, out=out)\n    return np.sum(out)\nft.grad(f)(np.ones(2))",
        errors.DetachedWriteError,
        ["numpy.sin", "out="],
    ),
    "ufunc.at": (
        "def f(x):\n    out = np.zeros(2)\n    np.add.at(out, [0], x)\n    return np.sum(out)\nft.grad(f)(1.0)",
        errors.DetachedWriteError,
        ["numpy.add.at", ".add(values)"],
    ),
    "a write into a traced array": (
        "def f(x):\n    x[0] = 1.0\n    return np.sum(x)\nft.grad(f)(np.ones(2))",
        errors.DetachedWriteError,
        ["f64[2]", "x.at[index].set(value)"],
    ),
    "an assignment of a traced number": (
        "def f(x):\n    out = np.zeros(2)\n    out[0] = x[0]\n    return np.sum(out)\nft.grad(f)(np.ones(2))",
        errors.TracerConversionError,
        ["out[i] = x", "derivative", "numpy_code"],
    ),
    "an assignment of a traced array": (
        "def f(x):\n    out = np.zeros(2)\n    out[:] = x\n    return np.sum(out)\nft.grad(f)(np.ones(2))",
        errors.TracerArrayError,
        ["assignment into a NumPy array", "derivative", "numpy_code"],
    ),
    "a plain table indexed by a traced array": (
        "table = [np.arange(4.0)]\nft.jit(lambda i: table[0][i])(np.array([1, 2]))",
        errors.TracerArrayError,
        ["table[i]", "functrans.numpy.take"],
    ),
    "an infinity": (
        "with ft.debug_infs():\n    ft.jit(lambda x: np.exp(x))(np.array([1000.0]))",
        errors.NonFiniteError,
        ["infinity", "'exp'"],
    ),
    "a NaN of the backward pass": (
        "def norm(x):\n    return np.sqrt(np.sum(x**2))\nwith ft.debug_nans():\n    ft.grad(norm)(np.zeros(2))",
        errors.NonFiniteError,
        ["NaN", "backward", "(norm)", "where(ok"],
    ),
    "a rule that was never given": (
        "@ft.custom_vjp\ndef f(x):\n    return x\nft.grad(f)(1.0)",
        errors.CustomRuleError,
        ["f was declared with a custom rule", "f.defvjp(fwd, bwd)"],
    ),
    "a stage that is not there": (
        "ft.jit(lambda x: x + 1.0).lower(1.0).as_text('assembly')",
        errors.ArgumentError,
        ["'assembly'", "'jaxpr'"],
    ),
    "a setting of the wrong kind": (
        "ft.config.debug_nans = 'yes'",
        errors.ArgumentError,
        ["config.debug_nans", "'yes'"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    program, cls, fragments = BAD[name]
    with np.errstate(all="ignore"):
        error = failure(program)
    assert type(error) is cls
    for fragment in fragments:
        assert fragment in str(error)


# Errors raised inside of the user's function: the last frame is the line that caused them.
CAUSES = {
    errors.ShapeError: "return np.sum(w * np.arange(4.0))",
    errors.DTypeError: "return (x & 1) == 1",
    errors.IndexingError: "return np.sum(x[x > 0.0])",
    errors.TracerBoolError: "if np.sum(x) > 0.0:",
    errors.TracerConversionError: "return 3.0 * math.exp(-t)",
    errors.TracerArrayError: "return np.array([-v[1], v[0]])",
    errors.MissingRuleError: "ft.grad(lambda x: double_p.bind(x))(3.0)",
    errors.NotDifferentiableError: "ft.grad(lambda x: x * digits_p.bind(x))(0.25)",
    errors.MutatedResidualError: "weight[:] = 5.0",
    errors.DetachedWriteError: "row += x",
}
# Errors found where a transformation is called: the last frame of the user's is the call.
CALLS = {
    errors.TreeStructureError: 'ft.jvp(predict, ({"w": np.ones(3)},), ({"weights": np.ones(3)},))',
    errors.ArgumentError: 'ft.grad(predict)({"w": 2.0, "kind": "linear"}, 3.0)',
    errors.GradientInputError: 'ft.grad(loss)({"w": np.array([1, 2, 3])})',
    errors.NonScalarOutputError: "ft.grad(squares)(np.arange(3.0))",
    errors.OutputError: "ft.jit(summary)(np.ones(3))",
    errors.UnhashableStaticError: "polynomial(np.array([2.0]), powers=[1, 2])",
    errors.BatchAxisError: "ft.vmap(predict)(np.ones(2), np.ones((5, 2)))",
    errors.NonFiniteError: "ft.jit(entropy)(np.array([0.0, 1.0]))",
    errors.CustomRuleError: "ft.grad(lambda x: 5.0 * clipped(x))(2.0)",
    errors.RandomStateError: "ft.jit(noisy)(np.zeros(3))",
}


@pytest.mark.parametrize("cls", CAUSES, ids=lambda c: c.__name__)
def test_the_traceback_ends_at_the_users_line(cls: type[errors.FunctransError]) -> None:
    program = programs(cls)["Fails"]
    shown = frames(failure(program), program)
    assert shown[-1] == CAUSES[cls]
    assert shown.count("internal") <= 1
    assert set(shown) - {"internal"} <= {line.strip() for line in program.splitlines()}


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_the_traceback_of_a_bad_call_is_short(cls: type[errors.FunctransError]) -> None:
    program = programs(cls)["Fails"]
    shown = frames(failure(program), program)
    assert [line for line in shown if line != "internal"][-1] == CALLS[cls]
    assert shown.count("internal") <= 1


NESTED = """
def loss(x):
    y = np.exp(x)
    raise KeyError("the user's own")

{call}
"""
CALLS_OF_LOSS = [
    "ft.grad(loss)(1.0)",
    "ft.jit(loss)(1.0)",
    "ft.vmap(loss)(np.ones(2))",
    "ft.jvp(loss, (1.0,), (1.0,))",
    "ft.vjp(loss, 1.0)",
    "ft.linearize(loss, 1.0)",
    "ft.hessian(loss)(np.ones(2))",
    "ft.jit(ft.vmap(ft.grad(loss)))(np.ones(2))",
    "ft.grad(ft.jit(loss))(1.0)",
    "ft.hvp(loss)(1.0, 1.0)",
    "ft.make_jaxpr(loss)(1.0)",
    "ft.eval_shape(loss, 1.0)",
    "ft.jit(loss).lower(1.0)",
    "ft.linear_transpose(loss, 1.0)",
]


@pytest.mark.parametrize("call", CALLS_OF_LOSS)
def test_the_users_own_errors_pass_through(call: str) -> None:
    program = NESTED.format(call=call)
    with pytest.raises(KeyError, match="the user's own") as info:
        run(program)
    shown = frames(info.value, program)
    assert shown[-1] == 'raise KeyError("the user\'s own")'
    assert shown.count("internal") <= 1


@pytest.fixture
def full_tracebacks() -> Iterator[None]:
    ft.config.full_tracebacks = True
    yield
    ft.config.full_tracebacks = False


@pytest.mark.usefixtures("full_tracebacks")
@pytest.mark.parametrize("call", CALLS_OF_LOSS[:3])
def test_internal_frames_are_there_when_asked_for(call: str) -> None:
    program = NESTED.format(call=call)
    with pytest.raises(KeyError) as info:
        run(program)
    assert frames(info.value, program).count("internal") >= 3


def test_numpys_error_does_not_hide_ours() -> None:
    program = "def f(x):\n    out = np.zeros(2)\n    out[0] = x[0]\n    return np.sum(out)\nft.grad(f)(np.ones(2))"
    error: Any = failure(program)
    assert "setting an array element" not in "".join(traceback.format_exception(error))
    assert frames(error, program)[-1] == "out[0] = x[0]"


@by_name
def test_no_other_error_is_shown_beside_it(cls: type[errors.FunctransError]) -> None:
    error: Any = failure(programs(cls)["Fails"])
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


# A mend that is not there is worse than none. -----------------------------------------------------------------------


def texts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The strings of a module, a placeholder in each f-string's gaps."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def exists(name: str) -> bool:
    module, *rest = name.split(".")
    found: Any = importlib.import_module(module)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            module = f"{module}.{part}"
            try:
                found = importlib.import_module(module)
            except ImportError:
                return False
        else:
            module = f"{module}.{part}"
    return True


def test_what_messages_recommend_exists() -> None:
    absent: dict[str, list[str]] = {}
    for path in sorted((ROOT / "functrans").rglob("*.py")):
        for text, line in texts(ast.parse(path.read_text(encoding="utf-8"))):
            # A name that goes on with a placeholder is not known here.
            for match in re.finditer(r"\bfunctrans(?:\.[A-Za-z_]\w*)+(?!\w|\.?\0)", text):
                if not exists(match[0]):
                    absent.setdefault(match[0], []).append(f"{path.relative_to(ROOT)}:{line}")
    assert absent == {}
