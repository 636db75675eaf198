// Blocks of threads over a matrix x[B, C] whose rows are worked on one by one, each held in registers.
//
// A row belongs to `lanes` threads beside each other, a power of two up to the size of the block, which so has
// blockDim.x / lanes rows at a time. A thread holds kValues of the row, its value number k * kPack + j being that of
//
//     on packs     column (k lanes + lane) kPack + j         one access of 16 bytes, neighbours side by side
//     else         column (k kPack + j) lanes + lane         neighbours side by side
#pragma once
#include "pack.cuh"
#include "warp.cuh"

constexpr int kMostWarps = 16;

template <class T, bool packed, int kValues>
struct Row {
  static constexpr int kEach = packed ? kPack<T> : 1;  // values of an access
  int lane, lanes;
  int C;

  __device__ Row(int lanes, long long C) : lane(threadIdx.x & (lanes - 1)), lanes(lanes), C(int(C)) {}

  __device__ int column(int i) const { return (i / kEach * lanes + lane) * kEach + i % kEach; }
  __device__ bool inside(int i) const { return column(i) < C; }  // a pack is inside whole or not at all

  // The values of this thread of the row at `row`; `absent` for columns that there are not.
  __device__ void load(const T* row, T (&values)[kValues], T absent) const {
#pragma unroll
    for (int k = 0; k < kValues; k += kEach) {
      T pack[kEach];
      if (inside(k)) {
        ::load(row + column(k), pack);
      } else {
#pragma unroll
        for (int j = 0; j < kEach; ++j) pack[j] = absent;
      }
#pragma unroll
      for (int j = 0; j < kEach; ++j) values[k + j] = pack[j];
    }
  }

  __device__ void store(T* row, const T (&values)[kValues]) const {
#pragma unroll
    for (int k = 0; k < kValues; k += kEach) {
      T pack[kEach];
#pragma unroll
      for (int j = 0; j < kEach; ++j) pack[j] = values[k + j];
      if (inside(k)) ::store(row + column(k), pack);
    }
  }
};

struct Add {
  template <class V>
  __device__ V operator()(V a, V b) const { return a + b; }
};

struct Larger {  // of two numbers; a NaN counts as none
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ double operator()(double a, double b) const { return fmax(a, b); }
};

// Replace each of the values by what `op` makes of those of all threads of the row, the same bits in each of them: over
// the threads of a warp by shuffles, over the warps of a row through `shared`. All threads of the block come here.
template <class Op, int N, class V>
__device__ inline void over_row(V (&values)[N], int lanes, V (&shared)[kMostWarps][N]) {
  for (int apart = min(lanes, 32) / 2; apart > 0; apart /= 2)
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = Op()(values[i], __shfl_xor_sync(kAllLanes, values[i], apart));
  if (lanes <= 32) return;
  const int warp = threadIdx.x / 32, warps = lanes / 32, first = warp & -warps;  // warps: a power of two
  __syncthreads();  // or what a warp left here the last time might still be read
  if (threadIdx.x % 32 == 0)
#pragma unroll
    for (int i = 0; i < N; ++i) shared[warp][i] = values[i];
  __syncthreads();  // or what a warp has left might be read before it is there
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = shared[first][i];
  for (int w = 1; w < warps; ++w)
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = Op()(values[i], shared[first + w][i]);
}
