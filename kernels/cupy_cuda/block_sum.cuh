// The sum of a number of each thread of a block, or of a grid, the same bits at every call: the order depends on their
// sizes alone.
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

// What the first threads of all blocks have in `sum`, added up in the block that comes last, whichever it is: true there,
// and its first thread has the total. Each block leaves its sum in partial[gridDim.x]; they are added in the order of
// their numbers. `arrived`, 0 before the first launch, is 0 again after each. All threads of the block come here.
template <int kThreads>
__device__ inline bool grid_sum(double& sum, double* partial, unsigned* arrived) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();  // or another block might count this one before it sees its sum
    last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();  // or sums might be read before the count says that they are there
  }
  __syncthreads();  // `last` is there
  if (!last) return false;
  double total = 0;
  for (int k = threadIdx.x; k < gridDim.x; k += kThreads) total += partial[k];
  sum = block_sum<kThreads>(total);
  return true;
}
