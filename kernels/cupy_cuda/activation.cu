// Activations. n values in, n values out, each from the values at its own place; y may be x, dx may be dy or y.
//
//   relu    y = max(x, 0)          dx = dy where y > 0, else 0
//   tanh    y = tanh x             dx = (1 - y^2) dy
//   gelu    y = x Phi(x)           dx = (Phi(x) + x phi(x)) dy       Phi, phi: the normal distribution
//
// Block b owns the values from b * 4096 / sizeof(T) * 4 on, in four rounds; in each a thread owns one pack of 16 bytes.
// A thread asks for the packs of all rounds before it computes with the first: memory answers after some 500 cycles,
// and the compiler may not ask early by itself, as for all it knows y overlaps x. Views that do not begin at a pack,
// and the last block, take value by value. Memory moved: each array once, 8 bytes a value forward and 12 backward in
// float32.
#include "pack.cuh"

constexpr int kThreads = 256, kRounds = 4;

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float tangent(float x) { return tanhf(x); }
__device__ inline double tangent(double x) { return tanh(x); }
__device__ inline float error_complement(float x) { return erfcf(x); }
__device__ inline double error_complement(double x) { return erfc(x); }

// Phi(x) = erfc(-x / sqrt 2) / 2; unlike (1 + erf) / 2 it stays accurate where x is very negative.
template <class T>
__device__ inline T normal_cdf(T x) {
  return error_complement(x * T(-0.70710678118654752440)) * T(0.5);
}

struct Relu {
  template <class T>
  __device__ T operator()(T x) const { return x <= T(0) ? T(0) : x; }  // so that a NaN stays
};

struct ReluSlope {
  template <class T>
  __device__ T operator()(T y, T dy) const { return y > T(0) ? dy : T(0); }
};

struct Tanh {
  template <class T>
  __device__ T operator()(T x) const { return tangent(x); }
};

struct TanhSlope {
  template <class T>
  __device__ T operator()(T y, T dy) const { return (T(1) - y * y) * dy; }
};

struct Gelu {
  template <class T>
  __device__ T operator()(T x) const { return x * normal_cdf(x); }
};

struct GeluSlope {
  template <class T>
  __device__ T operator()(T x, T dy) const {
    const T density = exponential(x * x * T(-0.5)) * T(0.39894228040143267794);
    return (normal_cdf(x) + x * density) * dy;
  }
};

// y[n] = f(a[n], ...) with one or two arrays in front of y.
template <class F, class T, class... In>
__device__ inline void map(long long n, T* y, const In*... in) {
  constexpr int kPacked = kPack<T>, kRound = kThreads * kPacked, kBlock = kRounds * kRound;
  constexpr int kIn = sizeof...(In);
  const long long first = (long long)blockIdx.x * kBlock;
  const T* const from[kIn] = {in...};
  if (on_packs(y, in...) && first + kBlock <= n) {
    const long long mine = first + threadIdx.x * kPacked;
    T values[kIn][kRounds][kPacked];
#pragma unroll
    for (int k = 0; k < kRounds; ++k)
#pragma unroll
      for (int i = 0; i < kIn; ++i) load(from[i] + mine + k * kRound, values[i][k]);
#pragma unroll
    for (int k = 0; k < kRounds; ++k) {
      T out[kPacked];
#pragma unroll
      for (int j = 0; j < kPacked; ++j) {
        if constexpr (kIn == 1) out[j] = F()(values[0][k][j]);
        else out[j] = F()(values[0][k][j], values[1][k][j]);
      }
      store(y + mine + k * kRound, out);
    }
  } else {
    const long long end = min(n, first + kBlock);
#pragma unroll 4
    for (long long i = first + threadIdx.x; i < end; i += kThreads) y[i] = F()(in[i]...);
  }
}

// The kernels. `i`: element; launched with blocks of kThreads over all n.

extern "C" __global__ void __launch_bounds__(256) relu_forward_float32(const float* x, float* y, long long n) { map<Relu>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) relu_forward_float64(const double* x, double* y, long long n) { map<Relu>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) tanh_forward_float32(const float* x, float* y, long long n) { map<Tanh>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) tanh_forward_float64(const double* x, double* y, long long n) { map<Tanh>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) gelu_forward_float32(const float* x, float* y, long long n) { map<Gelu>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) gelu_forward_float64(const double* x, double* y, long long n) { map<Gelu>(n, y, x); }
extern "C" __global__ void __launch_bounds__(256) relu_backward_float32(const float* y, const float* dy, float* dx, long long n) { map<ReluSlope>(n, dx, y, dy); }
extern "C" __global__ void __launch_bounds__(256) relu_backward_float64(const double* y, const double* dy, double* dx, long long n) { map<ReluSlope>(n, dx, y, dy); }
extern "C" __global__ void __launch_bounds__(256) tanh_backward_float32(const float* y, const float* dy, float* dx, long long n) { map<TanhSlope>(n, dx, y, dy); }
extern "C" __global__ void __launch_bounds__(256) tanh_backward_float64(const double* y, const double* dy, double* dx, long long n) { map<TanhSlope>(n, dx, y, dy); }
extern "C" __global__ void __launch_bounds__(256) gelu_backward_float32(const float* x, const float* dy, float* dx, long long n) { map<GeluSlope>(n, dx, x, dy); }
extern "C" __global__ void __launch_bounds__(256) gelu_backward_float64(const double* x, const double* dy, double* dx, long long n) { map<GeluSlope>(n, dx, x, dy); }
