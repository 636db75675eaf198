// The six update rules: theta[n], g[n] and the state [n] in one pass, each value read and written once.
//
//   bytes moved for a parameter of type T: sgd 3, momentum and nesterov 5, rmsprop, adam and nadam 7 times sizeof(T)
//
// Block b owns the values from b * kBlock<T> on (elementwise.cuh). A step that is replayed as a graph cannot be given
// other arguments, so what changes from step to step is read from device memory:
//
//   rates, t   where `rates` is given, rates[*t] is in the place of `rate`, the learning rate (for adam and nadam times
//              the bias correction): the schedule, a double for each step. `advance` counts t up.
//   clip       where it is given, the gradient is multiplied by *clip, rounded as by `scale`; g itself stays.
#include "elementwise.cuh"
#include "rules.cuh"

__device__ inline double now(double rate, const double* rates, const long long* t) { return rates ? rates[*t] : rate; }

// in: theta, g, state; out: theta, state
template <class T, int kOut, class Rule>
__device__ inline void update(const Rule& rule, long long n, const double* clip, T* const (&out)[kOut],
                              const T* const (&in)[kOut + 1]) {
  const double factor = clip ? *clip : 1;
  elementwise(n, in, out, [&](const T(&old)[kOut + 1], T(&next)[kOut]) {
#pragma unroll
    for (int s = 1; s < kOut; ++s) next[s] = old[s + 1];
    next[0] = rule(old[0], next + 1, clip ? T(factor * double(old[1])) : old[1]);
  });
}

#define KERNEL extern "C" __global__ void __launch_bounds__(kThreads)

#define RULES(T, dtype)                                                                                                \
  KERNEL sgd_##dtype(T* theta, const T* g, long long n, double rate, const double* rates, const long long* t,          \
                     const double* clip) {                                                                             \
    update<T, 1>(Sgd<T>(now(rate, rates, t)), n, clip, {theta}, {theta, g});                                           \
  }                                                                                                                    \
  KERNEL momentum_##dtype(T* theta, const T* g, T* v, long long n, double rate, double gamma, const double* rates,     \
                          const long long* t, const double* clip) {                                                    \
    update<T, 2>(Momentum<T>(now(rate, rates, t), gamma), n, clip, {theta, v}, {theta, g, v});                         \
  }                                                                                                                    \
  KERNEL nesterov_##dtype(T* theta, const T* g, T* v, long long n, double rate, double gamma, const double* rates,     \
                          const long long* t, const double* clip) {                                                    \
    update<T, 2>(Nesterov<T>(now(rate, rates, t), gamma), n, clip, {theta, v}, {theta, g, v});                         \
  }                                                                                                                    \
  KERNEL rmsprop_##dtype(T* theta, const T* g, T* v, T* m, long long n, double rate, double gamma, double rho,         \
                         double epsilon, const double* rates, const long long* t, const double* clip) {                \
    update<T, 3>(RmsProp<T>(now(rate, rates, t), gamma, rho, epsilon), n, clip, {theta, v, m}, {theta, g, v, m});      \
  }                                                                                                                    \
  KERNEL adam_##dtype(T* theta, const T* g, T* m, T* v, long long n, double rate, double beta1, double beta2,          \
                      double epsilon, const double* rates, const long long* t, const double* clip) {                   \
    update<T, 3>(Adam<T>(now(rate, rates, t), beta1, beta2, epsilon), n, clip, {theta, m, v}, {theta, g, m, v});       \
  }                                                                                                                    \
  KERNEL nadam_##dtype(T* theta, const T* g, T* m, T* v, long long n, double rate, double beta1, double beta2,         \
                       double epsilon, const double* rates, const long long* t, const double* clip) {                  \
    update<T, 3>(NAdam<T>(now(rate, rates, t), beta1, beta2, epsilon), n, clip, {theta, m, v}, {theta, g, m, v});      \
  }

RULES(float, float32)
RULES(double, float64)

// The last launch of a step: the step is over. One thread. Two counters: of the row of `rates`, and of the training.
extern "C" __global__ void advance(long long* t, long long* step) {
  *t += 1;
  *step += 1;
}
