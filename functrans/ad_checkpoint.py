"""Checkpointing: what of a function is kept for its backward pass, and what is computed again.

``functrans.checkpoint`` is the transformation; here are the names that its policies know values by, the policies, and
functions that show what is kept.
"""

from __future__ import annotations

from functrans.api.checkpoint import checkpoint as checkpoint
from functrans.api.checkpoint import checkpoint_name as checkpoint_name
from functrans.api.checkpoint import checkpoint_policies as checkpoint_policies
from functrans.api.checkpoint import print_saved_residuals as print_saved_residuals
from functrans.api.checkpoint import remat as remat
from functrans.api.checkpoint import saved_residuals as saved_residuals
from functrans.lax.control.remat import Offloadable as Offloadable
from functrans.lax.control.remat import Recompute as Recompute
from functrans.lax.control.remat import Saveable as Saveable

__all__ = [
    "Offloadable",
    "Recompute",
    "Saveable",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "print_saved_residuals",
    "remat",
    "saved_residuals",
]
