"""A NumPy-compatible namespace: NumPy itself where nothing is transformed, traced under a transformation."""

import sys as _sys

from functrans.numpy import dispatch as _dispatch
from functrans.numpy import operators as _operators

_dispatch.namespace[:] = [_sys.modules[__name__]]
_operators.install()
