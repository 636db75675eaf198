// Activations. n values in, n values out, each from the values at its own place; y may be x, dx may be dy.
//
//   relu    y = max(x, 0)          dx = dy where y > 0, else 0
//   tanh    y = tanh x             dx = (1 - y^2) dy
//   gelu    y = x Phi(x)           dx = (Phi(x) + x phi(x)) dy       Phi, phi: the normal distribution
//
// Each array is read or written once: 8 bytes a value forward and 12 backward in float32. elementwise.cuh says which
// thread has which values.
#include "activation.cuh"
#include "elementwise.cuh"

struct ReluSlope {
  template <class T>
  __device__ T operator()(T y, T dy) const { return y > T(0) ? dy : T(0); }
};

struct TanhSlope {
  template <class T>
  __device__ T operator()(T y, T dy) const { return (T(1) - y * y) * dy; }
};

struct GeluSlope {
  template <class T>
  __device__ T operator()(T x, T dy) const {
    const Normal<T> at = normal(x);
    return (at.cdf + x * at.bell * T(0.39894228040143267794)) * dy;
  }
};

#define KERNEL extern "C" __global__ void __launch_bounds__(kThreads)

#define FORWARD(T, dtype, name, Function)                                                                              \
  KERNEL name##_##dtype(const T* x, T* y, long long n) {                                                               \
    elementwise<T, 1, 1>(n, {x}, {y}, [](const T(&in)[1], T(&out)[1]) { out[0] = Function()(in[0]); });                \
  }

// `a` is what the formula takes: y, or x of gelu.
#define BACKWARD(T, dtype, name, Slope)                                                                                \
  KERNEL name##_##dtype(const T* a, const T* dy, T* dx, long long n) {                                                 \
    elementwise<T, 2, 1>(n, {a, dy}, {dx}, [](const T(&in)[2], T(&out)[1]) { out[0] = Slope()(in[0], in[1]); });       \
  }

#define ACTIVATIONS(T, dtype)                    \
  FORWARD(T, dtype, relu_forward, Relu)          \
  FORWARD(T, dtype, tanh_forward, Tanh)          \
  FORWARD(T, dtype, gelu_forward, Gelu)          \
  BACKWARD(T, dtype, relu_backward, ReluSlope)   \
  BACKWARD(T, dtype, tanh_backward, TanhSlope)   \
  BACKWARD(T, dtype, gelu_backward, GeluSlope)

ACTIVATIONS(float, float32)
ACTIVATIONS(double, float64)
