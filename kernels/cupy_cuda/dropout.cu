// Dropout of n values, y may be x:
//
//   y_i = x_i factor  if word_i >= least  else 0        factor = 1 / (1 - rate), least = 2^32 rate
//   word_i = word i % 4 of philox4x32(counter = (i / 4 low, i / 4 high, step, layer), key)
//
// A Philox counter gives four words, made by one thread for four values beside each other: 16 or 32 bytes. Block b owns
// the values from b * 4096 on, in four rounds: 8 bytes a value are moved in float32, 16 in float64. All that a thread
// reads is asked for before it writes anything; the compiler makes words between and behind the loads, while they are
// on their way.
#include "pack.cuh"
#include "philox.cuh"

constexpr int kThreads = 256, kRounds = 4, kWords = 4, kRound = kThreads * kWords, kBlock = kRounds * kRound;

struct Mask {
  uint2 key;
  unsigned step, layer;
  unsigned long long least;  // up to 2^32

  // The bits k of the result: whether value 4 number + k is kept.
  __device__ unsigned kept(unsigned long long number) const {
    const uint4 words = philox4x32(make_uint4(unsigned(number), unsigned(number >> 32), step, layer), key);
    return (words.x >= least) | (words.y >= least) << 1 | (words.z >= least) << 2 | (words.w >= least) << 3;
  }
};

template <class T>
__device__ inline void drop(const T* x, T* y, long long n, const Mask& mask, T factor) {
  const long long first = (long long)blockIdx.x * kBlock + threadIdx.x * kWords;
  if (on_packs(x, y) && (blockIdx.x + 1ll) * kBlock <= n) {
    T values[kRounds][kWords];
#pragma unroll
    for (int k = 0; k < kRounds; ++k) load(x + first + k * kRound, values[k]);
#pragma unroll
    for (int k = 0; k < kRounds; ++k) {
      const unsigned kept = mask.kept((first + k * kRound) / kWords);
#pragma unroll
      for (int j = 0; j < kWords; ++j) values[k][j] = kept >> j & 1 ? values[k][j] * factor : T(0);
      store(y + first + k * kRound, values[k]);
    }
  } else {
    for (int k = 0; k < kRounds; ++k) {
      const long long here = first + k * kRound;
      if (here >= n) return;
      const unsigned kept = mask.kept(here / kWords);
#pragma unroll
      for (int j = 0; j < kWords; ++j)
        if (here + j < n) y[here + j] = kept >> j & 1 ? x[here + j] * factor : T(0);
    }
  }
}

// `step_at`: null, or where the step lies in the memory of the GPU: a counter that a CUDA graph moves on between
// replays.
template <class T>
__device__ inline void drop(const T* x, T* y, long long n, double factor, long long least, long long key0,
                            long long key1, long long step, const long long* step_at, long long layer) {
  const Mask mask{make_uint2(unsigned(key0), unsigned(key1)), unsigned(step_at ? *step_at : step), unsigned(layer),
                  (unsigned long long)least};
  drop(x, y, n, mask, T(factor));
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256) dropout_##dtype(const T* x, T* y, long long n, double factor, long long least, long long key0,           \
      long long key1, long long step, const long long* step_at, long long layer) {                                     \
    drop(x, y, n, factor, least, key0, key1, step, step_at, layer);                                                    \
  }

KERNELS(float, float32)
KERNELS(double, float64)
