// Fences for ThreadSanitizer, which has none of its own. Where a fence stands before an atomic access, the access
// releases; where one stands after, it acquires. Of the accesses since the last fence the last few are remembered.
#include "block.h"
#include "sanitizers.h"

namespace cuda_cpu {

void before_atomic([[maybe_unused]] const void* address) {
#ifdef __SANITIZE_THREAD__
  if (running->passed_fence) release(const_cast<void*>(address));
#endif
}

void after_atomic([[maybe_unused]] const void* address) {
#ifdef __SANITIZE_THREAD__
  Thread& me = *running;
  me.atomics[me.atomic_count++ % kRemembered] = address;
#endif
}

void fence() {
#ifdef __SANITIZE_THREAD__
  Thread& me = *running;
  for (unsigned i = 0; i < me.atomic_count && i < kRemembered; ++i) acquire(const_cast<void*>(me.atomics[i]));
  me.atomic_count = 0;
  me.passed_fence = true;
#endif
}

}  // namespace cuda_cpu
