#include "copies.h"

#include "block.h"

namespace cuda_cpu {

void begin_copy(const Copy& copy, const Where& where) {
  CopyList& list = running->copies;
  if (list.begun - list.arrived == kMostCopies) fault(where, "more than %u asynchronous copies under way", kMostCopies);
  const unsigned at = list.begun++ % kMostCopies;
  list.copies[at] = copy;
  list.groups[at] = list.committed;
}

void commit_copies() { ++running->copies.committed; }

bool take_arrived(unsigned groups_under_way, Copy& copy) {
  CopyList& list = running->copies;
  const unsigned at = list.arrived % kMostCopies;
  if (list.arrived == list.begun || list.groups[at] + groups_under_way >= list.committed) return false;
  copy = list.copies[at];
  ++list.arrived;
  return true;
}

}  // namespace cuda_cpu
