// What the runtime tells AddressSanitizer and ThreadSanitizer. build.py defines which of them is loaded; the runtime
// itself is compiled without instrumentation, so that they see the accesses of kernels alone.
#pragma once

#ifdef CUDA_CPU_ADDRESS
#define __SANITIZE_ADDRESS__ 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

#ifdef CUDA_CPU_THREAD
#define __SANITIZE_THREAD__ 1
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace cuda_cpu {

// What was done before release(p), by any thread, happened before what follows an acquire(p) after it.
inline void acquire([[maybe_unused]] void* address) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(address);
#endif
}

inline void release([[maybe_unused]] void* address) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(address);
#endif
}

}  // namespace cuda_cpu
