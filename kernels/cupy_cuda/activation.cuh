// The three activations, value by value.
//
//   relu    y = max(x, 0)     tanh    y = tanh x     gelu    y = x Phi(x)      Phi: the normal distribution
#pragma once

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

struct Tanh {
  template <class T>
  __device__ T operator()(T x) const { return tangent(x); }
};

struct Gelu {
  template <class T>
  __device__ T operator()(T x) const { return x * normal_cdf(x); }
};

enum Activation { kNone, kRelu, kTanh, kGelu };  // as product.py numbers them, for kernels that are told which

template <class T>
__device__ inline T activated(T x, int activation) {
  return activation == kRelu ? Relu()(x) : activation == kTanh ? Tanh()(x) : activation == kGelu ? Gelu()(x) : x;
}
