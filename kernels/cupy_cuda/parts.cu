// Sums over several blocks: each leaves its part in memory, and these kernels add the parts up, always in the same
// order. The result is the same at every call, which float atomics could not promise.
#include "activation.cuh"

// What one block left of several parts: out[i] = sum_s parts[s * (count + tail_count) + i], for i < count with bias[i %
// n] and activation as in product_nn, or only where y > 0 as in product_nt; tail[i] takes the sums behind those. What is
// not wanted is null.
template <class T>
struct Whole {
  const T *bias, *y;
  T *z, *out, *tail;
  long long count, tail_count, n;
  int activation;

  __device__ long long stride() const { return count + tail_count; }

  __device__ __forceinline__ void take(T sum, long long i) const {
    if (i >= count) {
      tail[i - count] = sum;
      return;
    }
    if (bias) sum += bias[i % n];
    if (y && !(y[i] > T(0))) sum = 0;
    if (z) z[i] = sum;
    out[i] = activated(sum, activation);
  }
};

// Of many parts: block b owns 32 neighbouring sums. Each of its 8 warps adds up every eighth part, and the first adds up
// the warps.
template <class T>
__device__ __forceinline__ void sum_parts(const T* __restrict__ parts, long long part_count, const Whole<T>& whole) {
  constexpr int kWarps = 8;
  __shared__ T sums[kWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long stride = whole.stride(), i = blockIdx.x * 32ll + lane;
  T sum = 0;
  if (i < stride) {
#pragma unroll 8
    for (long long part = warp; part < part_count; part += kWarps) sum += parts[part * stride + i];
  }
  sums[warp][lane] = sum;
  __syncthreads();  // the first warp reads what all have written
  if (warp > 0 || i >= stride) return;
#pragma unroll
  for (int other = 1; other < kWarps; ++other) sum += sums[other][lane];
  whole.take(sum, i);
}

// Of up to 8 parts: each thread owns a sum, and adds in the same order.
template <class T>
__device__ __forceinline__ void sum_few_parts(const T* __restrict__ parts, long long part_count,
                                              const Whole<T>& whole) {
  const long long stride = whole.stride(), i = blockIdx.x * 256ll + threadIdx.x;
  if (i >= stride) return;
  T sum = 0;
#pragma unroll 8
  for (long long part = 0; part < part_count; ++part) sum += parts[part * stride + i];
  whole.take(sum, i);
}

// out[part * stride + n] = sum of x[m,n] over the rows of part blockIdx.y, `chunk` long: where no product reads x
// anyway. Block (i, part) owns 32 columns; each of its 8 warps adds up every eighth row, and the first adds up the
// warps.
template <class T>
__device__ __forceinline__ void column_sums(const T* x, T* out, long long m, long long n, long long chunk,
                                            long long stride) {
  constexpr int kWarps = 8;
  __shared__ T sums[kWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long column = blockIdx.x * 32ll + lane, first = blockIdx.y * chunk, end = min(m, first + chunk);
  T sum = 0;
  if (column < n) {
#pragma unroll 4
    for (long long row = first + warp; row < end; row += kWarps) sum += x[row * n + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();  // the first warp reads what all have written
  if (warp > 0 || column >= n) return;
#pragma unroll
  for (int other = 1; other < kWarps; ++other) sum += sums[other][lane];
  out[blockIdx.y * stride + column] = sum;
}

#define SUM_PARTS(name, T, dtype)                                                                              \
  extern "C" __global__ void __launch_bounds__(256) name##_##dtype(                                            \
      const T* parts, long long part_count, const T* bias, const T* y, T* z, T* out, T* tail, long long count, \
      long long tail_count, long long n, long long activation) {                                               \
    name(parts, part_count, Whole<T>{bias, y, z, out, tail, count, tail_count, n, int(activation)});           \
  }
SUM_PARTS(sum_parts, float, float32)
SUM_PARTS(sum_parts, double, float64)
SUM_PARTS(sum_few_parts, float, float32)
SUM_PARTS(sum_few_parts, double, float64)

extern "C" __global__ void __launch_bounds__(256) column_sums_float32(
    const float* __restrict__ x, float* out, long long m, long long n, long long chunk, long long stride) {
  column_sums(x, out, m, n, chunk, stride);
}
