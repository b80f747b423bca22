"""Running jaxprs: equation by equation, and as a generated Python function, with the same results."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from functrans.core.evaluate import PythonSource, compiled, evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Literal, Var, dce
from functrans.core.parser import from_text
from functrans.core.primitive import Primitive
from functrans.core.stage import stage
from functrans.core.structural import add, add_p
from functrans.core.trace import aval_of
from functrans.interpreters.jvp import jvp_flat
from functrans.lax.arithmetic import mul, neg, neg_p
from tests.core.programs import EXTRA, contents, eqn, f64, outcome, programs, registered, variant


@pytest.fixture(autouse=True, scope="module")
def extra_primitives() -> Iterator[None]:
    with registered():
        yield


def source_of(text: str) -> PythonSource:
    return PythonSource(from_text(text), np)


# -- the same results -----------------------------------------------------------------------------------------


@given(programs(call=EXTRA.call))
def test_a_random_program_gives_the_same_both_ways(jaxpr: Jaxpr) -> None:
    args = [contents(a) for a in jaxpr.in_avals]
    live = dce(jaxpr)  # nothing is computed, and so nothing refused, that nothing needs
    assert outcome(lambda: compiled(jaxpr, np)(*args)) == outcome(lambda: evaluate(live, args))


@given(programs(call=EXTRA.call))
def test_results_have_the_types_that_the_jaxpr_says(jaxpr: Jaxpr) -> None:
    args = [contents(a) for a in jaxpr.in_avals]
    if not isinstance(outcome(lambda: evaluate(jaxpr, args)), type):
        with np.errstate(all="ignore"):
            assert tuple(map(aval_of, compiled(jaxpr, np)(*args))) == jaxpr.out_avals


def test_evaluation_runs_under_the_current_trace() -> None:
    jaxpr = stage(lambda x: [mul(x, x), neg(x)], [f64(2)])
    x = np.array([1.0, 3.0])
    primals, tangents = jvp_flat(lambda x: evaluate(jaxpr, [x]), [x], [np.ones(2)])
    assert [p.tolist() for p in primals] == [[1.0, 9.0], [-1.0, -3.0]]
    assert [t.tolist() for t in tangents] == [[2.0, 6.0], [-1.0, -1.0]]


def test_an_equation_staged_again_keeps_its_line() -> None:
    inner = stage(lambda x: [neg(x)], [f64(2)])
    outer = stage(lambda x: evaluate(inner, [add(x, 1.0)]), [f64(2)])
    assert outer.eqns[1].source == inner.eqns[0].source
    assert outer.eqns[0].source != inner.eqns[0].source


def test_the_number_of_arguments_is_checked() -> None:
    jaxpr = stage(lambda x: [neg(x)], [f64(2)])
    with pytest.raises(ValueError, match="zip"):
        evaluate(jaxpr, [])
    with pytest.raises(TypeError, match="1 required positional argument"):
        compiled(jaxpr, np)()


def test_a_compiled_jaxpr_is_kept() -> None:
    jaxpr = stage(lambda x: [neg(x)], [f64(2)])
    assert compiled(jaxpr, np) is compiled(jaxpr, np)
    assert compiled(jaxpr, np) is not compiled(stage(lambda x: [neg(x)], [f64(2)]), np)


# -- the text ------------------------------------------------------------------------------------------------------


def test_the_generated_program() -> None:
    source = source_of(
        "{ lambda ; a:f64[3] b:f64[3] . let c:f64[3] = add a b d:f64[3] = mul c a e:f64[3] = mul d 2.0 in (e, d, 1) }"
    )
    assert source.text("program") == (
        "def program(v0, v1):\n"
        "    v1 = add(v0, v1)\n"
        "    v0 = multiply(v1, v0)\n"
        "    v1 = multiply(v0, n2_0)\n"
        "    return (v1, v0, 1)\n"
    )
    assert source.globals == {"add": np.add, "multiply": np.multiply, "n2_0": 2.0}
    assert source.globals["n2_0"].dtype == np.float64 and not source.globals["n2_0"].flags.writeable
    assert source.text("single", source.outputs[0]).endswith("    return v1\n")


def test_an_empty_program() -> None:
    assert source_of("{ lambda ; . let in () }").text("f") == "def f():\n    return ()\n"
    assert source_of("{ lambda ; a:f64[] . let in (a,) }").text("f") == "def f(v0):\n    return (v0,)\n"


def test_several_results_and_none() -> None:
    source = source_of(
        "{ lambda[effects={speech}] ; a:f64[2] . let () = test_tell[words=hi] a "
        "b:f64[2] c:f64[2] = test_call[jaxpr={ lambda ; a:f64[2] . let in (a, a) } name=f] a "
        "d:f64[2] = test_call[jaxpr={ lambda ; a:f64[2] . let in (a,) } name=f] b in (c, d) }"
    )
    assert source.text("f") == (
        "def f(v0):\n    test_tell(v0)\n    v0, v1 = test_call(v0)\n    v0, = test_call_1(v0)\n    return (v1, v0)\n"
    )


def test_names_of_dead_variables_are_used_again() -> None:
    lines = [f"v{i + 1}:f64[] = add v{i} {float(i)}" for i in range(100)]
    text = "{ lambda ; v0:f64[] . let " + " ".join(lines) + " in (v100,) }"
    source = source_of(text)
    assert source.count == 1
    assert source.function("f")(np.float64(1)) == (4951.0,)


def test_the_names_of_unused_inputs_and_results_are_used_again() -> None:
    source = source_of(
        "{ lambda ; a:f64[2] b:f64[2] . let c:f64[2] = neg b d:f64[2] = neg b e:f64[2] = add d b in (e,) }"
    )
    assert source.text("f") == (
        "def f(v0, v1):\n    v0 = negative(v1)\n    v0 = negative(v1)\n    v1 = add(v0, v1)\n    return (v1,)\n"
    )


def test_a_result_that_is_used_again_later_keeps_its_name() -> None:
    jaxpr = from_text(
        "{ lambda ; a:f64[2] . let b:f64[2] = neg a c:f64[2] = add b b d:f64[2] = add c b e:f64[2] = add d c "
        "in (e, b, a, b) }"
    )
    args = [np.array([1.0, 2.0])]
    assert [x.tolist() for x in compiled(jaxpr, np)(*args)] == [[-5.0, -10.0], [-1.0, -2.0], [1.0, 2.0], [-1.0, -2.0]]
    assert args[0].tolist() == [1.0, 2.0]


def test_the_text_is_the_same_every_time() -> None:
    text = "{ lambda ; a:f64[] b:f64[] c:f64[] . let d:f64[] = add a b e:f64[] = add d c f:f64[] = add e d in (f,) }"
    assert len({source_of(text).text("f") for _ in range(20)}) == 1


# -- numbers and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0, "2.0"),
        (-2.0, "(-2.0)"),
        (-0.0, "(-0.0)"),
        (1e-300, "1e-300"),
        (3, "3"),
        (-3, "(-3)"),
        (True, "True"),
        (float("nan"), "scalar"),
        (float("inf"), "scalar"),
        (float("-inf"), "scalar"),
        (1 - 2j, "scalar"),
        (np.float32(0.1), "scalar"),
        (np.float64(-0.0), "scalar"),
    ],
    ids=repr,
)
def test_numbers_in_the_text(number: Any, text: str) -> None:
    jaxpr = Jaxpr((), (), (Literal(number),))
    assert PythonSource(jaxpr, np).text("f") == f"def f():\n    return ({text},)\n"
    (result,) = compiled(jaxpr, np)()
    assert type(result) is type(number)
    assert repr(result) == repr(number)


def test_constants_are_referred_to() -> None:
    table = np.array([1.0, 2.0])
    jaxpr = stage(lambda x: [mul(x, table), table], [f64(2)])
    run = compiled(jaxpr, np)
    assert run(np.ones(2))[1] is table
    table[:] = 7.0
    assert run(np.ones(2))[0].tolist() == [7.0, 7.0]


def named(name: str, value: float) -> Primitive:
    return variant(neg_p, name=name, scalar=None, specialize=None, impl=lambda xp, x: x + value)


@pytest.mark.parametrize("name", ["not", "None", "class", "v0", "v1", "f", "scalar", "const", "2d", "a-b", "ü", ""])
def test_any_name_of_a_primitive_will_do(name: str) -> None:
    x = Var(f64(2))
    first = eqn(named(name, 10.0), x)
    second = eqn(add_p, *first.outs, np.float64(1.0))
    third = eqn(named(name, 100.0), *second.outs)
    table = np.ones(2)
    c = Var(f64(2))
    last = eqn(add_p, *third.outs, c)
    jaxpr = Jaxpr((x,), (first, second, third, last), last.outs, (c,), (table,))
    assert PythonSource(jaxpr, np).function("f")(np.zeros(2))[0].tolist() == [112.0, 112.0]


def test_a_numbered_name_is_not_given_twice() -> None:
    x = Var(f64(2))
    eqns: list[Eqn] = []
    for name, value in [("go", 1.0), ("go_1", 10.0), ("go", 100.0), ("go_1", 1000.0)]:
        eqns.append(eqn(named(name, value), *(eqns[-1].outs if eqns else (x,))))
    jaxpr = Jaxpr((x,), eqns, eqns[-1].outs)
    assert sorted(PythonSource(jaxpr, np).globals) == ["go", "go_1", "go_1_1", "go_2"]
    assert compiled(jaxpr, np)(np.zeros(2))[0].tolist() == [1111.0, 1111.0]


def test_one_object_has_one_name() -> None:
    value = np.float32(0.5)
    jaxpr = stage(lambda x: [mul(add(x, value), value)], [aval_of(np.zeros(2, np.float32))])
    assert PythonSource(jaxpr, np).globals == {"add": np.add, "multiply": np.multiply, "scalar": value}


# -- which function runs ----------------------------------------------------------------------------------------------


def test_a_specialised_function_is_preferred_and_told_the_types() -> None:
    told: list[Any] = []

    def specialize(xp: Any, avals: Any, **params: Any) -> Any:
        told.append((xp, [str(a) for a in avals], params))

        def negated(x: Any) -> Any:
            return -x

        return negated

    prim = variant(neg_p, specialize=specialize, shape=lambda x, *, axis: x)
    jaxpr = Jaxpr((x := Var(f64(2)),), (e := eqn(prim, x, axis=0),), e.outs)
    source = PythonSource(jaxpr, np)
    assert told == [(np, ["f64[2]"], {"axis": 0})]
    assert source.text("f") == "def f(v0):\n    v0 = negated(v0)\n    return (v0,)\n"
    assert source.function("f")(np.ones(2))[0].tolist() == [-1.0, -1.0]


def test_the_array_module_is_that_of_the_caller() -> None:
    calls: list[str] = []

    def negative(x: Any) -> Any:
        calls.append("negative")
        return np.negative(x)

    module = SimpleNamespace(negative=negative)
    jaxpr = stage(lambda x: [neg(x)], [f64(2)])
    assert PythonSource(jaxpr, module).function("f")(np.ones(2))[0].tolist() == [-1.0, -1.0]
    assert calls == ["negative"]
    through_impl = variant(neg_p, scalar=None, specialize=None, impl=lambda xp, x: xp.negative(x))
    jaxpr = Jaxpr((x := Var(f64(2)),), (e := eqn(through_impl, x),), e.outs)
    assert PythonSource(jaxpr, module).function("f")(np.ones(2))[0].tolist() == [-1.0, -1.0]
    assert calls == ["negative", "negative"]
