// Mathematical and bit functions. Those that round correctly on a GPU (IEEE-754 sums, products, quotients, roots, fused
// multiply-add) do so here. Those that do not have other last digits here: a test compares them within their bound.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

// Rounded to nearest. The functions with "_rn" are never fused with others; -ffp-contract=off fuses nothing at all.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

// Approximate on a GPU, with the error that the Programming Guide states.
inline float rsqrtf(float a) { return float(1.0 / std::sqrt(double(a))); }
inline float __frsqrt_rn(float a) { return rsqrtf(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp2(a * 1.4426950408889634f); }  // it rounds the product, so its relative
inline float __exp10f(float a) { return std::exp2(a * 3.321928094887362f); }  // error grows with |a|
inline float __logf(float a) { return std::log2(a) * 0.6931471805599453f; }
inline float __log2f(float a) { return std::log2(a); }
inline float __powf(float a, float b) { return std::exp2(b * std::log2(a)); }
inline float __sinf(float a) { return std::sin(a); }
inline float __cosf(float a) { return std::cos(a); }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }  // NaN becomes 0

// Conversions.
inline float __int2float_rn(int a) { return float(a); }
inline float __uint2float_rn(unsigned a) { return float(a); }
inline float __double2float_rn(double a) { return float(a); }
inline int __float2int_rn(float a) { return int(std::nearbyint(a)); }
inline int __float2int_rz(float a) { return int(a); }

// Bits.
template <class To, class From>
inline To cuda_cpu_bits(From a) {
  return std::bit_cast<To>(a);
}
inline unsigned __float_as_uint(float a) { return cuda_cpu_bits<unsigned>(a); }
inline int __float_as_int(float a) { return cuda_cpu_bits<int>(a); }
inline float __uint_as_float(unsigned a) { return cuda_cpu_bits<float>(a); }
inline float __int_as_float(int a) { return cuda_cpu_bits<float>(a); }
inline long long __double_as_longlong(double a) { return cuda_cpu_bits<long long>(a); }
inline double __longlong_as_double(long long a) { return cuda_cpu_bits<double>(a); }
inline int __popc(unsigned a) { return std::popcount(a); }
inline int __popcll(unsigned long long a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(unsigned(a)); }
inline int __ffs(int a) { return a ? std::countr_zero(unsigned(a)) + 1 : 0; }
inline unsigned __brev(unsigned a) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (a >> bit & 1u) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline int __mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// The same names without std:: that CUDA offers.
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// Loads and stores with cache hints are loads and stores.
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline void __stcg(T* p, T value) { *p = value; }
template <class T> inline void __stcs(T* p, T value) { *p = value; }
