// The three activations, value by value.
//
//   relu    y = max(x, 0)     tanh    y = tanh x     gelu    y = x Phi(x)      Phi: the normal distribution
#pragma once

__device__ inline float tangent(float x) { return tanhf(x); }
__device__ inline double tangent(double x) { return tanh(x); }

// The normal distribution: Phi(x), and e^(-x^2 / 2), its density times sqrt 2 pi.
template <class T>
struct Normal {
  T cdf, bell;
};

// Phi(x) = erfc(-x / sqrt 2) / 2; unlike (1 + erf) / 2 it stays accurate where x is very negative.
__device__ inline Normal<double> normal(double x) {
  return {erfc(x * -0.70710678118654752440) * 0.5, exp(x * x * -0.5)};
}

// Phi(-a) = e^(-a^2 / 2) P(t) / (a + 2) for a >= 0, t = (a - 2) / (a + 2), in fewer instructions than erfcf and expf
// take. P is fitted to erfcx(a / sqrt 2) (a + 2) / 2 for a up to 14.5, beyond which Phi(-a) is 0 in float32: its
// relative errors are as even as could be, 3e-8, with coefficients that are float32. But for what underflows, the error
// of x Phi(x) is at most 0.5 of eps (6 |x Phi(x)| + x^2 phi(x)), which tests allow, and 0.8 of it where the reciprocal
// is 1 ulp and the power of two 2 ulp further off than a rounded one. A GPU's power is within 2 ulp, and so is its
// reciprocal, which a step of Newton's method brings to within one; infinity would become NaN there.
__device__ inline Normal<float> normal(float x) {
  constexpr float kTerms[] = {-7.36622533e-05f, 3.85159583e-05f,  0.000723788631f,  0.000871942902f,
                              -0.00189298321f,  -0.0067444616f,   -0.000482018891f, 0.0367198437f,
                              0.0287982859f,    -0.331404418f,    0.672407985f};  // that of t^10 first
  const float d = fminf(fabsf(x), 64.0f) + 2.0f, near = __fdividef(1.0f, d);
  const float per = fmaf(near, fmaf(-d, near, 1.0f), near), t = fmaf(-4.0f, per, 1.0f);
  const float bell = exp2f(x * x * -0.72134752f);  // log2(e) / 2
  float sum = kTerms[0];
#pragma unroll
  for (int i = 1; i < 11; ++i) sum = fmaf(sum, t, kTerms[i]);
  const float tail = bell * (sum * per);
  return {x < 0 ? tail : 1 - tail, bell};
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
  __device__ T operator()(T x) const { return x * normal(x).cdf; }
};

enum Activation { kNone, kRelu, kTanh, kGelu };  // as product.py numbers them, for kernels that are told which

template <class T>
__device__ inline T activated(T x, int activation) {
  return activation == kRelu ? Relu()(x) : activation == kTanh ? Tanh()(x) : activation == kGelu ? Gelu()(x) : x;
}
