// Sixteen bytes at a time: the widest access that a thread has, four floats or two doubles.
#pragma once

template <class T>
constexpr int kPack = 16 / sizeof(T);

template <class T>
struct alignas(16) Pack {
  T v[kPack<T>];
};

// Whether packs can be read from, and written to, all of these addresses. A view may begin at any value.
template <class... P>
__device__ inline bool on_packs(const P*... pointers) {
  return ((reinterpret_cast<unsigned long long>(pointers) | ...) % 16) == 0;
}

// N values from p, which is a multiple of 16 bytes where N fills packs.
template <int N, class T>
__device__ inline void load(const T* p, T (&values)[N]) {
  if constexpr (N % kPack<T> == 0) {
#pragma unroll
    for (int k = 0; k < N; k += kPack<T>) {
      const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(p + k);
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) values[k + j] = pack.v[j];
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = p[k];
  }
}

template <int N, class T>
__device__ inline void store(T* p, const T (&values)[N]) {
  if constexpr (N % kPack<T> == 0) {
#pragma unroll
    for (int k = 0; k < N; k += kPack<T>) {
      Pack<T> pack;
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) pack.v[j] = values[k + j];
      *reinterpret_cast<Pack<T>*>(p + k) = pack;
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) p[k] = values[k];
  }
}
