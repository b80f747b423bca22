"""Linear algebra as ``functrans.scipy.linalg``: SciPy's functions where nothing is transformed, ours otherwise."""

from __future__ import annotations

from numpy.linalg import LinAlgError as LinAlgError

from functrans.scipy.linalg.decompositions import cho_factor as cho_factor
from functrans.scipy.linalg.decompositions import cholesky as cholesky
from functrans.scipy.linalg.decompositions import eigh as eigh
from functrans.scipy.linalg.decompositions import eigh_tridiagonal as eigh_tridiagonal
from functrans.scipy.linalg.decompositions import hessenberg as hessenberg
from functrans.scipy.linalg.decompositions import lu as lu
from functrans.scipy.linalg.decompositions import lu_factor as lu_factor
from functrans.scipy.linalg.decompositions import qr as qr
from functrans.scipy.linalg.decompositions import qr_multiply as qr_multiply
from functrans.scipy.linalg.decompositions import rsf2csf as rsf2csf
from functrans.scipy.linalg.decompositions import schur as schur
from functrans.scipy.linalg.decompositions import svd as svd
from functrans.scipy.linalg.functions import expm as expm
from functrans.scipy.linalg.functions import expm_frechet as expm_frechet
from functrans.scipy.linalg.functions import funm as funm
from functrans.scipy.linalg.functions import polar as polar
from functrans.scipy.linalg.functions import sqrtm as sqrtm
from functrans.scipy.linalg.matrices import block_diag as block_diag
from functrans.scipy.linalg.matrices import circulant as circulant
from functrans.scipy.linalg.matrices import companion as companion
from functrans.scipy.linalg.matrices import convolution_matrix as convolution_matrix
from functrans.scipy.linalg.matrices import dft as dft
from functrans.scipy.linalg.matrices import fiedler as fiedler
from functrans.scipy.linalg.matrices import fiedler_companion as fiedler_companion
from functrans.scipy.linalg.matrices import hadamard as hadamard
from functrans.scipy.linalg.matrices import hankel as hankel
from functrans.scipy.linalg.matrices import helmert as helmert
from functrans.scipy.linalg.matrices import hilbert as hilbert
from functrans.scipy.linalg.matrices import invhilbert as invhilbert
from functrans.scipy.linalg.matrices import invpascal as invpascal
from functrans.scipy.linalg.matrices import leslie as leslie
from functrans.scipy.linalg.matrices import pascal as pascal
from functrans.scipy.linalg.matrices import toeplitz as toeplitz
from functrans.scipy.linalg.solving import cho_solve as cho_solve
from functrans.scipy.linalg.solving import det as det
from functrans.scipy.linalg.solving import inv as inv
from functrans.scipy.linalg.solving import lu_solve as lu_solve
from functrans.scipy.linalg.solving import solve as solve
from functrans.scipy.linalg.solving import solve_sylvester as solve_sylvester
from functrans.scipy.linalg.solving import solve_triangular as solve_triangular
