// Atomic functions and fences. Atomics are relaxed, as CUDA's are: they order nothing but themselves.
#pragma once
#include <cstring>
#include <type_traits>

#include "device.h"

namespace cuda_cpu {

// *p <- update(old), atomically; returns old. Compared as bits, as the hardware does: a NaN equals itself.
template <class T, class Update>
T update_atomically(T* p, Update update) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  before_atomic(p);
  Bits* bits = reinterpret_cast<Bits*>(p);
  Bits old_bits = __atomic_load_n(bits, __ATOMIC_RELAXED), new_bits;
  T old;
  do {
    std::memcpy(&old, &old_bits, sizeof old);
    const T updated = update(old);
    std::memcpy(&new_bits, &updated, sizeof updated);
  } while (!__atomic_compare_exchange_n(bits, &old_bits, new_bits, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  after_atomic(p);
  return old;
}

}  // namespace cuda_cpu

// The types are CUDA's: a call with another one, as atomicAdd(float*, double), converts as there or does not compile.
#define CUDA_CPU_ATOMIC(name, T, result) \
  inline T name(T* p, T value) {         \
    return cuda_cpu::update_atomically(p, [value](T old) -> T { return result; }); \
  }

#define CUDA_CPU_ATOMIC_INTEGERS(name, result)    \
  CUDA_CPU_ATOMIC(name, int, result)              \
  CUDA_CPU_ATOMIC(name, unsigned, result)         \
  CUDA_CPU_ATOMIC(name, unsigned long long, result)

inline int cuda_cpu_wrapping_sum(int a, int b) { return int(unsigned(a) + unsigned(b)); }

CUDA_CPU_ATOMIC(atomicAdd, int, cuda_cpu_wrapping_sum(old, value))
CUDA_CPU_ATOMIC(atomicAdd, unsigned, old + value)
CUDA_CPU_ATOMIC(atomicAdd, unsigned long long, old + value)
CUDA_CPU_ATOMIC(atomicAdd, float, old + value)
CUDA_CPU_ATOMIC(atomicAdd, double, old + value)
CUDA_CPU_ATOMIC(atomicSub, int, cuda_cpu_wrapping_sum(old, int(0u - unsigned(value))))
CUDA_CPU_ATOMIC(atomicSub, unsigned, old - value)
CUDA_CPU_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
CUDA_CPU_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
CUDA_CPU_ATOMIC_INTEGERS(atomicAnd, old & value)
CUDA_CPU_ATOMIC_INTEGERS(atomicOr, old | value)
CUDA_CPU_ATOMIC_INTEGERS(atomicXor, old ^ value)
CUDA_CPU_ATOMIC_INTEGERS(atomicExch, value)
CUDA_CPU_ATOMIC(atomicExch, float, value)
CUDA_CPU_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
CUDA_CPU_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)

#define CUDA_CPU_ATOMIC_CAS(T)                                                                                    \
  inline T atomicCAS(T* p, T compare, T value) {                                                                  \
    return cuda_cpu::update_atomically(p, [compare, value](T old) -> T { return old == compare ? value : old; }); \
  }

CUDA_CPU_ATOMIC_CAS(int)
CUDA_CPU_ATOMIC_CAS(unsigned)
CUDA_CPU_ATOMIC_CAS(unsigned long long)

// What is written before __threadfence() and an atomic access after it is seen by the thread that finds the access's
// result in an atomic access of its own and passes a __threadfence(): both fences are needed.
inline void __threadfence() { cuda_cpu::fence(); }
inline void __threadfence_system() { cuda_cpu::fence(); }
inline void __threadfence_block() { cuda_cpu::fence(); }
