"""NumPy programs that fill arrays in place, transformed as they stand. ``decorator`` is where to start reading.

A decorated function is rebuilt (``rebind``) with stand-ins for NumPy (``namespaces``, ``specials``, ``mathematics``)
among its globals; values come in and leave through ``entry``. Its arrays are buffers (``buffer``, ``members``) over
storages (``storage``), and ``calls`` says what NumPy's functions do with them.
"""

from functrans.numpy.code import members as _members
from functrans.numpy.code.decorator import numpy_code as numpy_code

_members.install()
