// What keeps a training on the GPU: batches, losses and answers that the host does not wait for. Launched by resident.py,
// which says what each is for.
//
// Numbers that change from one replay of a CUDA graph to the next, the step and the place in a log, come by value or
// from the memory of the GPU: `_at` is null or says where the number lies.
#include "block_sum.cuh"
#include "pack.cuh"

constexpr int kThreads = 256, kWarps = kThreads / 32, kAtOnce = 4;

__device__ inline long long value_of(long long value, const long long* at) { return at ? *at : value; }

// Copy x[b] = examples[indices[step, b]], y[b] = labels[...], rows of F values of type T. A row belongs to `lanes`
// threads, each with kAtOnce packs of 16 bytes at a time (with values, where rows do not begin at packs): each byte
// moves twice.
template <class V>
__device__ inline void copy_row(const V* __restrict__ from, V* __restrict__ to, long long n, int lane, int lanes) {
  for (long long first = lane; first < n; first += kAtOnce * lanes) {
    V values[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k * lanes < n) values[k] = from[first + k * lanes];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k * lanes < n) to[first + k * lanes] = values[k];
  }
}

template <class T>
__device__ inline void gather(const T* examples, const long long* labels, const long long* indices, long long step,
                              const long long* step_at, T* x, long long* y, long long B, long long F, long long lanes) {
  const long long b = (long long)blockIdx.x * (kThreads / lanes) + threadIdx.x / lanes;
  if (b >= B) return;
  const int lane = threadIdx.x % lanes;
  const long long row = indices[value_of(step, step_at) * B + b];
  if (on_packs(examples, x) && F % kPack<T> == 0)
    copy_row(reinterpret_cast<const Pack<T>*>(examples + row * F), reinterpret_cast<Pack<T>*>(x + b * F), F / kPack<T>,
             lane, int(lanes));
  else copy_row(examples + row * F, x + b * F, F, lane, int(lanes));
  if (lane == 0) y[b] = labels[row];
}

// log[i] <- the sum of x. Thread `at` of the grid has the values at, at + threads of the grid, ... Four sums a thread, so
// that four values are on their way.
template <class T>
__device__ inline void total(const T* __restrict__ x, long long n, double* partial, unsigned* arrived, double* log,
                             long long i, const long long* i_at) {
  const long long step = (long long)gridDim.x * kThreads;
  double sums[kAtOnce] = {};
  for (long long first = (long long)blockIdx.x * kThreads + threadIdx.x; first < n; first += kAtOnce * step) {
    T values[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) values[k] = first + k * step < n ? x[first + k * step] : T(0);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) sums[k] += double(values[k]);
  }
  double sum = block_sum<kThreads>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  if (grid_sum<kThreads>(sum, partial, arrived) && threadIdx.x == 0) log[value_of(i, i_at)] = sum;
}

// missed[b] <- 1 where the first of the largest of z[b, C] is not at labels[b], else 0. A warp has row b. A NaN counts
// as the largest, as in NumPy's argmax.
template <class T>
__device__ inline void misses(const T* __restrict__ z, const long long* __restrict__ labels, T* __restrict__ missed,
                              long long B, long long C) {
  const long long b = (long long)blockIdx.x * kWarps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const T* row = z + (b < B ? b : 0) * C;
  T best = row[0];
  long long answer = 0;
  for (long long c = lane; c < C; c += 32)
    if (best == best && !(row[c] <= best)) {
      best = row[c];
      answer = c;
    }
  for (int apart = 16; apart > 0; apart /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, best, apart);
    const long long place = __shfl_xor_sync(kAllLanes, answer, apart);
    const bool equal = other == best || (other != other && best != best);
    if (equal ? place < answer : best == best && !(other <= best)) {
      best = other;
      answer = place;
    }
  }
  if (lane == 0 && b < B) missed[b] = answer == labels[b] ? T(0) : T(1);
}

#define KERNEL extern "C" __global__ void __launch_bounds__(kThreads)

#define GATHER(T, dtype)                                                                                               \
  KERNEL resident_gather_##dtype(const T* examples, const long long* labels, const long long* indices, long long step, \
                                 const long long* step_at, T* x, long long* y, long long B, long long F,               \
                                 long long lanes) {                                                                    \
    gather(examples, labels, indices, step, step_at, x, y, B, F, lanes);                                               \
  }

#define OTHERS(T, dtype)                                                                                               \
  KERNEL resident_total_##dtype(const T* x, long long n, double* partial, unsigned* arrived, double* log, long long i, \
                                const long long* i_at) {                                                               \
    total(x, n, partial, arrived, log, i, i_at);                                                                \
  }                                                                                                                    \
  KERNEL resident_misses_##dtype(const T* z, const long long* labels, T* missed, long long B, long long C) {           \
    misses(z, labels, missed, B, C);                                                                                   \
  }

GATHER(float, float32)
GATHER(double, float64)
GATHER(long long, int64)
OTHERS(float, float32)
OTHERS(double, float64)
