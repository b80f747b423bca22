"""The exceptions that functrans raises for programs it cannot run.

Each docstring holds a program that fails and its mended form; the tests run both. In the programs ``np`` is numpy and
``ft`` is functrans. Each class also derives from the built-in exception that Python or NumPy would have raised, so
that code which catches ``TypeError`` or ``ValueError`` goes on working.
"""

from __future__ import annotations


class FunctransError(Exception):
    """The base of every exception defined here. It is never raised itself: catch it to catch all of them."""


class TreeStructureError(FunctransError, ValueError):
    """Two pytrees that should have had the same structure do not.

    Fails::

        def predict(params):
            return 2.0 * params["w"]

        ft.jvp(predict, ({"w": np.ones(3)},), ({"weights": np.ones(3)},))

    Mended::

        def predict(params):
            return 2.0 * params["w"]

        value, tangent = ft.jvp(predict, ({"w": np.ones(3)},), ({"w": np.ones(3)},))
        assert tangent.tolist() == [2.0, 2.0, 2.0]
    """


class ShapeError(FunctransError, ValueError):
    """Shapes do not fit each other or the operation.

    Fails::

        def loss(w):
            return np.sum(w * np.arange(4.0))

        ft.grad(loss)(np.ones(3))

    Mended::

        def loss(w):
            return np.sum(w[:, None] * np.arange(4.0))

        assert ft.grad(loss)(np.ones(3)).tolist() == [6.0, 6.0, 6.0]
    """


class DTypeError(FunctransError, TypeError):
    """A dtype does not fit the operation.

    Fails::

        def is_odd(x):
            return (x & 1) == 1

        ft.jit(is_odd)(np.arange(3.0))

    Mended::

        def is_odd(x):
            return (x.astype(int) & 1) == 1

        assert ft.jit(is_odd)(np.arange(3.0)).tolist() == [False, True, False]
    """


class ArgumentError(FunctransError, TypeError):
    """An argument is of a kind that the function cannot take.

    Fails::

        def predict(model, x):
            return model["w"] * x if model["kind"] == "linear" else x

        ft.grad(predict)({"w": 2.0, "kind": "linear"}, 3.0)

    Mended::

        def predict(w, kind, x):
            return w * x if kind == "linear" else x

        assert ft.grad(predict)(2.0, "linear", 3.0) == 3.0
    """


class IndexingError(FunctransError, IndexError):
    """An index is out of bounds, or of a kind that cannot be traced.

    Fails::

        def positive_part(x):
            return np.sum(x[x > 0.0])

        ft.jit(positive_part)(np.array([1.0, -2.0, 3.0]))

    Mended::

        def positive_part(x):
            return np.sum(np.where(x > 0.0, x, 0.0))

        assert ft.jit(positive_part)(np.array([1.0, -2.0, 3.0])) == 4.0
    """


class GradientInputError(DTypeError):
    """A derivative was asked with respect to an integer or a boolean.

    Fails::

        def loss(params):
            return np.sum(params["w"] ** 2)

        ft.grad(loss)({"w": np.array([1, 2, 3])})

    Mended::

        def loss(params):
            return np.sum(params["w"] ** 2)

        assert ft.grad(loss)({"w": np.array([1.0, 2.0, 3.0])})["w"].tolist() == [2.0, 4.0, 6.0]
    """


class NonScalarOutputError(FunctransError, TypeError):
    """``grad`` needs a function whose result is one real number.

    Fails::

        def squares(x):
            return x**2

        ft.grad(squares)(np.arange(3.0))

    Mended::

        def squares(x):
            return x**2

        assert ft.grad(lambda x: np.sum(squares(x)))(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
        assert ft.jacobian(squares)(np.arange(3.0)).tolist() == [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0]]
    """


class OutputError(FunctransError, TypeError):
    """A transformed function returned something that is no array.

    Fails::

        def summary(x):
            return {"total": np.sum(x), "unit": "metres"}

        ft.jit(summary)(np.ones(3))

    Mended::

        def summary(x):
            return {"total": np.sum(x)}

        result = {**ft.jit(summary)(np.ones(3)), "unit": "metres"}
        assert result == {"total": 3.0, "unit": "metres"}
    """


class ConcretizationError(FunctransError, TypeError):
    """A traced value was asked for what is inside it, which it does not have while tracing.

    It is raised where a shape or a static argument would depend on the value, and is the base of the more special
    errors ``TracerBoolError``, ``TracerConversionError`` and ``TracerArrayError``.

    Fails::

        power = ft.jit(lambda x, n: x**n, static_argnames="n")
        ft.vmap(lambda x, n: power(x, n))(np.array([2.0, 3.0]), np.array([1, 2]))

    Mended::

        power = ft.jit(lambda x, n: x**n)
        assert ft.vmap(lambda x, n: power(x, n))(np.array([2.0, 3.0]), np.array([1, 2])).tolist() == [2.0, 9.0]
    """


class TracerBoolError(ConcretizationError):
    """A traced value decided a Python branch: ``if``, ``while``, ``and``, ``or``, ``not``, ``assert``, ``bool()``.

    Under ``grad`` and ``jvp`` alone values are known, and branches on them work.

    Fails::

        def leaky(x):
            if np.sum(x) > 0.0:
                return x
            return 0.1 * x

        ft.jit(leaky)(np.array([-2.0, 1.0]))

    Mended::

        def leaky(x):
            return np.where(np.sum(x) > 0.0, x, 0.1 * x)

        assert ft.jit(leaky)(np.array([-2.0, 1.0])).tolist() == [-0.2, 0.1]
    """


class TracerConversionError(ConcretizationError):
    """A traced value was converted to a Python number: ``float()``, ``int()``, ``complex()``, ``.item()``, an index.

    Under ``grad`` the number is known, but what is computed from it would be a constant to the derivative.

    Fails::

        import math

        def decay(t):
            return 3.0 * math.exp(-t)

        ft.grad(decay)(0.0)

    Mended::

        def decay(t):
            return 3.0 * np.exp(-t)

        assert ft.grad(decay)(0.0) == -3.0
    """


class TracerArrayError(ConcretizationError):
    """A traced value was handed to code that needs the contents of a NumPy array.

    Fails::

        def rotated(v):
            return np.array([-v[1], v[0]])

        ft.jit(rotated)(np.array([1.0, 2.0]))

    Mended::

        def rotated(v):
            return np.stack([-v[1], v[0]])

        assert ft.jit(rotated)(np.array([1.0, 2.0])).tolist() == [-2.0, 1.0]
    """


class LeakedTracerError(FunctransError, RuntimeError):
    """A traced value was used after the transformation that made it had ended.

    Fails::

        seen = []

        def loss(x):
            residual = x - 1.0
            seen.append(residual)
            return np.sum(residual**2)

        ft.grad(loss)(np.ones(3))
        print(seen[0] + 1.0)

    Mended::

        def loss(x):
            residual = x - 1.0
            return np.sum(residual**2), residual

        gradient, residual = ft.grad(loss, has_aux=True)(np.ones(3))
        assert residual.tolist() == [0.0, 0.0, 0.0]
    """


class UnhashableStaticError(FunctransError, TypeError, ValueError):
    """A static argument of ``jit`` cannot be hashed.

    Fails::

        polynomial = ft.jit(lambda x, powers: sum(x**p for p in powers), static_argnames="powers")
        polynomial(np.array([2.0]), powers=[1, 2])

    Mended::

        polynomial = ft.jit(lambda x, powers: sum(x**p for p in powers), static_argnames="powers")
        assert polynomial(np.array([2.0]), powers=(1, 2)).tolist() == [6.0]
    """


class StaticArgumentError(FunctransError, TypeError):
    """``static_argnums``, ``static_argnames`` or ``donate_argnums`` does not fit the function's signature.

    Fails::

        def scaled(x, factor):
            return factor * x

        ft.jit(scaled, static_argnames="scale")

    Mended::

        def scaled(x, factor):
            return factor * x

        assert ft.jit(scaled, static_argnames="factor")(2.0, 3.0) == 6.0
    """


class BatchAxisError(FunctransError, ValueError):
    """``in_axes`` or ``out_axes`` of ``vmap`` do not fit the arguments or the results.

    Fails::

        def predict(w, x):
            return np.dot(w, x)

        ft.vmap(predict)(np.ones(2), np.ones((5, 2)))

    Mended::

        def predict(w, x):
            return np.dot(w, x)

        assert ft.vmap(predict, in_axes=(None, 0))(np.ones(2), np.ones((5, 2))).tolist() == [2.0] * 5
    """


class MissingRuleError(FunctransError, NotImplementedError):
    """A primitive has no rule for the transformation that met it, or there is no primitive for a NumPy function.

    Fails::

        from functrans.core.primitive import Primitive

        double_p = Primitive("double", shape=lambda x: x, impl=lambda xp, x: 2 * x)
        ft.grad(lambda x: double_p.bind(x))(3.0)

    Mended::

        from functrans.core.primitive import Primitive

        double_p = Primitive(
            "double",
            shape=lambda x: x,
            impl=lambda xp, x: 2 * x,
            jvp=lambda primals, tangents: (double_p.bind(*primals), double_p.bind(*tangents)),
            transpose=lambda cotangent, x: [double_p.bind(cotangent)],
        )
        assert ft.grad(lambda x: double_p.bind(x))(3.0) == 2.0
    """


class NotDifferentiableError(FunctransError, TypeError):
    """An operation has no derivative with respect to an argument that needs one.

    Fails::

        from functrans.core.primitive import Primitive

        digits_p = Primitive(
            "digits",
            shape=lambda x: x,
            impl=lambda xp, x: float(len(str(x))),
            not_differentiable="the length of a decimal expansion jumps everywhere",
        )
        ft.grad(lambda x: x * digits_p.bind(x))(0.25)

    Mended::

        from functrans.core.primitive import Primitive

        digits_p = Primitive(
            "digits",
            shape=lambda x: x,
            impl=lambda xp, x: float(len(str(x))),
            not_differentiable="the length of a decimal expansion jumps everywhere",
        )
        assert ft.grad(lambda x: x * digits_p.bind(ft.stop_gradient(x)))(0.25) == 4.0
    """


class MutatedResidualError(FunctransError, ValueError):
    """An array was written to while a derivative that needs its old contents was pending.

    Small arrays are copied, so that writing to them is harmless; large ones are read-only until the gradient is
    there.

    Fails::

        weight = np.ones(200_000)

        def loss(x):
            y = x * weight
            weight[:] = 5.0
            return np.sum(y)

        ft.grad(loss)(np.zeros(200_000))

    Mended::

        weight = np.ones(200_000)

        def loss(x):
            y = x * weight
            updated = np.full_like(weight, 5.0)
            return np.sum(y), updated

        gradient, weight = ft.grad(loss, has_aux=True)(np.zeros(200_000))
        assert gradient.tolist() == [1.0] * 200_000 and weight[0] == 5.0
    """


class DetachedWriteError(FunctransError, TypeError):
    """A traced value was written into an array, which would lose its derivative.

    Fails::

        def loss(x):
            table = np.ones((2, 3))
            row = table[0]
            row += x
            return np.sum(table)

        ft.grad(loss)(np.zeros(3))

    Mended::

        def loss(x):
            table = ft.numpy.at(np.ones((2, 3)))[0].add(x)
            return np.sum(table)

        assert ft.grad(loss)(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    """


class MixedArraysError(FunctransError, TypeError):
    """NumPy and CuPy arrays met in one operation. Nothing is transferred between host and device unasked.

    Fails::

        import cupy

        ft.jit(lambda x, y: x + y)(cupy.asarray(np.ones(3)), np.ones(3))

    Mended::

        import cupy

        total = ft.jit(lambda x, y: x + y)(cupy.asarray(np.ones(3)), cupy.asarray(np.ones(3)))
        assert total.get().tolist() == [2.0, 2.0, 2.0]
    """


class NonFiniteError(FunctransError, FloatingPointError):
    """``debug_nans`` or ``debug_infs`` found a NaN or an infinity.

    Fails::

        def entropy(p):
            return -np.sum(p * np.log(p))

        with ft.debug_nans():
            ft.jit(entropy)(np.array([0.0, 1.0]))

    Mended::

        def entropy(p):
            safe = np.where(p > 0.0, p, 1.0)
            return -np.sum(p * np.log(safe))

        with ft.debug_nans():
            assert ft.jit(entropy)(np.array([0.0, 1.0])) == 0.0
    """


class CustomRuleError(FunctransError, TypeError):
    """The rule given to ``custom_jvp`` or ``custom_vjp`` returned something that does not fit the function.

    Fails::

        @ft.custom_vjp
        def clipped(x):
            return x

        clipped.defvjp(lambda x: (x, None), lambda residuals, ct: np.clip(ct, -1.0, 1.0))
        ft.grad(lambda x: 5.0 * clipped(x))(2.0)

    Mended::

        @ft.custom_vjp
        def clipped(x):
            return x

        clipped.defvjp(lambda x: (x, None), lambda residuals, ct: (np.clip(ct, -1.0, 1.0),))
        assert ft.grad(lambda x: 5.0 * clipped(x))(2.0) == 1.0
    """


class NaNGradientWarning(RuntimeWarning):
    """A gradient is NaN although the function's arguments and its value are finite.

    ``functrans.grad`` says so once, and names the line whose derivative made the NaN. Most often the line stands in a
    branch of ``where`` that is not chosen there; ``functrans.safe_where`` is the mend. ``functrans.config`` has the
    setting ``diagnose_nan_gradients``, which switches the search off, and on again after a warning.
    """


class MissingBackendError(FunctransError, ImportError):
    """A backend was asked for that is not there, or whose package is not installed.

    Fails::

        ft.jit(lambda x: 2.0 * x, backend="abacus")

    Mended::

        assert ft.jit(lambda x: 2.0 * x, backend="numpy")(3.0) == 6.0
    """


class MissingExtraError(FunctransError, ImportError):
    """Something comes from an optional package that is not installed.

    Fails::

        import sys
        from unittest import mock

        with mock.patch.dict(sys.modules, {"ml_dtypes": None}):  # as if it were not installed
            ft.numpy.bfloat16

    Mended::

        # after pip install functrans[dtypes]
        assert np.ones(2, ft.numpy.bfloat16).itemsize == 2
    """


class JaxprError(FunctransError, ValueError):
    """A jaxpr is not well formed, or its text cannot be read.

    Fails::

        from functrans.core.check import check
        from functrans.core.parser import from_text

        check(from_text("{ lambda ; a:f64[3] . let b:f64[4] = add a 1.0 in (b,) }"))

    Mended::

        from functrans.core.check import check
        from functrans.core.evaluate import evaluate
        from functrans.core.parser import from_text

        jaxpr = from_text("{ lambda ; a:f64[3] . let b:f64[3] = add a 1.0 in (b,) }")
        check(jaxpr)
        assert evaluate(jaxpr, [np.zeros(3)])[0].tolist() == [1.0, 1.0, 1.0]
    """


class ExportError(FunctransError, ValueError):
    """A function cannot be saved as a program, or bytes cannot be read as one.

    Fails::

        from functrans import export

        def logged(x):
            ft.debug.callback(print, x)
            return np.sin(x)

        export.export(logged)(np.ones(3))

    Mended::

        from functrans import export

        exported = export.export(np.sin)(np.ones(3))
        assert export.loads(exported.dumps())(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    """


class AbsentNameError(FunctransError, AttributeError):
    """A name that other array libraries have and this one has not, for a reason that the message gives.

    Fails::

        with ft.default_matmul_precision("float32"):
            ft.jit(np.dot)(np.ones(3), np.ones(3))

    Mended::

        x = np.ones(3).astype(np.float32)
        assert ft.jit(np.dot)(x, x).dtype == np.float32
    """


class KeyReuseError(FunctransError, RuntimeError):
    """A random key was used twice, so that the samples are not independent; see ``functrans.debug_key_reuse``.

    Fails::

        with ft.debug_key_reuse():
            key = ft.random.key(0)
            x = ft.random.normal(key, (3,))
            noise = ft.random.normal(key, (3,))

    Mended::

        with ft.debug_key_reuse():
            key, subkey = ft.random.split(ft.random.key(0))
            x = ft.random.normal(subkey, (3,))
            key, subkey = ft.random.split(key)
            noise = ft.random.normal(subkey, (3,))
        assert x[0] != noise[0]
    """


class PathLimitError(FunctransError, RuntimeError):
    """A function compiled with ``jit(f, specialize=N)`` took more than ``N`` paths through its branches.

    Fails::

        @ft.jit(specialize=2)
        def halved(x):
            while x > 1.0:
                x = x / 2.0
            return x

        [halved(float(2**k)) for k in range(8)]

    Mended::

        @ft.jit
        def halved(x):
            return ft.lax.while_loop(lambda x: x > 1.0, lambda x: x / 2.0, x)

        assert [halved(float(2**k)) for k in range(8)] == [1.0] * 8
    """


class OrderedEffectError(FunctransError, ValueError):
    """An effect whose order matters met ``vmap``, where the examples of a batch have no order.

    Fails::

        def traced_square(x):
            ft.debug.print("x = {}", x, ordered=True)
            return x**2

        ft.vmap(traced_square)(np.arange(3.0))

    Mended::

        def traced_square(x):
            ft.debug.print("x = {}", x)
            return x**2

        assert ft.vmap(traced_square)(np.arange(3.0)).tolist() == [0.0, 1.0, 4.0]
    """


class AxisNameError(FunctransError, NameError):
    """A collective operation names an axis that no ``vmap`` around it has.

    Fails::

        def centred(x):
            return x - ft.lax.pmean(x, "batch")

        ft.vmap(centred)(np.array([1.0, 3.0]))

    Mended::

        def centred(x):
            return x - ft.lax.pmean(x, "batch")

        assert ft.vmap(centred, axis_name="batch")(np.array([1.0, 3.0])).tolist() == [-1.0, 1.0]
    """


class RandomStateError(FunctransError, RuntimeError):
    """NumPy's global random state was used while tracing, which would freeze the sample.

    Fails::

        def noisy(x):
            return x + np.random.normal(size=3)

        ft.jit(noisy)(np.zeros(3))

    Mended::

        def noisy(x, noise):
            return x + noise

        rng = np.random.default_rng(0)
        sample = rng.normal(size=3)
        assert ft.jit(noisy)(np.zeros(3), sample).tolist() == sample.tolist()
    """
