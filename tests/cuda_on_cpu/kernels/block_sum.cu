#include "../../../kernels/cupy_cuda/block_sum.cuh"

// Sums one after another in the same shared memory: out[sum][thread] for x[sum][thread].
template <int kThreads>
__device__ inline void sums(const double* x, double* out, int count) {
  for (int k = 0; k < count; ++k) out[k * kThreads + threadIdx.x] = block_sum<kThreads>(x[k * kThreads + threadIdx.x]);
}

extern "C" __global__ void sums_32(const double* x, double* out, int count) { sums<32>(x, out, count); }
extern "C" __global__ void sums_96(const double* x, double* out, int count) { sums<96>(x, out, count); }
extern "C" __global__ void sums_1024(const double* x, double* out, int count) { sums<1024>(x, out, count); }
