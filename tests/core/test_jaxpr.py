"""Jaxprs as data: taking away what is unused, inlining, hoisting constants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans.core.avals import shaped
from functrans.core.check import check
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import (
    Eqn,
    Jaxpr,
    Literal,
    SizeVar,
    Var,
    dce,
    effects_of,
    rename,
    sizes_in,
    subjaxprs,
    used_inputs,
)
from functrans.core.parser import from_text
from functrans.core.stage import stage
from functrans.core.structural import add, add_p, reduce_sum
from functrans.lax.arithmetic import mul, neg, neg_p
from functrans.testing.golden import check_golden
from tests.core.programs import EXTRA, contents, eqn, f64, outcome, programs, registered, variant

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True, scope="module")
def extra_primitives() -> Iterator[None]:
    with registered():
        yield


def sizes_of(jaxpr: Jaxpr) -> set[SizeVar]:
    """The size variables in the parameters and result types of a jaxpr's equations."""
    values = [v for e in jaxpr.eqns for v in (*e.params.values(), *(out.aval for out in e.outs))]
    return {size for value in values for size in sizes_in(value)}


# -- the parts of a jaxpr -----------------------------------------------------------------------------------


def test_types_of_inputs_and_outputs() -> None:
    jaxpr = stage(lambda x, n: [reduce_sum(x, (0,)), 2.0], [f64(3, 4), shaped((), np.dtype(np.int64), "python")])
    assert [str(a) for a in jaxpr.in_avals] == ["f64[3,4]", "i64[]*"]
    assert [str(a) for a in jaxpr.out_avals] == ["f64[4]", "f64[]*"]


def test_replace_keeps_the_rest_and_counts_effects_anew() -> None:
    x = Var(f64(2))
    told = eqn(EXTRA.tell, x, words="hi")
    jaxpr = Jaxpr((x,), (told,), (x,))
    assert jaxpr.effects == {"speech"}
    silent = jaxpr.replace(eqns=())
    assert (silent.invars, silent.outvars, silent.effects) == ((x,), (x,), frozenset())
    assert jaxpr.replace(outvars=()).effects == {"speech"}


def test_a_literal_knows_its_type() -> None:
    assert [str(Literal(v).aval) for v in (1, 1.0, 1j, True, np.float32(1))] == [
        "i64[]*",
        "f64[]*",
        "c128[]*",
        "bool[]*",
        "f32[]",
    ]
    assert str(SizeVar().aval) == "i64[]*"


def test_hoisting_makes_inputs_of_constants() -> None:
    table, offset = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    jaxpr = stage(lambda x: [add(mul(x, table), offset)], [f64(2)])
    hoisted, consts = jaxpr.hoisted()
    assert consts[0] is table
    assert consts[1] is offset
    assert hoisted.consts == hoisted.constvars == ()
    assert hoisted.invars == (*jaxpr.constvars, *jaxpr.invars)
    x = np.array([3.0, 4.0])
    assert np.array_equal(evaluate(hoisted, [*consts, x])[0], [13.0, 28.0])
    assert jaxpr.hoisted()[0] is hoisted, "the second call gives the same jaxpr, so that caches on it are hit"
    closed = stage(lambda x: [neg(x)], [f64(2)])
    assert closed.hoisted() == (closed, ())


def test_constants_are_read_when_the_jaxpr_runs() -> None:
    table = np.array([1.0, 2.0])
    jaxpr = stage(lambda x: [mul(x, table)], [f64(2)])
    table[:] = 5.0
    assert evaluate(jaxpr, [np.ones(2)])[0].tolist() == [5.0, 5.0]


def test_the_jaxprs_of_an_equation() -> None:
    x = Var(f64(2))
    one, two = Jaxpr((x,), (), (x,)), Jaxpr((x,), (), (x,))
    assert list(subjaxprs(eqn(EXTRA.call, x, jaxpr=one, name="f"))) == [one]
    assert list(subjaxprs(eqn(EXTRA.choose, 0, x, branches=(one, two)))) == [one, two]
    assert list(subjaxprs(eqn(neg_p, x))) == []


def test_effects_of_an_application() -> None:
    x = Var(f64(2))
    loud = Jaxpr((x,), (eqn(EXTRA.tell, x, words="hi"),), (x,))
    silent = Jaxpr((x,), (), (x,))
    assert effects_of(neg_p, {}) == frozenset()
    assert effects_of(EXTRA.tell, {"words": "hi"}) == {"speech"}
    assert effects_of(EXTRA.call, {"jaxpr": loud, "name": "f"}) == {"speech"}
    assert effects_of(EXTRA.choose, {"branches": (silent, loud)}) == {"speech"}
    assert effects_of(EXTRA.choose, {"branches": (silent, silent)}) == frozenset()
    masked = variant(EXTRA.call, effects=lambda **params: frozenset({"state"}))
    assert effects_of(masked, {"jaxpr": loud, "name": "f"}) == {"state"}


# -- dead code -----------------------------------------------------------------------------------------------


def test_dead_code_goes() -> None:
    check_golden(GOLDEN / "dce.txt", dce)


def test_of_several_outputs_some_may_be_kept() -> None:
    jaxpr = from_text(
        "{ lambda ; a:f64[2] b:f64[2] . let c:f64[2] = neg a d:f64[2] = neg b e:f64[2] = add c d in (c, e, d, 1.0) }"
    )
    kept = dce(jaxpr, [False, False, True, True])
    assert str(kept) == "{ lambda ; a:f64[2] b:f64[2] . let\n    c:f64[2] = neg b\n  in (c, 1.0) }"
    assert str(dce(jaxpr, [False] * 4)) == "{ lambda ; a:f64[2] b:f64[2] . let\n  in () }"


def test_a_constant_that_is_an_output_stays() -> None:
    table = np.ones(2)
    jaxpr = stage(lambda x: [table, neg(x)], [f64(2)])
    assert dce(jaxpr, [True, False]).consts == (table,)
    assert dce(jaxpr, [False, True]).consts == ()


def test_a_size_goes_only_with_what_has_it() -> None:
    def drop_unused(e: Eqn, used: list[bool]) -> Eqn:
        asked.append(used)
        return e

    asked: list[list[bool]] = []
    find = variant(EXTRA.find, dce=drop_unused)
    x, n = Var(f64(4)), SizeVar()
    y = Var(shaped((n,), np.dtype(np.float64)))
    found = Eqn(find, (x,), (n, y), {"keep": True})
    dce(Jaxpr((x,), (found,), (y,)))
    assert asked == [], "the type of y needs n, so both results are used"
    dce(Jaxpr((x,), (found,), (n,)))
    assert asked == [[True, False]]


def test_a_size_that_a_later_type_or_parameter_needs_stays() -> None:
    jaxpr = from_text(
        "{ lambda ; a:f64[4] b:f64[2] . let n:size x:f64[n] = test_find[keep=True] a "
        "y:f64[n,2] = broadcast[shape=(n, 2) dims=(1,)] b z:f64[2] = sum[axes=(0,)] y in (z,) }"
    )
    kept = dce(jaxpr)
    assert len(kept.eqns) == 3
    check(kept)


@given(programs(call=EXTRA.call, with_sizes=True), st.data())
def test_what_is_left_is_well_formed_and_needed(jaxpr: Jaxpr, data: st.DataObject) -> None:
    keep = [data.draw(st.booleans()) for _ in jaxpr.outvars]
    kept = dce(jaxpr, keep)
    check(kept)
    assert kept.invars == jaxpr.invars
    assert kept.outvars == tuple(v for v, k in zip(jaxpr.outvars, keep, strict=True) if k)
    used = {a for e in kept.eqns for a in e.inputs} | set(kept.outvars)
    used |= sizes_of(kept)
    assert all(any(out in used for out in e.outs) for e in kept.eqns)
    assert set(kept.constvars) <= used


@given(programs(call=EXTRA.call))
def test_results_stay_the_same(jaxpr: Jaxpr) -> None:
    args = [contents(a) for a in jaxpr.in_avals]
    before = outcome(lambda: evaluate(jaxpr, args))
    # An equation that raises may have been dead.
    assert before is OverflowError or outcome(lambda: evaluate(dce(jaxpr), args)) == before


# -- inputs and inlining ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("{ lambda ; . let in () }", []),
        ("{ lambda ; a:f64[2] b:f64[2] . let c:f64[2] = neg b in (c,) }", [False, True]),
        ("{ lambda ; a:f64[2] b:f64[2] . let in (a, 1.0) }", [True, False]),
        ("{ lambda[effects={speech}] ; a:f64[2] . let () = test_tell[words=hi] a in () }", [True]),
        ("{ lambda ; n:size x:f64[n] . let in (x,) }", [True, True]),
        ("{ lambda ; n:size x:f64[n] . let y:f64[n] = neg x in () }", [True, True]),
        ("{ lambda ; n:size x:f64[n] . let in () }", [False, False]),
        ("{ lambda ; n:size x:f64[2] . let y:f64[n,2] = broadcast[shape=(n, 2) dims=(1,)] x in () }", [True, True]),
        ("{ lambda ; m:size n:size x:f64[n] . let in (x,) }", [False, True, True]),
    ],
)
def test_used_inputs(text: str, used: list[bool]) -> None:
    assert used_inputs(from_text(text)) == used


def inlined(jaxpr: Jaxpr, twice: bool = False) -> Jaxpr:
    """A jaxpr that holds a renamed copy of another, or two of them."""
    invars = [SizeVar() if isinstance(v, SizeVar) else Var(v.aval) for v in jaxpr.invars]
    eqns, outs = rename(jaxpr, invars)
    if twice:
        more, outs = rename(jaxpr, invars)
        eqns += more
    return Jaxpr(invars, eqns, outs, jaxpr.constvars, jaxpr.consts)


def test_renaming_replaces_inputs_and_makes_fresh_variables() -> None:
    jaxpr = from_text("{ lambda ; a:f64[2] b:f64[2] . let c:f64[2] = add a b d:f64[2] = add c a in (d, b, 1.0) }")
    x = Var(f64(2))
    eqns, outs = rename(jaxpr, [x, Literal(3.0)])
    assert str(Jaxpr((x,), eqns, outs)) == (
        "{ lambda ; a:f64[2] . let\n    b:f64[2] = add a 3.0\n    c:f64[2] = add b a\n  in (c, 3.0, 1.0) }"
    )
    own = {out for e in jaxpr.eqns for out in e.outs}
    assert own.isdisjoint(out for e in eqns for out in e.outs)
    with pytest.raises(ValueError, match="zip"):
        rename(jaxpr, [x])


def test_renaming_keeps_lines_effects_and_constants() -> None:
    table = np.ones(2)
    jaxpr = stage(lambda x: [mul(x, table)], [f64(2)])
    eqns, _ = rename(jaxpr, [Var(f64(2))])
    assert [e.source for e in eqns] == [e.source for e in jaxpr.eqns]
    assert eqns[0].inputs[1] is jaxpr.constvars[0]
    loud = from_text("{ lambda[effects={speech}] ; a:f64[2] . let () = test_tell[words=hi] a in () }")
    assert rename(loud, [Var(f64(2))])[0][0].effects == {"speech"}


def test_a_size_is_renamed_wherever_it_stands() -> None:
    jaxpr = from_text(
        "{ lambda ; n:size x:f64[n] . let m:size y:f64[m] = test_find[keep=True] x "
        "z:f64[m,n] = broadcast[shape=(m, n) dims=(1,)] x in (y, z) }"
    )
    n, x = SizeVar(), Var(shaped((3,), np.dtype(np.float64)))
    renamed = inlined(jaxpr)
    renamed.invars[1].aval = shaped((renamed.invars[0],), np.dtype(np.float64))
    check(renamed)
    old = {*jaxpr.invars, *(out for e in jaxpr.eqns for out in e.outs)}
    assert old.isdisjoint(sizes_of(renamed))
    eqns, outs = rename(jaxpr, [Literal(3), x])
    check(Jaxpr((n, x), eqns, outs))
    assert "broadcast[shape=(c, 3) dims=(1,)] b" in str(Jaxpr((n, x), eqns, outs))


@given(programs(call=EXTRA.call), st.booleans())
def test_an_inlined_program_gives_the_same(jaxpr: Jaxpr, twice: bool) -> None:
    args = [contents(a) for a in jaxpr.in_avals]
    copy = inlined(jaxpr, twice)
    check(copy)
    assert outcome(lambda: evaluate(copy, args)) == outcome(lambda: evaluate(jaxpr, args))


def test_sizes_in_types_and_parameters() -> None:
    n, m = SizeVar(), SizeVar()
    value: Any = (n, (shaped((2, m), np.dtype(np.float64)), "text"), Jaxpr((n,), (), ()))
    assert list(sizes_in(value)) == [n, m]
    assert list(sizes_in(eqn(add_p, 1, 2).outs[0].aval)) == []
