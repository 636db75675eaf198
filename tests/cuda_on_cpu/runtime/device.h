// The interface between kernels and the runtime: which thread runs, how it waits, where shared memory lies.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>

#include "vectors.h"

namespace cuda_cpu {

using Where = std::source_location;

struct Place {  // of the running thread
  dim3 thread, block, block_size, grid_size;
  unsigned lane;
};

extern Place* place;

// End the launch with a message; `where` is the line of the kernel.
[[noreturn]] void fault(const Where& where, const char* format, ...) __attribute__((format(printf, 2, 3)));

// All threads of the block meet here. Returns how many came with `predicate`.
int barrier(bool predicate, const char* name, const Where& where);

// The lanes of `mask` meet here, all with the same kind of operation and the same mask.
enum class Meeting { sync, shuffle, vote, gather };
void warp_sync(unsigned mask, const char* name, const Where& where);
unsigned warp_vote(unsigned mask, bool predicate, const char* name, const Where& where);
uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, const char* name, const Where& where);
// all[lane] <- mine of each lane of the mask, `bytes` each
void warp_gather(unsigned mask, const void* mine, size_t bytes, void* all, const Where& where);

// Memory of the block for the declaration that `key` stands for, the same for all of its threads.
void* shared_memory(const void* key, size_t bytes, size_t alignment, const Where& where);
void* dynamic_shared_memory(size_t alignment, const Where& where);

// ThreadSanitizer knows atomics but no fences: an atomic access after a fence releases, a fence after one acquires.
void before_atomic(const void* address);
void after_atomic(const void* address);
void fence();

template <class T, class Key>
inline T& shared(Key, const Where where = Where::current()) {  // Key: the type of a lambda in the declaration, one for each instance of a template
  static char key;
  return *static_cast<T*>(shared_memory(&key, sizeof(T), alignof(T), where));
}

template <class T, size_t Alignment, class Key>
inline T& shared_aligned(Key, const Where where = Where::current()) {
  static char key;
  return *static_cast<T*>(shared_memory(&key, sizeof(T), Alignment, where));
}

template <class T>
inline T* dynamic_shared(size_t alignment = 1, const Where where = Where::current()) {
  return static_cast<T*>(dynamic_shared_memory(alignment < alignof(T) ? alignof(T) : alignment, where));
}

}  // namespace cuda_cpu
