"""What is left of an angle after whole quarter turns, for angles of any size.

Those below ``LARGE`` are reduced by pi/2 in three or four parts (Cody and Waite). For the others, as M. Payne and
R. Hanek, "Radian reduction for trigonometric functions" (1983), found, of the bits of 2/pi only a window matters: those
before give whole turns, those after too little. The product with it is taken in integers, exactly.
"""

from __future__ import annotations

import math

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.pieces import (
    absolute,
    both,
    exact_sum,
    less,
    rounded_product,
)

LARGE_BITS = 20
LARGE = 2.0**LARGE_BITS


def two_over_pi(words: int) -> list[int]:
    """The first 64-bit words of 2/pi, after one of zeros."""
    value = (2 << (2 * (64 * words + 64))) // _scaled_pi(64 * words + 64) >> 64
    return [0, *[(value >> (64 * (words - 1 - k))) & (2**64 - 1) for k in range(words)]]


def _scaled_pi(count: int) -> int:
    """``pi * 2**count`` by Machin's formula, but for the last bits."""

    def arctangent_of_inverse(n: int) -> int:
        term = total = (1 << count) // n
        k = 1
        while term:
            term //= -n * n
            k += 2
            total += term // k
        return total

    return 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))


def quadrants(b: Builder, x: V, kind: str) -> tuple[V, V, V]:
    """``q``, and ``x - q pi/2`` as the sum of two numbers, for doubles; the second is 0 if ``kind`` is ``float``."""
    size = absolute(b, x)
    n, q = rounded_product(b, x, 2 / math.pi)
    minus = b.neg(n)
    if kind == "float":
        first = b.muladd(minus, b.like(c.HALF_PI_IN_2["double"][0], x), x)
        high, low = b.muladd(minus, b.like(c.HALF_PI_IN_2["double"][1], x), first), b.like(0.0, x)
    elif b.fma:
        parts = [b.like(part, x) for part in c.HALF_PI_IN_3["double"]]
        first = b.muladd(minus, parts[0], x)
        middle = b.mul(minus, parts[1])
        rest = b.muladd(minus, parts[1], b.neg(middle))
        high, error = exact_sum(b, first, middle)
        low = b.muladd(minus, parts[2], b.add(error, rest))
    else:
        # All but the last are so short that their products with quadrants are exact.
        first, *parts = [b.mul(minus, b.like(part, x)) for part in c.HALF_PI_IN_4["double"]]
        high, low = exact_sum(b, b.add(x, first), parts[0])
        high, error = exact_sum(b, high, parts[1])
        low = b.add(b.add(low, error), parts[2])
    far = both(b, b.compare("oge", size, b.like(LARGE, x)), less(b, size, math.inf))

    def slow() -> list[V]:
        helper = _helper(b, x.w)
        result = f"{{ {x.full}, {x.full}, {q.full} }}"
        zeroed = V(b.emit(f"select {far.full} {far.ref}, {x.full} {x.ref}, {x.full} zeroinitializer"), x.ty, x.w)
        given = ", ".join(f"{v.full} {v.ref}" for v in (zeroed, high, low, q))
        found = b.emit(f"call {result} @{helper}({given})")
        return [V(b.emit(f"extractvalue {result} {found}, {k}"), v.ty, v.w) for k, v in enumerate((high, low, q))]

    high, low, q = b.when(b.any(far), [high, low, q], slow)
    return q, high, low


def _helper(b: Builder, w: int) -> str:
    """The function that reduces the lanes of at least ``LARGE``, and leaves the others as they are."""
    name = f"reduce_large_{w}"
    if name in b.helpers:
        return name
    words = two_over_pi(22)
    listed = ", ".join(f"i64 {n}" for n in words)
    b.share("two_over_pi", f"@two_over_pi = internal constant [{len(words)} x i64] [{listed}]")
    b.declared["llvm.fshl.i64"] = "declare i64 @llvm.fshl.i64(i64, i64, i64)"
    b.declared["llvm.ctlz.i192"] = "declare i192 @llvm.ctlz.i192(i192, i1)"
    b.declared["llvm.ctlz.i256"] = "declare i256 @llvm.ctlz.i256(i256, i1)"
    d, n = f"<{w} x double>", f"<{w} x i64>"
    result = f"{{ {d}, {d}, {n} }}"
    window = "".join(
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
    text = f"""define internal {result} @{name}({d} %x, {d} %high, {d} %low, {n} %quadrant) noinline {{
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
  %large = icmp uge i64 %biased, {1023 + LARGE_BITS}
  br i1 %large, label %product, label %done
product:
  %fraction = and i64 %bits, {2**52 - 1}
  %m = or i64 %fraction, {2**52}
  %at = sub i64 %biased, {1023 + 52 + 2 - 64}
  %word = lshr i64 %at, 6
  %bit = and i64 %at, 63
  %first = getelementptr i64, ptr @two_over_pi, i64 %word{window}
  %o1 = or i192 %m0, %m1
  %o2 = or i192 %o1, %m2
  %wide = zext i64 %m to i192
  %turns = mul i192 %o2, %wide
  %quarter = lshr i192 %turns, 190
  %q0 = trunc i192 %quarter to i64
  %part = shl i192 %turns, 2
  %negative = icmp slt i192 %part, 0
  %carry = zext i1 %negative to i64
  %q1 = add i64 %q0, %carry
  %minus = sub i192 0, %part
  %size = select i1 %negative, i192 %minus, i192 %part
  %zeros = call i192 @llvm.ctlz.i192(i192 %size, i1 false)
  %up = shl i192 %size, %zeros
  %top = lshr i192 %up, 64
  %top256 = zext i192 %top to i256
  %angle = mul i256 %top256, {_scaled_pi(192) >> 66}
  %zeros256 = call i256 @llvm.ctlz.i256(i256 %angle, i1 false)
  %full = shl i256 %angle, %zeros256
  %t1 = lshr i256 %full, 203
  %i1 = trunc i256 %t1 to i64
  %t2 = lshr i256 %full, 150
  %t3 = trunc i256 %t2 to i64
  %i2 = and i64 %t3, {2**53 - 1}
  %d1 = sitofp i64 %i1 to double
  %d2 = sitofp i64 %i2 to double
  %e1 = trunc i192 %zeros to i64
  %e2 = trunc i256 %zeros256 to i64
  %e = add i64 %e1, %e2
  %b1 = sub i64 {1023 - 52}, %e
  %b2 = sub i64 {1023 - 105}, %e
  %c1 = shl i64 %b1, 52
  %c2 = shl i64 %b2, 52
  %s1 = bitcast i64 %c1 to double
  %s2 = bitcast i64 %c2 to double
  %r = fmul double %d1, %s1
  %s = fmul double %d2, %s2
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
  %h2 = phi {d} [ %h, %lane ], [ %h1, %product ]
  %l2 = phi {d} [ %l, %lane ], [ %l1, %product ]
  %q2 = phi {n} [ %q, %lane ], [ %q3, %product ]
  %next = add i64 %i, 1
  br label %head
out:
  %u0 = insertvalue {result} poison, {d} %h, 0
  %u1 = insertvalue {result} %u0, {d} %l, 1
  %u2 = insertvalue {result} %u1, {n} %q, 2
  ret {result} %u2
}}
"""
    b.share(name, text)
    return name
