// What generated kernels are written in: the types of elements, NumPy's rules for each operation, and reductions within
// a warp and a block. It is compiled by NVRTC (or hipRTC, untested) without any header; with FT_HOST a C++ compiler takes
// it behind a header that plays the device, so that tests run the same text without one.
#ifndef FT_HOST
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef float f32; typedef double f64;
#if defined(__HIP_DEVICE_COMPILE__) || defined(__HIPCC_RTC__)
#define FT_WARP __AMDGCN_WAVEFRONT_SIZE
#define FT_SHUFFLE_XOR(word, mask) __shfl_xor((word), (mask))
#define FT_SHUFFLE_UP(word, by) __shfl_up((word), (by))
#else
#define FT_WARP 32
#define FT_SHUFFLE_XOR(word, mask) __shfl_xor_sync(0xffffffffu, (word), (mask))
#define FT_SHUFFLE_UP(word, by) __shfl_up_sync(0xffffffffu, (word), (by))
#endif
#define FT_EXPORT(kernel)
#endif
#define FT_FN __device__ __forceinline__

template <class T> struct alignas(2 * sizeof(T)) ft_complex { T re, im; };
typedef ft_complex<f32> c64;
typedef ft_complex<f64> c128;
// Storage of 16-bit floats: registers hold them as f32, rounded after every operation.
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
// One access of up to 16 bytes.
template <class T, int N> struct alignas(sizeof(T) * N) ft_pack { T at[N]; };

// -- bits -------------------------------------------------------------------------------------------------------------

template <class To, class From> FT_FN To ft_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "types of one size");
  To y;
  memcpy(&y, &x, sizeof(To));
  return y;
}

// -- loads and stores -------------------------------------------------------------------------------------------------

FT_FN f32 ft_from_f16(u16 b) {
  const u32 sign = (u32)(b & 0x8000u) << 16, exponent = (b >> 10) & 31u, fraction = b & 0x3ffu;
  if (exponent == 31u) return ft_bits<f32>(sign | 0x7f800000u | (fraction << 13));
  if (exponent) return ft_bits<f32>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const f32 small = (f32)fraction * 5.9604644775390625e-8f;  // 2**-24: subnormal halves are multiples of it
  return ft_bits<f32>(sign | ft_bits<u32>(small));
}

// Round to nearest, ties to even, subnormals and overflow included.
FT_FN u16 ft_to_f16(f32 x) {
  const u32 b = ft_bits<u32>(x), sign = (b >> 16) & 0x8000u, size = b & 0x7fffffffu;
  if (size > 0x7f800000u) return (u16)(sign | 0x7e00u | ((size >> 13) & 0x1ffu));
  if (size >= 0x477ff000u) return (u16)(sign | 0x7c00u);
  if (size >= 0x38800000u) return (u16)(sign | ((size + 0xc8000fffu + ((size >> 13) & 1u)) >> 13));
  const f32 scaled = ft_bits<f32>(size) + 0.5f;  // the sum's last bit is 2**-24: its fraction is the rounded half
  return (u16)(sign | (ft_bits<u32>(scaled) - 0x3f000000u));
}

FT_FN f32 ft_from_bf16(u16 b) { return ft_bits<f32>((u32)b << 16); }
FT_FN u16 ft_to_bf16(f32 x) {
  const u32 b = ft_bits<u32>(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return (u16)((b >> 16) | 0x40u);
  return (u16)((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}

template <class T> FT_FN T ft_get(T x) { return x; }
FT_FN f32 ft_get(f16 x) { return ft_from_f16(x.bits); }
FT_FN f32 ft_get(bf16 x) { return ft_from_bf16(x.bits); }
template <class T, class V> FT_FN T ft_put(V x) { return (T)x; }
template <> FT_FN f16 ft_put<f16, f32>(f32 x) { f16 y; y.bits = ft_to_f16(x); return y; }
template <> FT_FN bf16 ft_put<bf16, f32>(f32 x) { bf16 y; y.bits = ft_to_bf16(x); return y; }
FT_FN f32 ft_as_f16(f32 x) { return ft_from_f16(ft_to_f16(x)); }
FT_FN f32 ft_as_bf16(f32 x) { return ft_from_bf16(ft_to_bf16(x)); }

// -- types ------------------------------------------------------------------------------------------------------------

template <class T> struct ft_type { static const bool is_float = false, is_signed = false; typedef T wide; typedef T real; };
#define FT_INTEGER(T, U, S) \
  template <> struct ft_type<T> { static const bool is_float = false, is_signed = S; typedef U wide; typedef T real; };
FT_INTEGER(i8, u32, true) FT_INTEGER(i16, u32, true) FT_INTEGER(i32, u32, true) FT_INTEGER(i64, u64, true)
FT_INTEGER(u8, u32, false) FT_INTEGER(u16, u32, false) FT_INTEGER(u32, u32, false) FT_INTEGER(u64, u64, false)
#define FT_FLOAT(T) \
  template <> struct ft_type<T> { static const bool is_float = true, is_signed = true; typedef T wide; typedef T real; };
FT_FLOAT(f32) FT_FLOAT(f64)

template <class To, class From> struct ft_cast { static FT_FN To of(From x) { return (To)x; } };
template <class From> struct ft_cast<bool, From> { static FT_FN bool of(From x) { return x != (From)0; } };
template <class To, class T> struct ft_cast<To, ft_complex<T> > { static FT_FN To of(ft_complex<T> x) { return (To)x.re; } };
template <class T> struct ft_cast<bool, ft_complex<T> > {
  static FT_FN bool of(ft_complex<T> x) { return x.re != 0 || x.im != 0; }
};
template <class T, class From> struct ft_cast<ft_complex<T>, From> {
  static FT_FN ft_complex<T> of(From x) { ft_complex<T> y = {(T)x, (T)0}; return y; }
};
template <class T, class S> struct ft_cast<ft_complex<T>, ft_complex<S> > {
  static FT_FN ft_complex<T> of(ft_complex<S> x) { ft_complex<T> y = {(T)x.re, (T)x.im}; return y; }
};
template <class To, class From> FT_FN To ft_to(From x) { return ft_cast<To, From>::of(x); }
template <class T> FT_FN ft_complex<T> ft_pair(T re, T im) { ft_complex<T> z = {re, im}; return z; }

// -- arithmetic -------------------------------------------------------------------------------------------------------
// Integers wrap around: they are computed unsigned.

#define FT_WRAPPING(name, op) \
  template <class T> FT_FN T name(T x, T y) { return (T)((typename ft_type<T>::wide)x op (typename ft_type<T>::wide)y); } \
  template <class T> FT_FN ft_complex<T> name(ft_complex<T> x, ft_complex<T> y) { return ft_pair(x.re op y.re, x.im op y.im); }
FT_WRAPPING(ft_add, +)
FT_WRAPPING(ft_sub, -)
template <class T> FT_FN T ft_mul(T x, T y) { return (T)((typename ft_type<T>::wide)x * (typename ft_type<T>::wide)y); }
FT_FN bool ft_add(bool x, bool y) { return x || y; }
FT_FN bool ft_mul(bool x, bool y) { return x && y; }
template <class T> FT_FN ft_complex<T> ft_mul(ft_complex<T> x, ft_complex<T> y) {
  return ft_pair(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re);
}
template <class T> FT_FN T ft_div(T x, T y) { return x / y; }
// R. L. Smith, Algorithm 116: Complex division, CACM 5 (1962): nothing overflows that need not.
template <class T> FT_FN ft_complex<T> ft_div(ft_complex<T> x, ft_complex<T> y) {
  const T a = fabs(y.re), b = fabs(y.im);
  if (a >= b) {
    if (a == 0 && b == 0) return ft_pair(x.re / a, x.im / a);
    const T ratio = y.im / y.re, scale = (T)1 / (y.re + y.im * ratio);
    return ft_pair((x.re + x.im * ratio) * scale, (x.im - x.re * ratio) * scale);
  }
  const T ratio = y.re / y.im, scale = (T)1 / (y.im + y.re * ratio);
  return ft_pair((x.re * ratio + x.im) * scale, (x.im * ratio - x.re) * scale);
}
template <class T> FT_FN T ft_neg(T x) { return ft_type<T>::is_float ? -x : ft_sub((T)0, x); }
template <class T> FT_FN ft_complex<T> ft_neg(ft_complex<T> x) { return ft_pair(-x.re, -x.im); }
template <class T> FT_FN T ft_positive(T x) { return x; }
template <class T> FT_FN T ft_square(T x) { return ft_mul(x, x); }
template <class T> FT_FN T ft_reciprocal(T x) { return (T)1 / x; }
FT_FN bool ft_abs(bool x) { return x; }
template <class T> FT_FN T ft_abs(T x) { return ft_type<T>::is_signed && x < (T)0 ? ft_neg(x) : x; }
FT_FN f32 ft_abs(f32 x) { return fabsf(x); }
FT_FN f64 ft_abs(f64 x) { return fabs(x); }
FT_FN f32 ft_abs(c64 x) { return hypotf(x.re, x.im); }
FT_FN f64 ft_abs(c128 x) { return hypot(x.re, x.im); }
// Zeros of either sign give +0.0, and NaN is handed on.
template <class T> FT_FN T ft_sign(T x) { return x > (T)0 ? (T)1 : ft_type<T>::is_signed && x < (T)0 ? (T)-1 : x == (T)0 ? (T)0 : x; }
template <class T> FT_FN T ft_real(T x) { return x; }
template <class T> FT_FN T ft_imag(T) { return (T)0; }
template <class T> FT_FN T ft_conj(T x) { return x; }
template <class T> FT_FN T ft_real(ft_complex<T> x) { return x.re; }
template <class T> FT_FN T ft_imag(ft_complex<T> x) { return x.im; }
template <class T> FT_FN ft_complex<T> ft_conj(ft_complex<T> x) { return ft_pair(x.re, -x.im); }
template <class T> FT_FN ft_complex<T> ft_complex_of(T re, T im) { return ft_pair(re, im); }

// Quotients of integers go toward minus infinity, and are 0 where the divisor is.
template <class T> FT_FN T ft_divide_whole(T x, T y, T* rest) {
  if (y == (T)0) { *rest = (T)0; return (T)0; }
  if (ft_type<T>::is_signed && y == (T)-1) { *rest = (T)0; return ft_neg(x); }
  T q = (T)(x / y), r = (T)(x % y);
  if (ft_type<T>::is_signed && r != (T)0 && ((r < (T)0) != (y < (T)0))) { q = (T)(q - 1); r = (T)(r + y); }
  *rest = r;
  return q;
}
template <class T> FT_FN T ft_divide_float(T x, T y, T* rest) {
  T r = fmod(x, y);
  if (y == 0) { *rest = r; return x / y; }
  T q = (x - r) / y;
  if (r != 0) { if ((y < 0) != (r < 0)) { r += y; q -= (T)1; } }
  else r = copysign((T)0, y);
  *rest = r;
  if (q == 0) return copysign((T)0, x / y);
  const T whole = floor(q);
  return q - whole > (T)0.5 ? whole + (T)1 : whole;
}
template <class T> FT_FN T ft_floor_divide(T x, T y) { T rest; return ft_divide_whole(x, y, &rest); }
FT_FN f32 ft_floor_divide(f32 x, f32 y) { f32 rest; return ft_divide_float(x, y, &rest); }
FT_FN f64 ft_floor_divide(f64 x, f64 y) { f64 rest; return ft_divide_float(x, y, &rest); }
template <class T> FT_FN T ft_remainder(T x, T y) { T rest; ft_divide_whole(x, y, &rest); return rest; }
FT_FN f32 ft_remainder(f32 x, f32 y) { f32 rest; ft_divide_float(x, y, &rest); return rest; }
FT_FN f64 ft_remainder(f64 x, f64 y) { f64 rest; ft_divide_float(x, y, &rest); return rest; }
template <class T> FT_FN T ft_rem(T x, T y) {
  return y == (T)0 || (ft_type<T>::is_signed && y == (T)-1) ? (T)0 : (T)(x % y);
}
FT_FN f32 ft_rem(f32 x, f32 y) { return fmodf(x, y); }
FT_FN f64 ft_rem(f64 x, f64 y) { return fmod(x, y); }

// -- comparison, selection --------------------------------------------------------------------------------------------

#define FT_COMPARISON(name, op) template <class T> FT_FN bool name(T x, T y) { return x op y; }
FT_COMPARISON(ft_eq, ==) FT_COMPARISON(ft_ne, !=) FT_COMPARISON(ft_lt, <)
FT_COMPARISON(ft_le, <=) FT_COMPARISON(ft_gt, >) FT_COMPARISON(ft_ge, >=)
template <class T> FT_FN bool ft_eq(ft_complex<T> x, ft_complex<T> y) { return x.re == y.re && x.im == y.im; }
template <class T> FT_FN bool ft_ne(ft_complex<T> x, ft_complex<T> y) { return x.re != y.re || x.im != y.im; }
template <class T> FT_FN bool ft_isnan(T x) { return x != x; }
template <class T> FT_FN bool ft_isinf(T x) { return ft_type<T>::is_float && x == x && x - x != x - x; }
template <class T> FT_FN bool ft_is_finite(T x) { return !ft_type<T>::is_float || x - x == x - x; }
template <class T> FT_FN bool ft_isnan(ft_complex<T> x) { return ft_isnan(x.re) || ft_isnan(x.im); }
template <class T> FT_FN bool ft_isinf(ft_complex<T> x) { return ft_isinf(x.re) || ft_isinf(x.im); }
template <class T> FT_FN bool ft_is_finite(ft_complex<T> x) { return ft_is_finite(x.re) && ft_is_finite(x.im); }
template <class T> FT_FN T ft_max(T x, T y) { return x > y || x != x ? x : y; }
template <class T> FT_FN T ft_min(T x, T y) { return x < y || x != x ? x : y; }
template <class T> FT_FN T ft_fmax(T x, T y) { return x >= y || y != y ? x : y; }
template <class T> FT_FN T ft_fmin(T x, T y) { return x <= y || y != y ? x : y; }
template <class T> FT_FN T ft_select(bool c, T x, T y) { return c ? x : y; }
FT_FN f32 ft_copysign(f32 x, f32 y) { return copysignf(x, y); }
FT_FN f64 ft_copysign(f64 x, f64 y) { return copysign(x, y); }
FT_FN bool ft_signbit(f32 x) { return ft_bits<i32>(x) < 0; }
FT_FN bool ft_signbit(f64 x) { return ft_bits<i64>(x) < 0; }

// -- logic and bits ---------------------------------------------------------------------------------------------------

template <class T> FT_FN bool ft_truth(T x) { return ft_to<bool>(x); }
template <class T> FT_FN bool ft_logical_and(T x, T y) { return ft_truth(x) && ft_truth(y); }
template <class T> FT_FN bool ft_logical_or(T x, T y) { return ft_truth(x) || ft_truth(y); }
template <class T> FT_FN bool ft_logical_xor(T x, T y) { return ft_truth(x) != ft_truth(y); }
template <class T> FT_FN bool ft_logical_not(T x) { return !ft_truth(x); }
template <class T> FT_FN T ft_and(T x, T y) { return (T)(x & y); }
template <class T> FT_FN T ft_or(T x, T y) { return (T)(x | y); }
template <class T> FT_FN T ft_xor(T x, T y) { return (T)(x ^ y); }
template <class T> FT_FN T ft_not(T x) { return (T)~x; }
FT_FN bool ft_not(bool x) { return !x; }
template <class T> FT_FN T ft_shift_left(T x, T n) {
  return n < (T)0 || n >= (T)(8 * sizeof(T)) ? (T)0 : (T)((typename ft_type<T>::wide)x << (int)n);
}
template <class T> FT_FN T ft_shift_right(T x, T n) {
  const bool inside = n >= (T)0 && n < (T)(8 * sizeof(T));
  if (!ft_type<T>::is_signed) return inside ? (T)(x >> (int)n) : (T)0;
  return (T)(x >> (inside ? (int)n : (int)(8 * sizeof(T)) - 1));
}

// -- functions of floats ----------------------------------------------------------------------------------------------

#define FT_UNARY(name, single, dual) \
  FT_FN f32 name(f32 x) { return single(x); } \
  FT_FN f64 name(f64 x) { return dual(x); }
#define FT_BINARY(name, single, dual) \
  FT_FN f32 name(f32 x, f32 y) { return single(x, y); } \
  FT_FN f64 name(f64 x, f64 y) { return dual(x, y); }
FT_UNARY(ft_exp, expf, exp) FT_UNARY(ft_exp2, exp2f, exp2) FT_UNARY(ft_expm1, expm1f, expm1)
FT_UNARY(ft_log, logf, log) FT_UNARY(ft_log2, log2f, log2) FT_UNARY(ft_log10, log10f, log10) FT_UNARY(ft_log1p, log1pf, log1p)
FT_UNARY(ft_sqrt, sqrtf, sqrt) FT_UNARY(ft_safe_sqrt, sqrtf, sqrt) FT_UNARY(ft_cbrt, cbrtf, cbrt)
FT_UNARY(ft_sin, sinf, sin) FT_UNARY(ft_cos, cosf, cos) FT_UNARY(ft_tan, tanf, tan)
FT_UNARY(ft_asin, asinf, asin) FT_UNARY(ft_acos, acosf, acos) FT_UNARY(ft_atan, atanf, atan)
FT_UNARY(ft_sinh, sinhf, sinh) FT_UNARY(ft_cosh, coshf, cosh) FT_UNARY(ft_tanh, tanhf, tanh)
FT_UNARY(ft_asinh, asinhf, asinh) FT_UNARY(ft_acosh, acoshf, acosh) FT_UNARY(ft_atanh, atanhf, atanh)
FT_UNARY(ft_erf, erff, erf) FT_UNARY(ft_erfc, erfcf, erfc)
FT_UNARY(ft_j0, j0f, j0) FT_UNARY(ft_j1, j1f, j1) FT_UNARY(ft_y0, y0f, y0) FT_UNARY(ft_y1, y1f, y1)
FT_BINARY(ft_pow, powf, pow) FT_BINARY(ft_atan2, atan2f, atan2) FT_BINARY(ft_hypot, hypotf, hypot)
FT_BINARY(ft_nextafter, nextafterf, nextafter)
FT_FN f32 ft_rsqrt(f32 x) { return 1.0f / sqrtf(x); }
FT_FN f64 ft_rsqrt(f64 x) { return 1.0 / sqrt(x); }
#define FT_ROUNDING(name, single, dual) template <class T> FT_FN T name(T x) { return x; } FT_UNARY(name, single, dual)
FT_ROUNDING(ft_floor, floorf, floor) FT_ROUNDING(ft_ceil, ceilf, ceil)
FT_ROUNDING(ft_trunc, truncf, trunc) FT_ROUNDING(ft_rint, rintf, rint)
// 1 / (1 + exp(-x)), from an exponential that does not overflow.
template <class T> FT_FN T ft_logistic(T x) {
  const T e = ft_exp(-ft_abs(x)), y = (T)1 / ((T)1 + e);
  return x >= (T)0 ? y : x < (T)0 ? e * y : x;
}
template <class T> FT_FN T ft_logaddexp(T x, T y) {
  if (x == y) return x + (T)0.693147180559945309417232121458176568;
  const T apart = x - y;
  return apart > (T)0 ? x + ft_log1p(ft_exp(-apart)) : apart <= (T)0 ? y + ft_log1p(ft_exp(apart)) : apart;
}
template <class T> FT_FN T ft_sinc(T x) {
  const T y = (T)3.14159265358979323846264338327950288 * x;
  return x == (T)0 ? (T)1 : ft_sin(y) / y;
}
template <class T> FT_FN ft_complex<T> ft_exp(ft_complex<T> x) {
  const T size = ft_exp(x.re);
  if (x.im == 0) return ft_pair(size, x.im);
  return ft_pair(size * ft_cos(x.im), size * ft_sin(x.im));
}

// -- combination ------------------------------------------------------------------------------------------------------

struct ft_sum { template <class T> static FT_FN T of(T x, T y) { return ft_add(x, y); } };
struct ft_product { template <class T> static FT_FN T of(T x, T y) { return ft_mul(x, y); } };
struct ft_greatest { template <class T> static FT_FN T of(T x, T y) { return ft_max(x, y); } };
struct ft_least { template <class T> static FT_FN T of(T x, T y) { return ft_min(x, y); } };
struct ft_all { static FT_FN bool of(bool x, bool y) { return x && y; } };
struct ft_any { static FT_FN bool of(bool x, bool y) { return x || y; } };
// An element with its place; of equal ones the first, and NaN before all.
template <class T> struct ft_placed { T value; i64 place; };
template <class T> FT_FN ft_placed<T> ft_place(T value, i64 place) { ft_placed<T> x = {value, place}; return x; }
template <class T> FT_FN bool ft_comes_first(ft_placed<T> x, ft_placed<T> y, bool beyond) {
  if (x.value != x.value || y.value != y.value) return x.value != x.value && (y.value == y.value || x.place < y.place);
  return beyond || (x.value == y.value && x.place < y.place);
}
struct ft_argmax {
  template <class T> static FT_FN ft_placed<T> of(ft_placed<T> x, ft_placed<T> y) {
    return ft_comes_first(x, y, x.value > y.value) ? x : y;
  }
};
struct ft_argmin {
  template <class T> static FT_FN ft_placed<T> of(ft_placed<T> x, ft_placed<T> y) {
    return ft_comes_first(x, y, x.value < y.value) ? x : y;
  }
};

template <class T> FT_FN T ft_across(T x, int mask) {
  const int words = (sizeof(T) + 3) / 4;
  u32 word[words] = {};
  memcpy(word, &x, sizeof(T));
#pragma unroll
  for (int w = 0; w < words; ++w) word[w] = FT_SHUFFLE_XOR(word[w], mask);
  memcpy(&x, word, sizeof(T));
  return x;
}
template <class Op, class T> FT_FN T ft_reduce_warp(T x) {
#pragma unroll
  for (int mask = FT_WARP / 2; mask > 0; mask /= 2) x = Op::of(x, ft_across(x, mask));
  return x;
}
// Over the threads of a block, all of whom get the result; ``shared`` holds one value a warp.
template <class Op, class T> FT_FN T ft_reduce_block(T x, T* shared) {
  const int warps = blockDim.x / FT_WARP;
  x = ft_reduce_warp<Op>(x);
  __syncthreads();
  if (threadIdx.x % FT_WARP == 0) shared[threadIdx.x / FT_WARP] = x;
  __syncthreads();
  x = shared[0];
  for (int w = 1; w < warps; ++w) x = Op::of(x, shared[w]);
  return x;
}
// Over ``threadIdx.y``; ``shared`` holds a value a thread.
template <class Op, class T> FT_FN T ft_reduce_columns(T x, T* shared) {
  __syncthreads();
  shared[threadIdx.y * blockDim.x + threadIdx.x] = x;
  __syncthreads();
  x = shared[threadIdx.x];
  for (int y = 1; y < (int)blockDim.y; ++y) x = Op::of(x, shared[y * blockDim.x + threadIdx.x]);
  return x;
}
