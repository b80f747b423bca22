"""Batching rules of the user's: what ``vmap`` does with a function."""

from __future__ import annotations

from functrans.api.custom_batching import custom_vmap as custom_vmap
from functrans.api.custom_batching import sequential_vmap as sequential_vmap

__all__ = ["custom_vmap", "sequential_vmap"]
