// Operands of a matrix product on their way from global to shared memory, a panel at a time.
//
// A block computes BM x BN values of c = a b, and for that walks along k in steps of BK. At each step it needs a panel
// of a, BM x BK, and one of b, BK x BN. In shared memory both lie the same way: BK rows, one for each k, with the BM
// values of a (the BN values of b) side by side; "outer" is m for a and n for b. In global memory an operand lies
// either along its outer index (b in x w) or along k (a in x w), which makes two loaders; a convolution adds its own in
// conv.cuh.
//
// A loader is asked for the panels one after another: `next(to)` starts the copies of one and moves on. What lies past
// the end, of k or of the outer index, arrives as zero, so that nothing further on knows about ends.
#pragma once
#include "async_copy.cuh"

// The form of a panel. kPad values behind each row shift it by as many banks: see AlongK.
template <class T, int kOuter_, int kDepth_, int kPad_, int kThreads_>
struct Panel {
  using Value = T;
  static constexpr int kOuter = kOuter_, kDepth = kDepth_, kThreads = kThreads_, kRow = kOuter_ + kPad_;
  static constexpr int kPadBytes = kPad_ * int(sizeof(T));
  static_assert(kRow % kPack<T> == 0, "rows begin at packs");
  using Rows = T[kDepth][kRow];
};

// Which values of a panel a thread copies where the operand lies along k in global memory: one k, and outer indices
// kStep apart.
//
// A warp takes kLanesK neighbours in k, of 32 / kLanesK neighbours in the outer index. In shared memory that is the
// transposed way, value by value: with rows padded by 128 / kLanesK bytes its 32 values fall into 32 banks.
template <class Panel>
struct AlongKPosition {
  static constexpr int kLanesK = 128 / Panel::kPadBytes, kLanesOuter = 32 / kLanesK;
  static constexpr int kWarpsK = Panel::kDepth / kLanesK, kStep = Panel::kThreads / Panel::kDepth;
  static constexpr int kCopies = Panel::kOuter / kStep;
  static_assert(Panel::kThreads / 32 % kWarpsK == 0 && Panel::kOuter % kStep == 0, "each thread has one k");

  int k, outer;

  __device__ AlongKPosition() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    k = warp % kWarpsK * kLanesK + lane % kLanesK;
    outer = warp / kWarpsK * kLanesOuter + lane / kLanesK;
  }
};

// An operand with element (outer, k) at from[outer * row + k].
template <class Panel>
struct AlongK {
  using T = typename Panel::Value;
  using Position = AlongKPosition<Panel>;

  const T* from;  // the thread's first value of the next panel
  long long row;
  int outer_left, k_left;  // how many there are from the thread's own position on

  __device__ AlongK(const T* origin, long long row, int outer_count, int k_count) : row(row) {
    const Position at;
    from = origin + at.outer * row + at.k;
    outer_left = outer_count - at.outer;
    k_left = k_count - at.k;
  }

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    const Position at;
    const T* value = from;
#pragma unroll
    for (int i = 0; i < Position::kCopies; ++i) {
      async_copy<1>(&to[at.k][at.outer + i * Position::kStep], value, k_left > 0 && outer_left > i * Position::kStep);
      value += Position::kStep * row;
    }
    from += Panel::kDepth;
    k_left -= Panel::kDepth;
  }
};

// Which values of a panel a thread copies where the operand lies along its outer index: kWidth neighbours, of rows
// kStep apart.
template <class Panel, int kWidth>
struct AlongOuterPosition {
  static constexpr int kPerRow = Panel::kOuter / kWidth, kStep = Panel::kThreads / kPerRow;
  static constexpr int kCopies = Panel::kDepth / kStep;
  static_assert(Panel::kThreads % kPerRow == 0 && Panel::kDepth % kStep == 0, "each thread has one outer index");

  int k, outer;

  __device__ AlongOuterPosition() : k(threadIdx.x / kPerRow), outer(threadIdx.x % kPerRow * kWidth) {}
};

// An operand with element (outer, k) at from[k * row + outer]. With `packs` it is copied 16 bytes at a time: every row
// then has to begin at a multiple of 16 bytes, and hold a multiple of that.
template <class Panel>
struct AlongOuter {
  using T = typename Panel::Value;

  const T* from;  // the thread's first value of the next panel
  long long row;
  int place, k_left;  // that value's in the panel; how many of k there are from it on, none behind the outer index
  bool packs;

  __device__ AlongOuter(const T* origin, long long row, int outer_count, int k_count, bool packs)
      : row(row), packs(packs) {
    const AlongOuterPosition<Panel, kPack<T>> of_pack;
    const AlongOuterPosition<Panel, 1> of_value;
    const int k = packs ? of_pack.k : of_value.k, outer = packs ? of_pack.outer : of_value.outer;
    from = origin + k * row + outer;
    place = k * Panel::kRow + outer;
    k_left = outer < outer_count ? k_count - k : 0;
  }

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    if (packs) copy<kPack<T>>(to[0] + place);
    else copy<1>(to[0] + place);
    from += Panel::kDepth * row;
    k_left -= Panel::kDepth;
  }

 private:
  template <int kWidth>
  __device__ __forceinline__ void copy(T* to) {
    using Position = AlongOuterPosition<Panel, kWidth>;
    const T* values = from;
    // Value by value there are so many copies that, side by side, they would take the registers of the sums.
    constexpr int kTogether = kWidth == 1 ? 1 : Position::kCopies;
#pragma unroll kTogether
    for (int i = 0; i < Position::kCopies; ++i) {
      async_copy<kWidth>(to + i * Position::kStep * Panel::kRow, values, k_left > i * Position::kStep);
      values += Position::kStep * row;
    }
  }
};
