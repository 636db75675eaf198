// Arithmetic on single numbers that several kernels share.
#pragma once

// 1 / n for 1 <= n < 2^60, within an ulp. The quotient of doubles that the compiler makes may end in a call, for
// numbers that are none of these, and takes registers from all that lives around it. Here a quotient of floats within 2
// ulp, 2^-22, is squared away by Newton's method: its error is below 2^-43 after the first step, below 2^-86 after the
// second, but for the roundings of the second.
__device__ inline double reciprocal(double n) {
  double r = __fdividef(1.0f, float(n));
  r = fma(r, fma(-n, r, 1.0), r);
  return fma(r, fma(-n, r, 1.0), r);
}

// a / n, rounded correctly, from 1 / n within an ulp (Markstein 1990): of equal values the mean is their value.
__device__ inline double quotient(double a, double n, double per_n) {
  const double near = a * per_n, exact = fma(fma(-near, n, a), per_n, near);
  return exact == exact ? exact : near;  // infinity
}

// What is taken off values before they are added, their first: of equal values the mean is then their value, and an
// offset that all share costs no digits. An infinity stays in them.
__device__ inline double pivot_of(double first) { return first - first == 0 ? first : 0; }

__device__ inline float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double fused(double a, double b, double c) { return fma(a, b, c); }

// 1 / sqrt(var + epsilon)
__device__ inline double per_sigma(double var, double epsilon) { return rsqrt(var + epsilon); }
