"""The native CPU backend: kernels as machine code by llvmlite, in Python programs of NumPy calls."""

from __future__ import annotations

from functrans.backends.llvm.program import LlvmBackend

backend = LlvmBackend()
