"""Whether two contenders computed the same: equal structure, shapes and dtypes, values within a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.workload import Array


class Disagreement(Exception):
    """Two contenders of one workload returned different results."""


def snapshot(result: object) -> dict[str, Array]:
    """The leaves of a result by their path, copied: a later call may write into the same memory."""
    return {path: np.array(leaf) for path, leaf in _leaves(result, "")}


def _leaves(result: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(result, Mapping):
        for key in sorted(result):
            yield from _leaves(result[key], f"{path}[{key!r}]")
    elif isinstance(result, list | tuple):
        for position, entry in enumerate(result):
            yield from _leaves(entry, f"{path}[{position}]")
    elif result is not None:
        yield path, result


def check(found: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float) -> None:
    """Raises ``Disagreement`` unless each leaf agrees to ``tolerance`` times its largest magnitude."""
    if found.keys() != expected.keys():
        raise Disagreement(f"the leaves are {list(found)}, expected {list(expected)}")
    for path, reference in expected.items():
        _check_leaf(found[path], reference, tolerance, f"result{path}")


def _check_leaf(found: Array, reference: Array, tolerance: float, where: str) -> None:
    if (found.shape, found.dtype) != (reference.shape, reference.dtype):
        raise Disagreement(
            f"{where} is {found.dtype}{list(found.shape)}, expected {reference.dtype}{list(reference.shape)}"
        )
    if reference.size == 0:
        return
    scale = float(np.max(np.abs(reference)))
    error = float(np.max(np.abs(found - reference)))
    if not error <= tolerance * scale:
        raise Disagreement(f"{where} is off by {error:.3g} where its largest entry is {scale:.3g}")
