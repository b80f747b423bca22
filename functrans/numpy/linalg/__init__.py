"""Linear algebra as ``functrans.numpy.linalg``: norms, products, factorisations, and what they solve."""

from __future__ import annotations

from numpy.linalg import LinAlgError as LinAlgError

from functrans.numpy.linalg.decompositions import cholesky as cholesky
from functrans.numpy.linalg.decompositions import eig as eig
from functrans.numpy.linalg.decompositions import eigh as eigh
from functrans.numpy.linalg.decompositions import eigvals as eigvals
from functrans.numpy.linalg.decompositions import eigvalsh as eigvalsh
from functrans.numpy.linalg.decompositions import matrix_rank as matrix_rank
from functrans.numpy.linalg.decompositions import qr as qr
from functrans.numpy.linalg.decompositions import svd as svd
from functrans.numpy.linalg.decompositions import svdvals as svdvals
from functrans.numpy.linalg.norms import matrix_norm as matrix_norm
from functrans.numpy.linalg.norms import norm as norm
from functrans.numpy.linalg.norms import vector_norm as vector_norm
from functrans.numpy.linalg.products import cross as cross
from functrans.numpy.linalg.products import diagonal as diagonal
from functrans.numpy.linalg.products import matmul as matmul
from functrans.numpy.linalg.products import matrix_power as matrix_power
from functrans.numpy.linalg.products import matrix_transpose as matrix_transpose
from functrans.numpy.linalg.products import multi_dot as multi_dot
from functrans.numpy.linalg.products import outer as outer
from functrans.numpy.linalg.products import tensordot as tensordot
from functrans.numpy.linalg.products import trace as trace
from functrans.numpy.linalg.products import vecdot as vecdot
from functrans.numpy.linalg.solving import cond as cond
from functrans.numpy.linalg.solving import det as det
from functrans.numpy.linalg.solving import inv as inv
from functrans.numpy.linalg.solving import lstsq as lstsq
from functrans.numpy.linalg.solving import pinv as pinv
from functrans.numpy.linalg.solving import slogdet as slogdet
from functrans.numpy.linalg.solving import solve as solve
from functrans.numpy.linalg.solving import tensorinv as tensorinv
from functrans.numpy.linalg.solving import tensorsolve as tensorsolve
