// Layer normalization of rows that are too long for the registers of a block: a block for each row, which goes over it
// again for each step (12 bytes a value in float32 forward and 20 backward, what is no longer in the cache counted
// twice), and for the gradients of gamma and beta blocks of columns. Equations: layer_norm.cu.
#include "numbers.cuh"
#include "rows.cuh"

constexpr int kThreads = 256;

template <class T>
__device__ inline void normalize_row(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
                                     T* __restrict__ y, T* __restrict__ mean, T* __restrict__ var, long long C,
                                     double epsilon) {
  __shared__ double shared[kMostWarps][1];
  const long long b = blockIdx.x;
  x += b * C, y += b * C;
  const double n = double(C), pivot = pivot_of(x[0]);
  double sum[1] = {};
#pragma unroll 8
  for (long long c = threadIdx.x; c < C; c += kThreads) sum[0] += double(x[c]) - pivot;
  over_row<Add>(sum, kThreads, shared);
  const double center = pivot + quotient(sum[0], n, reciprocal(n));
  sum[0] = 0;
#pragma unroll 8
  for (long long c = threadIdx.x; c < C; c += kThreads) sum[0] += (double(x[c]) - center) * (double(x[c]) - center);
  over_row<Add>(sum, kThreads, shared);
  const T middle = T(center), variance = T(sum[0] * reciprocal(n)), scale = T(per_sigma(variance, epsilon));
  if (threadIdx.x == 0) {
    mean[b] = middle;
    var[b] = variance;
  }
#pragma unroll 4
  for (long long c = threadIdx.x; c < C; c += kThreads) y[c] = fused(gamma[c], (x[c] - middle) * scale, beta[c]);
}

template <class T>
__device__ inline void row_gradient(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ mean,
                                    const T* __restrict__ var, const T* __restrict__ dy, T* __restrict__ dx,
                                    long long C, double epsilon) {
  __shared__ double shared[kMostWarps][2];
  const long long b = blockIdx.x;
  x += b * C, dy += b * C, dx += b * C;
  const T center = mean[b], per = T(per_sigma(var[b], epsilon));
  double sums[2] = {};
#pragma unroll 4
  for (long long c = threadIdx.x; c < C; c += kThreads) {
    const T x_hat = (x[c] - center) * per, slope = gamma[c] * dy[c];
    sums[0] += double(slope);
    sums[1] += double(slope * x_hat);
  }
  over_row<Add>(sums, kThreads, shared);
  const T shift = T(sums[0] / double(C)), slope = T(sums[1] / double(C));
#pragma unroll 4
  for (long long c = threadIdx.x; c < C; c += kThreads)
    dx[c] = per * fused((center - x[c]) * per, slope, gamma[c] * dy[c] - shift);
}

// partial[shares, 2, C]: the sums of dy and of dy x_hat over rows share, share + shares, ... Block (share, 256
// columns).
template <class T>
__device__ inline void column_gradients(const T* __restrict__ x, const T* __restrict__ mean, const T* __restrict__ var,
                                        const T* __restrict__ dy, double* __restrict__ partial, long long B,
                                        long long C, double epsilon, long long shares) {
  const long long tiles = (C + kThreads - 1) / kThreads, share = blockIdx.x / tiles;
  const long long c = blockIdx.x % tiles * kThreads + threadIdx.x;
  if (c >= C) return;
  double sums[2] = {};
#pragma unroll 4
  for (long long b = share; b < B; b += shares) {
    const T x_hat = (x[b * C + c] - mean[b]) * T(per_sigma(var[b], epsilon));
    sums[0] += double(dy[b * C + c]);
    sums[1] += double(dy[b * C + c] * x_hat);
  }
  partial[share * 2 * C + c] = sums[0];
  partial[(share * 2 + 1) * C + c] = sums[1];
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256) layer_norm_long_forward_##dtype(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var,        \
      long long C, double epsilon) {                                                                                   \
    normalize_row(x, gamma, beta, y, mean, var, C, epsilon);                                                           \
  }                                                                                                                    \
  KERNEL(256) layer_norm_long_input_##dtype(const T* x, const T* gamma, const T* mean, const T* var, const T* dy,      \
      T* dx, long long C, double epsilon) {                                                                            \
    row_gradient(x, gamma, mean, var, dy, dx, C, epsilon);                                                             \
  }                                                                                                                    \
  KERNEL(256) layer_norm_long_columns_##dtype(const T* x, const T* mean, const T* var, const T* dy, double* partial,   \
      long long B, long long C, double epsilon, long long shares) {                                                    \
    column_gradients(x, mean, var, dy, partial, B, C, epsilon, shares);                                                \
  }

KERNELS(float, float32)
KERNELS(double, float64)
