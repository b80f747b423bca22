"""Hypothesis strategies for indices of every kind that NumPy takes, and some that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st


@st.composite
def shapes(draw: Any, least: int = 0) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(least, 4), max_size=4)))


def slices(extent: int) -> st.SearchStrategy[slice]:
    bound = st.none() | st.integers(-extent - 2, extent + 2)
    return st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, -1, -3]))


@st.composite
def index_arrays(draw: Any, extent: int) -> Any:
    shape = draw(st.sampled_from([(), (1,), (3,), (2, 1), (2, 3), (0,)]))
    if extent == 0 and shape != (0,):
        shape = (0,)
    array = draw(
        st.lists(st.integers(-extent, max(extent - 1, 0)), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    array = np.array(array, draw(st.sampled_from([np.int64, np.int32]))).reshape(shape)
    return array.tolist() if draw(st.booleans()) and shape else array


@st.composite
def masks(draw: Any, shape: tuple[int, ...]) -> Any:
    size = int(np.prod(shape))
    return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool).reshape(shape)


@st.composite
def indices(draw: Any, shape: tuple[int, ...], fancy: bool = True) -> Any:
    """An index for an array of this shape. Now and then index arrays do not broadcast, and NumPy refuses it."""
    entries: list[Any] = []
    axis = 0
    end = draw(st.integers(0, len(shape)))
    while axis < end:
        kinds = ["slice", "slice", "none"] + (["int"] if shape[axis] else [])
        kinds += ["array", "array", "mask", "flag"] if fancy else []
        kind = draw(st.sampled_from(kinds))
        if kind == "slice":
            entries.append(draw(slices(shape[axis])))
        elif kind == "int":
            entries.append(draw(st.integers(-shape[axis], shape[axis] - 1)))
        elif kind == "none":
            entries.append(None)
            continue
        elif kind == "flag":
            entries.append(draw(st.booleans()))
            continue
        elif kind == "array":
            entries.append(draw(index_arrays(shape[axis])))
        else:
            covered = shape[axis : axis + draw(st.integers(1, min(2, len(shape) - axis)))]
            entries.append(draw(masks(covered)))
            axis += len(covered) - 1
        axis += 1
    if axis == len(shape) or draw(st.booleans()):
        if draw(st.booleans()):
            place = draw(st.integers(0, len(entries)))
            entries.insert(place, Ellipsis)
            if axis < len(shape):
                del entries[place]
                entries.append(Ellipsis)
    if len(entries) == 1 and draw(st.booleans()):
        return entries[0]
    return tuple(entries)


@st.composite
def indexed(draw: Any, fancy: bool = True) -> tuple[Any, Any]:
    shape = draw(shapes())
    x = np.sin(np.arange(np.prod(shape, dtype=int)) + 1.0).reshape(shape)
    return x, draw(indices(shape, fancy))


def expected_of(x: Any, idx: Any) -> Any:
    """What NumPy gives; None where it refuses the index."""
    try:
        return x[idx]
    except IndexError:
        return None
