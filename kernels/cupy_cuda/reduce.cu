// The norm of a vector, and scalings of vectors.
#include "block_sum.cuh"
#include "elementwise.cuh"

constexpr int kAtOnce = 4;  // packs that a thread asks for before it uses the first

// The sum of g_i^2 over the values of this thread: packs `threads` apart, or single values where g does not begin at a
// multiple of 16 bytes. In double: float32 squares are exact there and never leave its range. Those of doubles may,
// which is why they count times `unit`, a power of two.
template <class T>
__device__ inline double own_squares(const T* g, long long n, double unit, long long thread, long long threads) {
  const auto scaled = [unit](T value) { return sizeof(T) == 8 ? unit * double(value) : double(value); };
  const int width = on_packs(g) ? kPack<T> : 1;
  const long long whole = n / width;
  double sums[kAtOnce] = {};
  for (long long p = thread; p < whole; p += kAtOnce * threads) {
    T values[kAtOnce][kPack<T>] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (p + k * threads < whole) {
        if (width > 1) load(g + (p + k * threads) * width, values[k]);
        else values[k][0] = g[p + k * threads];
      }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) sums[k] = fma(scaled(values[k][j]), scaled(values[k][j]), sums[k]);
  }
  if (whole * width + thread < n) {  // what is left of a pack
    const double value = scaled(g[whole * width + thread]);
    sums[0] = fma(value, value, sums[0]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// g[n] -> result[0] = |g|, result[1] = what clipping to `threshold` multiplies g with: threshold / |g| where |g| is
// larger and finite, else 1. One pass over g: sizeof(T) bytes a value. The norm goes to log[*row] too, if there is a log.
template <class T>
__device__ inline void norm_and_clip(const T* g, long long n, double unit, double threshold, double* partial,
                                     unsigned* arrived, double* result, double* log, const long long* row) {
  const long long thread = blockIdx.x * (long long)kThreads + threadIdx.x, threads = gridDim.x * (long long)kThreads;
  double sum = block_sum<kThreads>(own_squares(g, n, unit, thread, threads));
  if (grid_sum<kThreads>(sum, partial, arrived) && threadIdx.x == 0) {
    const double norm = sizeof(T) == 8 ? sqrt(sum) / unit : sqrt(sum);
    result[0] = norm;
    result[1] = norm > threshold && norm - norm == 0 ? threshold / norm : 1;
    if (log) log[*row] = norm;
  }
}

#define KERNEL extern "C" __global__ void __launch_bounds__(kThreads)

// Factors come by value, or, in a step that is replayed as a graph, from device memory at the index *t. They stay
// doubles: the two of an average must add up to 1. With 0.9999 and 0.0001 rounded to float32, an average of ones settles
// at 1 - 1.7e-4.
#define VECTOR_KERNELS(T, dtype)                                                                                       \
  extern "C" __global__ void __launch_bounds__(kThreads, 4)                                                            \
  norm_and_clip_##dtype(const T* g, long long n, double unit, double threshold, double* partial, unsigned* arrived,    \
                        double* result, double* log, const long long* row) {                                           \
    norm_and_clip(g, n, unit, threshold, partial, arrived, result, log, row);                                          \
  }                                                                                                                    \
  /* g <- s g; 2 sizeof(T) bytes a value */                                                                            \
  KERNEL scale_##dtype(T* g, double s, long long n, const double* factors, const long long* t) {                       \
    const double factor = factors ? factors[*t] : s;                                                                   \
    elementwise<T, 1, 1>(n, {g}, {g}, [&](const T(&old)[1], T(&next)[1]) { next[0] = T(factor * double(old[0])); });   \
  }                                                                                                                    \
  /* y <- a x + b y, where y may be x; 3 sizeof(T) bytes a value */                                                    \
  KERNEL axpby_##dtype(double a, const T* x, double b, T* y, long long n, const double* as, const double* bs,          \
                       const long long* t) {                                                                           \
    const double p = as ? as[*t] : a, q = bs ? bs[*t] : b;                                                             \
    elementwise<T, 2, 1>(n, {x, y}, {y}, [&](const T(&old)[2], T(&next)[1]) {                                          \
      next[0] = T(p * double(old[0]) + q * double(old[1]));                                                            \
    });                                                                                                                \
  }

VECTOR_KERNELS(float, float32)
VECTOR_KERNELS(double, float64)
