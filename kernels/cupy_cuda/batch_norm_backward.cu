// The gradient of batch normalization of x[G, M, C], through mean and variance.
//
//   x_hat = (x - mu) / sigma       dbeta = sum_gm dy       dgamma = sum_gm dy x_hat       sigma = sqrt(var + epsilon)
//   dx = gamma / sigma (dy - 1/M sum_m dy - x_hat 1/M sum_m dy x_hat)
//
// As in batch_norm.cu, a ghost batch that fits into the registers of a block is read once (12 bytes a value in
// float32), and a larger one is cut into shares:
//
//   sums         block (g, share, 128 channels): sum of dy and of dy x_hat of the share, in double           8 bytes
//   totals       the sums of the shares of each ghost batch (column_sums.cu)                                 few
//   input        the same shares, the last block first and each backwards, as `normalize` there: dx         12 bytes
//   parameters   dbeta and dgamma: the sums over ghost batches (column_sums.cu)                              few
//
// columns.cuh says which thread has which channels. A block is blockIdx.x = (g * shares + share) * tiles + tile.
#include "columns.cuh"
#include "numbers.cuh"

constexpr int kPairsAtOnce = 2;  // rows of both x and dy that a thread asks for before it uses the first
constexpr int kPairsHeld = 4;    // rows of both that a thread holds

// What dx needs of each channel: dx = factor ((dy - mean_dy) - (x - center) slope).
template <class T>
struct Slope {
  T center, factor, mean_dy, slope;

  // From the sums of dy and of dy x_hat over the M rows.
  __device__ Slope(T center, T var, T gamma, double sum_dy, double sum_dy_x_hat, double per_row, double epsilon)
      : center(center), factor(T(gamma * per_sigma(var, epsilon))), mean_dy(T(sum_dy * per_row)),
        slope(T(sum_dy_x_hat * per_row * per_sigma(var, epsilon))) {}
  __device__ Slope() {}

  __device__ T operator()(T x, T dy) const { return factor * fused(center - x, slope, dy - mean_dy); }
};

template <bool packed, class T>
__device__ inline void share_sums(const T* __restrict__ x, const T* __restrict__ dy, const T* __restrict__ mean,
                                  const T* __restrict__ var, double* __restrict__ partial, long long M, long long C,
                                  double epsilon, long long rows, long long shares, long long tiles, int lanes) {
  constexpr int kColumns = kPack<T>;
  __shared__ double shared[kWarps][32][kColumns];
  const Share at(M, rows, shares, tiles);
  const Columns<T, packed> columns(at.tile, lanes, C);
  const long long group = at.g * M;
  T center[kColumns];
  columns.load(mean + at.g * C, center);
  double sums[kColumns] = {}, products[kColumns] = {};
  for (long long row = at.first + columns.row_lane; row < at.last; row += kPairsAtOnce * columns.row_lanes) {
    T xs[kPairsAtOnce][kColumns], dys[kPairsAtOnce][kColumns];
#pragma unroll
    for (int k = 0; k < kPairsAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last) {
        columns.load(x + (group + row + k * columns.row_lanes) * C, xs[k]);
        columns.load(dy + (group + row + k * columns.row_lanes) * C, dys[k]);
      }
#pragma unroll
    for (int k = 0; k < kPairsAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last)
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          sums[j] += double(dys[k][j]);
          products[j] += double(dys[k][j] * (xs[k][j] - center[j]));
        }
  }
  sum_over_rows(sums, lanes, shared);
  sum_over_rows(products, lanes, shared);
  if (columns.row_lane > 0) return;
  double* out = partial + (at.g * shares + at.share) * 2 * C;
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
    if (columns.inside(j)) {
      out[columns.channel(j)] = sums[j];
      out[C + columns.channel(j)] = products[j] * per_sigma(var[at.g * C + columns.channel(j)], epsilon);
    }
}

template <class T>
__device__ inline void gradient_sums(const T* x, const T* dy, const T* mean, const T* var, double* partial, long long M,
                                     long long C, double epsilon, long long rows, long long shares, long long tiles,
                                     long long lanes) {
  if (on_packs(x, dy, mean) && C % kPack<T> == 0)
    share_sums<true>(x, dy, mean, var, partial, M, C, epsilon, rows, shares, tiles, int(lanes));
  else share_sums<false>(x, dy, mean, var, partial, M, C, epsilon, rows, shares, tiles, int(lanes));
}

// totals[G, 2, C]: the sums of dy and of dy x_hat over each ghost batch.
template <bool packed, class T>
__device__ inline void share_input(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ mean,
                                   const T* __restrict__ var, const T* __restrict__ dy, T* __restrict__ dx,
                                   const double* __restrict__ totals, long long M, long long C, double epsilon,
                                   long long rows, long long shares, long long tiles, int lanes) {
  constexpr int kColumns = kPack<T>;
  const Share at(M, rows, shares, tiles, gridDim.x - 1 - blockIdx.x);
  const Columns<T, packed> columns(at.tile, lanes, C);
  Slope<T> slopes[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
    if (columns.inside(j)) {
      const long long c = columns.channel(j), gc = at.g * C + c;
      slopes[j] = Slope<T>(mean[gc], var[gc], gamma[c], totals[gc + at.g * C], totals[gc + (at.g + 1) * C],
                           reciprocal(double(M)), epsilon);
    }
  const long long step = kPairsAtOnce * columns.row_lanes, group = at.g * M;
  const long long steps = (at.last - at.first + step - 1) / step;
  for (long long i = steps - 1; i >= 0; --i) {
    const long long row = at.first + i * step + columns.row_lane;
    T xs[kPairsAtOnce][kColumns], dys[kPairsAtOnce][kColumns];
#pragma unroll
    for (int k = 0; k < kPairsAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last) {
        columns.load(x + (group + row + k * columns.row_lanes) * C, xs[k]);
        columns.load(dy + (group + row + k * columns.row_lanes) * C, dys[k]);
      }
#pragma unroll
    for (int k = 0; k < kPairsAtOnce; ++k)
      if (row + k * columns.row_lanes < at.last) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) xs[k][j] = slopes[j](xs[k][j], dys[k][j]);
        columns.store(dx + (group + row + k * columns.row_lanes) * C, xs[k]);
      }
  }
}

template <class T>
__device__ inline void input_gradient(const T* x, const T* gamma, const T* mean, const T* var, const T* dy, T* dx,
                                      const double* totals, long long M, long long C, double epsilon, long long rows,
                                      long long shares, long long tiles, long long lanes) {
  if (on_packs(x, dy, dx) && C % kPack<T> == 0)
    share_input<true>(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, rows, shares, tiles, int(lanes));
  else share_input<false>(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, rows, shares, tiles, int(lanes));
}

// A ghost batch in the registers of a block, M <= kPairsHeld * kThreads / lanes: dx and totals[G, 2, C]. Block (g,
// tile).
template <bool packed, class T>
__device__ inline void gradient_held(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ mean,
                                     const T* __restrict__ var, const T* __restrict__ dy, T* __restrict__ dx,
                                     double* __restrict__ totals, long long M, long long C, double epsilon,
                                     long long tiles, int lanes) {
  constexpr int kColumns = kPack<T>;
  __shared__ double shared[kWarps][32][kColumns];
  const long long g = blockIdx.x / tiles;
  const Columns<T, packed> columns(blockIdx.x % tiles, lanes, C);
  x += g * M * C, dy += g * M * C, dx += g * M * C;
  T xs[kPairsHeld][kColumns], dys[kPairsHeld][kColumns];
#pragma unroll
  for (int k = 0; k < kPairsHeld; ++k) {
    const long long row = columns.row_lane + k * columns.row_lanes;
    if (row < M) {
      columns.load(x + row * C, xs[k]);
      columns.load(dy + row * C, dys[k]);
    }
  }
  T center[kColumns], variance[kColumns], scale[kColumns];
  columns.load(mean + g * C, center);
  columns.load(var + g * C, variance);
  columns.load(gamma, scale);
  double sums[kColumns] = {}, products[kColumns] = {};
#pragma unroll
  for (int k = 0; k < kPairsHeld; ++k)
    if (columns.row_lane + k * columns.row_lanes < M)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        sums[j] += double(dys[k][j]);
        products[j] += double(dys[k][j] * (xs[k][j] - center[j]));
      }
  sum_over_rows(sums, lanes, shared);
  sum_over_rows(products, lanes, shared);
  Slope<T> slopes[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    products[j] *= per_sigma(variance[j], epsilon);
    slopes[j] = Slope<T>(center[j], variance[j], scale[j], sums[j], products[j], reciprocal(double(M)), epsilon);
    if (columns.row_lane == 0 && columns.inside(j)) {
      totals[g * 2 * C + columns.channel(j)] = sums[j];
      totals[(g * 2 + 1) * C + columns.channel(j)] = products[j];
    }
  }
#pragma unroll
  for (int k = 0; k < kPairsHeld; ++k) {
    const long long row = columns.row_lane + k * columns.row_lanes;
    if (row < M) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) xs[k][j] = slopes[j](xs[k][j], dys[k][j]);
      columns.store(dx + row * C, xs[k]);
    }
  }
}

template <class T>
__device__ inline void held(const T* x, const T* gamma, const T* mean, const T* var, const T* dy, T* dx, double* totals,
                            long long M, long long C, double epsilon, long long tiles, long long lanes) {
  if (on_packs(x, gamma, mean, var, dy, dx) && C % kPack<T> == 0)
    gradient_held<true>(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, tiles, int(lanes));
  else gradient_held<false>(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, tiles, int(lanes));
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256) batch_norm_sums_##dtype(const T* x, const T* dy, const T* mean, const T* var, double* partial,           \
      long long M, long long C, double epsilon, long long rows, long long shares, long long tiles, long long lanes) {  \
    gradient_sums(x, dy, mean, var, partial, M, C, epsilon, rows, shares, tiles, lanes);                               \
  }                                                                                                                    \
  KERNEL(256) batch_norm_input_##dtype(const T* x, const T* gamma, const T* mean, const T* var, const T* dy, T* dx,    \
      const double* totals, long long M, long long C, double epsilon, long long rows, long long shares,                \
      long long tiles, long long lanes) {                                                                              \
    input_gradient(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, rows, shares, tiles, lanes);                    \
  }                                                                                                                    \
  KERNEL(256, 2) batch_norm_gradient_held_##dtype(const T* x, const T* gamma, const T* mean, const T* var,             \
      const T* dy, T* dx, double* totals, long long M, long long C, double epsilon, long long tiles,                   \
      long long lanes) {                                                                                               \
    held(x, gamma, mean, var, dy, dx, totals, M, C, epsilon, tiles, lanes);                                            \
  }

KERNELS(float, float32)
KERNELS(double, float64)
