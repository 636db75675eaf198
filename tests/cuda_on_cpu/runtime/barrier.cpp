// The barrier of a block. All of its threads have to come to the same one: the Programming Guide allows a barrier under a
// condition only when the condition is the same for the whole block.
#include <cstring>

#include "block.h"
#include "memory.h"
#include "sanitizers.h"

namespace cuda_cpu {
namespace {

bool same_line(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && !strcmp(a.file_name(), b.file_name());
}

const Thread* find(State state) {
  for (unsigned i = 0; i < block.size; ++i)
    if (block.threads[i].state == state) return &block.threads[i];
  return nullptr;
}

#define THREAD(t) (t).place.thread.x, (t).place.thread.y, (t).place.thread.z
#define LINE(where) strrchr((where).file_name(), '/') ? strrchr((where).file_name(), '/') + 1 : (where).file_name(), (where).line()

void require_all_alive(const Thread& at_barrier) {
  if (block.alive == block.size) return;
  if (const Thread* gone = find(State::exited))
    stop(at_barrier, at_barrier.where, "divergent barrier: this thread is at %s, but thread (%u,%u,%u) has returned",
         at_barrier.name, THREAD(*gone));
}

void require_the_same(const Thread& me) {
  if (!block.arrived) {
    block.first_arrived = &me;
    return;
  }
  const Thread* first = block.first_arrived;
  if (!same_line(first->where, me.where))
    stop(me, me.where, "divergent barrier: this thread is at %s, but thread (%u,%u,%u) is at the %s of %s:%u", me.name,
         THREAD(*first), first->name, LINE(first->where));
}

void open_barrier() {
  block.barrier_result = block.predicates;
  block.arrived = block.predicates = 0;
  ++block.barriers_passed;
  make_all_ready();
}

}  // namespace

int barrier(bool predicate, const char* name, const Where& where) {
  Thread& me = *running;
  me.name = name;
  me.where = where;
  require_all_alive(me);
  require_the_same(me);
  // Two objects in turn: with one, a fast thread on its way to the next barrier would order itself before slow ones.
  void* meeting = sync_object(block.barriers_passed & 1);
  release(meeting);
  me.state = State::at_barrier;
  block.predicates += predicate;
  if (++block.arrived == block.size) open_barrier();
  yield();
  acquire(meeting);
  return int(block.barrier_result);
}

void thread_exits() {
  Thread& me = *running;
  me.state = State::exited;
  --block.alive;
  leave_warp(me);
  if (block.arrived) require_all_alive(*block.first_arrived);
}

void explain_standstill() {
  const Thread* waits = find(State::at_warp);
  const Warp& warp = block.warps[waits->rank / kWarp];
  const unsigned missing = waits->mask & warp.alive & ~warp.waiting;
  const Thread& other = block.threads[waits->rank / kWarp * kWarp + unsigned(__builtin_ctz(missing))];
  stop(*waits, waits->where, "%s waits for ever: it names lane %u in its mask %08x, but that lane is at the %s of %s:%u",
       waits->name, other.place.lane, waits->mask, other.name, LINE(other.where));
}

}  // namespace cuda_cpu
