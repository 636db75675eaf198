#include "fiber.h"

#include <sys/mman.h>

#include "sanitizers.h"

namespace cuda_cpu {
namespace {

constexpr size_t kPage = 4096, kStack = 252 << 10;  // much of it for AddressSanitizer, which spreads locals out

void give_stack(Fiber& fiber) {
  static unsigned made = 0;
  char* memory = static_cast<char*>(mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  mprotect(memory, kPage, PROT_NONE);  // it grows down, into this page when it overflows
  fiber.stack = memory + kPage;
  fiber.stack_bytes = kStack - made++ % 60 * 64;  // else the frames of all threads fall into the same cache lines
#ifdef __SANITIZE_THREAD__
  fiber.tsan = __tsan_create_fiber(0);
#endif
}

}  // namespace

void discard(Fiber& fiber) {
  if (!fiber.stack) return;
  ASAN_UNPOISON_MEMORY_REGION(fiber.stack, kStack);  // of frames that nobody left
  munmap(fiber.stack - kPage, kStack + kPage);
#ifdef __SANITIZE_THREAD__
  __tsan_destroy_fiber(fiber.tsan);
#endif
  fiber = Fiber();
}

void adopt_caller([[maybe_unused]] Fiber& fiber) {
#ifdef __SANITIZE_THREAD__
  fiber.tsan = __tsan_get_current_fiber();
#endif
}

#ifdef CUDA_CPU_SWITCH_BY_HAND

// Push what a call must preserve, leave this stack, and take up the other one where it was left.
extern "C" void cuda_cpu_switch(void** save, void* load);
asm(R"(
.text
.hidden cuda_cpu_switch
.globl cuda_cpu_switch
.type cuda_cpu_switch, @function
cuda_cpu_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size cuda_cpu_switch, .-cuda_cpu_switch
)");

void prepare(Fiber& fiber, void (*entry)()) {
  if (!fiber.stack) give_stack(fiber);
  void** top = reinterpret_cast<void**>(fiber.stack + fiber.stack_bytes - 64);
  top[-1] = nullptr;  // in place of a return address; the stack is aligned as after a call
  top[-2] = reinterpret_cast<void*>(entry);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;  // six registers
  fiber.stack_pointer = top - 8;
}

static void jump(Fiber& from, Fiber& to) { cuda_cpu_switch(&from.stack_pointer, to.stack_pointer); }

#else

void prepare(Fiber& fiber, void (*entry)()) {
  if (!fiber.stack) give_stack(fiber);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = fiber.stack_bytes;
  makecontext(&fiber.context, entry, 0);
}

static void jump(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

#endif

void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool last) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(to.tsan, 1);  // 1: the switch itself orders nothing
#endif
  jump(from, to);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void entered([[maybe_unused]] Fiber& from) {
#ifdef __SANITIZE_ADDRESS__
  const void* stack;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &from.stack_bytes);
  from.stack = static_cast<char*>(const_cast<void*>(stack));
#endif
}

}  // namespace cuda_cpu
