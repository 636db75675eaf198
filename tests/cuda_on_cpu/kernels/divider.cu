#include "../../../kernels/cupy_cuda/conv.cuh"

extern "C" __global__ void divide(const int* n, const int* d, int* quotient, int* rest, long long count) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= count) return;
  rest[i] = n[i];
  quotient[i] = Divider(d[i]).divide(rest[i]);
}
