"""Saved programs: what they hold, that they run where their source is not, and that nothing else is believed."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans import errors, export
from functrans.test_util import check_grads

X = np.linspace(0.1, 1.0, 12).reshape(4, 3)
W = np.linspace(-1.0, 1.0, 6).reshape(3, 2)


def loss(params: dict[str, Any], x: Any) -> Any:
    hidden = np.tanh(x @ params["w"] + params["b"])
    return np.sum(hidden**2), [hidden, None]


def test_values_structure_and_types() -> None:
    params = {"w": W, "b": np.zeros(2)}
    again = export.loads(export.export(loss)(params, X).dumps())
    found, expected = again(params, X), loss(params, X)
    assert ft.tree.structure(found) == ft.tree.structure(expected)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert type(a) is type(b)


def test_captured_arrays_are_saved_with_their_contents() -> None:
    offset = np.arange(3.0)
    saved = export.export(lambda x: x + offset)(np.zeros(3)).dumps()
    offset[:] = 7.0
    assert export.loads(saved)(np.zeros(3)).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int8, np.bool_, np.float16])
def test_dtypes(dtype: type) -> None:
    table = np.array([0, 1, 1], dtype)
    again = export.loads(export.export(lambda i: table[i])(np.array([2, 0])).dumps())
    found = again(np.array([2, 0]))
    assert found.dtype == dtype and found.tolist() == table[[2, 0]].tolist()


def test_loops_and_branches() -> None:
    def f(x: Any) -> Any:
        total = ft.lax.fori_loop(0, 4, lambda i, s: s * 1.5 + i, x)
        return ft.lax.cond(total > 3.0, lambda t: t - 1.0, lambda t: t + 1.0, total)

    again = export.loads(export.export(f)(1.0).dumps())
    assert again(1.0) == f(1.0) and again(0.0) == f(0.0)


def test_derivatives_to_the_order_asked_for() -> None:
    f = lambda x: np.sum(np.sin(x) * x)
    again = export.loads(export.export(f, derivatives=2)(X).dumps())
    np.testing.assert_allclose(ft.grad(again)(X), ft.grad(f)(X), rtol=1e-15)
    check_grads(again, (X,), order=2, modes=["rev"])
    with pytest.raises(errors.NotDifferentiableError, match=r"without .further. derivatives.*larger `derivatives`"):
        ft.grad(export.export(f)(X))(X)


def test_rules_of_the_users_own_are_followed() -> None:
    @ft.custom_vjp
    def clipped(x: Any) -> Any:
        return x * 2.0

    clipped.defvjp(lambda x: (x * 2.0, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),))
    again = export.loads(export.export(lambda x: np.sum(clipped(x)) * 5.0, derivatives=1)(X).dumps())
    np.testing.assert_array_equal(ft.grad(again)(X), np.ones_like(X))


def test_it_is_a_function_like_any_other() -> None:
    again = export.loads(export.export(lambda x: np.cumsum(x))(np.ones(3)).dumps())
    xs = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(ft.vmap(again)(xs), np.cumsum(xs, 1))
    np.testing.assert_array_equal(ft.jit(lambda x: again(x) * 2)(np.ones(3)), [2.0, 4.0, 6.0])


def test_another_process_without_the_source(tmp_path: Path) -> None:
    path = tmp_path / "program.functrans"
    export.export(lambda w, x: np.tanh(x @ w), derivatives=1)(W, X).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["program.functrans"]
    code = (
        "import sys, numpy as np, functrans as ft\n"
        "f = ft.export.load(sys.argv[1])\n"
        "w, x = np.linspace(-1.0, 1.0, 6).reshape(3, 2), np.linspace(0.1, 1.0, 12).reshape(4, 3)\n"
        "print(repr(float(ft.grad(lambda w: np.sum(f(w, x)))(w)[0, 0])))\n"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=root, check=True
    )
    expected = ft.grad(lambda w: np.sum(np.tanh(X @ w)))(W)[0, 0]
    assert float(result.stdout) == pytest.approx(expected, rel=1e-14)


def test_pickle_goes_the_same_way() -> None:
    exported = export.export(np.sin)(X)
    data = pickle.dumps(exported)
    assert export.MAGIC in data
    np.testing.assert_array_equal(pickle.loads(data)(X), np.sin(X))


def test_lowered_and_compiled_functions_are_pickled_as_programs() -> None:
    lowered = ft.jit(lambda x: np.sin(x) * 2.0).lower(X)
    for thing in (lowered, lowered.compile()):
        again = pickle.loads(pickle.dumps(thing))
        assert isinstance(again, export.Exported)
        np.testing.assert_array_equal(again(X), np.sin(X) * 2.0)


def damaged(data: bytes) -> dict[str, bytes]:
    middle = len(data) // 2
    newer = data[: len(export.MAGIC)] + struct.pack("<I", export.FORMAT + 1) + data[len(export.MAGIC) + 4 :]
    return {
        "no saved program": b"\x93NUMPY" + data,
        "ends too soon": data[: len(export.MAGIC) + 5],
        "checksum": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "checksum does not fit": data[:-1],
        "install a newer one": newer,
    }


@pytest.mark.parametrize("words", damaged(b"x" * 100))
def test_damage(words: str) -> None:
    data = export.export(np.sin)(X).dumps()
    with pytest.raises(errors.ExportError, match=words):
        export.loads(damaged(data)[words])


def test_a_program_that_does_not_fit_together_is_refused() -> None:
    import hashlib

    data = export.export(np.sin)(X).dumps()
    for old, new in ((b"sin a", b"sum a"), (b"f64[4,3]", b"f64[9,9]"), (b'"in_tree"', b'"in_thee"')):
        body = data[:-32].replace(old, new, 1)
        with pytest.raises((errors.ExportError, errors.JaxprError)):
            export.loads(body + hashlib.sha256(body).digest())


class Pair(NamedTuple):
    left: Any
    right: Any


def test_what_cannot_be_exported() -> None:
    with pytest.raises(errors.ExportError, match=r"class Pair.*_asdict"):
        export.export(lambda p: p.left)(Pair(X, X))
    with pytest.raises(errors.ExportError, match="keys of a dict"):
        export.export(lambda d: d[(1, 2)])({(1, 2): X})
    with pytest.raises(errors.ExportError, match="decides about the program"):
        export.export(lambda n, x: np.reshape(x, (n, -1)))(2, X)
    ordered = export.loads(export.export(lambda d: d["b"] - d["a"])(OrderedDict(b=X, a=X)).dumps())
    assert not ordered(OrderedDict(b=X, a=X)).any()


def test_wrong_arguments() -> None:
    again = export.export(np.sin)(X)
    with pytest.raises(errors.ArgumentError, match=r"traced for f64\[4,3\] as leaf 0.*got f64\[3\]"):
        again(np.ones(3))
    with pytest.raises(errors.TreeStructureError, match="another structure"):
        again([X])
