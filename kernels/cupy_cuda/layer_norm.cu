// Layer normalization of x[B, C]: each example over its C channels.
//
//   mu = 1/C sum_c x      var = 1/C sum_c (x - mu)^2      y = gamma (x - mu) / sqrt(var + epsilon) + beta
//
// A row is held in the registers of some threads (rows.cuh says which): it is read once, and both the squares and y are
// computed from there, 8 bytes a value in float32 forward and 12 backward. Blocks have up to 256 threads forward and
// 512 backward, so that C is at most 4096 in float32 and 2048 in float64; layer_norm_long.cu has longer rows. Sums are
// doubles: the memory takes longer.
//
// The squares are taken around the mean as rounded to the dtype of x, from which y needs the differences anyway, and
// then those around the mean itself are smaller by C times the square of the rounding: the corrected two-pass algorithm
// (Chan, Golub, LeVeque 1983). What is taken off is at most half, so nothing cancels.
#include "numbers.cuh"
#include "rows.cuh"

// Values of a thread: four accesses of 16 bytes forward, two of each array backward.
template <class T>
constexpr int kForward = 64 / sizeof(T);
template <class T>
constexpr int kBackward = 32 / sizeof(T);

// Block b has rows b * blockDim.x / lanes and following.
template <bool packed, class T>
__device__ inline void normalize_row(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
                                     T* __restrict__ y, T* __restrict__ mean, T* __restrict__ var, long long B,
                                     long long C, double epsilon, int lanes) {
  __shared__ double shared[kMostWarps][1];
  const Row<T, packed, kForward<T>> row(lanes, C);
  const long long b = (long long)blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes;
  const bool here = b < B;  // threads beyond the last row wait at the barriers with the others
  const long long start = (here ? b : 0) * C;
  T values[kForward<T>];
  row.load(x + start, values, T(0));
  const double pivot = pivot_of(x[start]);
  double sum[1] = {};
#pragma unroll
  for (int i = 0; i < kForward<T>; ++i)
    if (row.inside(i)) sum[0] += double(values[i]) - pivot;
  over_row<Add>(sum, lanes, shared);
  const double n = double(C), per_n = reciprocal(n), center = pivot + quotient(sum[0], n, per_n);
  const T middle = T(center);
  const double off = center - double(middle);
  if (here && row.lane == 0) mean[b] = middle;
  sum[0] = 0;
#pragma unroll
  for (int i = 0; i < kForward<T>; ++i) {
    values[i] -= middle;
    if (row.inside(i)) sum[0] += double(values[i] * values[i]);
  }
  over_row<Add>(sum, lanes, shared);
  if (!here) return;
  const T variance = T(quotient(sum[0], n, per_n) - off * off), scale = T(per_sigma(variance, epsilon));
  if (row.lane == 0) var[b] = variance;
#pragma unroll
  for (int k = 0; k < kForward<T>; k += row.kEach) {
    if (!row.inside(k)) continue;
    T gammas[row.kEach], out[row.kEach];
    load(gamma + row.column(k), gammas);
    load(beta + row.column(k), out);
#pragma unroll
    for (int j = 0; j < row.kEach; ++j) out[j] = fused(gammas[j], values[k + j] * scale, out[j]);
    store(y + start + row.column(k), out);
  }
}

// dx = 1/sigma (gamma dy - 1/C sum_c gamma dy - x_hat 1/C sum_c gamma dy x_hat), and the sums of dy and of dy x_hat
// over the rows of this block, partial[blocks, 2, C]. Block b has rows b * blockDim.x / lanes and following, then those
// a grid further on, and so on: each thread has the same columns in all of them, and adds them up in registers.
template <bool packed, class T>
__device__ inline void row_gradients(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ mean,
                                     const T* __restrict__ var, const T* __restrict__ dy, T* __restrict__ dx,
                                     double* __restrict__ partial, long long B, long long C, double epsilon,
                                     int lanes) {
  __shared__ double shared[kMostWarps][2], columns[kMostWarps][32];
  const Row<T, packed, kBackward<T>> row(lanes, C);
  const int rows = blockDim.x / lanes;
  T gammas[kBackward<T>];
  row.load(gamma, gammas, T(0));
  const double per_column = reciprocal(double(C));
  double sums[2][kBackward<T>] = {};  // of dy, of dy x_hat
  // Mean and variance are asked for a round ahead: left to itself, the compiler asks for the mean when it has computed
  // with the variance, and each row waits for memory twice.
  const auto row_or_last = [&](long long b) { return min(b, B - 1); };
  const long long mine = threadIdx.x / lanes, apart = (long long)gridDim.x * rows;
  long long first = (long long)blockIdx.x * rows;
  T next_mean = mean[row_or_last(first + mine)], next_var = var[row_or_last(first + mine)];
  for (; first < B; first += apart) {
    const long long b = first + mine, start = row_or_last(b) * C;
    const bool here = b < B;  // threads beyond the last row have it too, and wait at the barriers with the others
    const T center = next_mean, variance = next_var;
    next_mean = mean[row_or_last(b + apart)], next_var = var[row_or_last(b + apart)];
    T xs[kBackward<T>], dys[kBackward<T>];
    row.load(x + start, xs, T(0));
    row.load(dy + start, dys, T(0));
    const T per = T(per_sigma(variance, epsilon));
    double of_row[2] = {};
#pragma unroll
    for (int i = 0; i < kBackward<T>; ++i) {
      xs[i] = (xs[i] - center) * per;  // x_hat; in columns that there are not it meets a dy of 0
      of_row[0] += double(gammas[i] * dys[i]);
      of_row[1] += double(gammas[i] * dys[i] * xs[i]);
    }
    over_row<Add>(of_row, lanes, shared);
    const T shift = T(of_row[0] * per_column), slope = T(of_row[1] * per_column);
    if (here) {
      T out[kBackward<T>];
#pragma unroll
      for (int i = 0; i < kBackward<T>; ++i) {
        out[i] = per * fused(-xs[i], slope, gammas[i] * dys[i] - shift);
        sums[0][i] += double(dys[i]);
        sums[1][i] += double(dys[i] * xs[i]);
      }
      row.store(dx + start, out);
    }
  }
  // Over the rows that the block has at a time: threads of a warp first, then warps that have the same columns.
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32, apart_warps = max(lanes, 32) / 32;
#pragma unroll
  for (int s = 0; s < 2; ++s)
#pragma unroll
    for (int i = 0; i < kBackward<T>; ++i) {
      double sum = sums[s][i];
      for (int apart = lanes; apart < 32; apart *= 2) sum += __shfl_xor_sync(kAllLanes, sum, apart);
      __syncthreads();  // or sums of the last round might still be read
      columns[warp][threadIdx.x % 32] = sum;
      __syncthreads();  // or a sum might be read before it is there
      if (threadIdx.x < lanes && row.inside(i)) {
        for (int w = warp + apart_warps; w < warps; w += apart_warps) sum += columns[w][threadIdx.x % 32];
        partial[((long long)blockIdx.x * 2 + s) * C + row.column(i)] = sum;
      }
    }
}

template <class T>
__device__ inline void forward(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var, long long B,
                               long long C, double epsilon, long long lanes) {
  if (on_packs(x, gamma, beta, y) && C % kPack<T> == 0)
    normalize_row<true>(x, gamma, beta, y, mean, var, B, C, epsilon, int(lanes));
  else normalize_row<false>(x, gamma, beta, y, mean, var, B, C, epsilon, int(lanes));
}

template <class T>
__device__ inline void backward(const T* x, const T* gamma, const T* mean, const T* var, const T* dy, T* dx,
                                double* partial, long long B, long long C, double epsilon, long long lanes) {
  if (on_packs(x, gamma, dy, dx) && C % kPack<T> == 0)
    row_gradients<true>(x, gamma, mean, var, dy, dx, partial, B, C, epsilon, int(lanes));
  else row_gradients<false>(x, gamma, mean, var, dy, dx, partial, B, C, epsilon, int(lanes));
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256, 4) layer_norm_forward_##dtype(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var,          \
      long long B, long long C, double epsilon, long long lanes) {                                                     \
    forward(x, gamma, beta, y, mean, var, B, C, epsilon, lanes);                                                       \
  }                                                                                                                    \
  KERNEL(512) layer_norm_backward_##dtype(const T* x, const T* gamma, const T* mean, const T* var, const T* dy, T* dx, \
      double* partial, long long B, long long C, double epsilon, long long lanes) {                                    \
    backward(x, gamma, mean, var, dy, dx, partial, B, C, epsilon, lanes);                                              \
  }

KERNELS(float, float32)
KERNELS(double, float64)
