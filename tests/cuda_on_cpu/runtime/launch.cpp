// A launch: the blocks of the grid one after another, each with its threads on fibers. The interface to launch.py is here.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "block.h"
#include "kernel.h"
#include "memory.h"
#include "sanitizers.h"

#define EXPORT extern "C"

namespace cuda_cpu {

char start_of_launch, end_of_launch;  // what came before a launch is known to its threads, and they to what comes after

namespace {

Fiber scheduler;
std::vector<Fiber> fibers;
const Kernel* kernel;
constexpr unsigned kMostArguments = 64;
uint64_t values[kMostArguments];  // of the arguments, in memory that no sanitizer sees the host touch
void* arguments[kMostArguments];

// ThreadSanitizer takes what one fiber does for ordered, so the same threads of two blocks must not share one. A fiber
// costs it a megabyte and a millisecond: so many blocks in a row have their own, then fibers are used again.
unsigned sets_of_fibers([[maybe_unused]] unsigned long blocks, [[maybe_unused]] unsigned threads) {
#ifdef __SANITIZE_THREAD__
  return unsigned(std::min<unsigned long>(blocks, std::max(2u, 1024 / threads)));
#else
  return 1;
#endif
}

void thread_main() {
  entered(scheduler);
  acquire(&start_of_launch);
  kernel->call(arguments);
  release(&end_of_launch);
  thread_exits();
  switch_fiber(*running->fiber, scheduler, true);
}

void begin_threads(const dim3& index, const dim3& size, const dim3& grid, unsigned set) {
  const unsigned n = size.x * size.y * size.z;
  block.size = block.alive = n;
  block.arrived = block.predicates = block.barriers_passed = 0;
  std::fill(block.syncs_passed, block.syncs_passed + n, 0u);
  for (unsigned first = 0; first < n; first += kWarp) {
    const unsigned lanes = std::min(n - first, kWarp);
    block.warps[first / kWarp] = {lanes == kWarp ? ~0u : (1u << lanes) - 1, 0};
  }
  for (unsigned rank = 0; rank < n; ++rank) {
    Thread& thread = block.threads[rank];
    const dim3 position = {rank % size.x, rank / size.x % size.y, rank / (size.x * size.y)};
    thread.place = {position, index, size, grid, rank % kWarp};
    thread.rank = rank;
    thread.passed_fence = false;
    thread.atomic_count = 0;
    thread.copies.begun = thread.copies.arrived = thread.copies.committed = 0;
    thread.fiber = &fibers[set * n + rank];
    prepare(*thread.fiber, thread_main);
  }
  begin_schedule();
  make_all_ready();
}

void run_threads() {
  while (Thread* next = next_ready()) {
    running = next;
    place = &next->place;
    switch_fiber(scheduler, *next->fiber);
    running = nullptr;
    if (stopped()) return;
  }
  if (block.alive) explain_standstill();
}

void clean_up_after_stop() {
  for (Fiber& fiber : fibers) discard(fiber);
  forget_accesses();
}

void run_grid(const dim3& grid, const dim3& size, size_t dynamic_bytes) {
  const unsigned long blocks = 1ul * grid.x * grid.y * grid.z;
  const unsigned threads = size.x * size.y * size.z, sets = sets_of_fibers(blocks, threads);
  if (fibers.size() < sets * threads) fibers.resize(sets * threads);
  adopt_caller(scheduler);
  begin_launch();
  release(&start_of_launch);
  for (unsigned long i = 0; i < blocks && !stopped(); ++i) {
    const unsigned long number = block_in_order(i, blocks);
    const dim3 index = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y), unsigned(number / grid.x / grid.y)};
    begin_block(dynamic_bytes);
    begin_threads(index, size, grid, unsigned(i % sets));
    run_threads();
  }
  acquire(&end_of_launch);
  if (stopped()) clean_up_after_stop();
}

}  // namespace

void yield() { switch_fiber(*running->fiber, scheduler); }

// One line for each kernel: its name, its largest block, and the codes of its arguments.
EXPORT const char* cuda_cpu_kernels(const Kernel* table) {
  static std::string text;
  text.clear();
  for (const Kernel* k = table; k->name; ++k) {
    text += k->name;
    text += "\t" + std::to_string(k->largest_block);
    for (unsigned i = 0; i < k->count; ++i) {
      const Argument& a = k->arguments[i];
      text += std::string("\t") + a.code + (!a.pointer ? "" : a.constant ? " const*" : "*");
    }
    text += "\n";
  }
  return text.c_str();
}

// `sizes`: three of the grid, three of a block. `bits`: 8 bytes for each argument.
EXPORT int cuda_cpu_launch(const Kernel* table, unsigned number, const unsigned* sizes, size_t dynamic_bytes,
                           const uint64_t* bits, const char* order, uint64_t seed) {
  begin_faults();
  begin_order(order, seed);
  kernel = &table[number];
  for (unsigned i = 0; i < kernel->count && i < kMostArguments; ++i) {
    values[i] = bits[i];
    arguments[i] = &values[i];
  }
  run_grid({sizes[0], sizes[1], sizes[2]}, {sizes[3], sizes[4], sizes[5]}, dynamic_bytes);
  return stopped();
}

EXPORT void* cuda_cpu_allocate(size_t bytes, size_t offset) { return allocate(bytes, offset); }

EXPORT void cuda_cpu_free_all() { free_all(); }

}  // namespace cuda_cpu
