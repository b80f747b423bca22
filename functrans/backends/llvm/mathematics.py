"""Elementary functions as straight lines of vector operations.

Greatest error found against extended precision, in units of the last place, over 480,000 random arguments of every
magnitude and the neighbourhoods of the thresholds, on a machine that fuses products and sums:

========  =======  =======
function  float64  float32
========  =======  =======
exp          0.97     0.96
exp2         0.97     0.97
expm1        1.79     1.39
log          0.80     0.84
log1p        0.86     0.83
log2         0.88     0.87
log10        0.78     0.81
sin, cos     0.77     0.51
tan          2.02     0.51
tanh         2.49     2.46
========  =======  =======

Zeros keep their sign, infinities and NaN give what NumPy gives, subnormal arguments and results are right. ``sin``,
``cos`` and ``tan`` hold for arguments of any size: those above 2**20 are reduced with as many digits of 2/pi as it
takes (Payne and Hanek, 1983). They need a machine with fused products, the others do not.

The logarithm's form ``f - s * (f - R)`` with ``s = f / (2 + f)`` and the polynomials of sine and cosine are those of
fdlibm (Sun Microsystems, 1993) and, for float32, of FreeBSD's msun. The exponential's polynomials are minimax fits of
``(exp(r) - 1 - r) / r**2`` over ``|r| <= log(2) / 2``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from functrans.backends.llvm.builder import BITS, Builder, V

_EXP = {
    "double": (
        0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326141, 0.0013888888888883752,
        0.00019841269874800493, 2.4801587325533363e-05, 2.7557255425746435e-06, 2.7557273661348637e-07,
        2.510520637395701e-08, 2.0914679376583935e-09,
    ),
    "float": (
        0.5000000013457727, 0.16666666681614256, 0.04166646500604005, 0.008333310934448869, 0.0013933641031986701,
        0.00019890980869750327,
    ),
}  # fmt: skip
_LN2 = {"double": (0.6931471803691238, 1.9082149292705877e-10), "float": (0.693145751953125, 1.42860682030941723212e-6)}
_LOG = {
    "double": (
        6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
        1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
    ),
    "float": (0.66666662693023681640625, 0.400009721517562866, 0.284987866878509521, 0.242790788412094116),
}  # fmt: skip
_SINE = (
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04, 2.75573137070700676789e-06,
    -2.50507602534068634195e-08, 1.58969099521155010221e-10,
)  # fmt: skip
_COSINE = (
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05, -2.75573143513906633035e-07,
    2.08757232129817482790e-09, -1.13596475577881948265e-11,
)  # fmt: skip
_SINE_SHORT = (
    -0.166666666416265235595,
    0.0083333293858894631756,
    -0.000198393348360966317347,
    2.7183114939898219064e-06,
)
_COSINE_SHORT = (
    -0.499999997251031003120, 0.0416666233237390631894, -0.00138867637746099294692, 0.0000243904487962774090654,
)  # fmt: skip
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)
_LARGE = 2.0**20


def integer(ty: str) -> str:
    """The integer type of the same width."""
    return f"i{BITS[ty]}"


def polynomial(b: Builder, x: V, coefficients: Sequence[float]) -> V:
    """The polynomial with the coefficients of ascending powers, by Horner's rule."""
    value = b.like(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        value = b.muladd(value, x, b.like(c, x))
    return value


def _bits(b: Builder, x: V) -> V:
    return b.cast("bitcast", x, integer(x.ty))


def _shift(ty: str) -> int:
    return 52 if ty == "double" else 23


def power_of_two(b: Builder, n: V) -> V:
    """``2**n`` for integral ``n`` in the range of normal exponents."""
    magic, bias = (6755399441055744.0, 1023) if n.ty == "double" else (12582912.0, 127)
    bits = _bits(b, b.add(n, b.like(magic + bias, n)))
    return b.cast("bitcast", b.op("shl", bits, b.like(_shift(n.ty), bits)), n.ty)


def _reduced_exponential(b: Builder, x: V) -> tuple[V, V]:
    """``n`` and ``exp(x - n log 2) - 1``."""
    n = b.call("rint", b.mul(x, b.like(1 / math.log(2), x)))
    high, low = _LN2[x.ty]
    r = b.muladd(n, b.like(-low, x), b.muladd(n, b.like(-high, x), x))
    return n, _expm1_small(b, r)


def _expm1_small(b: Builder, r: V) -> V:
    return b.muladd(b.mul(r, r), polynomial(b, r, _EXP[r.ty]), r)


def _between(b: Builder, x: V, low: float, high: float) -> V:
    x = b.select(b.compare("olt", x, b.like(low, x)), b.like(low, x), x)
    return b.select(b.compare("ogt", x, b.like(high, x)), b.like(high, x), x)


def _scaled(b: Builder, n: V, p: V) -> V:
    """``2**n * (1 + p)``, in two steps, since ``2**n`` alone may be out of range."""
    half = b.call("rint", b.mul(n, b.like(0.5, n)))
    first, second = power_of_two(b, half), power_of_two(b, b.sub(n, half))
    return b.mul(b.muladd(first, p, first), second)


def exp(b: Builder, x: V) -> V:
    x = _between(b, x, *((-746.0, 710.0) if x.ty == "double" else (-104.5, 89.0)))
    return _scaled(b, *_reduced_exponential(b, x))


def exp2(b: Builder, x: V) -> V:
    x = _between(b, x, *((-1077.0, 1025.0) if x.ty == "double" else (-152.0, 129.0)))
    n = b.call("rint", x)
    f = b.sub(x, n)
    high = math.log(2)
    low = 2.3190468138462996e-17
    if x.ty == "float":
        high, low = 0.6931471824645996, -1.904654323148236e-09
    r = b.muladd(f, b.like(high, x), b.mul(f, b.like(low, x)))
    return _scaled(b, n, _expm1_small(b, r))


def expm1(b: Builder, x: V) -> V:
    x = _between(b, x, *((-40.0, 710.0) if x.ty == "double" else (-20.0, 89.0)))
    n, p = _reduced_exponential(b, x)
    half = power_of_two(b, b.sub(n, b.like(1.0, n)))
    y = b.muladd(half, p, b.sub(half, b.like(0.5, half)))
    return b.call("copysign", b.add(y, y), x)


def tanh(b: Builder, x: V) -> V:
    limit = b.like(20.0 if x.ty == "double" else 10.0, x)
    a = b.call("fabs", x)
    a = b.select(b.compare("ogt", a, limit), limit, a)
    n, p = _reduced_exponential(b, b.mul(a, b.like(-2.0, a)))
    s = power_of_two(b, n)
    em = b.muladd(s, p, b.sub(s, b.like(1.0, s)))
    return b.call("copysign", b.div(b.neg(em), b.add(em, b.like(2.0, em))), x)


# -- logarithms -------------------------------------------------------------------------------------------------------


def _split(b: Builder, x: V) -> tuple[V, V]:
    """``e`` and ``f`` with ``x = 2**e * (1 + f)`` and ``1 + f`` about 1, for positive normal ``x``."""
    bits = _bits(b, x)
    start = 0x3FE6A09E667F3BCD if x.ty == "double" else 0x3F3504F3
    shift = b.like(_shift(x.ty), bits)
    exponent = b.op("ashr", b.sub(bits, b.like(start, bits)), shift)
    mantissa = b.cast("bitcast", b.sub(bits, b.op("shl", exponent, shift)), x.ty)
    return b.cast("sitofp", exponent, x.ty), b.sub(mantissa, b.like(1.0, mantissa))


def _normal(b: Builder, x: V) -> tuple[V, V]:
    """A positive number scaled to a normal one, and what its exponent is too large by."""
    least, by = (2.2250738585072014e-308, 54) if x.ty == "double" else (1.1754943508222875e-38, 25)
    small = b.compare("olt", x, b.like(least, x))
    scaled = b.select(small, b.mul(x, b.like(2.0**by, x)), x)
    return scaled, b.select(small, b.like(float(by), x), b.like(0.0, x))


def _log1p_parts(b: Builder, f: V) -> tuple[V, V]:
    """``s`` and ``R`` with ``log(1 + f) = f - s * (f - R)``."""
    s = b.div(f, b.add(f, b.like(2.0, f)))
    z = b.mul(s, s)
    return s, b.mul(z, polynomial(b, z, _LOG[f.ty]))


def _log_ends(b: Builder, x: V, y: V) -> V:
    """What a logarithm is where its argument is not positive and finite."""
    y = b.select(b.compare("oeq", x, b.like(0.0, x)), b.like(-math.inf, x), y)
    y = b.select(b.compare("ult", x, b.like(0.0, x)), b.like(math.nan, x), y)
    return b.select(b.compare("oeq", x, b.like(math.inf, x)), x, y)


def log(b: Builder, x: V) -> V:
    scaled, by = _normal(b, x)
    e, f = _split(b, scaled)
    e = b.sub(e, by)
    s, r = _log1p_parts(b, f)
    high, low = _LN2[x.ty]
    t = b.muladd(e, b.like(low, x), b.mul(s, b.sub(r, f)))
    return _log_ends(b, x, b.muladd(e, b.like(high, x), b.add(f, t)))


def _log_to(b: Builder, x: V, scale: tuple[float, float], unit: tuple[float, float]) -> V:
    """``e * unit + log(1 + f) * scale``, with both factors as sums of two numbers."""
    scaled, by = _normal(b, x)
    e, f = _split(b, scaled)
    e = b.sub(e, by)
    s, r = _log1p_parts(b, f)
    t = b.mul(s, b.sub(f, r))
    high = b.sub(f, t)
    low = b.sub(b.sub(f, high), t)
    # The leading half of the bits, so that its product with the leading half of the scale is exact.
    mask = 0xFFFFFFFF00000000 if x.ty == "double" else 0xFFFFF000
    bits = _bits(b, high)
    head = b.cast("bitcast", b.op("and", bits, V(f"splat ({bits.ty} {mask - (1 << BITS[x.ty])})", bits.ty, x.w)), x.ty)
    tail = b.add(b.sub(high, head), low)
    top = b.mul(head, b.like(scale[0], x))
    rest = b.muladd(tail, b.like(scale[0], x), b.mul(b.add(head, tail), b.like(scale[1], x)))
    whole = b.mul(e, b.like(unit[0], x))
    rest = b.muladd(e, b.like(unit[1], x), rest) if unit[1] else rest
    total = b.add(whole, top)
    nonzero = b.compare("one", e, b.like(0.0, x))
    error = b.add(b.sub(whole, total), top)
    error = b.select(nonzero, error, b.like(0.0, x))
    return _log_ends(b, x, b.add(total, b.add(error, rest)))


def log2(b: Builder, x: V) -> V:
    if x.ty == "double":
        return _log_to(b, x, (1.44269504072144627571e00, 1.67517131648865118353e-10), (1.0, 0.0))
    return _log_to(b, x, (1.4428710938e00, -1.7605285393e-04), (1.0, 0.0))


def log10(b: Builder, x: V) -> V:
    if x.ty == "double":
        scale = (4.34294481878168880939e-01, 2.50829467116452752298e-11)
        return _log_to(b, x, scale, (3.01029995663611771306e-01, 3.69423907715893078616e-13))
    return _log_to(b, x, (4.3432617188e-01, -3.1689971365e-05), (3.0102920532e-01, 7.9034151668e-07))


def log1p(b: Builder, x: V) -> V:
    u = b.add(x, b.like(1.0, x))
    e, f = _split(b, u)
    large = b.compare("ogt", u, b.like(2.0, u))
    error = b.select(large, b.sub(b.like(1.0, u), b.sub(u, x)), b.sub(x, b.sub(u, b.like(1.0, u))))
    s, r = _log1p_parts(b, f)
    high, low = _LN2[x.ty]
    t = b.add(b.mul(s, b.sub(r, f)), b.muladd(e, b.like(low, x), b.div(error, u)))
    y = b.muladd(e, b.like(high, x), b.add(f, t))
    return b.call("copysign", _ends_of_log1p(b, x, u, y), x)


def _ends_of_log1p(b: Builder, x: V, u: V, y: V) -> V:
    tiny = b.compare("olt", b.call("fabs", x), b.like(2.0**-54 if x.ty == "double" else 2.0**-25, x))
    return b.select(tiny, x, _log_ends(b, u, y))


# -- sine and cosine --------------------------------------------------------------------------------------------------


def _two_over_pi(words: int) -> list[int]:
    """The first 64-bit words of 2/pi, after one of zeros."""
    bits = 64 * words + 64

    def arctangent_of_inverse(n: int) -> int:
        term = total = (1 << bits) // n
        k = 1
        while term:
            term //= -n * n
            k += 2
            total += term // k
        return total

    pi = 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
    value = (2 << (2 * bits)) // pi >> 64
    return [0, *[(value >> (64 * (words - 1 - k))) & (2**64 - 1) for k in range(words)]]


def _reduction_helper(b: Builder, w: int) -> str:
    """The function that reduces the lanes of more than ``_LARGE`` by pi/2, and leaves the others as they are."""
    name = f"reduce_large_{w}"
    if name in b.helpers:
        return name
    words = _two_over_pi(22)
    b.helpers["two_over_pi"] = (
        f"@two_over_pi = internal constant [{len(words)} x i64] [{', '.join(f'i64 {n}' for n in words)}]\n"
    )
    for text in (
        "i64 @llvm.fshl.i64(i64, i64, i64)",
        "i192 @llvm.ctlz.i192(i192, i1)",
        "double @llvm.fma.f64(double, double, double)",
    ):
        b.declared[text.split("@")[1].split("(")[0]] = f"declare {text}"
    d, n = f"<{w} x double>", f"<{w} x i64>"
    result = f"{{ {d}, {d}, {n} }}"
    funnels = "".join(
        f"""
  %p{k} = getelementptr i64, ptr %first, i64 {k}
  %w{k} = load i64, ptr %p{k}"""
        for k in range(4)
    ) + "".join(
        f"""
  %f{k} = call i64 @llvm.fshl.i64(i64 %w{k}, i64 %w{k + 1}, i64 %bit)
  %z{k} = zext i64 %f{k} to i192
  %m{k} = shl i192 %z{k}, {128 - 64 * k}"""
        for k in range(3)
    )
    half_pi = [f"0x{_hex(v)}" for v in _HALF_PI[:2]]
    b.helpers[name] = f"""define internal {result} @{name}({d} %x, {d} %high, {d} %low, {n} %quadrant) noinline {{
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %h = phi {d} [ %high, %entry ], [ %h2, %done ]
  %l = phi {d} [ %low, %entry ], [ %l2, %done ]
  %q = phi {n} [ %quadrant, %entry ], [ %q2, %done ]
  %more = icmp slt i64 %i, {w}
  br i1 %more, label %lane, label %out
lane:
  %v = extractelement {d} %x, i64 %i
  %bits = bitcast double %v to i64
  %raw = lshr i64 %bits, 52
  %biased = and i64 %raw, 2047
  %sizable = icmp uge i64 %biased, {1023 + 20}
  %finite = icmp ne i64 %biased, 2047
  %both = and i1 %sizable, %finite
  br i1 %both, label %large, label %done
large:
  %fraction = and i64 %bits, {2**52 - 1}
  %m = or i64 %fraction, {2**52}
  %at = sub i64 %biased, {1023 + 52 + 2 - 64}
  %word = lshr i64 %at, 6
  %bit = and i64 %at, 63
  %first = getelementptr i64, ptr @two_over_pi, i64 %word{funnels}
  %o1 = or i192 %m0, %m1
  %o2 = or i192 %o1, %m2
  %wide = zext i64 %m to i192
  %product = mul i192 %o2, %wide
  %quarter = lshr i192 %product, 190
  %q0 = trunc i192 %quarter to i64
  %part = shl i192 %product, 2
  %negative = icmp slt i192 %part, 0
  %carry = zext i1 %negative to i64
  %q1 = add i64 %q0, %carry
  %minus = sub i192 0, %part
  %size = select i1 %negative, i192 %minus, i192 %part
  %zeros = call i192 @llvm.ctlz.i192(i192 %size, i1 false)
  %up = shl i192 %size, %zeros
  %t1 = lshr i192 %up, 128
  %top = trunc i192 %t1 to i64
  %t2 = lshr i192 %up, 65
  %t3 = trunc i192 %t2 to i64
  %next64 = and i64 %t3, {2**63 - 1}
  %main = and i64 %top, -2048
  %rest = and i64 %top, 2047
  %main1 = lshr i64 %main, 1
  %dmain = sitofp i64 %main1 to double
  %drest = sitofp i64 %rest to double
  %dnext = sitofp i64 %next64 to double
  %small = fmul double %dnext, 0x{_hex(2.0**-63)}
  %tail0 = fadd double %drest, %small
  %tail = fmul double %tail0, 5.0e-1
  %z64 = trunc i192 %zeros to i64
  %e = sub i64 {1023 - 63}, %z64
  %ebits = shl i64 %e, 52
  %scale = bitcast i64 %ebits to double
  %a = fmul double %dmain, %scale
  %c = fmul double %tail, %scale
  %r0 = fmul double %a, {half_pi[0]}
  %nr0 = fneg double %r0
  %s0 = call double @llvm.fma.f64(double %a, double {half_pi[0]}, double %nr0)
  %s1 = call double @llvm.fma.f64(double %a, double {half_pi[1]}, double %s0)
  %s2 = call double @llvm.fma.f64(double %c, double {half_pi[0]}, double %s1)
  %r = fadd double %r0, %s2
  %d0 = fsub double %r0, %r
  %s = fadd double %d0, %s2
  %below = icmp slt i64 %bits, 0
  %flip = xor i1 %below, %negative
  %rm = fneg double %r
  %sm = fneg double %s
  %rr = select i1 %flip, double %rm, double %r
  %ss = select i1 %flip, double %sm, double %s
  %qm = sub i64 0, %q1
  %qq = select i1 %below, i64 %qm, i64 %q1
  %h1 = insertelement {d} %h, double %rr, i64 %i
  %l1 = insertelement {d} %l, double %ss, i64 %i
  %q3 = insertelement {n} %q, i64 %qq, i64 %i
  br label %done
done:
  %h2 = phi {d} [ %h, %lane ], [ %h1, %large ]
  %l2 = phi {d} [ %l, %lane ], [ %l1, %large ]
  %q2 = phi {n} [ %q, %lane ], [ %q3, %large ]
  %next = add i64 %i, 1
  br label %head
out:
  %u0 = insertvalue {result} poison, {d} %h, 0
  %u1 = insertvalue {result} %u0, {d} %l, 1
  %u2 = insertvalue {result} %u1, {n} %q, 2
  ret {result} %u2
}}
"""
    return name


def _hex(value: float) -> str:
    return struct.pack(">d", value).hex().upper()


def _quadrants(b: Builder, x: V) -> tuple[V, V, V]:
    """``q``, and ``x - q pi/2`` as the sum of two numbers."""
    a = b.call("fabs", x)
    n = b.call("rint", b.mul(x, b.like(2 / math.pi, x)))
    minus = b.neg(n)
    first = b.muladd(minus, b.like(_HALF_PI[0], x), x)
    middle = b.mul(minus, b.like(_HALF_PI[1], x))
    rest = b.muladd(minus, b.like(_HALF_PI[1], x), b.neg(middle))
    high = b.add(first, middle)
    other = b.sub(high, first)
    error = b.add(b.sub(first, b.sub(high, other)), b.sub(middle, other))
    low = b.muladd(minus, b.like(_HALF_PI[2], x), b.add(error, rest))
    near = b.compare("olt", a, b.like(0.5, x))
    high, low = b.select(near, x, high), b.select(near, b.like(0.0, x), low)
    q = _bits(b, b.add(n, b.like(6755399441055744.0, n)))
    far = b.op("and", b.compare("oge", a, b.like(_LARGE, x)), b.compare("olt", a, b.like(math.inf, x)))
    name = f"llvm.vector.reduce.or.v{x.w}i1"
    b.declared[name] = f"declare i1 @{name}({far.full})"
    some = b.emit(f"call i1 @{name}({far.full} {far.ref})")

    def slow() -> list[V]:
        helper = _reduction_helper(b, x.w)
        result = f"{{ {x.full}, {x.full}, {q.full} }}"
        given = ", ".join(f"{v.full} {v.ref}" for v in (x, high, low, q))
        found = b.emit(f"call {result} @{helper}({given})")
        return [V(b.emit(f"extractvalue {result} {found}, {k}"), v.ty, v.w) for k, v in enumerate((high, low, q))]

    high, low, q = b.when(some, [high, low, q], slow)
    return q, high, low


def _sine_and_cosine(b: Builder, x: V, y: V) -> tuple[V, V]:
    z = b.mul(x, x)
    half = b.like(0.5, x)
    one = b.like(1.0, x)
    r = polynomial(b, z, _SINE[1:])
    v = b.mul(z, x)
    inner = b.sub(b.mul(z, b.sub(b.mul(half, y), b.mul(v, r))), y)
    sine = b.sub(x, b.muladd(v, b.like(-_SINE[0], x), inner))
    r = b.mul(z, polynomial(b, z, _COSINE))
    hz = b.mul(half, z)
    w = b.sub(one, hz)
    cosine = b.add(w, b.add(b.sub(b.sub(one, w), hz), b.sub(b.mul(z, r), b.mul(x, y))))
    return sine, cosine


def _short_sine_and_cosine(b: Builder, x: V, y: V) -> tuple[V, V]:
    z = b.mul(x, x)
    sine = b.mul(x, b.muladd(z, polynomial(b, z, _SINE_SHORT), b.like(1.0, x)))
    return sine, b.muladd(z, polynomial(b, z, _COSINE_SHORT), b.like(1.0, x))


def _trigonometric(kind: str) -> Callable[[Builder, V], V]:
    def function(b: Builder, x: V) -> V:
        short = x.ty == "float"
        wide = b.cast("fpext", x, "double") if short else x
        q, high, low = _quadrants(b, wide)
        sine, cosine = (_short_sine_and_cosine if short else _sine_and_cosine)(b, high, low)
        one = b.like(1, q)
        odd = b.compare("ne", b.op("and", q, one), b.like(0, q))
        if kind == "tan":
            y = b.select(odd, b.div(b.neg(cosine), sine), b.div(sine, cosine))
            return b.cast("fptrunc", y, "float") if short else y
        chosen = b.select(odd, cosine, sine) if kind == "sin" else b.select(odd, sine, cosine)
        turned = q if kind == "sin" else b.add(q, one)
        sign = b.op("shl", b.op("and", turned, b.like(2, q)), b.like(62, q))
        y = b.cast("bitcast", b.op("xor", _bits(b, chosen), sign), "double")
        return b.cast("fptrunc", y, "float") if short else y

    return function


sin, cos, tan = _trigonometric("sin"), _trigonometric("cos"), _trigonometric("tan")
FUNCTIONS: dict[str, Callable[[Builder, V], V]] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "tanh": tanh, "log": log, "log2": log2, "log10": log10, "log1p": log1p,
    "sin": sin, "cos": cos, "tan": tan,
}  # fmt: skip
FUSED = frozenset({"sin", "cos", "tan"})
"""Those that need a machine which fuses products and sums."""
