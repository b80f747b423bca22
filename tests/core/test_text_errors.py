"""What cannot be read as a jaxpr, and what the error says of it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from functrans import errors
from functrans.core.parser import from_text, value_from_text
from functrans.core.records import readable
from tests.core.programs import registered


@pytest.fixture(autouse=True, scope="module")
def extra_primitives() -> Iterator[None]:
    with registered():
        yield


@readable
class Edge(enum.Enum):
    CLIP = 1


@readable
class Panel(NamedTuple):
    size: int


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "'{' should stand here, not the end of the text"),
        ("{ lambda ; a:f64[3] . let\n  in (b,) }", "2:7", "no variable 'b' is bound here"),
        ("{ lambda ; a:f64[3] . let\n  in (a,)", "2:10", "'}' should stand here, not the end of the text"),
        ("{ lambda ; a:f64[3] . let\n  in (a,) } }", "2:13", "the end of the text should stand here, not '}'"),
        ("{ lambda ; a . let in () }", "1:14", "':' and the type of a should stand here, not '.'"),
        ("{ lambda ; a:f64 . let in () }", "1:18", "'[' and the extents should stand here, not '.'"),
        ("{ lambda ; a:float[3] . let in () }", "1:14", "no dtype is named 'float'"),
        ("{ lambda ; a:f64[n] . let in () }", "1:18", "no size variable 'n' is bound here"),
        ("{ lambda ; n:i64[] a:f64[n] . let in () }", "1:26", "no size variable 'n' is bound here"),
        ("{ lambda ; a:f64[-1] . let in () }", "1:18", "an extent should stand here, not '-1'"),
        ("{ lambda ; a:f64[] a:f64[] . let in () }", "1:20", "the variable 'a' is bound a second time"),
        (
            "{ lambda ; a:f64[] . let a:f64[] = neg a in () }",
            "1:26",
            "the variable 'a' is bound a second time",
        ),
        ("{ lambda ; a:f64[] . let b:f64[] = add a b in () }", "1:42", "no variable 'b' is bound here"),
        ("{ lambda ; in:f64[] . let in () }", "1:12", "a variable or '.' should stand here, not 'in'"),
        ("{ lambda ; . let b:f64[] = nagate 1.0 in (b,) }", "1:28", "no primitive is named 'nagate'"),
        ("{ lambda ; . let b:f64[] = 3 in (b,) }", "1:28", "a primitive should stand here, not '3'"),
        ("{ lambda ; . let 3.0 in () }", "1:18", "an equation or 'in' should stand here, not '3.0'"),
        ("{ lambda ; . let b:f64[] = neg ? in () }", "1:32", "? stands for a variable that nothing binds"),
        (
            "{ lambda ; . let b:f64[] = neg[f=<function g>] 1.0 in () }",
            "1:34",
            "<function g> stands for an object that text cannot hold; build the jaxpr in Python",
        ),
        ("{ lambda ; . let b:f64[] = neg[a=1 a=2] 1.0 in () }", "1:36", "the parameter 'a' is given twice"),
        ("{ lambda ; . let b:f64[] = neg[1] 1.0 in () }", "1:32", "a parameter or ']' should stand here, not '1'"),
        ("{ lambda ; . let b:f64[] = neg[a] 1.0 in () }", "1:33", "'=' should stand here, not ']'"),
        ("{ lambda ; . let b:f64[] = neg[a=(1 2)] 1.0 in () }", "1:37", "',' or ')' should stand here, not '2'"),
        ("{ lambda ; . let b:f64[] = neg[a=b'ü'] 1.0 in () }", "1:34", "the string cannot be read: "),
        ("{ lambda ; . let b:f64[] = neg[a='x] 1.0 in () }", "1:34", '"\'" has no meaning here'),
        ("{ lambda ; . let in (2.5:i32[],) }", "1:22", "2.5 is no value of type i32[]"),
        ("{ lambda ; . let in (300:u8[],) }", "1:22", "300 is no value of type u8[]"),
        ("{ lambda ; . let in (1:bool[],) }", "1:22", "1 is no value of type bool[]"),
        ("{ lambda ; . let in (True:f64[],) }", "1:22", "True is no value of type f64[]"),
        ("{ lambda ; . let in ((1.0+2.0j):f64[],) }", "1:22", "(1.0+2.0j) is no value of type f64[]"),
        ("{ lambda ; . let in (1:f64[]*,) }", "1:22", "1 is no value of type f64[]*"),
        ("{ lambda ; . let in (1.0:f64[2],) }", "1:22", "a number in an equation has a dtype and no axes"),
        ("{ lambda ; . let in (1.0:size,) }", "1:22", "a number in an equation has a dtype and no axes"),
        (
            "{ lambda[effects={speech}] ; . let in () }",
            "1:3",
            "the header names these effects: speech; the equations have: none",
        ),
        (
            "{ lambda ; . let () = test_tell[words=hello] in () }",
            "1:3",
            "the header names these effects: none; the equations have: speech",
        ),
        (
            "{ lambda ; . let () = test_tell in () }",
            "1:23",
            "the parameters of 'test_tell' do not fit its rule for effects: ",
        ),
        (
            "{ lambda c:f64[3] ; . let in () }",
            "1:3",
            "arrays for the constants: 1 are needed, 0 were given. A text does not hold their contents: ",
        ),
        (
            "{ lambda ; . let () = test_call[name=f jaxpr={ lambda c:f64[] ; . let in () }] in () }",
            "1:48",
            "a jaxpr in a parameter has no constants: pass them as operands (Jaxpr.hoisted)",
        ),
        (
            "{ lambda ; a:f64[] . let () = test_call[name=f jaxpr={ lambda ; . let in (a,) }] in () }",
            "1:75",
            "no variable 'a' is bound here",
        ),
    ],
)
def test_programs_with_mistakes(text: str, place: str, message: str) -> None:
    line, column = place.split(":")
    with pytest.raises(errors.JaxprError) as info:
        from_text(text)
    assert str(info.value).startswith(f"line {line}, column {column}: {message}")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("Edge.CLAP", 6, "Edge has no member 'CLAP'"),
        ("Panel.CLIP", 7, "Panel has no member 'CLIP'"),
        ("Panel(length=3)", 1, "no Panel can be made of these fields: "),
        ("Panel(3)", 7, "a field should stand here, not '3'"),
        ("slice()", 1, "no slice can be made of these fields: "),
        ("range(0, 3, 0)", 1, "no range can be made of these fields: range() arg 3 must not be zero"),
        ("f33", 1, "no dtype is named 'f33'"),
        ("f64[n]", 5, "no size variable 'n' is bound here"),
        ("lambda", 1, "a value should stand here, not 'lambda'"),
        ("1 2", 3, "the end of the text should stand here, not '2'"),
        ("1.0x", 1, "'1' has no meaning here"),
    ],
)
def test_parameters_with_mistakes(text: str, column: int, message: str) -> None:
    with pytest.raises(errors.JaxprError) as info:
        value_from_text(text)
    assert str(info.value).startswith(f"line 1, column {column}: {message}")


def test_an_error_points_at_its_place() -> None:
    with pytest.raises(errors.JaxprError) as info:
        from_text("{ lambda ; a:f64[3] . let\n    b:f64[3] = add a foo  # line\n  in (b,) }")
    assert str(info.value) == (
        "line 2, column 22: no variable 'foo' is bound here\n"
        "        b:f64[3] = add a foo  # line\n"
        "                         ^"
    )
