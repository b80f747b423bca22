"""Matrix factorisations and what they solve, for stacks of matrices in the last two axes.

Every function takes float32, float64, complex64 and complex128, empty matrices and empty stacks. What is wrong with a
matrix rather than with its type (singular, not positive definite) raises ``numpy.linalg.LinAlgError`` when it is met.
"""

from __future__ import annotations

from functrans.lax.linalg.banded import tridiagonal_solve as tridiagonal_solve
from functrans.lax.linalg.cholesky import cholesky as cholesky
from functrans.lax.linalg.cholesky import cholesky_update as cholesky_update
from functrans.lax.linalg.degenerate import DegenerateSpectrumWarning as DegenerateSpectrumWarning
from functrans.lax.linalg.determinant import det as det
from functrans.lax.linalg.determinant import slogdet as slogdet
from functrans.lax.linalg.eig import eig as eig
from functrans.lax.linalg.eigh import eigh as eigh
from functrans.lax.linalg.exponential import expm as expm
from functrans.lax.linalg.exponential import expm_frechet as expm_frechet
from functrans.lax.linalg.lu import inv as inv
from functrans.lax.linalg.lu import lu as lu
from functrans.lax.linalg.lu import lu_pivots_to_permutation as lu_pivots_to_permutation
from functrans.lax.linalg.lu import solve as solve
from functrans.lax.linalg.pinv import lstsq as lstsq
from functrans.lax.linalg.pinv import pinv as pinv
from functrans.lax.linalg.qr import geqrf as geqrf
from functrans.lax.linalg.qr import householder_product as householder_product
from functrans.lax.linalg.qr import pivoted_columns as pivoted_columns
from functrans.lax.linalg.qr import qr as qr
from functrans.lax.linalg.schur import hessenberg as hessenberg
from functrans.lax.linalg.schur import schur as schur
from functrans.lax.linalg.schur import tridiagonal as tridiagonal
from functrans.lax.linalg.svd import svd as svd
from functrans.lax.linalg.sylvester import solve_sylvester as solve_sylvester
from functrans.lax.linalg.sylvester import sqrtm as sqrtm
from functrans.lax.linalg.sylvester import unitary_factor as unitary_factor
from functrans.lax.linalg.triangular import triangular_solve as triangular_solve
