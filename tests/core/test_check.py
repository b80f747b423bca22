"""The verifier: each rule of a well-formed jaxpr, broken once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.check import check
from functrans.core.jaxpr import Eqn, Jaxpr, Literal, SizeVar, Var
from functrans.core.parser import from_text
from functrans.core.stage import JaxprTrace, stage
from functrans.core.structural import add, add_p, broadcast_p, sum_p
from functrans.core.trace import running
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.transpose import transpose_jaxpr
from functrans.lax.arithmetic import mul, neg, neg_p
from tests.core.programs import EXTRA, eqn, f64, programs, registered, variant


@pytest.fixture(autouse=True, scope="module")
def extra_primitives() -> Iterator[None]:
    with registered():
        yield


def rejects(jaxpr: Jaxpr, message: str) -> None:
    with pytest.raises(errors.JaxprError) as info:
        check(jaxpr)
    assert str(info.value) == message


# -- what is accepted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{ lambda ; . let in () }",
        "{ lambda ; a:f64[3] . let in (a, a, 1.0, 2:i8[]) }",
        "{ lambda ; a:f64[3] . let b:f64[3] = add a 1.0 in (b,) }",
        "{ lambda ; a:f64[3] b:size c:f64[b] . let d:f64[b] = neg c e:f64[] = sum[axes=(0,)] d in (d, e) }",
        "{ lambda ; c:f64[b] b:size . let in (c,) }",
        "{ lambda ; a:f64[5] . let n:size x:f64[n] = test_find[keep=True] a y:f64[n] = add x x in (n, y) }",
        "{ lambda ; a:size x:f64[a] . let y:f64[a] = test_call[jaxpr={ lambda ; n:size x:f64[n] . let y:f64[n] = neg x "
        "in (y,) } name=f] a x in (y,) }",
    ],
)
def test_well_formed(text: str) -> None:
    check(from_text(text))


def test_what_transformations_make_is_well_formed() -> None:
    table = np.array([2.0, 3.0])
    jaxpr, _ = stage(lambda x: [mul(neg(x), table), add(x, 1.0)], [f64(2)]).hoisted()
    check(jaxpr)
    tangent, _ = jvp_jaxpr(jaxpr, [False, True])
    check(tangent)
    linear = stage(lambda t, u: [mul(t, u)], [f64(2), f64(2)])
    transposed, _ = transpose_jaxpr(linear, [False, True], [True])
    check(transposed)


def test_a_constant_may_be_a_tracer_of_an_enclosing_trace() -> None:
    outer = JaxprTrace(None)
    x = outer.input(f64(2))
    with running(outer):
        inner = stage(lambda y: [mul(x, y)], [f64(2)])
    assert inner.consts == (x,)
    check(inner)


# -- binding -------------------------------------------------------------------------------------------------


def test_a_variable_bound_by_two_inputs() -> None:
    x = Var(f64(2))
    rejects(Jaxpr((x, x), (), ()), "the variable 'a' is bound a second time")
    rejects(Jaxpr((x,), (), (), (x,), (np.ones(2),)), "the variable 'a' is bound a second time")


def test_a_variable_bound_by_two_equations() -> None:
    x = Var(f64(2))
    e = eqn(neg_p, x)
    rejects(Jaxpr((x,), (e, e), e.outs), "equation 1, `b:f64[2] = neg a`: the variable 'b' is bound a second time")
    again = e._replace(outs=(x,))
    rejects(Jaxpr((x,), (again,), ()), "equation 0, `a:f64[2] = neg a`: the variable 'a' is bound a second time")


def test_a_variable_that_nothing_binds() -> None:
    x, y = Var(f64(2)), Var(f64(2))
    e = eqn(add_p, x, y)
    rejects(Jaxpr((x,), (e,), ()), "equation 0, `b:f64[2] = add a ?`: operand 1 is a variable that nothing binds")
    rejects(Jaxpr((x,), (), (x, y)), "output 1 is a variable that nothing binds")


def test_a_variable_used_before_it_is_bound() -> None:
    x = Var(f64(2))
    first = eqn(neg_p, x)
    second = eqn(neg_p, *first.outs)
    rejects(
        Jaxpr((x,), (second, first), ()),
        "equation 0, `b:f64[2] = neg c`: operand 0 is bound only later, as 'c'",
    )


def test_the_users_line_is_named() -> None:
    def negate(x: Any) -> list[Any]:
        return [neg(x)]

    place = f"test_check.py:{negate.__code__.co_firstlineno + 1} (negate)"
    rejects(
        stage(negate, [f64(2)]).replace(invars=()),
        f"equation 0, `a:f64[2] = neg ?` from {place}: operand 0 is a variable that nothing binds",
    )


# -- constants and literals ----------------------------------------------------------------------------------


def test_constants_fit_their_variables() -> None:
    x = Var(f64(2))
    rejects(Jaxpr((), (), (), (x,), ()), "there are 1 variables for constants, and 0 constants")
    rejects(
        Jaxpr((), (), (), (x,), (np.ones(3),)),
        "constant 0 has type f64[3], and its variable has f64[2]",
    )
    rejects(Jaxpr((), (), (), (x,), ("text",)), "constant 0 is no array but a str")


def test_literals_are_numbers_of_the_type_they_say() -> None:
    strong = Literal(2.0, f64(box="numpy"))
    rejects(Jaxpr((), (), (strong,)), "output 0, the literal 2.0, has type f64[]*, and says that it has f64[]")
    array = Literal(np.ones(2))
    rejects(
        Jaxpr((), (eqn(neg_p, array),), ()),
        "equation 0, `a:f64[2] = neg <array([1., 1.]):f64[2]>`: operand 0, the literal array([1., 1.]), is no number; "
        "arrays are constants, not literals",
    )


# -- types of results ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aval", "found"),
    [
        (f64(4), "f64[4]"),
        (shaped((3,), np.dtype(np.float32)), "f32[3]"),
        (f64(3, 1), "f64[3,1]"),
        (f64(box="numpy"), "f64[]"),
    ],
    ids=str,
)
def test_results_have_the_type_that_the_rule_gives(aval: ShapedArray, found: str) -> None:
    x = Var(f64(3))
    out = Var(aval)
    rejects(
        Jaxpr((x,), (eqn(neg_p, x)._replace(outs=(out,)),), (out,)),
        f"equation 0, `b:{found} = neg a`: result 0 has type {found}, and the shape rule of 'neg' gives f64[3]",
    )


def test_the_box_of_a_result_is_part_of_its_type() -> None:
    x = Var(f64(3))
    out = Var(f64(box="array"))
    rejects(
        Jaxpr((x,), (eqn(sum_p, x, axes=(0,))._replace(outs=(out,)),), (out,)),
        "equation 0, `b:f64[]~ = sum[axes=(0,)] a`: result 0 has type f64[]~, and the shape rule of 'sum' gives f64[]",
    )


def test_the_number_of_results() -> None:
    x = Var(f64(3))
    e = eqn(neg_p, x)
    rejects(
        Jaxpr((x,), (e._replace(outs=()),), ()),
        "equation 0, `() = neg a`: it binds 0 results, and 'neg' has 1",
    )
    told = eqn(EXTRA.tell, x, words="hi")
    rejects(
        Jaxpr((x,), (told._replace(outs=(Var(f64()),)),), ()),
        "equation 0, `b:f64[]~ = test_tell[words=hi] a`: it binds 1 results, and 'test_tell' has 0",
    )


def test_operands_that_the_rule_rejects() -> None:
    x, y = Var(f64(3)), Var(f64(4))
    e = Eqn(add_p, (x, y), (Var(f64(3)),), {})
    with pytest.raises(errors.JaxprError) as info:
        check(Jaxpr((x, y), (e,), ()))
    assert str(info.value).startswith(
        "equation 0, `c:f64[3] = add a b`: the shape rule of 'add' rejects operands of types (f64[3], f64[4]): "
        "ShapeError: add: shapes (3,) and (4,) do not broadcast"
    )
    assert isinstance(info.value.__cause__, errors.ShapeError)


def test_parameters_that_the_rule_does_not_know() -> None:
    x = Var(f64(3))
    e = Eqn(sum_p, (x,), (Var(f64(box="numpy")),), {"axis": 0})
    with pytest.raises(errors.JaxprError, match=r"the shape rule of 'sum' rejects operands of types .*'axis'"):
        check(Jaxpr((x,), (e,), ()))


def test_a_rule_that_gives_no_type() -> None:
    x = Var(f64(3))
    broken = variant(neg_p, shape=lambda x: x.shape)
    rejects(
        Jaxpr((x,), (Eqn(broken, (x,), (Var(f64(3)),), {}),), ()),
        "equation 0, `b:f64[3] = neg a`: the shape rule of 'neg' gives (3,), not an aval",
    )


# -- parameters and effects ----------------------------------------------------------------------------------


def test_parameters_are_hashable() -> None:
    x = Var(f64(3))
    e = Eqn(sum_p, (x,), (Var(f64(box="numpy")),), {"axes": [0]})
    rejects(
        Jaxpr((x,), (e,), ()),
        "equation 0, `b:f64[] = sum[axes=<list>] a`: the parameter 'axes' cannot be hashed: unhashable type: 'list'",
    )


def test_effects_are_those_of_the_primitive_and_of_regions() -> None:
    x = Var(f64(3))
    told = eqn(EXTRA.tell, x, words="hi")
    silent = told._replace(effects=frozenset())
    rejects(
        Jaxpr((x,), (silent,), ()),
        "equation 0, `() = test_tell[words=hi] a`: its effects are none; those of 'test_tell' are speech",
    )
    loud = eqn(neg_p, x)._replace(effects=frozenset({"speech", "io"}))
    rejects(
        Jaxpr((x,), (loud,), ()),
        "equation 0, `b:f64[3] = neg a`: its effects are io, speech; those of 'neg' are none",
    )
    inner = Jaxpr((x,), (told,), ())
    call = eqn(EXTRA.call, x, jaxpr=inner, name="f")
    check(Jaxpr((x,), (call,), ()))
    rejects(
        Jaxpr((x,), (call._replace(effects=frozenset()),), ()),
        "equation 0, `() = test_call[jaxpr={ … } name=f] a`: its effects are none; those of 'test_call' are speech",
    )


def test_the_effects_of_a_jaxpr_are_those_of_its_equations() -> None:
    jaxpr = Jaxpr((), (), ())
    jaxpr.effects = frozenset({"speech"})
    rejects(jaxpr, "the jaxpr says its effects are speech; its equations have none")


def test_an_effect_rule_that_fails() -> None:
    told = eqn(EXTRA.tell, words="hi")
    broken = variant(EXTRA.tell, effects=lambda **params: frozenset({params["tone"]}))
    rejects(
        Jaxpr((), (told._replace(prim=broken),), ()),
        "equation 0, `() = test_tell[words=hi]`: the rule for the effects of 'test_tell' rejects it: 'tone'",
    )


# -- regions -------------------------------------------------------------------------------------------------


def test_a_region_has_a_scope_of_its_own() -> None:
    x, y = Var(f64(3)), Var(f64(3))
    open_region = Jaxpr((y,), (eqn(add_p, x, y),), (y,))
    call = eqn(EXTRA.call, x, jaxpr=open_region, name="f")
    rejects(
        Jaxpr((x,), (call,), call.outs),
        "in the parameter 'jaxpr' of equation 0 (test_call): equation 0, `b:f64[3] = add ? a`: operand 0 is a variable "
        "that nothing binds",
    )


def test_a_mistake_deep_inside_is_found() -> None:
    x = Var(f64(3))
    wrong = eqn(neg_p, x)._replace(outs=(Var(f64(2)),))
    inner = Jaxpr((x,), (wrong,), ())
    middle = eqn(EXTRA.choose, 0, x, branches=(Jaxpr((x,), (), ()), inner))
    call = eqn(EXTRA.call, x, jaxpr=Jaxpr((x,), (eqn(neg_p, x), middle), ()), name="f")
    rejects(
        Jaxpr((x,), (call,), ()),
        "in the parameter 'jaxpr' of equation 0 (test_call): in the parameter 'branches' of equation 1 (test_choose): "
        "equation 0, `b:f64[2] = neg a`: result 0 has type f64[2], and the shape rule of 'neg' gives f64[3]",
    )


def test_a_region_has_no_constants() -> None:
    x, c = Var(f64(3)), Var(f64(3))
    inner = Jaxpr((x,), (), (c,), (c,), (np.ones(3),))
    call = eqn(EXTRA.call, x, jaxpr=inner, name="f")
    rejects(
        Jaxpr((x,), (call,), call.outs),
        "equation 0, `b:f64[3] = test_call[jaxpr={ … } name=f] a`: the jaxpr in the parameter 'jaxpr' has "
        "constants; they must be operands (Jaxpr.hoisted), so that transformations see them",
    )


# -- size variables ------------------------------------------------------------------------------------------


def test_size_variables_are_in_scope() -> None:
    n = SizeVar()
    x = Var(shaped((n,), np.dtype(np.float64)))
    rejects(Jaxpr((x,), (), ()), "the type f64[?] refers to a size variable that is not bound so far")
    y = Var(f64(3))
    found = eqn(EXTRA.find, y, keep=True)._replace(outs=(n, Var(x.aval)))
    rejects(Jaxpr((x, y), (found,), ()), "the type f64[c] refers to a size variable that is not bound so far")
    wide = Eqn(broadcast_p, (y,), (Var(shaped((n, 3), np.dtype(np.float64))),), {"shape": (n, 3), "dims": (1,)})
    rejects(
        Jaxpr((y,), (wide,), ()),
        "equation 0, `b:f64[?,3] = broadcast[shape=(?, 3) dims=(1,)] a`: the parameter 'shape' refers to a size "
        "variable that is not bound so far",
    )


def test_results_have_the_sizes_that_their_equation_binds() -> None:
    n, m, y = SizeVar(), SizeVar(), Var(f64(3, 2))
    check(Jaxpr((m, y), (eqn(EXTRA.find, y, keep=True)._replace(outs=(n, sized(n, 2))),), (n,)))
    twisted = eqn(EXTRA.find, y, keep=True)._replace(outs=(n, sized(n, n)))
    rejects(
        Jaxpr((m, y), (twisted,), ()),
        "equation 0, `c:size d:f64[c,c] = test_find[keep=True] b`: result 1 has type f64[c,c], and the shape rule of "
        "'test_find' gives f64[?,2]",
    )


def sized(*shape: Any) -> Var:
    return Var(shaped(shape, np.dtype(np.float64)))


def test_one_size_of_the_rule_is_one_size_of_the_results() -> None:
    def shape() -> list[ShapedArray]:
        n = SizeVar()
        return [n.aval, sized(n).aval, sized(n).aval]

    pair = variant(EXTRA.find, shape=shape, name="pair")
    n, m = SizeVar(), SizeVar()
    check(Jaxpr((m,), (Eqn(pair, (), (n, sized(n), sized(n)), {}),), ()))
    rejects(
        Jaxpr((m,), (Eqn(pair, (), (n, sized(n), sized(m)), {}),), ()),
        "equation 0, `b:size c:f64[b] d:f64[a] = pair`: result 2 has type f64[a], and the shape rule of 'pair' "
        "gives f64[?]",
    )


# -- at random -----------------------------------------------------------------------------------------------


def corrupted(jaxpr: Jaxpr, i: int, kind: str) -> Jaxpr:
    """A jaxpr with one mistake in its equation ``i``."""
    e = jaxpr.eqns[i]
    others = [jaxpr.eqns[:i], jaxpr.eqns[i + 1 :]]
    if kind == "dropped":
        return jaxpr.replace(eqns=others[0] + others[1])
    if kind == "repeated":
        return jaxpr.replace(eqns=(*others[0], e, e, *others[1]))
    if kind == "unbound":
        e = e._replace(inputs=(Var(e.inputs[0].aval), *e.inputs[1:]))
    elif kind == "dtype":
        dtype = np.dtype(np.int8 if e.outs[0].aval.dtype != np.int8 else np.int16)
        aval = shaped(e.outs[0].aval.shape, dtype, "numpy" if e.outs[0].aval.box == "python" else e.outs[0].aval.box)
        e = e._replace(outs=(Var(aval), *e.outs[1:]))
    else:
        aval = shaped((7, *e.outs[0].aval.shape), e.outs[0].aval.dtype)
        e = e._replace(outs=(Var(aval), *e.outs[1:]))
    return jaxpr.replace(eqns=(*others[0], e, *others[1]))


def used_later(jaxpr: Jaxpr, i: int) -> bool:
    later = {a for e in jaxpr.eqns[i + 1 :] for a in e.inputs} | set(jaxpr.outvars)
    return any(out in later for out in jaxpr.eqns[i].outs)


@given(programs(call=EXTRA.call, with_sizes=True), st.data())
def test_any_mistake_in_a_random_program_is_found(jaxpr: Jaxpr, data: st.DataObject) -> None:
    assume(jaxpr.eqns)
    i = data.draw(st.integers(0, len(jaxpr.eqns) - 1))
    e = jaxpr.eqns[i]
    kinds = ["repeated", "dtype", "shape"] if e.outs else []
    kinds += ["unbound"] if e.inputs else []
    kinds += ["dropped"] if used_later(jaxpr, i) else []
    assume(kinds)
    with pytest.raises(errors.JaxprError):
        check(corrupted(jaxpr, i, data.draw(st.sampled_from(kinds))))
