"""Reports of keys that are used twice, under ``functrans.debug_key_reuse``.

Two primitives without results mark where a key is made and where it is used up. They look at the words that the
program meets when it runs, not at Python objects, so that a key is known again after indexing, under ``vmap``, in a
loop, and in a compiled program; being effects, they are neither dropped nor repeated by a recomputation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.primitive import BatchAxis, Primitive, Sample
from functrans.core.structural import align_batched
from functrans.core.trace import current_source
from functrans.lax.families import no_tangent

_LIMIT = 1 << 17
_used: OrderedDict[tuple[int, int], str] = OrderedDict()
"""Keys that were used, and by whom; the oldest are forgotten."""
_serial = count()


def _pairs(words: Sequence[Any]) -> Iterator[tuple[int, int]]:
    first, second = [np.asarray(w.get() if hasattr(w, "get") else w) for w in words]
    pairs = np.broadcast_arrays(first, second)
    return zip(*[p.ravel().tolist() for p in pairs], strict=True)


def _note_use(xp: Any, *words: Any, by: str, serial: int) -> list[Any]:
    if not config.debug_key_reuse:
        return []
    for pair in _pairs(words):
        before = _used.get(pair)
        if before is not None:
            raise errors.KeyReuseError(
                f"{by} uses the key {list(pair)}, which {before} used before: their samples are not independent. "
                f"Split the key first, key, subkey = functrans.random.split(key), and use each part once. Where equal "
                f"samples are wanted, pass functrans.random.clone(key)"
            )
        _used[pair] = by
        if len(_used) > _LIMIT:
            _used.popitem(last=False)
    return []


def _note_make(xp: Any, *words: Any, serial: int) -> list[Any]:
    if config.debug_key_reuse:
        for pair in _pairs(words):
            _used.pop(pair, None)
    return []


def _marker(name: str, impl: Any, samples: Any) -> Primitive:
    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        return prim.bind(*align_batched(axis, args, dims), **params), []

    prim = Primitive(
        name,
        shape=lambda *words, **params: [],
        impl=impl,
        jvp=no_tangent(lambda: prim),
        batch=batch,
        multiple=True,
        kind="library",
        effects=lambda **params: frozenset({"key reuse"}),
        samples=samples,
    )
    return prim


_WORDS = (np.arange(3, dtype=np.uint32), np.uint32(5))
key_used_p = _marker("key_used", _note_use, lambda: [Sample(_WORDS, {"by": "normal", "serial": 0})])
key_made_p = _marker("key_made", _note_make, lambda: [Sample(_WORDS, {"serial": 0})])


def note_use(name: str, words: Sequence[Any]) -> None:
    """Say that a function uses up the key of these words."""
    if any_mode() and config.debug_key_reuse:
        source = current_source()
        by = f"functrans.random.{name}" if source is None else f"functrans.random.{name} at {source}"
        key_used_p.bind(*words, by=by, serial=next(_serial))


def note_make(words: Sequence[Any]) -> None:
    """Say that keys of these words are new: made from a seed, split off, or cloned."""
    if any_mode() and config.debug_key_reuse:
        key_made_p.bind(*words, serial=next(_serial))
