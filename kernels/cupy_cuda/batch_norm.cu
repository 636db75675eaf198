// Batch normalization of x[G, M, C]: each channel over the M examples (pixels) of each ghost batch g.
//
//   mu = 1/M sum_m x      var = 1/M sum_m (x - mu)^2      y = gamma (x - mu) / sqrt(var + epsilon) + beta
//
// A ghost batch that fits into the registers of a block is read once and normalized from there: 8 bytes a value
// (float32) are moved. A larger one is cut into shares, a block each, in three launches:
//
//   moments      block (g, share, 128 channels): mean and sum of squares around it of the share, in double   4 bytes
//   statistics   one thread for each (g, c) and 1/16 of the shares: mu and var                               few
//   normalize    the same shares, the last block first and each backwards                                    8 bytes
//
// What is still in the L2 cache when `normalize` begins is what `moments` read last: the ends of the shares of those
// blocks that ran last. So it begins there.
//
// Sums of squares are taken around means alone, see statistics.cuh; never as a difference of moments. Means and squares
// are doubles: the memory takes longer.
//
// columns.cuh says which thread has which channels. A block is blockIdx.x = (g * shares + share) * tiles + tile.
#include "columns.cuh"
#include "numbers.cuh"
#include "statistics.cuh"

constexpr int kSumLanes = 16;  // threads that share the shares of a channel in `statistics`

template <bool packed, class T>
__device__ inline void share_moments(const T* __restrict__ x, double* __restrict__ partial, long long M, long long C,
                                     long long rows, long long shares, long long tiles, int lanes) {
  constexpr int kColumns = kPack<T>;
  __shared__ double shared[kWarps][32][kColumns];
  const Share at(M, rows, shares, tiles);
  const Columns<T, packed> columns(at.tile, lanes, C);
  const T* group = x + at.g * M * C;
  double count = 0, pivots[kColumns];
  Moments m[kColumns];
  T firsts[kColumns];
  columns.load(group + at.first * C, firsts);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) pivots[j] = pivot_of(firsts[j]);
  long long row = at.first + columns.row_lane;
  const long long apart = columns.row_lanes * C;
  const T* from = group + row * C;
  for (; row + (kAtOnce - 1) * columns.row_lanes < at.last; row += kAtOnce * columns.row_lanes) {
    T values[kAtOnce][kColumns];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) columns.load(from + k * apart, values[k]);
    from += kAtOnce * apart;
    add_rows<kAtOnce>(m, count, values, pivots);
  }
  T values[kAtOnce - 1][kColumns];  // the last round, of fewer rows
#pragma unroll
  for (int k = 0; k < kAtOnce - 1; ++k)
    if (row + k * columns.row_lanes < at.last) columns.load(from + k * apart, values[k]);
#pragma unroll
  for (int k = 0; k < kAtOnce - 1; ++k)
    if (row + k * columns.row_lanes < at.last) add_rows<1>(m, count, values + k, pivots);
  const double n = double(at.last - at.first), per_n = reciprocal(n);
  double sums[kColumns], mean[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) sums[j] = count * m[j].mean;
  sum_over_rows(sums, lanes, shared);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    mean[j] = quotient(sums[j], n, per_n);
    const double off = m[j].mean - mean[j];
    sums[j] = m[j].squares + count * off * off;  // of this thread's rows around the mean of the share
  }
  sum_over_rows(sums, lanes, shared);
  if (columns.row_lane > 0) return;
  double* out = partial + (at.g * shares + at.share) * 2 * C;
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
    if (columns.inside(j)) {
      out[columns.channel(j)] = pivots[j] + mean[j];
      out[C + columns.channel(j)] = sums[j];
    }
}

template <class T>
__device__ inline void moments(const T* x, double* partial, long long M, long long C, long long rows, long long shares,
                               long long tiles, long long lanes) {
  if (on_packs(x) && C % kPack<T> == 0) share_moments<true>(x, partial, M, C, rows, shares, tiles, int(lanes));
  else share_moments<false>(x, partial, M, C, rows, shares, tiles, int(lanes));
}

// partial[G, shares, 2, C] -> mean[G, C], var[G, C]: the mean of the means, and the squares around it. A block has 32
// channels of one ghost batch, and for each of them kSumLanes threads, which take shares kSumLanes apart.
template <class T>
__device__ inline void statistics(const double* __restrict__ partial, T* __restrict__ mean, T* __restrict__ var,
                                  long long M, long long C, long long rows, long long shares) {
  __shared__ double sums[kSumLanes][32];
  const long long tiles = (C + 31) / 32, g = blockIdx.x / tiles;
  const int lane = threadIdx.x % 32, lane_of_shares = threadIdx.x / 32;
  const long long c = blockIdx.x % tiles * 32 + lane;
  const double* means = partial + g * shares * 2 * C + min(c, C - 1);
  const double* squares = means + C;
  const double pivot = pivot_of(means[0]);
  double total = 0;
#pragma unroll 4
  for (long long s = lane_of_shares; s < shares; s += kSumLanes)
    total += double(min(rows, M - s * rows)) * (means[s * 2 * C] - pivot);
  sums[lane_of_shares][lane] = total;
  __syncthreads();  // or sums might be added before they are there
  total = 0;
#pragma unroll
  for (int k = 0; k < kSumLanes; ++k) total += sums[k][lane];
  const double center = pivot + quotient(total, double(M), reciprocal(double(M)));
  __syncthreads();  // or the squares might overwrite sums that are still to be read
  total = 0;
#pragma unroll 4
  for (long long s = lane_of_shares; s < shares; s += kSumLanes) {
    const double off = means[s * 2 * C] - center;
    total += squares[s * 2 * C] + double(min(rows, M - s * rows)) * off * off;
  }
  sums[lane_of_shares][lane] = total;
  __syncthreads();  // or sums might be added before they are there
  if (lane_of_shares > 0 || c >= C) return;
  total = 0;
#pragma unroll
  for (int k = 0; k < kSumLanes; ++k) total += sums[k][lane];
  mean[g * C + c] = T(center);
  var[g * C + c] = T(total * reciprocal(double(M)));
}

// y may be x.
template <bool packed, class T>
__device__ inline void normalize_share(const T* x, const T* __restrict__ gamma, const T* __restrict__ beta,
                                       const T* __restrict__ mean, const T* __restrict__ var, T* y, long long M,
                                       long long C, double epsilon, long long rows, long long shares, long long tiles,
                                       int lanes) {
  constexpr int kColumns = kPack<T>;
  const Share at(M, rows, shares, tiles, gridDim.x - 1 - blockIdx.x);
  const Columns<T, packed> columns(at.tile, lanes, C);
  T center[kColumns], variance[kColumns], scale[kColumns], shift[kColumns];
  columns.load(mean + at.g * C, center);
  columns.load(var + at.g * C, variance);
  columns.load(gamma, scale);
  columns.load(beta, shift);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) scale[j] = T(scale[j] * per_sigma(variance[j], epsilon));
  const long long step = kAtOnce * columns.row_lanes, group = at.g * M;
  const long long steps = (at.last - at.first + step - 1) / step;
  for (long long i = steps - 1; i >= 0; --i) {
    const long long row = at.first + i * step + columns.row_lane;
    T values[kAtOnce][kColumns];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last) columns.load(x + (group + row + k * columns.row_lanes) * C, values[k]);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) values[k][j] = fused(values[k][j] - center[j], scale[j], shift[j]);
        columns.store(y + (group + row + k * columns.row_lanes) * C, values[k]);
      }
  }
}

template <class T>
__device__ inline void normalize(const T* x, const T* gamma, const T* beta, const T* mean, const T* var, T* y,
                                 long long M, long long C, double epsilon, long long rows, long long shares,
                                 long long tiles, long long lanes) {
  if (on_packs(x, gamma, beta, mean, var, y) && C % kPack<T> == 0)
    normalize_share<true>(x, gamma, beta, mean, var, y, M, C, epsilon, rows, shares, tiles, int(lanes));
  else normalize_share<false>(x, gamma, beta, mean, var, y, M, C, epsilon, rows, shares, tiles, int(lanes));
}

// A ghost batch in the registers of a block: M <= kHeld * kThreads / lanes. Block (g, tile).
template <bool packed, class T>
__device__ inline void normalize_held(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
                                      T* __restrict__ y, T* __restrict__ mean, T* __restrict__ var, long long M,
                                      long long C, double epsilon, long long tiles, int lanes) {
  constexpr int kColumns = kPack<T>;
  __shared__ double shared[kWarps][32][kColumns];
  const long long g = blockIdx.x / tiles;
  const Columns<T, packed> columns(blockIdx.x % tiles, lanes, C);
  x += g * M * C, y += g * M * C;
  T values[kHeld][kColumns];
  double sums[kColumns] = {}, squares[kColumns] = {}, pivots[kColumns];
  T firsts[kColumns];
  columns.load(x, firsts);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) pivots[j] = pivot_of(firsts[j]);
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const long long row = columns.row_lane + k * columns.row_lanes;
    if (row < M) columns.load(x + row * C, values[k]);
  }
#pragma unroll
  for (int k = 0; k < kHeld; ++k)
    if (columns.row_lane + k * columns.row_lanes < M)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) sums[j] += double(values[k][j]) - pivots[j];
  sum_over_rows(sums, lanes, shared);
#pragma unroll
  for (int j = 0; j < kColumns; ++j)  // the mean from here on
    sums[j] = pivots[j] + quotient(sums[j], double(M), reciprocal(double(M)));
#pragma unroll
  for (int k = 0; k < kHeld; ++k)
    if (columns.row_lane + k * columns.row_lanes < M)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const double off = double(values[k][j]) - sums[j];
        squares[j] += off * off;
      }
  sum_over_rows(squares, lanes, shared);
  T center[kColumns], variance[kColumns], scale[kColumns], shift[kColumns];
  columns.load(gamma, scale);
  columns.load(beta, shift);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    center[j] = T(sums[j]);
    variance[j] = T(squares[j] * reciprocal(double(M)));
    scale[j] = T(scale[j] * per_sigma(variance[j], epsilon));
  }
  if (columns.row_lane == 0) {
    columns.store(mean + g * C, center);
    columns.store(var + g * C, variance);
  }
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const long long row = columns.row_lane + k * columns.row_lanes;
    if (row < M) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) values[k][j] = fused(values[k][j] - center[j], scale[j], shift[j]);
      columns.store(y + row * C, values[k]);
    }
  }
}

template <class T>
__device__ inline void held(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var, long long M, long long C,
                            double epsilon, long long tiles, long long lanes) {
  if (on_packs(x, gamma, beta, y, mean, var) && C % kPack<T> == 0)
    normalize_held<true>(x, gamma, beta, y, mean, var, M, C, epsilon, tiles, int(lanes));
  else normalize_held<false>(x, gamma, beta, y, mean, var, M, C, epsilon, tiles, int(lanes));
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256, 2) batch_norm_moments_##dtype(const T* x, double* partial, long long M, long long C, long long rows,     \
      long long shares, long long tiles, long long lanes) {                                                            \
    moments(x, partial, M, C, rows, shares, tiles, lanes);                                                             \
  }                                                                                                                    \
  KERNEL(512, 1) batch_norm_statistics_##dtype(const double* partial, T* mean, T* var, long long M, long long C,       \
      long long rows, long long shares) {                                                                              \
    statistics(partial, mean, var, M, C, rows, shares);                                                                \
  }                                                                                                                    \
  KERNEL(256) batch_norm_normalize_##dtype(const T* x, const T* gamma, const T* beta, const T* mean, const T* var,     \
      T* y, long long M, long long C, double epsilon, long long rows, long long shares, long long tiles,               \
      long long lanes) {                                                                                               \
    normalize(x, gamma, beta, mean, var, y, M, C, epsilon, rows, shares, tiles, lanes);                                \
  }                                                                                                                    \
  KERNEL(256, 2) batch_norm_held_##dtype(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var,             \
      long long M, long long C, double epsilon, long long tiles, long long lanes) {                                    \
    held(x, gamma, beta, y, mean, var, M, C, epsilon, tiles, lanes);                                                   \
  }

KERNELS(float, float32)
KERNELS(double, float64)
