// Blocks of threads over a matrix whose channels C lie side by side: which thread has which values, and sums over rows.
//
// A block has kThreads threads, `lanes` of them (a power of two up to 32) beside each other and kThreads / lanes on top
// of each other. Each owns kPack channels, of the rows row_lane, row_lane + row_lanes, ...:
//
//     on packs     4 lane, 4 lane + 1, 4 lane + 2, 4 lane + 3                              one access of 16 bytes
//     else         lane, lane + lanes, lane + 2 lanes, lane + 3 lanes                      neighbours side by side
#pragma once
#include "pack.cuh"
#include "warp.cuh"

constexpr int kThreads = 256, kWarps = kThreads / 32;

// The channels of a thread. `first` is the first of the block, which has lanes * kPack of them.
template <class T, bool packed>
struct Columns {
  long long first;
  int lane, lanes, row_lane, row_lanes;
  long long C;

  __device__ Columns(long long tile, int lanes, long long C)
      : first(tile * lanes * kPack<T>), lane(threadIdx.x % lanes), lanes(lanes), row_lane(threadIdx.x / lanes),
        row_lanes(kThreads / lanes), C(C) {}

  // One row of threads for all channels, of which this one is number `lane`.
  __device__ Columns(int lane, long long lanes, long long C)
      : first(0), lane(lane), lanes(int(lanes)), row_lane(0), row_lanes(1), C(C) {}

  __device__ long long channel(int j) const { return packed ? first + lane * kPack<T> + j : first + lane + j * lanes; }
  __device__ bool inside(int j) const { return channel(packed ? 0 : j) < C; }  // a pack is inside whole or not at all

  // The values of this thread in a row; 0 for channels that there are not.
  template <class S>
  __device__ void load(const S* row, S (&values)[kPack<T>]) const {
    if (packed && kPack<S> == kPack<T>) {
      if (inside(0)) return ::load(row + channel(0), values);
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) values[j] = S(0);
    } else {
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) values[j] = inside(j) ? row[channel(j)] : S(0);
    }
  }

  __device__ void store(T* row, const T (&values)[kPack<T>]) const {
    if (packed) {
      if (inside(0)) ::store(row + channel(0), values);
    } else {
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j)
        if (inside(j)) row[channel(j)] = values[j];
    }
  }
};

// The share of rows of a block of a grid over x[G, M, C]: block = (g * shares + share) * tiles + tile.
struct Share {
  unsigned tile, g, share;
  long long first, last;  // rows first <= m < last of ghost batch g

  __device__ Share(long long M, long long rows, long long shares, long long tiles, unsigned block = blockIdx.x)
      : tile(block % unsigned(tiles)), g(block / unsigned(tiles) / unsigned(shares)),
        share(block / unsigned(tiles) % unsigned(shares)), first(share * rows), last(min(M, first + rows)) {}
};

// Replace the values of each thread by their sum over all threads of the block with the same lane, the same bits in
// each of them: over the threads of a warp by shuffles, over the warps through `shared`.
template <int N>
__device__ inline void sum_over_rows(double (&values)[N], int lanes, double (&shared)[kWarps][32][N]) {
  for (int apart = lanes; apart < 32; apart *= 2)
#pragma unroll
    for (int j = 0; j < N; ++j) values[j] += __shfl_xor_sync(kAllLanes, values[j], apart);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % lanes;
  __syncthreads();  // or a sum before this one, in the same memory, might still be read
  if (threadIdx.x % 32 < lanes)
#pragma unroll
    for (int j = 0; j < N; ++j) shared[warp][lane][j] = values[j];
  __syncthreads();  // or the sum of a warp might be read before it is there
#pragma unroll
  for (int j = 0; j < N; ++j) values[j] = 0;
#pragma unroll 2
  for (int w = 0; w < kWarps; ++w)
#pragma unroll
    for (int j = 0; j < N; ++j) values[j] += shared[w][lane][j];
}
