// A block of threads, and how its threads wait for each other.
#pragma once
#include "copies.h"
#include "device.h"
#include "fiber.h"

namespace cuda_cpu {

constexpr unsigned kLargestBlock = 1024, kWarp = 32, kRemembered = 8, kMostCopies = 512;

enum class State { ready, at_barrier, at_warp, exited };

struct CopyList {  // a ring of the copies that a thread has begun
  Copy copies[kMostCopies];
  unsigned groups[kMostCopies];
  unsigned begun, arrived, committed;
};

struct Thread {
  Place place;
  Fiber* fiber;
  unsigned rank;  // in the block
  State state;

  // What it waits in, and where.
  const char* name;
  Where where;

  // At the meeting of a warp: what it brings and what it takes home.
  Meeting meeting;
  unsigned mask, source, result_bits;
  uint64_t value, result;
  const void* mine;
  void* all;
  size_t bytes;

  // What fences.cpp remembers.
  bool passed_fence;
  unsigned atomic_count;
  const void* atomics[kRemembered];

  CopyList copies;
};

struct Warp {
  unsigned alive, waiting;  // a bit for each lane
};

struct Block {
  Thread threads[kLargestBlock];
  Warp warps[kLargestBlock / kWarp];
  unsigned size, alive;
  unsigned arrived, predicates, barrier_result;  // at the barrier
  const Thread* first_arrived;
  unsigned barriers_passed, syncs_passed[kLargestBlock];  // for each lane, of the meetings that it is the first lane of
};

extern Block block;
extern Thread* running;

// The next thread to run, in the order of the launch; nullptr when all wait or are done.
Thread* next_ready();
void begin_order(const char* order, uint64_t seed);  // "forward", "reverse" or "random"
void begin_schedule();
unsigned long block_in_order(unsigned long i, unsigned long count);  // the number of the block that runs as the i-th
void make_all_ready();
void wake_lanes(Thread* lanes, unsigned mask);

// Back to the scheduler, until somebody makes this thread ready.
void yield();

void thread_exits();  // from the block
void leave_warp(const Thread& thread);
void explain_standstill();

// Stop the launch: the first message counts. Does not return when a thread of the block is running.
void stop(const Thread& thread, const Where& where, const char* format, ...) __attribute__((format(printf, 3, 4)));
bool stopped();
void begin_faults();  // none yet

}  // namespace cuda_cpu
