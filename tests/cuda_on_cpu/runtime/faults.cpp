// The first thing that went wrong in a launch, said with line, thread and block. The compiler's own checks end here too
// (-fsanitize=bounds,alignment,...): these functions take the place of its library, which would print and go on.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "block.h"
#include "memory.h"
#include "sanitizers.h"

namespace cuda_cpu {

extern char start_of_launch, end_of_launch;  // launch.cpp

namespace {

char message[16384] = "";
bool has_stopped = false;

const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

void record(const char* tool, const Thread* thread, const char* file, unsigned line, const char* text) {
  if (has_stopped) return;
  has_stopped = true;
  const int length = snprintf(message, sizeof message, "%s\n%s:%u: ", tool, base_name(file), line);
  char* end = message + length;
  const size_t room = sizeof message - size_t(length);
  if (thread) {
    const dim3 t = thread->place.thread, b = thread->place.block;
    snprintf(end, room, "thread (%u,%u,%u) of block (%u,%u,%u): %s", t.x, t.y, t.z, b.x, b.y, b.z, text);
  } else {
    snprintf(end, room, "%s", text);
  }
}

[[noreturn]] void leave_for_good() {
  release(&end_of_launch);
  for (;;) yield();
}

[[noreturn]] void undefined(const char* file, unsigned line, const char* text) {
  if (!running) {
    fprintf(stderr, "%s:%u: %s\n", file, line, text);
    abort();
  }
  record("undefined", running, file, line, text);
  leave_for_good();
}

}  // namespace

bool stopped() { return has_stopped; }

void stop(const Thread& thread, const Where& where, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  record("runtime", &thread, where.file_name(), where.line(), text);
  if (running) leave_for_good();
}

void fault(const Where& where, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  record("runtime", running, where.file_name(), where.line(), text);
  leave_for_good();
}

#ifdef __SANITIZE_ADDRESS__
// The thread goes on after this and stops at its next meeting; what it does to memory until then hits the gaps.
static void address_report(const char* report) {
  if (has_stopped) return;
  const dim3 t = running ? running->place.thread : dim3(), b = running ? running->place.block : dim3();
  has_stopped = true;
  char shared[128];
  describe_shared(__asan_get_report_address(), shared, sizeof shared);
  snprintf(message, sizeof message, "address\n%p\n%s\nthread (%u,%u,%u) of block (%u,%u,%u)\n%s",
           __asan_get_report_address(), shared, t.x, t.y, t.z, b.x, b.y, b.z, report);
}
#endif

void begin_faults() {
  has_stopped = false;
  message[0] = 0;
#ifdef __SANITIZE_ADDRESS__
  __asan_set_error_report_callback(address_report);
#endif
}

extern "C" __attribute__((visibility("default"))) const char* cuda_cpu_fault() { return message; }

// The compiler's checks. The first member of what they are given is always the place in the source.

struct Source {
  const char* file;
  unsigned line, column;
};

struct TypeName {
  unsigned short kind, info;
  char name[1];
};

struct OutOfBounds {
  Source source;
  const TypeName *array, *index;
};

struct TypeMismatch {
  Source source;
  const TypeName* type;
  unsigned char log_alignment, kind;
};

extern "C" void __ubsan_handle_out_of_bounds(OutOfBounds* data, uintptr_t index) {
  char text[256];
  snprintf(text, sizeof text, "index %ld is out of bounds for type %s", long(int(index)), data->array->name);
  undefined(data->source.file, data->source.line, text);
}

extern "C" void __ubsan_handle_type_mismatch_v1(TypeMismatch* data, uintptr_t address) {
  static const char* const kinds[] = {"load of", "store to", "reference to", "member access in", "member call on",
                                      "constructor call on", "downcast of", "downcast of", "upcast of", "cast of"};
  const char* kind = data->kind < sizeof kinds / sizeof *kinds ? kinds[data->kind] : "use of";
  const size_t alignment = size_t(1) << data->log_alignment;
  char text[256];
  if (!address)
    snprintf(text, sizeof text, "%s a null pointer of type %s", kind, data->type->name);
  else if (address % alignment)
    snprintf(text, sizeof text, "misaligned: %s %s at an address %zu bytes past a multiple of the %zu it needs", kind,
             data->type->name, size_t(address % alignment), alignment);
  else
    snprintf(text, sizeof text, "%s %s in an object that is too small for it", kind, data->type->name);
  undefined(data->source.file, data->source.line, text);
}

#define HANDLER(name, text)                                         \
  extern "C" void __ubsan_handle_##name(Source* source, ...) {      \
    undefined(source->file, source->line, text);                    \
  }

HANDLER(add_overflow, "signed sum overflows")
HANDLER(sub_overflow, "signed difference overflows")
HANDLER(mul_overflow, "signed product overflows")
HANDLER(negate_overflow, "negation overflows")
HANDLER(divrem_overflow, "integer division by zero or overflow")
HANDLER(shift_out_of_bounds, "shift by a negative number or by the width of the type or more")
HANDLER(builtin_unreachable, "unreachable code was reached")
HANDLER(missing_return, "a function that returns a value ended without one")
HANDLER(vla_bound_not_positive, "array of a length that is not positive")
HANDLER(float_cast_overflow, "floating-point value does not fit the integer type")
HANDLER(load_invalid_value, "a bool or an enum holds a value that it cannot have")
HANDLER(pointer_overflow, "pointer arithmetic overflows")
HANDLER(invalid_builtin, "argument for which the built-in function is undefined")
HANDLER(nonnull_arg, "null pointer given where none is allowed")
HANDLER(nonnull_return_v1, "null pointer returned where none is allowed")

}  // namespace cuda_cpu
