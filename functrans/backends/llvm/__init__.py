"""The native CPU backend: kernels as machine code by llvmlite, in Python programs of NumPy calls."""

from __future__ import annotations

from functrans.backends.llvm import convolution_native as convolution_native
from functrans.backends.llvm import decompositions as decompositions
from functrans.backends.llvm import lapack as lapack
from functrans.backends.llvm import matmul as matmul
from functrans.backends.llvm import movement as movement
from functrans.backends.llvm import sorting as sorting
from functrans.backends.llvm import windows_native as windows_native
from functrans.backends.llvm.program import LlvmBackend

backend = LlvmBackend()
