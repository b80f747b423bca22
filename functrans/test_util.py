"""Checks for the unit tests of functions that are differentiated."""

from functrans.testing.grads import check_grads as check_grads
from functrans.testing.grads import check_jvp as check_jvp
from functrans.testing.grads import check_vjp as check_vjp

__all__ = ["check_grads", "check_jvp", "check_vjp"]
