// Fibers: a stack each, and a switch between them. Every CUDA thread of a block is one; the scheduler is another, which
// runs on the stack of the caller. The sanitizers are told of every switch, or they would take stacks for one another.
#pragma once
#include <cstddef>

#if defined(__x86_64__) && !defined(CUDA_CPU_UCONTEXT)
#define CUDA_CPU_SWITCH_BY_HAND 1  // nanoseconds; swapcontext makes two system calls
#else
#include <ucontext.h>
#endif

namespace cuda_cpu {

struct Fiber {
  char* stack = nullptr;  // lowest address
  size_t stack_bytes = 0;
#ifdef CUDA_CPU_SWITCH_BY_HAND
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;  // AddressSanitizer's, of this fiber while another one runs
  void* tsan = nullptr;        // what ThreadSanitizer holds for a thread; it belongs to the stack, whose past it knows
};

// Let the next switch to `fiber` call `entry`, which does not return. It gets a stack when it has none.
void prepare(Fiber& fiber, void (*entry)());

// Run `to` until it switches back. `last`: `from` is done and will be prepared anew before it runs again.
void switch_fiber(Fiber& from, Fiber& to, bool last = false);

// First thing in `entry`; `from` is the scheduler, whose stack is learned here.
void entered(Fiber& from);

// Give up a fiber that stopped half-way, with its stack.
void discard(Fiber& fiber);

// Make `fiber` stand for the thread that calls.
void adopt_caller(Fiber& fiber);

}  // namespace cuda_cpu
