// Barriers, shuffles and votes, as in the CUDA C++ Programming Guide, sections "Synchronization Functions", "Warp Vote
// Functions" and "Warp Shuffle Functions". What is undefined there ends the launch with a message.
#pragma once
#include <bit>
#include <cstring>

#include "device.h"

#define CUDA_CPU_WHERE const cuda_cpu::Where where = cuda_cpu::Where::current()

inline void __syncthreads(CUDA_CPU_WHERE) { cuda_cpu::barrier(false, "__syncthreads", where); }

inline int __syncthreads_count(int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::barrier(predicate, "__syncthreads_count", where);
}

inline int __syncthreads_or(int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::barrier(predicate, "__syncthreads_or", where) != 0;
}

inline int __syncthreads_and(int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::barrier(!predicate, "__syncthreads_and", where) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_CPU_WHERE) { cuda_cpu::warp_sync(mask, "__syncwarp", where); }

// Only that the caller is active is promised: a kernel that counts on more is wrong, so it gets no more.
inline unsigned __activemask() { return 1u << cuda_cpu::place->lane; }

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::warp_vote(mask, predicate, "__ballot_sync", where);
}

inline int __any_sync(unsigned mask, int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::warp_vote(mask, predicate, "__any_sync", where) != 0;
}

inline int __all_sync(unsigned mask, int predicate, CUDA_CPU_WHERE) {
  return cuda_cpu::warp_vote(mask, !predicate, "__all_sync", where) == 0;
}

namespace cuda_cpu {

template <class T>
T shuffle(unsigned mask, T value, unsigned source, const char* name, const Where& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_shuffle(mask, bits, source, name, where);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void check_width(int width, const Where& where) {
  if (width < 1 || width > 32 || !std::has_single_bit(unsigned(width)))
    fault(where, "a shuffle of width %d: it must be 1, 2, 4, 8, 16 or 32", width);
}

}  // namespace cuda_cpu

// `width` cuts the warp into sections. A lane that would read outside of its section reads itself.

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_CPU_WHERE) {
  cuda_cpu::check_width(width, where);
  const unsigned first = cuda_cpu::place->lane & ~unsigned(width - 1);
  return cuda_cpu::shuffle(mask, value, first + (unsigned(source) & unsigned(width - 1)), "__shfl_sync", where);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_CPU_WHERE) {
  cuda_cpu::check_width(width, where);
  const unsigned lane = cuda_cpu::place->lane, in_section = lane & unsigned(width - 1);
  return cuda_cpu::shuffle(mask, value, delta <= in_section ? lane - delta : lane, "__shfl_up_sync", where);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_CPU_WHERE) {
  cuda_cpu::check_width(width, where);
  const unsigned lane = cuda_cpu::place->lane, in_section = lane & unsigned(width - 1);
  const bool inside = delta < unsigned(width) && in_section + delta < unsigned(width);
  return cuda_cpu::shuffle(mask, value, inside ? lane + delta : lane, "__shfl_down_sync", where);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, CUDA_CPU_WHERE) {
  cuda_cpu::check_width(width, where);
  const unsigned lane = cuda_cpu::place->lane, section_end = (lane | unsigned(width - 1)) + 1;
  const unsigned source = (lane ^ unsigned(lane_mask)) & 31;
  return cuda_cpu::shuffle(mask, value, source < section_end ? source : lane, "__shfl_xor_sync", where);  // earlier
}  // sections may be read
