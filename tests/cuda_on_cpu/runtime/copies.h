// Copies that are on their way, for what cp.async does: kernels/cupy_cuda/async_copy.cuh calls these on the CPU.
//
// A GPU may write the destination at any time from the call on until the wait. Here it is filled with NaN at the call
// and with what was copied at the wait: who reads too early, or still reads what was there before, sees neither.
#pragma once
#include <cstdint>

#include "device.h"

namespace cuda_cpu {

struct Copy {
  void* to;
  const void* from;  // nullptr: zeros
  unsigned bytes;
};

// In the runtime, which keeps a list for each thread.
void begin_copy(const Copy& copy, const Where& where);
void commit_copies();
bool take_arrived(unsigned groups_under_way, Copy& copy);

template <class Word>
inline void write_words(void* to, const void* from, unsigned bytes, Word otherwise) {
  for (unsigned i = 0; i < bytes / sizeof(Word); ++i)
    static_cast<Word*>(to)[i] = from ? static_cast<const Word*>(from)[i] : otherwise;
}

// to[bytes] <- from, or zeros if not `inside`; 4, 8 or 16 bytes, and addresses that are multiples of that.
inline void async_copy(void* to, const void* from, unsigned bytes, bool inside,
                       const Where where = Where::current()) {
  if ((reinterpret_cast<uintptr_t>(to) | (inside ? reinterpret_cast<uintptr_t>(from) : 0)) % bytes)
    fault(where, "misaligned: an asynchronous copy of %u bytes", bytes);
  write_words<uint32_t>(to, nullptr, bytes, 0xffffffffu);
  begin_copy({to, inside ? from : nullptr, bytes}, where);
}

inline void async_commit() { commit_copies(); }

// Until at most `groups` of the committed groups are under way, the newest.
inline void async_wait(unsigned groups) {
  for (Copy copy; take_arrived(groups, copy);) write_words<uint32_t>(copy.to, copy.from, copy.bytes, 0u);
}

}  // namespace cuda_cpu
