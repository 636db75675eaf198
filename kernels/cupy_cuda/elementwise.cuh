// Kernels that compute each value from the values at the same place.
//
// A block owns kBlock values of each vector, in kRounds rounds of one pack (16 bytes) a thread. A thread asks for the
// packs of all rounds and vectors before it computes with the first: memory answers after some 500 cycles, and the
// compiler may not ask early by itself, as for all it knows the vectors overlap. Where a vector does not begin at a
// multiple of 16 bytes, and in the last block, a thread takes single values in the place of packs, kThreads apart, so
// that neighbouring threads still touch neighbouring values.
#pragma once
#include "pack.cuh"

constexpr int kThreads = 256, kRounds = 2;

template <class T>
constexpr int kBlock = kThreads * kRounds * kPack<T>;

// For all i < n: f(in values at i, out values at i). An output may be an input; no two vectors overlap otherwise.
template <class T, int kIn, int kOut, class F>
__device__ inline void elementwise(long long n, const T* const (&in)[kIn], T* const (&out)[kOut], const F& f) {
  constexpr int kPacked = kPack<T>;
  const long long first = blockIdx.x * (long long)kBlock<T>;
  bool packed = first + kBlock<T> <= n;
#pragma unroll
  for (int i = 0; i < kIn; ++i) packed &= on_packs(in[i]);
#pragma unroll
  for (int i = 0; i < kOut; ++i) packed &= on_packs(out[i]);

  T values[kRounds][kIn][kPacked];
  const long long mine = first + threadIdx.x * (packed ? kPacked : 1);
#pragma unroll
  for (int r = 0; r < kRounds; ++r)
#pragma unroll
    for (int i = 0; i < kIn; ++i) {
      const long long at = mine + r * kThreads * kPacked;
      if (packed) {
        load(in[i] + at, values[r][i]);
      } else {
#pragma unroll
        for (int j = 0; j < kPacked; ++j) values[r][i][j] = at + j * kThreads < n ? in[i][at + j * kThreads] : T(0);
      }
    }

#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
    T results[kOut][kPacked];
#pragma unroll
    for (int j = 0; j < kPacked; ++j) {
      T from[kIn], to[kOut];
#pragma unroll
      for (int i = 0; i < kIn; ++i) from[i] = values[r][i][j];
      f(from, to);
#pragma unroll
      for (int i = 0; i < kOut; ++i) results[i][j] = to[i];
    }
    const long long at = mine + r * kThreads * kPacked;
#pragma unroll
    for (int i = 0; i < kOut; ++i)
      if (packed) {
        store(out[i] + at, results[i]);
      } else {
#pragma unroll
        for (int j = 0; j < kPacked; ++j)
          if (at + j * kThreads < n) out[i][at + j * kThreads] = results[i][j];
      }
  }
}
