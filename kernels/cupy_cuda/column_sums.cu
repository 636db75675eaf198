// The second stage of sums over rows: what blocks have left of their shares, in double, is added in a fixed order.
//
// A block has 32 columns, and for each of them kShareLanes threads. Thread (share lane, column) adds the shares
// share lane, share lane + kShareLanes, ...; then the first adds what they have.

constexpr int kShareLanes = 16;

// The sum of in[count, width] over the first axis, to the threads of the share lane 0; others get nothing of use.
__device__ inline double column_sum(const double* __restrict__ in, long long count, long long width, long long column) {
  __shared__ double sums[kShareLanes][32];
  const int lane = threadIdx.x % 32, share_lane = threadIdx.x / 32;
  double total = 0;
  if (column < width) {
#pragma unroll 8
    for (long long j = share_lane; j < count; j += kShareLanes) total += in[j * width + column];
  }
  sums[share_lane][lane] = total;
  __syncthreads();  // or a sum might be added before it is there
  total = 0;
#pragma unroll
  for (int s = 0; s < kShareLanes; ++s) total += sums[s][lane];
  return total;
}

// in[K, count, width] -> out[K, width]. Block (k, 32 columns).
extern "C" __global__ void __launch_bounds__(512) column_sums(const double* in, double* out, long long count,
                                                              long long width) {
  const long long tiles = (width + 31) / 32, k = blockIdx.x / tiles;
  const long long column = blockIdx.x % tiles * 32 + threadIdx.x % 32;
  const double total = column_sum(in + k * count * width, count, width, column);
  if (threadIdx.x < 32 && column < width) out[k * width + column] = total;
}

// in[count, 2, C] -> first[C], second[C]: the gradients of beta and gamma.
template <class T>
__device__ inline void two_sums(const double* in, T* first, T* second, long long count, long long C) {
  const long long column = (long long)blockIdx.x * 32 + threadIdx.x % 32;
  const double total = column_sum(in, count, 2 * C, column);
  if (threadIdx.x < 32 && column < 2 * C) (column < C ? first + column : second + (column - C))[0] = T(total);
}

#define TWO(T, dtype)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(512) two_column_sums_##dtype(const double* in, T* first, T* second,     \
                                                                            long long count, long long C) {            \
    two_sums(in, first, second, count, C);                                                                             \
  }

TWO(float, float32)
TWO(double, float64)
