// The memory of kernels: the arrays of a launch and the shared memory of a block, each with nothing around it.
#pragma once
#include <cstddef>

namespace cuda_cpu {

// An array of a launch, at `offset` bytes (below 256) from an address that is a multiple of 256, as in memory from
// cudaMalloc. Around it lie 64 KiB that belong to nobody.
void* allocate(size_t bytes, size_t offset);
void free_all();

// The shared memory of a new block: none yet. `dynamic` is what the launch asks for.
void begin_block(size_t dynamic);
void begin_launch();

// Something for threads to meet at, known to no earlier block of the launch.
void* sync_object(unsigned number);

// Where `address` lies, of shared arrays of the block: "" far from all of them.
void describe_shared(const void* address, char* text, size_t room);

// After a launch that stopped half-way: ThreadSanitizer has to forget who touched what.
void forget_accesses();

// Under ThreadSanitizer in loops, not by memset and memcpy: it would take those for accesses of the kernel.
void fill_bytes(void* to, unsigned char byte, size_t bytes);
void copy_bytes(void* to, const void* from, size_t bytes);

}  // namespace cuda_cpu
