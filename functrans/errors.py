"""The exceptions that functrans raises for programs it cannot run. Each docstring holds a failing program and its mend."""

from __future__ import annotations


class FunctransError(Exception):
    """The base of every exception defined here."""


class TreeStructureError(FunctransError, ValueError):
    """Two pytrees that should have had the same structure do not."""


class ShapeError(FunctransError, ValueError):
    """Shapes do not fit each other or the operation."""


class DTypeError(FunctransError, TypeError):
    """A dtype does not fit the operation."""


class ArgumentError(FunctransError, TypeError):
    """An argument is of a kind that the function cannot take."""


class IndexingError(FunctransError, IndexError):
    """An index is out of bounds, or of a kind that cannot be traced."""


class GradientInputError(DTypeError):
    """A derivative was asked with respect to an integer or a boolean."""


class NonScalarOutputError(FunctransError, TypeError):
    """``grad`` needs a function whose result is one real number."""


class OutputError(FunctransError, TypeError):
    """A transformed function returned something that is no array."""


class ConcretizationError(FunctransError, TypeError):
    """A traced value was asked for the number inside it, which it does not have while tracing."""


class TracerBoolError(ConcretizationError):
    """A traced value decided a Python branch: ``if``, ``while``, ``and``, ``or``, ``not``, ``assert``."""


class TracerConversionError(ConcretizationError):
    """A traced value was converted to a Python number: ``float()``, ``int()``, ``complex()``, an index."""


class TracerArrayError(ConcretizationError):
    """A traced value was handed to code that needs the contents of a NumPy array."""


class LeakedTracerError(FunctransError, RuntimeError):
    """A traced value was used after the transformation that made it had ended."""


class UnhashableStaticError(FunctransError, TypeError, ValueError):
    """A static argument of ``jit`` cannot be hashed."""


class StaticArgumentError(FunctransError, TypeError):
    """``static_argnums``, ``static_argnames`` or ``donate_argnums`` does not fit the function's signature."""


class BatchAxisError(FunctransError, ValueError):
    """``in_axes`` or ``out_axes`` of ``vmap`` do not fit the arguments or the results."""


class MissingRuleError(FunctransError, NotImplementedError):
    """A primitive has no rule for the transformation that met it."""


class NotDifferentiableError(FunctransError, TypeError):
    """An operation has no derivative with respect to an argument that needs one."""


class MutatedResidualError(FunctransError, ValueError):
    """An array was written to while a derivative that needs its old contents was pending."""


class DetachedWriteError(FunctransError, TypeError):
    """A traced value was written into a concrete array, which would lose its derivative."""


class MixedArraysError(FunctransError, TypeError):
    """NumPy and CuPy arrays met in one operation."""


class NonFiniteError(FunctransError, FloatingPointError):
    """``debug_nans`` or ``debug_infs`` found a NaN or an infinity."""


class CustomRuleError(FunctransError, TypeError):
    """The rule given to ``custom_jvp`` or ``custom_vjp`` returned something that does not fit the function."""


class MissingBackendError(FunctransError, ImportError):
    """A backend was asked for that is not there, or whose package is not installed."""


class JaxprError(FunctransError, ValueError):
    """A jaxpr is not well formed, or its text cannot be read."""


class RandomStateError(FunctransError, RuntimeError):
    """NumPy's global random state was used while tracing, which would freeze the sample."""
