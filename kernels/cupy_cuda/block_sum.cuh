// The sum of a number of each thread of a block, the same bits at every call: the order depends on the block alone.
#pragma once
#include "warp.cuh"

// To all lanes of a warp: in round r each adds what the lane 16 / 2^r away has.
__device__ inline double warp_sum(double value) {
#pragma unroll
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(kAllLanes, value, apart);
  return value;
}

// To the threads of the first warp, 0 to the others; blocks are whole warps, up to 32 of them. Each warp adds its lanes,
// then the first warp adds the warps.
template <int kThreads>
__device__ inline double block_sum(double value) {
  constexpr int kWarps = kThreads / 32;
  static_assert(kThreads % 32 == 0 && kWarps <= 32, "whole warps, and one of them for the sums of all");
  __shared__ double sums[kWarps];
  value = warp_sum(value);
  __syncthreads();  // or a sum before this one, in the same memory, might still be read
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();  // or the sum of a warp might be read before it is there
  return threadIdx.x < 32 ? warp_sum(threadIdx.x < kWarps ? sums[threadIdx.x] : 0.0) : 0.0;
}
