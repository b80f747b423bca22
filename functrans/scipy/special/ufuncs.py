"""The ufuncs of ``scipy.special`` that can be traced, a row each.

Where nothing is being transformed they are SciPy's own, if SciPy is installed. Under a transformation, and without
SciPy, they are the primitives of ``functrans.lax.special``, with the dtypes that SciPy's loops have.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

import functrans.lax.special.distributions
import functrans.lax.special.hypergeometric
import functrans.lax.special.integrals
import functrans.lax.special.table  # noqa: F401 - defines primitives
from functrans import lax
from functrans.core import dtypes
from functrans.core.avals import is_device_array
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of
from functrans.lax.special.define import FLOAT32, FLOAT64, Function, primitives
from functrans.numpy.dispatch import operand
from functrans.numpy.ufuncs import Ufunc, loop
from functrans.scipy.library import installed

by_name: dict[str, SpecialUfunc] = {}
"""Our function for each ufunc of SciPy, by the ufunc's name."""


class _Late:
    """Stands for a ufunc of SciPy, which is imported when first used, or for one like it where SciPy is missing."""

    signature = None
    identity = None

    def __init__(self, name: str, nin: int, nout: int) -> None:
        self.__name__ = name
        self.nin, self.nout, self.nargs = nin, nout, nin + nout

    def found(self) -> Any:
        module = "scipy.special._ufuncs" if self.__name__.startswith("_") else "scipy.special"
        return getattr(installed(module), self.__name__, None)

    def __call__(self, *args: Any, where: Any = True, casting: Any = "same_kind", **kwargs: Any) -> Any:
        ufunc = self.found()
        if ufunc is None or any(is_device_array(a) for a in args):
            return by_name[self.__name__].apply(*args, where=where, casting=casting, **kwargs)
        return ufunc(*args, where=where, casting=casting, **kwargs)

    def outer(self, *args: Any, **kwargs: Any) -> Any:
        ufunc = self.found()
        return np.frompyfunc(self, 2, 1).outer(*args, **kwargs) if ufunc is None else ufunc.outer(*args, **kwargs)

    def resolve_dtypes(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """SciPy's loop; without SciPy, single precision where it holds all operands, else double."""
        ufunc = self.found()
        if ufunc is not None:
            return tuple(ufunc.resolve_dtypes(operands))
        common = dtypes.result_type(*operands[: self.nin])
        narrow = np.dtype(np.complex64 if common.kind == "c" else np.float32)
        wide = np.dtype(np.complex128 if common.kind == "c" else np.float64)
        return ((narrow if np.can_cast(common, narrow) else wide),) * self.nargs


class SpecialUfunc(Ufunc):
    """A function of ``scipy.special``, element by element.

    Args:
        name: SciPy's.
        function: the traced form, of floats of one dtype; the primitive of that name if None.
        nin: how many operands it has.
        floats: whether the traced form takes floats; if not, they become complex.
    """

    def __init__(self, name: str, function: Function | None = None, nin: int = 1, floats: bool = True) -> None:
        nout = 1
        if function is None:
            prim, nin = primitives[name]
            function = prim.bind
            nout = len(prim.shape(*[aval_of(np.float64(0.5))] * nin)) if prim.multiple else 1
        self.function = function
        self.floats = (FLOAT32, FLOAT64) if floats else ()
        super().__init__(cast(Any, _Late(name, nin, nout)), self._one_dtype, name)
        self.__doc__ = f"``scipy.special.{name}``, which see, with derivatives."
        by_name[name] = self

    def apply(self, *args: Any, **options: Any) -> Any:
        """The traced form: all operands in the dtype of the result of SciPy's loop."""
        if len(args) == self.nin:
            operands = [x if isinstance(x, Tracer) else operand(x, self.__name__) for x in args]
            avals = [aval_of(x) for x in operands]
            first = avals[0].dtype
            if first not in self.floats or any(a.dtype != first or a.weak for a in avals):
                out = loop(self.original, avals)[self.nin]
                operands = [convert(x, out) for x in operands]
            args = tuple(operands)
        return super().apply(*args, **options)

    def _one_dtype(self, *operands: Any) -> Any:
        out = self.function(*operands)
        return tuple(out) if isinstance(out, list) else out


agm = SpecialUfunc("agm")
airy = SpecialUfunc("airy")
bdtr = SpecialUfunc("bdtr")
bdtrc = SpecialUfunc("bdtrc")
bei = SpecialUfunc("bei")
beip = SpecialUfunc("beip")
ber = SpecialUfunc("ber")
berp = SpecialUfunc("berp")
beta = SpecialUfunc("beta")
betainc = SpecialUfunc("betainc")
betaincc = SpecialUfunc("betaincc")
betainccinv = SpecialUfunc("betainccinv")
betaincinv = SpecialUfunc("betaincinv")
betaln = SpecialUfunc("betaln")
binom = SpecialUfunc("binom")
boxcox = SpecialUfunc("boxcox")
boxcox1p = SpecialUfunc("boxcox1p")
cbrt = SpecialUfunc("cbrt", lax.cbrt)
chdtr = SpecialUfunc("chdtr")
chdtrc = SpecialUfunc("chdtrc")
chdtri = SpecialUfunc("chdtri")
cosdg = SpecialUfunc("cosdg")
cosm1 = SpecialUfunc("cosm1")
cotdg = SpecialUfunc("cotdg")
dawsn = SpecialUfunc("dawsn")
ellipe = SpecialUfunc("ellipe")
ellipeinc = SpecialUfunc("ellipeinc")
ellipk = SpecialUfunc("ellipk")
ellipkinc = SpecialUfunc("ellipkinc")
ellipkm1 = SpecialUfunc("ellipkm1")
entr = SpecialUfunc("entr")
erf = SpecialUfunc("erf", lax.erf)
erfc = SpecialUfunc("erfc", lax.erfc)
erfcinv = SpecialUfunc("erfcinv")
erfcx = SpecialUfunc("erfcx")
erfi = SpecialUfunc("erfi")
erfinv = SpecialUfunc("erfinv")
eval_chebyt = SpecialUfunc("eval_chebyt")
eval_chebyu = SpecialUfunc("eval_chebyu")
eval_gegenbauer = SpecialUfunc("eval_gegenbauer")
eval_genlaguerre = SpecialUfunc("eval_genlaguerre")
eval_hermite = SpecialUfunc("eval_hermite")
eval_hermitenorm = SpecialUfunc("eval_hermitenorm")
eval_jacobi = SpecialUfunc("eval_jacobi")
eval_laguerre = SpecialUfunc("eval_laguerre")
eval_legendre = SpecialUfunc("eval_legendre")
exp1 = SpecialUfunc("exp1")
exp10 = SpecialUfunc("exp10")
exp2 = SpecialUfunc("exp2", lax.exp2)
expi = SpecialUfunc("expi")
expit = SpecialUfunc("expit", lax.logistic)
expm1 = SpecialUfunc("expm1", lax.expm1)
expn = SpecialUfunc("expn")
exprel = SpecialUfunc("exprel")
fdtr = SpecialUfunc("fdtr")
fdtrc = SpecialUfunc("fdtrc")
fdtri = SpecialUfunc("fdtri")
fresnel = SpecialUfunc("fresnel")
gamma = SpecialUfunc("gamma")
gammainc = SpecialUfunc("gammainc")
gammaincc = SpecialUfunc("gammaincc")
gammainccinv = SpecialUfunc("gammainccinv")
gammaincinv = SpecialUfunc("gammaincinv")
gammaln = SpecialUfunc("gammaln")
gammasgn = SpecialUfunc("gammasgn")
gdtr = SpecialUfunc("gdtr")
gdtrc = SpecialUfunc("gdtrc")
gdtrix = SpecialUfunc("gdtrix")
huber = SpecialUfunc("huber")
hyp0f1 = SpecialUfunc("hyp0f1")
hyp1f1 = SpecialUfunc("hyp1f1")
hyp2f1 = SpecialUfunc("hyp2f1")
hyperu = SpecialUfunc("hyperu")
i0 = SpecialUfunc("i0")
i0e = SpecialUfunc("i0e")
i1 = SpecialUfunc("i1")
i1e = SpecialUfunc("i1e")
inv_boxcox = SpecialUfunc("inv_boxcox")
inv_boxcox1p = SpecialUfunc("inv_boxcox1p")
iv = SpecialUfunc("iv")
ive = SpecialUfunc("ive")
j0 = SpecialUfunc("j0")
j1 = SpecialUfunc("j1")
jv = SpecialUfunc("jv")
jve = SpecialUfunc("jve")
k0 = SpecialUfunc("k0")
k0e = SpecialUfunc("k0e")
k1 = SpecialUfunc("k1")
k1e = SpecialUfunc("k1e")
kei = SpecialUfunc("kei")
keip = SpecialUfunc("keip")
ker = SpecialUfunc("ker")
kerp = SpecialUfunc("kerp")
kl_div = SpecialUfunc("kl_div")
kn = SpecialUfunc("kn")
kv = SpecialUfunc("kv")
kve = SpecialUfunc("kve")
log1p = SpecialUfunc("log1p", lax.log1p)
log_expit = SpecialUfunc("log_expit")
log_ndtr = SpecialUfunc("log_ndtr")
loggamma = SpecialUfunc("loggamma")
logit = SpecialUfunc("logit")
modstruve = SpecialUfunc("modstruve")
nbdtr = SpecialUfunc("nbdtr")
nbdtrc = SpecialUfunc("nbdtrc")
ndtr = SpecialUfunc("ndtr")
ndtri = SpecialUfunc("ndtri")
ndtri_exp = SpecialUfunc("ndtri_exp")
owens_t = SpecialUfunc("owens_t")
pdtr = SpecialUfunc("pdtr")
pdtrc = SpecialUfunc("pdtrc")
poch = SpecialUfunc("poch")
powm1 = SpecialUfunc("powm1")
pseudo_huber = SpecialUfunc("pseudo_huber")
psi = SpecialUfunc("psi")
rel_entr = SpecialUfunc("rel_entr")
rgamma = SpecialUfunc("rgamma")
shichi = SpecialUfunc("shichi")
sici = SpecialUfunc("sici")
sindg = SpecialUfunc("sindg")
spence = SpecialUfunc("spence")
stdtr = SpecialUfunc("stdtr")
stdtrit = SpecialUfunc("stdtrit")
struve = SpecialUfunc("struve")
tandg = SpecialUfunc("tandg")
tklmbda = SpecialUfunc("tklmbda")
voigt_profile = SpecialUfunc("voigt_profile")
wofz = SpecialUfunc("wofz", floats=False)
xlog1py = SpecialUfunc("xlog1py")
xlogy = SpecialUfunc("xlogy")
y0 = SpecialUfunc("y0")
y1 = SpecialUfunc("y1")
yn = SpecialUfunc("yn")
yv = SpecialUfunc("yv")
yve = SpecialUfunc("yve")
zetac = SpecialUfunc("zetac")

digamma = psi
jn = jv

SpecialUfunc("_zeta", primitives["_zeta"][0].bind, 2)
SpecialUfunc("_riemann_zeta", lambda s: lax.add(primitives["zetac"][0].bind(s), 1.0))
SpecialUfunc("_lambertw", lambda z, k, tol: primitives["_lambertw"][0].bind(z, k), 3)
