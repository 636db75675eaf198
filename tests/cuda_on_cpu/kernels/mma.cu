// A warp multiplies one pair of fragments, and loads four small matrices, through the header that stands in for tensor cores.
#include "../../../kernels/cupy_cuda/mma.cuh"

extern "C" __global__ void multiply_tf32(const unsigned* a, const unsigned* b, float* c) {
  unsigned a_mine[4], b_mine[2];
  float c_mine[4];
  for (int i = 0; i < 4; ++i) a_mine[i] = a[4 * threadIdx.x + i], c_mine[i] = c[4 * threadIdx.x + i];
  for (int i = 0; i < 2; ++i) b_mine[i] = b[2 * threadIdx.x + i];
  mma_tf32(c_mine, a_mine, b_mine);
  for (int i = 0; i < 4; ++i) c[4 * threadIdx.x + i] = c_mine[i];
}

extern "C" __global__ void multiply_bf16(const unsigned* a, const unsigned* b, float* c) {
  unsigned a_mine[4], b_mine[2];
  float c_mine[4];
  for (int i = 0; i < 4; ++i) a_mine[i] = a[4 * threadIdx.x + i], c_mine[i] = c[4 * threadIdx.x + i];
  for (int i = 0; i < 2; ++i) b_mine[i] = b[2 * threadIdx.x + i];
  mma_bf16(c_mine, a_mine, b_mine);
  for (int i = 0; i < 4; ++i) c[4 * threadIdx.x + i] = c_mine[i];
}

extern "C" __global__ void four_matrices(const unsigned short* x, unsigned* out) {  // rows of 8, one for each lane
  __shared__ __align__(16) unsigned short rows[32][8];
  for (int i = 0; i < 8; ++i) rows[threadIdx.x][i] = x[8 * threadIdx.x + i];
  __syncwarp();
  unsigned registers[4];
  load_matrices(registers, rows[threadIdx.x]);
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = registers[i];
}

extern "C" __global__ void round_tf32(const float* x, unsigned* out, long long n) {
  for (long long i = threadIdx.x; i < n; i += blockDim.x) out[i] = to_tf32(x[i]);
}

extern "C" __global__ void round_bf16(const float* x, unsigned* out, long long pairs) {
  for (long long i = threadIdx.x; i < pairs; i += blockDim.x) out[i] = to_bf16(x[2 * i], x[2 * i + 1]);
}
