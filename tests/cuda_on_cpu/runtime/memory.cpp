#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>

#include "device.h"
#include "sanitizers.h"

namespace cuda_cpu {
namespace {

constexpr size_t kDeviceBytes = size_t(8) << 30, kSharedBytes = size_t(4) << 30;  // of addresses; memory when touched
constexpr size_t kGap = 64 << 10, kSharedGap = 4 << 10;
constexpr size_t kStaticLimit = 48 << 10;  // of a kernel on every GPU; beyond it memory has to be dynamic
constexpr size_t kSyncObjects = 2 * 1024 + 2, kSyncBytes = 8;

struct Arena {
  size_t bytes;
  char* base = nullptr;
  size_t used = 0;

  char* at(size_t offset) {
    if (!base)
      base = static_cast<char*>(
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    return base + offset;
  }
  void empty() {
    if (used) ASAN_POISON_MEMORY_REGION(at(0), used);
    used = 0;
  }
  void forget() {
    if (base) munmap(base, bytes);
    base = nullptr;
    used = 0;
  }
};

size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

// Take memory that starts `offset` bytes from a multiple of 256, with a gap on both sides.
char* take(Arena& arena, size_t bytes, size_t offset, size_t gap) {
  const size_t start = round_up(arena.used + gap, 256) + offset, end = start + bytes;
  if (end + gap + 256 > arena.bytes) return nullptr;
  ASAN_POISON_MEMORY_REGION(arena.at(arena.used), end + gap - arena.used);
  ASAN_UNPOISON_MEMORY_REGION(arena.at(start), bytes);
  arena.used = end;
  return arena.at(start);
}

struct SharedArray {
  const void* key;
  char* start;
  size_t bytes;
};

Arena device{kDeviceBytes}, shared_arena{kSharedBytes};
SharedArray arrays[64];
unsigned array_count = 0;
size_t static_bytes = 0, dynamic_bytes = 0;
char* sync_objects = nullptr;

char* find(const void* key) {
  for (unsigned i = 0; i < array_count; ++i)
    if (arrays[i].key == key) return arrays[i].start;
  return nullptr;
}

// Every byte is 0xFF: a NaN as a float or a double, and -1 as an integer.
char* make(const void* key, size_t bytes, size_t offset, const Where& where) {
  char* start = take(shared_arena, bytes, offset, kSharedGap);
  if (!start || array_count == 64) fault(where, "no room for another shared array: run fewer blocks in one launch");
  fill_bytes(start, 0xFF, bytes);
  arrays[array_count++] = {key, start, bytes};
  return start;
}

}  // namespace

void* allocate(size_t bytes, size_t offset) { return take(device, bytes, offset % 256, kGap); }

void free_all() { device.empty(); }

void begin_launch() { shared_arena.empty(); }

void begin_block(size_t dynamic) {
  array_count = 0;
  static_bytes = 0;
  dynamic_bytes = dynamic;
#ifdef __SANITIZE_THREAD__
  // Addresses that no earlier block has used: an access of theirs would look like a race, a meeting of theirs like an
  // order between blocks.
  sync_objects = take(shared_arena, kSyncObjects * kSyncBytes, 0, 0);
#else
  shared_arena.empty();
#endif
}

void* sync_object(unsigned number) { return sync_objects + number * kSyncBytes; }

void describe_shared(const void* address, char* text, size_t room) {
  const char* at = static_cast<const char*>(address);
  text[0] = 0;
  for (unsigned i = 0; i < array_count; ++i) {
    const char *start = arrays[i].start, *end = start + arrays[i].bytes;
    const bool past = at >= end && at < end + kSharedGap / 2, in_front = at < start && at >= start - kSharedGap / 2;
    if (past || in_front)
      snprintf(text, room, "%td bytes %s a shared array of %zu bytes", past ? at - end : start - at,
               past ? "past the end of" : "in front of", arrays[i].bytes);
  }
}

void forget_accesses() {
#ifdef __SANITIZE_THREAD__
  device.forget();
  shared_arena.forget();
#endif
}

void* shared_memory(const void* key, size_t bytes, size_t alignment, const Where& where) {
  if (char* start = find(key)) return start;
  static_bytes += bytes;
  if (static_bytes > kStaticLimit)
    fault(where, "%zu bytes of static shared memory: more than %zu have to be dynamic", static_bytes, kStaticLimit);
  return make(key, bytes, alignment < 256 ? alignment : 0, where);  // aligned as asked for and not more
}

void* dynamic_shared_memory(size_t alignment, const Where& where) {
  static const char key = 0;
  if (char* start = find(&key)) return start;
  const size_t offset = alignment < 16 ? 16 : alignment;  // 16 is promised
  return make(&key, dynamic_bytes, offset < 256 ? offset : 0, where);
}

void fill_bytes(void* to, unsigned char byte, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = byte;
}

void copy_bytes(void* to, const void* from, size_t bytes) {
#ifndef __SANITIZE_THREAD__
  std::memcpy(to, from, bytes);
#else
  for (size_t i = 0; i < bytes; ++i) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
#endif
}

}  // namespace cuda_cpu
