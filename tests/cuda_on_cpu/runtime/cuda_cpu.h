// What CUDA C++ offers without an #include, for a .cu file that g++ compiles: the only header that it needs.
#pragma once
#include <cstdio>

#include "atomics.h"
#include "copies.h"
#include "device.h"
#include "intrinsics.h"
#include "kernel.h"
#include "sync.h"
#include "vectors.h"

#define REFPLAY_ON_CPU 1  // kernels/cupy_cuda/common.cuh: plain C++ for what only a GPU can do

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
// __launch_bounds__ and __shared__ are left to rewrite.py

#define threadIdx (cuda_cpu::place->thread)
#define blockIdx (cuda_cpu::place->block)
#define blockDim (cuda_cpu::place->block_size)
#define gridDim (cuda_cpu::place->grid_size)
constexpr int warpSize = 32;

#undef assert
#define assert(condition) \
  ((condition) ? void() : cuda_cpu::fault(cuda_cpu::Where::current(), "assertion failed: %s", #condition))

inline void __trap(CUDA_CPU_WHERE) { cuda_cpu::fault(where, "__trap()"); }
