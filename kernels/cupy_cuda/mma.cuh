// Tensor cores: products of small matrices that a warp holds together, sm_80 and newer.
//
// The instruction is mma.sync.m16n8k8 (k16 for bf16): c[16,8] += a[16,k] b[k,8], where each lane holds some elements of
// each matrix, its fragments, as the PTX ISA lays down ("Warp-level matrix instructions"). With g = lane / 4, t = lane
// % 4:
//
//   tf32   a: (g, t) (g+8, t) (g, t+4) (g+8, t+4)            b: (t, g) (t+4, g)
//   bf16   a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..)  b: (2t.., g) (2t+8.., g)     2t..: two neighbours in k
//   both   c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)
//
// On the CPU the lanes show each other their fragments, and each computes its elements of c in plain C++: so the code
// that loads, rounds and stores fragments runs as it is. Two things differ there. Products are added one after another,
// each sum rounded to nearest, while tensor cores add several at once and cut bits off; and there is one precision.
#pragma once

#if !defined(REFPLAY_ON_CPU) && __CUDA_ARCH__ >= 800
#define REFPLAY_TENSOR_CORES 1
#endif

constexpr unsigned kAllLanes = 0xffffffffu;

// x rounded to tf32, which has the exponent of float32 and 10 bits of its mantissa; ties away from zero.
__device__ __forceinline__ unsigned to_tf32(float x) {
#ifdef REFPLAY_TENSOR_CORES
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffffffu;  // NaN
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
#endif
}

// Two values rounded to bf16, the upper half of a float32; ties to even. `first` lies in the lower half.
__device__ __forceinline__ unsigned to_bf16(float first, float second) {
#ifdef REFPLAY_TENSOR_CORES
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
  return both;
#else
  const auto upper = [](float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // NaN
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return upper(first) | upper(second) << 16;
#endif
}

#ifdef REFPLAY_ON_CPU
namespace on_cpu {

struct Fragments {
  unsigned a[4], b[2];
};

// c += a b; kHalves elements to each register of a and b, value_of the float of one of them.
template <int kHalves, class ValueOf>
inline void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], ValueOf value_of) {
  Fragments mine, all[32];
  for (int i = 0; i < 4; ++i) mine.a[i] = a[i];
  for (int i = 0; i < 2; ++i) mine.b[i] = b[i];
  cuda_cpu::warp_gather(kAllLanes, &mine, sizeof mine, all, cuda_cpu::Where::current());
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int i = 0; i < 4; ++i) {
    const int half_m = i / 2, n = 2 * t + i % 2;  // row g + 8 half_m
    for (int k = 0; k < 8 * kHalves; ++k) {
      const int half_k = k / (4 * kHalves), holder = k / kHalves % 4, half = k % kHalves;
      const unsigned of_a = all[g * 4 + holder].a[half_m + 2 * half_k], of_b = all[n * 4 + holder].b[half_k];
      c[i] += value_of(of_a, half) * value_of(of_b, half);
    }
  }
}

}  // namespace on_cpu
#endif

// c += a b from fragments of tf32, m16n8k8. All lanes of the warp call it together.
__device__ __forceinline__ void mma_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(REFPLAY_TENSOR_CORES)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(REFPLAY_ON_CPU)
  on_cpu::mma<1>(c, a, b, [](unsigned bits, int) { return __uint_as_float(bits); });
#else
  __trap();  // precision.py lets nobody get here
#endif
}

// c += a b from fragments of bf16, m16n8k16.
__device__ __forceinline__ void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(REFPLAY_TENSOR_CORES)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(REFPLAY_ON_CPU)
  const auto value_of = [](unsigned bits, int half) { return __uint_as_float(half ? bits & 0xffff0000u : bits << 16); };
  on_cpu::mma<2>(c, a, b, value_of);
#else
  __trap();
#endif
}

// Four matrices of 8 x 8 bf16 from shared memory (ldmatrix.x4): lane 8 i + r gives the address of row r of matrix i, 16
// bytes at a multiple of 16; afterwards lane 4 r + t holds elements 2t, 2t+1 of row r of matrix i in registers[i].
__device__ __forceinline__ void load_matrices(unsigned (&registers)[4], const unsigned short* row) {
#ifdef REFPLAY_TENSOR_CORES
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(unsigned(__cvta_generic_to_shared(row)))
               : "memory");
#elif defined(REFPLAY_ON_CPU)
  const unsigned short* rows[32];
  cuda_cpu::warp_gather(kAllLanes, &row, sizeof row, rows, cuda_cpu::Where::current());
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    struct alignas(16) Row {
      unsigned pairs[4];
    };
    registers[i] = reinterpret_cast<const Row*>(rows[8 * i + lane / 4])->pairs[lane % 4];
  }
#else
  __trap();
#endif
}
