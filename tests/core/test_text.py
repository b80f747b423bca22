"""The text form: what is printed, letter for letter, and what is read back."""

from __future__ import annotations

import enum
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans.lax
from functrans import errors
from functrans.core import records
from functrans.core.avals import ShapedArray, shaped
from functrans.core.check import check
from functrans.core.jaxpr import Eqn, Jaxpr, Literal, SizeVar, Var, subjaxprs
from functrans.core.parser import from_text, value_from_text
from functrans.core.primitive import Primitive, registry
from functrans.core.printer import to_text, value_text, variable_names
from functrans.core.stage import stage
from functrans.core.structural import add, add_p, broadcast_p, reduce_sum, sum_p
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg, neg_p, sub
from tests.core.programs import DTYPES, EXTRA, eqn, f64, numbers, programs, registered


@pytest.fixture(autouse=True, scope="module")
def extra_primitives() -> Iterator[None]:
    with registered():
        yield


def fixed_point(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr read back from its text, which must be printed as the text again."""
    text = str(jaxpr)
    again = from_text(text, jaxpr.consts)
    assert str(again) == text
    return again


# -- programs ------------------------------------------------------------------------------------------------


def test_a_program_is_printed_line_by_line() -> None:
    table = np.ones(3)

    def f(x: Any, s: Any) -> list[Any]:
        y = mul(x, 2.0)
        z = reduce_sum(y, (0,))
        return [add(table, 1.0), z, add(z, s), 3.0, np.float32(0.1)]

    jaxpr = stage(f, [f64(3, 4), f64(box="numpy")])
    assert str(jaxpr) == (
        "{ lambda c:f64[3] ; a:f64[3,4] b:f64[] . let\n"
        "    d:f64[3,4] = mul a 2.0\n"
        "    e:f64[4] = sum[axes=(0,)] d\n"
        "    f:f64[3] = add c 1.0\n"
        "    g:f64[4] = add e b\n"
        "  in (f, e, g, 3.0, 0.1:f32[]) }"
    )
    assert repr(jaxpr) == str(jaxpr) == to_text(jaxpr)
    fixed_point(jaxpr)


def test_a_program_without_equations() -> None:
    assert str(Jaxpr((), (), ())) == "{ lambda ; . let\n  in () }"
    x = Var(f64(2))
    assert str(Jaxpr((x,), (), (x, x))) == "{ lambda ; a:f64[2] . let\n  in (a, a) }"
    fixed_point(Jaxpr((x,), (), (x, x)))


def test_lines_of_the_users_program_stand_behind_equations() -> None:
    def f(x: Any) -> list[Any]:
        y = neg(x)
        return [add(y, x)]

    first = f.__code__.co_firstlineno
    jaxpr = stage(f, [f64(2)])
    assert to_text(jaxpr, source=True) == (
        "{ lambda ; a:f64[2] . let\n"
        f"    b:f64[2] = neg a  # test_text.py:{first + 1} (f)\n"
        f"    c:f64[2] = add b a  # test_text.py:{first + 2} (f)\n"
        "  in (c,) }"
    )
    assert str(from_text(to_text(jaxpr, source=True))) == str(jaxpr)


def called() -> tuple[Jaxpr, Jaxpr]:
    """A jaxpr of one equation and one of two."""
    x, y, z = Var(f64(4)), Var(f64(4)), Var(f64(4))
    one = Jaxpr((x,), (Eqn(neg_p, (x,), (y,), {}),), (y,))
    two = Jaxpr((x, z), (first := eqn(add_p, x, z), eqn(neg_p, first.outs[0])), first.outs)
    return one, two


def test_a_short_nested_jaxpr_stands_on_one_line_and_a_longer_one_is_indented() -> None:
    one, two = called()
    x = Var(f64(4))
    first = eqn(EXTRA.call, x, name="g", jaxpr=one)
    second = eqn(EXTRA.call, x, *first.outs, name="<lambda>", jaxpr=two)
    third = eqn(EXTRA.call, *second.outs, name="h", jaxpr=Jaxpr((x,), (first,), first.outs))
    fourth = eqn(EXTRA.call, *third.outs, name="outer", jaxpr=Jaxpr(second.inputs, (second,), second.outs[:0]))
    fourth = fourth._replace(inputs=(*third.outs, *third.outs))
    jaxpr = Jaxpr((x,), (first, second, third, fourth), third.outs)
    assert str(jaxpr) == (
        "{ lambda ; a:f64[4] . let\n"
        "    b:f64[4] = test_call[name=g jaxpr={ lambda ; a:f64[4] . let b:f64[4] = neg a in (b,) }] a\n"
        "    c:f64[4] = test_call[name='<lambda>' jaxpr={ lambda ; a:f64[4] b:f64[4] . let\n"
        "        c:f64[4] = add a b\n"
        "        d:f64[4] = neg c\n"
        "      in (c,) }] a b\n"
        "    d:f64[4] = test_call[name=h jaxpr={ lambda ; a:f64[4] . let\n"
        "        b:f64[4] = test_call[name=g jaxpr={ lambda ; a:f64[4] . let b:f64[4] = neg a in (b,) }] a\n"
        "      in (b,) }] c\n"
        "    () = test_call[name=outer jaxpr={ lambda ; a:f64[4] b:f64[4] . let\n"
        "        c:f64[4] = test_call[name='<lambda>' jaxpr={ lambda ; a:f64[4] b:f64[4] . let\n"
        "            c:f64[4] = add a b\n"
        "            d:f64[4] = neg c\n"
        "          in (c,) }] a b\n"
        "      in () }] d d\n"
        "  in (d,) }"
    )
    check(fixed_point(jaxpr))


def test_a_tuple_of_jaxprs() -> None:
    one, _ = called()
    identity = Jaxpr(one.invars, (), one.invars)
    x = Var(f64(4))
    chosen = eqn(EXTRA.choose, 1, x, branches=(one, identity))
    jaxpr = Jaxpr((x,), (chosen,), chosen.outs)
    assert str(jaxpr) == (
        "{ lambda ; a:f64[4] . let\n"
        "    b:f64[4] = test_choose[branches=({ lambda ; a:f64[4] . let b:f64[4] = neg a in (b,) }, "
        "{ lambda ; a:f64[4] . let in (a,) })] 1 a\n"
        "  in (b,) }"
    )
    check(fixed_point(jaxpr))


def test_the_source_lines_of_nested_equations_break_their_line() -> None:
    inner = stage(lambda x: [neg(x)], [f64(4)])
    line = inner.eqns[0].source
    x = Var(f64(4))
    call = eqn(EXTRA.call, x, jaxpr=inner, name="g")
    text = to_text(Jaxpr((x,), (call,), call.outs), source=True)
    assert text == (
        "{ lambda ; a:f64[4] . let\n"
        "    b:f64[4] = test_call[jaxpr={ lambda ; a:f64[4] . let\n"
        f"        b:f64[4] = neg a  # {line}\n"
        "      in (b,) } name=g] a\n"
        "  in (b,) }"
    )
    assert str(from_text(text)) == to_text(Jaxpr((x,), (call,), call.outs))


def test_effects_stand_in_the_header() -> None:
    x = Var(f64(2))
    say = eqn(EXTRA.tell, x, words="hello world")
    jaxpr = Jaxpr((x,), (say, say), (x,))
    assert str(jaxpr) == (
        "{ lambda[effects={speech}] ; a:f64[2] . let\n"
        "    () = test_tell[words='hello world'] a\n"
        "    () = test_tell[words='hello world'] a\n"
        "  in (a,) }"
    )
    again = fixed_point(jaxpr)
    assert again.effects == again.eqns[0].effects == {"speech"}
    outer = eqn(EXTRA.call, x, jaxpr=jaxpr, name="f")
    assert str(fixed_point(Jaxpr((x,), (outer,), ()))).startswith("{ lambda[effects={speech}] ; a:f64[2] . let\n")


def test_extents_may_be_size_variables() -> None:
    n = SizeVar()
    x = Var(shaped((n, 3), np.dtype(np.float32)))
    wide = eqn(broadcast_p, x, shape=(2, n, 3), dims=(1, 2))
    total = eqn(sum_p, x, axes=(1,))
    found = eqn(EXTRA.find, x, keep=True)
    m = SizeVar()
    found = found._replace(outs=(m, Var(shaped((m, 3), np.dtype(np.float32)))))
    twice = eqn(add_p, n, m)
    jaxpr = Jaxpr((n, x), (wide, total, found, twice), (n, *found.outs, *twice.outs, *wide.outs))
    check(jaxpr)
    assert str(jaxpr) == (
        "{ lambda ; a:size b:f32[a,3] . let\n"
        "    c:f32[2,a,3] = broadcast[shape=(2, a, 3) dims=(1, 2)] b\n"
        "    d:f32[a] = sum[axes=(1,)] b\n"
        "    e:size f:f32[e,3] = test_find[keep=True] b\n"
        "    g:i64[] = add a e\n"
        "  in (a, e, f, g, c) }"
    )
    again = fixed_point(jaxpr)
    check(again)
    size, array = again.invars
    assert isinstance(size, SizeVar)
    assert array.aval.shape == (size, 3)
    assert again.eqns[0].params["shape"] == (2, size, 3)


def test_a_string_that_could_be_a_size_variable_is_quoted() -> None:
    x = Var(f64(2))
    say = eqn(EXTRA.tell, x, words="a")
    assert "test_tell[words=a] a" in str(Jaxpr((x,), (say,), ()))
    assert "test_tell[words='a'] b" in str(Jaxpr((SizeVar(), x), (say,), ()))
    again = fixed_point(Jaxpr((SizeVar(), x), (say,), ()))
    assert again.eqns[0].params == {"words": "a"}


def test_names_go_on_behind_z_and_avoid_words_of_the_language() -> None:
    variables = [Var(f64()) for _ in range(50_000)]
    names = list(variable_names(Jaxpr(variables, (), ())).values())
    assert names[:28] == [*"abcdefghijklmnopqrstuvwxyz", "aa", "ab"]
    assert len(set(names)) == 50_000
    assert {"im", "io", "les", "leu", "boom"} <= set(names)
    assert {"in", "let", "inf", "nan", "bool"}.isdisjoint(names)
    fixed_point(Jaxpr(variables[:1000], (), variables[:1000]))


def test_what_is_malformed_is_printed_all_the_same() -> None:
    x, nowhere, n = Var(f64(2)), Var(f64(2)), SizeVar()
    wrong = Literal(2.5, shaped((), np.dtype(np.int64), "python"))
    bad = Eqn(add_p, (nowhere, wrong), (x, Var(shaped((n,), np.dtype(np.float64)))), {"a": (n, [1])})
    text = str(Jaxpr((x,), (bad,), (nowhere,)))
    assert text == ("{ lambda ; a:f64[2] . let\n    a:f64[2] b:f64[?] = add[a=(?, <list>)] ? <2.5:i64[]*>\n  in (?,) }")


# -- numbers and parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (3, "3"),
        (-3, "-3"),
        (2**70, "1180591620717411303424"),
        (2.0, "2.0"),
        (-0.0, "-0.0"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (1 - 2j, "(1.0-2.0j)"),
        (complex(-0.0, -0.0), "(-0.0-0.0j)"),
        (complex("nan-infj"), "(nan-infj)"),
        (np.bool(False), "False:bool[]"),
        (np.uint8(255), "255:u8[]"),
        (np.int64(-5), "-5:i64[]"),
        (np.float16(65504), "65500.0:f16[]"),
        (np.float32(0.1), "0.1:f32[]"),
        (np.float64(2), "2.0:f64[]"),
        (np.float64("-inf"), "-inf:f64[]"),
        (np.float32("nan"), "nan:f32[]"),
        (np.complex64(0.1 + 1j), "(0.1+1.0j):c64[]"),
        (np.complex128(complex(-0.0, np.inf)), "(-0.0+infj):c128[]"),
        (np.array(2.5), "2.5:f64[]~"),
        (np.array(True), "True:bool[]~"),
    ],
    ids=str,
)
def test_numbers(value: Any, text: str) -> None:
    jaxpr = Jaxpr((), (), (Literal(value),))
    assert str(jaxpr) == f"{{ lambda ; . let\n  in ({text},) }}"
    (literal,) = fixed_point(jaxpr).outvars
    assert isinstance(literal, Literal)
    assert literal.aval == aval_of(value)
    assert type(literal.value) is type(value)
    assert repr(literal.value) == repr(value)


def test_subclasses_of_python_numbers_are_written_as_the_number() -> None:
    class Axis(enum.IntEnum):
        ROWS = 1

    assert str(Jaxpr((), (), (Literal(Axis.ROWS),))) == "{ lambda ; . let\n  in (1,) }"


def test_extended_floats() -> None:
    import ml_dtypes

    value = ml_dtypes.bfloat16(0.1)
    (literal,) = fixed_point(Jaxpr((), (), (Literal(value),))).outvars
    assert isinstance(literal, Literal)
    assert str(literal.aval) == "bf16[]"
    assert literal.value == value
    assert value_from_text("(bf16, f8_e4m3fn[3])") == (
        np.dtype(ml_dtypes.bfloat16),
        shaped((3,), np.dtype(ml_dtypes.float8_e4m3fn)),
    )


@given(numbers())
def test_any_number_comes_back_to_the_bit(value: Any) -> None:
    (literal,) = fixed_point(Jaxpr((), (), (Literal(value),))).outvars
    assert isinstance(literal, Literal)
    assert literal.aval == aval_of(value)
    assert type(literal.value) is type(value)
    with np.printoptions(floatmode="unique"):
        assert repr(literal.value) == repr(value)


@records.readable
class Mode(enum.Enum):
    CLIP = 1
    FILL = 2


@records.readable
class Window(NamedTuple):
    size: int
    strides: tuple[int, ...] = ()


@records.readable
@dataclass(frozen=True)
class Numbers:
    contracting: tuple[int, ...]
    mode: Mode


PARAMETERS: list[tuple[Any, str]] = [
    (None, "None"),
    (Ellipsis, "..."),
    (False, "False"),
    (-7, "-7"),
    (0.5, "0.5"),
    (1j, "(0.0+1.0j)"),
    (np.float32(2), "2.0:f32[]"),
    (np.int64(2), "2:i64[]"),
    ("same", "same"),
    ("valid padding", "'valid padding'"),
    ("", "''"),
    ("it's", '"it\'s"'),
    ("a\nb\\", "'a\\nb\\\\'"),
    ("# no comment", "'# no comment'"),
    ("f32", "'f32'"),
    ("bool", "'bool'"),
    ("in", "'in'"),
    ("None", "'None'"),
    ("nan", "'nan'"),
    ("ü", "'ü'"),
    ("3", "'3'"),
    (b"bytes", "b'bytes'"),
    ((), "()"),
    ((0,), "(0,)"),
    ((0, (1, "x"), None), "(0, (1, x), None)"),
    (np.dtype(np.float32), "f32"),
    (np.dtype(bool), "bool"),
    ((np.dtype(np.int8), np.dtype(np.complex128)), "(i8, c128)"),
    (shaped((2, 3), np.dtype(np.float16)), "f16[2,3]"),
    (shaped((), np.dtype(np.int64), "python"), "i64[]*"),
    ((shaped((), np.dtype(np.int64), "array"), shaped((0,), np.dtype(bool))), "(i64[]~, bool[0])"),
    (slice(0, 10, 2), "slice(0, 10, 2)"),
    ((slice(None), slice(1, None, -1)), "(slice(None, None, None), slice(1, None, -1))"),
    (range(3), "range(0, 3, 1)"),
    (frozenset(), "{}"),
    (frozenset({"state", "io"}), "{io, state}"),
    (Mode.FILL, "Mode.FILL"),
    (Window(3), "Window(size=3, strides=())"),
    (Numbers((0, 1), Mode.CLIP), "Numbers(contracting=(0, 1), mode=Mode.CLIP)"),
    ((Window(2, (1,)), "Window"), "(Window(size=2, strides=(1,)), Window)"),
]


@pytest.mark.parametrize(("value", "text"), PARAMETERS, ids=[text for _, text in PARAMETERS])
def test_parameters(value: Any, text: str) -> None:
    assert value_text(value) == text
    again = value_from_text(text)
    assert type(again) is type(value)
    assert again == value


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_as_parameters(dtype: np.dtype[Any]) -> None:
    assert value_from_text(value_text(dtype)) == dtype
    aval = shaped((2,), dtype)
    assert value_from_text(value_text(aval)) == aval


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text()), lambda s: st.lists(s).map(tuple)))
def test_any_tree_of_simple_parameters_comes_back(value: Any) -> None:
    assert value_from_text(value_text(value)) == value


class Unregistered(NamedTuple):
    size: int


@pytest.mark.parametrize(
    ("value", "text", "problem"),
    [
        (lambda x: x, "<function lambda>", "stands for an object that text cannot hold"),
        (np.sin, "<function sin>", "stands for an object that text cannot hold"),
        (partial(int), "<partial>", "stands for an object that text cannot hold"),
        (int, "<class int>", "stands for an object that text cannot hold"),
        (object(), "<object>", "stands for an object that text cannot hold"),
        ([1, 2], "<list>", "stands for an object that text cannot hold"),
        (np.ones(2), "<ndarray>", "stands for an object that text cannot hold"),
        (neg_p, "<Primitive neg>", "stands for an object that text cannot hold"),
        (np.dtype(">f8"), "<Float64DType float64>", "stands for an object that text cannot hold"),
        (np.datetime64("2020"), "<datetime64>", "stands for an object that text cannot hold"),
        (Unregistered(3), "Unregistered(size=3)", "no record type 'Unregistered' is registered for reading"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_parameters_that_cannot_be_read_back(value: Any, text: str, problem: str) -> None:
    assert value_text((value,)) == f"({text},)"
    with pytest.raises(errors.JaxprError, match=problem):
        value_from_text(text)


def test_singletons_have_names() -> None:
    engine = object()
    records.name_singleton("test_engine", engine)
    try:
        assert value_text((engine,)) == "(@test_engine,)"
        assert value_from_text("@test_engine") is engine
        records.name_singleton("test_engine", engine)
        with pytest.raises(errors.ArgumentError, match="@test_engine stands for another object already"):
            records.name_singleton("test_engine", object())
    finally:
        del records._singletons["test_engine"], records._singleton_names[id(engine)]
    with pytest.raises(errors.JaxprError, match="no object is named @test_engine"):
        value_from_text("@test_engine")
    with pytest.raises(errors.ArgumentError, match="'a b' is no identifier"):
        records.name_singleton("a b", engine)


def test_records_are_registered_once_by_name() -> None:
    assert records.readable(Window) is Window
    other = enum.Enum("Window", ["CLIP"], module="elsewhere")
    with pytest.raises(errors.ArgumentError, match=r"the name 'Window' belongs to .*test_text\.Window"):
        records.readable(other)
    with pytest.raises(errors.ArgumentError, match="readable: int is no enum, namedtuple or frozen dataclass"):
        records.readable(int)


def test_constants_are_given_beside_the_text() -> None:
    text = "{ lambda c:f64[2] d:i8[]~ ; . let\n  in (c, d) }"
    arrays = [np.array([1.0, 2.0]), np.array(3, np.int8)]
    assert from_text(text, arrays).consts[0] is arrays[0]
    assert from_text(text, lambda aval: np.zeros(aval.shape, aval.dtype)).consts[0].tolist() == [0.0, 0.0]
    with pytest.raises(errors.JaxprError, match=r"constant 1 has type i8\[\]~, and a value of type f64\[2\] was given"):
        from_text(text, [arrays[0], arrays[0]])


# -- round trips ---------------------------------------------------------------------------------------------


def same_structure(a: Jaxpr, b: Jaxpr) -> None:
    """Types, parameters and effects agree, which the text alone might hide."""
    assert len(a.invars) == len(b.invars)
    assert [type(v) for v in a.invars] == [type(v) for v in b.invars]
    assert a.effects == b.effects
    for x, y in zip(a.eqns, b.eqns, strict=True):
        assert (x.prim, list(x.params), x.effects) == (y.prim, list(y.params), y.effects)
        for v, w in zip((*x.inputs, *x.outs), (*y.inputs, *y.outs), strict=True):
            assert type(v) is type(w)
            assert (v.aval.dtype, v.aval.box, v.aval.ndim) == (w.aval.dtype, w.aval.box, w.aval.ndim)


@given(programs(call=EXTRA.call, with_sizes=True))
def test_random_programs_come_back(jaxpr: Jaxpr) -> None:
    check(jaxpr)
    again = fixed_point(jaxpr)
    check(again)
    same_structure(jaxpr, again)


def all_primitives() -> list[Primitive]:
    for module in pkgutil.walk_packages(functrans.lax.__path__, "functrans.lax."):
        importlib.import_module(module.name)
    ours = [prim for _, prim in sorted(registry.items()) if prim.impl.__module__.startswith("functrans.")]
    return [prim for prim in ours if prim.samples is not None]


@pytest.mark.parametrize("prim", all_primitives(), ids=str)
def test_every_sample_of_a_primitive_comes_back(prim: Primitive) -> None:
    assert prim.samples is not None
    for sample in prim.samples():
        avals: list[ShapedArray] = [aval_of(a) for a in sample.args]
        jaxpr = stage(
            lambda *args, params=sample.params: (
                prim.bind(*args, **params) if prim.multiple else [prim.bind(*args, **params)]
            ),
            avals,
        )
        check(jaxpr)
        again = fixed_point(jaxpr)
        check(again)
        same_structure(jaxpr, again)
        assert [e.params for e in again.eqns] == [e.params for e in jaxpr.eqns] or any(
            True for e in jaxpr.eqns for _ in subjaxprs(e)
        )


def test_operands_keep_their_order() -> None:
    jaxpr = fixed_point(stage(lambda x, y: [sub(y, x)], [f64(2), f64(2)]))
    assert jaxpr.eqns[0].inputs == jaxpr.invars[::-1]
