// Means of the pixels of each image, x[N, M, C] with M = H W pixels -> y[N, C], and their gradient dx = dy / M.
//
//   each     thread (n, kPack channels) adds the pixels: where there are enough of such threads, or few pixels
//   block    block (n, up to 128 channels): its threads share the pixels, then the sums (columns.cuh)
//   back     thread (n, pixel, kPack channels)
//
// Sums are doubles. Memory moved: x once, 4 bytes a value in float32; dx once.
#include "columns.cuh"
#include "numbers.cuh"

constexpr int kAtOnce = 4;  // pixels that a thread asks for before it adds the first

// The sum over the pixels first, first + step, ... below M of one image.
template <class T, bool packed>
__device__ inline void add_pixels(const T* __restrict__ image, const Columns<T, packed>& columns, long long first,
                                  long long step, long long M, double (&sums)[kPack<T>]) {
  for (long long pixel = first; pixel < M; pixel += kAtOnce * step) {
    T values[kAtOnce][kPack<T>];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (pixel + k * step < M) columns.load(image + (pixel + k * step) * columns.C, values[k]);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (pixel + k * step < M)
#pragma unroll
        for (int j = 0; j < kPack<T>; ++j) sums[j] += double(values[k][j]);
  }
}

template <class T, bool packed>
__device__ inline void write_means(const double (&sums)[kPack<T>], const Columns<T, packed>& columns, long long M,
                                   T* y) {
  T means[kPack<T>];
#pragma unroll
  for (int j = 0; j < kPack<T>; ++j) means[j] = T(quotient(sums[j], double(M), reciprocal(double(M))));
  columns.store(y, means);
}

template <bool packed, class T>
__device__ inline void mean_each(const T* x, T* y, long long N, long long M, long long C) {
  const long long at = (long long)blockIdx.x * kThreads + threadIdx.x, packs = (C + kPack<T> - 1) / kPack<T>;
  const long long n = at / packs;
  if (n >= N) return;
  const Columns<T, packed> columns(int(at % packs), packs, C);
  double sums[kPack<T>] = {};
  add_pixels(x + n * M * C, columns, 0, 1, M, sums);
  write_means(sums, columns, M, y + n * C);
}

template <bool packed, class T>
__device__ inline void mean_block(const T* x, T* y, long long M, long long C, long long tiles, int lanes) {
  __shared__ double shared[kWarps][32][kPack<T>];
  const long long n = blockIdx.x / tiles;
  const Columns<T, packed> columns(blockIdx.x % tiles, lanes, C);
  double sums[kPack<T>] = {};
  add_pixels(x + n * M * C, columns, columns.row_lane, columns.row_lanes, M, sums);
  sum_over_rows(sums, lanes, shared);
  if (columns.row_lane == 0) write_means(sums, columns, M, y + n * C);
}

template <bool packed, class T>
__device__ inline void back(const T* dy, T* dx, long long N, long long M, long long C) {
  const long long at = (long long)blockIdx.x * kThreads + threadIdx.x, packs = (C + kPack<T> - 1) / kPack<T>;
  const long long pixel = at / packs;
  if (pixel >= N * M) return;
  const Columns<T, packed> columns(int(at % packs), packs, C);
  T slopes[kPack<T>];
  columns.load(dy + pixel / M * C, slopes);
#pragma unroll
  for (int j = 0; j < kPack<T>; ++j) slopes[j] /= T(M);
  columns.store(dx + pixel * C, slopes);
}

template <class T>
__device__ inline bool packed(const T* a, const T* b, long long C) { return on_packs(a, b) && C % kPack<T> == 0; }

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256) avg_pool_each_##dtype(const T* x, T* y, long long N, long long M, long long C) {                         \
    packed(x, y, C) ? mean_each<true>(x, y, N, M, C) : mean_each<false>(x, y, N, M, C);                                \
  }                                                                                                                    \
  KERNEL(256) avg_pool_block_##dtype(const T* x, T* y, long long M, long long C, long long tiles, long long lanes) {   \
    if (packed(x, y, C)) mean_block<true>(x, y, M, C, tiles, int(lanes));                                              \
    else mean_block<false>(x, y, M, C, tiles, int(lanes));                                                             \
  }                                                                                                                    \
  KERNEL(256) avg_pool_back_##dtype(const T* dy, T* dx, long long N, long long M, long long C) {                       \
    packed(dy, dx, C) ? back<true>(dy, dx, N, M, C) : back<false>(dy, dx, N, M, C);                                    \
  }

KERNELS(float, float32)
KERNELS(double, float64)
