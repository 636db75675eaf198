// Copies from global to shared memory that run on while the thread computes (cp.async, sm_80 and newer).
//
// A thread starts copies, closes them into a group, and waits later: what a group brought is there for the thread that
// started it after async_wait, and for the others after a barrier that follows. On sm_75 a copy is a load and a store,
// done when the call returns. On the CPU it arrives as late as it may, in async_wait, and until then NaN lies there.
#pragma once
#include "pack.cuh"

#if !defined(REFPLAY_ON_CPU) && __CUDA_ARCH__ >= 800
#define REFPLAY_ASYNC_COPY 1
#endif

// to[0..N) <- from[0..N) where `inside`, else zeros, without reading `from`. N values are 4, 8 or 16 bytes, and both
// addresses multiples of that.
template <int N, class T>
__device__ __forceinline__ void async_copy(T* to, const T* from, bool inside) {
  constexpr int kBytes = N * int(sizeof(T));
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
#ifdef REFPLAY_ASYNC_COPY
  const unsigned shared = unsigned(__cvta_generic_to_shared(to));
  const int bytes = inside ? kBytes : 0;  // the rest of kBytes becomes zero
  if constexpr (kBytes == 16)  // .cg: past L1, where nobody would look for it again
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(shared), "l"(from), "r"(bytes), "n"(kBytes)
                 : "memory");
#elif defined(REFPLAY_ON_CPU)
  cuda_cpu::async_copy(to, from, kBytes, inside);
#else
  if constexpr (N == 1) {
    *to = inside ? *from : T(0);
  } else {
    struct alignas(kBytes) Values {
      T v[N];
    };
    *reinterpret_cast<Values*>(to) = inside ? *reinterpret_cast<const Values*>(from) : Values{};
  }
#endif
}

// Close the copies started since the last call into a group, which may be empty.
__device__ __forceinline__ void async_commit() {
#ifdef REFPLAY_ASYNC_COPY
  asm volatile("cp.async.commit_group;" ::: "memory");
#elif defined(REFPLAY_ON_CPU)
  cuda_cpu::async_commit();
#endif
}

// Wait until all groups but the newest N have arrived.
template <int N>
__device__ __forceinline__ void async_wait() {
#ifdef REFPLAY_ASYNC_COPY
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#elif defined(REFPLAY_ON_CPU)
  cuda_cpu::async_wait(N);
#endif
}
