// Who runs next. Threads that may run stand in a queue; one that waits yields and is put back by those it waited for.
#include <cstring>
#include <numeric>
#include <utility>

#include "block.h"

namespace cuda_cpu {

Block block;
Thread* running = nullptr;
Place* place = nullptr;

namespace {

enum class Order { forward, reverse, random } order = Order::forward;

Thread* queue[kLargestBlock];  // a ring: each thread stands in it once at most
unsigned first = 0, waiting = 0;
uint64_t random_state = 0, block_seed = 0;

unsigned random_below(unsigned n) {  // splitmix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return unsigned((z ^ z >> 31) % n);
}

}  // namespace

void begin_order(const char* name, uint64_t seed) {
  order = !strcmp(name, "forward") ? Order::forward : !strcmp(name, "reverse") ? Order::reverse : Order::random;
  random_state = block_seed = seed;
}

unsigned long block_in_order(unsigned long i, unsigned long count) {
  if (order == Order::forward) return i;
  if (order == Order::reverse) return count - 1 - i;
  unsigned long stride = block_seed % count + 1;  // i -> (stride i + shift) mod count reaches every block once
  while (std::gcd(stride, count) != 1) ++stride;
  return (stride % count * i + block_seed) % count;
}

void begin_schedule() { first = waiting = 0; }

static void make_ready(Thread& thread) {
  thread.state = State::ready;
  queue[(first + waiting++) % kLargestBlock] = &thread;
}

void make_all_ready() {
  for (unsigned i = 0; i < block.size; ++i)
    make_ready(block.threads[order == Order::reverse ? block.size - 1 - i : i]);
}

void wake_lanes(Thread* lanes, unsigned mask) {
  for (unsigned i = 0; i < kWarp; ++i) {
    const unsigned lane = order == Order::reverse ? kWarp - 1 - i : i;
    if (mask >> lane & 1) make_ready(lanes[lane]);
  }
}

Thread* next_ready() {
  if (!waiting) return nullptr;
  if (order == Order::random) std::swap(queue[first], queue[(first + random_below(waiting)) % kLargestBlock]);
  Thread* next = queue[first];
  first = (first + 1) % kLargestBlock;
  --waiting;
  return next;
}

}  // namespace cuda_cpu
