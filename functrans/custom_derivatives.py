"""Derivative rules of the user's: ``custom_jvp``, ``custom_vjp`` and what belongs to them."""

from __future__ import annotations

from functrans.api.custom import CustomVJPPrimal as CustomVJPPrimal
from functrans.api.custom import SymbolicZero as SymbolicZero
from functrans.api.custom import custom_gradient as custom_gradient
from functrans.api.custom import custom_jvp as custom_jvp
from functrans.api.custom import custom_vjp as custom_vjp
from functrans.api.custom import custom_vjp_primal_tree_values as custom_vjp_primal_tree_values
from functrans.api.custom_linear import linear_call as linear_call
from functrans.api.staging import closure_convert as closure_convert

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "custom_vjp_primal_tree_values",
    "linear_call",
]
