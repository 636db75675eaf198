// Meetings of lanes of a warp. All lanes of the mask that have not returned must come, to the same function, with the
// same mask; a lane may only read from one that takes part.
#include <cstring>

#include "block.h"
#include "memory.h"
#include "sanitizers.h"

namespace cuda_cpu {
namespace {

Thread& lane_of(const Thread& thread, unsigned lane) { return block.threads[thread.rank / kWarp * kWarp + lane]; }
Warp& warp_of(const Thread& thread) { return block.warps[thread.rank / kWarp]; }

template <class Use>
void for_lanes(unsigned lanes, Use use) {
  for (; lanes; lanes &= lanes - 1) use(unsigned(__builtin_ctz(lanes)));
}

void require_same_meeting(const Thread& me, const Thread& other) {
  const bool same_name = other.name == me.name || !strcmp(other.name, me.name);
  if (other.mask != me.mask || !same_name)
    stop(other, other.where, "%s with mask %08x, but lane %u has come to %s with mask %08x", other.name, other.mask,
         me.place.lane, me.name, me.mask);
}

void take_from_source(Thread& me, unsigned present) {
  const unsigned source = me.source;
  if (present >> source & 1) {
    me.result = lane_of(me, source).value;
    return;
  }
  const bool named = me.mask >> source & 1;
  stop(me, me.where, "%s reads from lane %u, %s (mask %08x)", me.name, source,
       !named ? "which is not in the mask" : "which has returned or does not exist", me.mask);
}

void exchange(Thread& me, unsigned present, unsigned votes) {
  me.result_bits = votes;
  if (me.meeting == Meeting::shuffle) take_from_source(me, present);
  if (me.meeting == Meeting::gather)
    for_lanes(present, [&](unsigned lane) {
      copy_bytes(static_cast<char*>(me.all) + lane * me.bytes, lane_of(me, lane).mine, me.bytes);
    });
}

// If everybody that `me` waits for is there: exchange, and let them go.
void try_to_close(const Thread& me) {
  Warp& warp = warp_of(me);
  const unsigned mask = me.mask, present = mask & warp.alive;
  if (present & ~warp.waiting) return;
  unsigned votes = 0;
  for_lanes(present, [&](unsigned lane) {
    require_same_meeting(me, lane_of(me, lane));
    votes |= unsigned(lane_of(me, lane).value != 0) << lane;
  });
  for_lanes(present, [&](unsigned lane) { exchange(lane_of(me, lane), present, votes); });
  warp.waiting &= ~present;
  ++block.syncs_passed[lane_of(me, unsigned(__builtin_ctz(mask))).rank];
  wake_lanes(&lane_of(me, 0), present);
}

void meet(Thread& me, Meeting meeting, unsigned mask, const char* name, const Where& where) {
  if (!(mask >> me.place.lane & 1)) fault(where, "%s with mask %08x by lane %u, which is not in it", name, mask, me.place.lane);
  me.meeting = meeting;
  me.mask = mask;
  me.name = name;
  me.where = where;
  me.state = State::at_warp;
  warp_of(me).waiting |= 1u << me.place.lane;
  try_to_close(me);
  yield();
}

}  // namespace

// Only this one orders memory: the Programming Guide promises nothing of the kind for shuffles and votes.
void warp_sync(unsigned mask, const char* name, const Where& where) {
  Thread& me = *running;
  const unsigned leader = lane_of(me, mask ? unsigned(__builtin_ctz(mask)) : 0).rank;
  void* meeting = sync_object(2 + 2 * leader + (block.syncs_passed[leader] & 1));
  release(meeting);
  meet(me, Meeting::sync, mask, name, where);
  acquire(meeting);
}

unsigned warp_vote(unsigned mask, bool predicate, const char* name, const Where& where) {
  running->value = predicate;
  meet(*running, Meeting::vote, mask, name, where);
  return running->result_bits;
}

uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, const char* name, const Where& where) {
  running->value = value;
  running->source = source;
  meet(*running, Meeting::shuffle, mask, name, where);
  return running->result;
}

void warp_gather(unsigned mask, const void* mine, size_t bytes, void* all, const Where& where) {
  running->mine = mine;
  running->all = all;
  running->bytes = bytes;
  meet(*running, Meeting::gather, mask, "warp_gather", where);
}

// A lane that returns may have been the last one that others waited for.
void leave_warp(const Thread& me) {
  Warp& warp = warp_of(me);
  warp.alive &= ~(1u << me.place.lane);
  for_lanes(warp.waiting, [&](unsigned lane) {
    if (warp.waiting >> lane & 1) try_to_close(lane_of(me, lane));
  });
}

}  // namespace cuda_cpu
