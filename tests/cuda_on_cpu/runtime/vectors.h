// dim3 and the built-in vector types, with the alignment that CUDA gives them.
#pragma once

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

#define CUDA_CPU_VECTORS(scalar, name)                                                                        \
  struct alignas(2 * sizeof(scalar)) name##2 { scalar x, y; };                                                \
  struct name##3 { scalar x, y, z; };                                                                         \
  struct alignas(sizeof(scalar) == 8 ? 16 : 4 * sizeof(scalar)) name##4 { scalar x, y, z, w; };               \
  inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                                        \
  inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }                           \
  inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

CUDA_CPU_VECTORS(float, float)
CUDA_CPU_VECTORS(double, double)
CUDA_CPU_VECTORS(int, int)
CUDA_CPU_VECTORS(unsigned, uint)
CUDA_CPU_VECTORS(short, short)
CUDA_CPU_VECTORS(unsigned short, ushort)
CUDA_CPU_VECTORS(signed char, char)
CUDA_CPU_VECTORS(unsigned char, uchar)
CUDA_CPU_VECTORS(long long, longlong)
