"""Each row of the algebra is proved: on its examples, for every dtype, for the strangest values and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from functrans import errors
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import dce
from functrans.core.parser import from_text
from functrans.passes.algebra import Algebra, row_names
from functrans.passes.table import Entry, table
from tests.passes.proofs import fired, operands, same_bits

ENTRIES: dict[str, Entry] = {entry.name: entry for rows in table.values() for entry in rows}
EXACT = [name for name, entry in ENTRIES.items() if entry.exact]
ROUNDING = [name for name, entry in ENTRIES.items() if not entry.exact]


@pytest.mark.parametrize("name", EXACT)
def test_a_row_keeps_every_bit(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.examples, "a row needs an example, or nothing shows that it is right"
    any_fired = 0
    for k, example in enumerate(entry.examples):
        for before, after, dtype, shape in fired(entry, example):
            any_fired += 1
            for args in operands(dtype, shape):
                with np.errstate(all="ignore"):
                    (expected,), (found,) = evaluate(before, args), evaluate(after, args)
                assert same_bits(found, expected), (
                    f"example {k} of {name}, {dtype} {shape}:\n{before}\n{after}\n{args}\n{expected}\n{found}"
                )
    assert any_fired, f"the examples of {name} do not make it fire"


@pytest.mark.parametrize("name", ROUNDING)
def test_a_reassociating_row_keeps_its_bound(name: str) -> None:
    entry = ENTRIES[name]
    rng = np.random.default_rng(7)
    any_fired = 0
    for example in entry.examples:
        for before, after, dtype, shape in fired(entry, example):
            any_fired += 1
            if dtype.kind not in "fc":
                continue
            unit = np.finfo(dtype).eps
            args = [rng.standard_normal(shape).astype(dtype) for _ in "xy"]
            (expected,), (found,) = evaluate(before, args), evaluate(after, args)
            (scale,) = evaluate(before, [np.abs(a).astype(dtype) for a in args])
            terms = max(1, int(np.prod(shape)))
            bound = entry.ulps * terms * unit * (np.abs(scale.astype(float)) if dtype.kind == "f" else np.abs(scale))
            assert np.asarray(found).dtype == dtype and np.shape(found) == np.shape(expected)
            assert np.all(np.abs(found - expected) <= bound), (name, dtype, shape, found, expected)
    assert any_fired, f"the examples of {name} do not make it fire"


def test_names_are_distinct() -> None:
    named: dict[str, Entry] = {}
    for rows in table.values():
        for entry in rows:
            assert named.setdefault(entry.name, entry).rule is entry.rule
    assert set(row_names()) == set(named)


def test_rows_are_switched_by_name() -> None:
    jaxpr = from_text("{ lambda ; a:f64[3] . let b:f64[3] = mul a 1.0 c:f64[3] = pow b 2.0 in (c,) }")
    assert [e.prim.name for e in Algebra().run(jaxpr).eqns] == ["square"]
    assert [e.prim.name for e in Algebra(off=("square",)).run(jaxpr).eqns] == ["pow"]
    assert [e.prim.name for e in Algebra(only=("square",)).run(jaxpr).eqns] == ["mul", "square"]
    assert Algebra().exact and not Algebra(reassociate=True).exact
    with pytest.raises(errors.ArgumentError, match=r"Algebra: there is no row 'squares'; the rows are the_operand"):
        Algebra(off=("squares",))


def test_rounding_rows_are_off_by_default() -> None:
    jaxpr = from_text("{ lambda ; a:f64[3] . let b:f64[3] = mul a 3.0 c:f64[3] = mul b 7.0 in (c,) }")
    assert Algebra().run(jaxpr) is jaxpr
    assert str(dce(Algebra(reassociate=True).run(jaxpr))) == (
        "{ lambda ; a:f64[3] . let\n    b:f64[3] = mul a 21.0\n  in (b,) }"
    )
