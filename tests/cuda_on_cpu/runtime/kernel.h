// Kernels as the host sees them: a name, the types of the arguments, the largest block, and a function to call.
#pragma once
#include <type_traits>
#include <utility>

#include "device.h"

namespace cuda_cpu {

// The NumPy code of a type: "f4" a float, "f4*" an array of them that may be written, "f4 const*" one that may not.
template <class T> constexpr const char* code_of() {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, float2> || std::is_same_v<T, float4>) return "f4";
  else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, double2>) return "f8";
  else if constexpr (std::is_same_v<T, int> || std::is_same_v<T, int2> || std::is_same_v<T, int4>) return "i4";
  else if constexpr (std::is_same_v<T, unsigned> || std::is_same_v<T, uint2> || std::is_same_v<T, uint4>) return "u4";
  else if constexpr (std::is_same_v<T, bool>) return "b1";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 8) return std::is_signed_v<T> ? "i8" : "u8";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 2) return std::is_signed_v<T> ? "i2" : "u2";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 1) return std::is_signed_v<T> ? "i1" : "u1";
  else static_assert(!sizeof(T), "a kernel argument of this type is not supported");
}

struct Argument {
  const char* code;
  bool pointer, constant;
};

template <class T> constexpr Argument argument_of() {
  using Pointed = std::remove_pointer_t<T>;
  return {code_of<std::remove_cv_t<Pointed>>(), std::is_pointer_v<T>, std::is_const_v<Pointed>};
}

struct Kernel {
  const char* name;
  unsigned largest_block;
  const Argument* arguments;
  unsigned count;
  void (*call)(void** arguments);  // one pointer to each argument, as cuLaunchKernel takes them
};

template <auto function> struct Caller;

template <class... A, void (*function)(A...)> struct Caller<function> {
  static constexpr unsigned count = sizeof...(A);
  static constexpr Argument arguments[count + 1] = {argument_of<A>()..., {}};

  static void call(void** values) { call(values, std::index_sequence_for<A...>{}); }

  template <size_t... I> static void call([[maybe_unused]] void** values, std::index_sequence<I...>) {
    function(*static_cast<std::remove_cv_t<A>*>(values[I])...);
  }
};

constexpr unsigned largest_block(unsigned threads = 1024, unsigned = 0) { return threads; }  // of __launch_bounds__

// At the end of every file rewrite.py writes the table of its kernels, the last of them without a name.
#define CUDA_CPU_TABLE                                                                        \
  extern "C" __attribute__((visibility("default"))) const cuda_cpu::Kernel* cuda_cpu_table() { \
    return kernels;                                                                           \
  }
#define CUDA_CPU_KERNEL(name, ...)                                                                      \
  cuda_cpu::Kernel {                                                                                    \
#name, cuda_cpu::largest_block(__VA_ARGS__), cuda_cpu::Caller<&::name>::arguments,                        \
        cuda_cpu::Caller<&::name>::count, &cuda_cpu::Caller<&::name>::call                                  \
  }

}  // namespace cuda_cpu
