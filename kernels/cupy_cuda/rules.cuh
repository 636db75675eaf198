// The six update rules for one parameter, in the arithmetic of `kernels/numba_cpu/rules.py`, whose header counts the
// roundings. T is float or double; hyperparameters come as doubles and are rounded once, or kept in two parts.
//
// A rule is called as rule(old, state, g) -> theta, with the state of t+1 in the place of that of t.
#pragma once

__device__ inline float fused(float a, float b, float c) { return fmaf(a, b, c); }  // a b + c, rounded once
__device__ inline double fused(double a, double b, double c) { return fma(a, b, c); }
__device__ inline float root(float a) { return sqrtf(a); }
__device__ inline double root(double a) { return sqrt(a); }

// The low parts alone may not make a NaN of an infinity (0 times infinity).
template <class T>
__device__ inline T finite_or_zero(T a) { return a - a == T(0) ? a : T(0); }

// A constant as high + low, so that float32 loses none of its digits: 1 - 0.999 is off by 1e-5 of itself otherwise.
template <class T>
struct Split {
  T high, low;
  __device__ Split(double c) : high(T(c)), low(T(c - double(T(c)))) {}
};

// beta m + (1 - beta) g
template <class T>
struct Average {
  Split<T> b, c;
  __device__ Average(double beta) : b(beta), c(1.0 - beta) {}
  __device__ T operator()(T m, T g) const {
    return fused(b.high, m, fused(c.high, g, finite_or_zero(fused(b.low, m, c.low * g))));
  }
};

// beta v + (1 - beta) g^2; g^2 alone, which may be too large, is not computed
template <class T>
struct AverageOfSquares {
  Split<T> b, c;
  __device__ AverageOfSquares(double beta) : b(beta), c(1.0 - beta) {}
  __device__ T operator()(T v, T g) const {
    return fused(c.high * g, g, fused(b.high, v, finite_or_zero(fused(c.low * g, g, b.low * v))));
  }
};

// gamma m + a g
template <class T>
struct Decay {
  Split<T> c;
  __device__ Decay(double gamma) : c(gamma) {}
  __device__ T operator()(T m, T a, T g) const { return fused(c.high, m, fused(a, g, finite_or_zero(c.low * m))); }
};

// theta <- theta - lr g
template <class T>
struct Sgd {
  T lr;
  __device__ Sgd(double lr) : lr(T(lr)) {}
  __device__ T operator()(T theta, T*, T g) const { return fused(-lr, g, theta); }
};

// v <- gamma v + g;  theta <- theta - lr v
template <class T>
struct Momentum {
  T lr, gamma;
  __device__ Momentum(double lr, double gamma) : lr(T(lr)), gamma(T(gamma)) {}
  __device__ T operator()(T theta, T* v, T g) const {
    v[0] = fused(gamma, v[0], g);
    return fused(-lr, v[0], theta);
  }
};

// v <- gamma v + g;  theta <- theta - lr (gamma v + g)
template <class T>
struct Nesterov {
  T lr, gamma;
  __device__ Nesterov(double lr, double gamma) : lr(T(lr)), gamma(T(gamma)) {}
  __device__ T operator()(T theta, T* v, T g) const {
    v[0] = fused(gamma, v[0], g);
    return fused(-lr, fused(gamma, v[0], g), theta);
  }
};

// v <- rho v + (1 - rho) g^2;  m <- gamma m + lr / sqrt(v + epsilon) g;  theta <- theta - m.  State: v, m.
template <class T>
struct RmsProp {
  AverageOfSquares<T> mean_square;
  Decay<T> decayed;
  T lr, epsilon;
  __device__ RmsProp(double lr, double gamma, double rho, double epsilon)
      : mean_square(rho), decayed(gamma), lr(T(lr)), epsilon(T(epsilon)) {}
  __device__ T operator()(T theta, T* state, T g) const {
    T &v = state[0], &m = state[1];
    v = mean_square(v, g);
    m = decayed(m, lr / root(v + epsilon), g);
    return theta - m;
  }
};

// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  theta <- theta - step m / (sqrt(v) + epsilon).
// `step` is the learning rate times the bias correction. State: m, v.
template <class T>
struct Adam {
  Average<T> mean;
  AverageOfSquares<T> mean_square;
  T step, epsilon;
  __device__ Adam(double step, double beta1, double beta2, double epsilon)
      : mean(beta1), mean_square(beta2), step(T(step)), epsilon(T(epsilon)) {}
  __device__ T operator()(T theta, T* state, T g) const {
    T &m = state[0], &v = state[1];
    m = mean(m, g);
    v = mean_square(v, g);
    return fused(-step / (root(v) + epsilon), m, theta);
  }
};

// As Adam, with beta1 m + (1 - beta1) g, of the new m, in the place of m in the step.
template <class T>
struct NAdam : Adam<T> {
  __device__ NAdam(double step, double beta1, double beta2, double epsilon) : Adam<T>(step, beta1, beta2, epsilon) {}
  __device__ T operator()(T theta, T* state, T g) const {
    T &m = state[0], &v = state[1];
    m = this->mean(m, g);
    v = this->mean_square(v, g);
    return fused(-this->step / (root(v) + this->epsilon), this->mean(m, g), theta);
  }
};
