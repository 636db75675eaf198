// The matrix product c[m,n] = sum_k a[m,k] b[k,n] of a block of threads, for any way of loading a and b.
//
// The names are those of the literature on such kernels (CUTLASS, and Boehm, "How to optimize a CUDA matmul kernel",
// 2022): a block owns a tile of BM x BN of c, each of its warps WM x WN of that, each thread TM x TN of that, in
// registers. Each value brought to shared memory is used BM or BN times, each value read from there TM or TN times.
//
// A step along k is BK long. While it is computed, the panels of the next STAGES - 1 steps are on their way.
#pragma once
#include "panel.cuh"

// A tile that is computed by multiply-adds of T, and the part of it that the thread owns.
template <class T, int BM_, int BN_, int BK_, int WM, int WN, int TM, int TN, int STAGES_>
struct FmaTile {
  using Value = T;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, STAGES = STAGES_;
  static constexpr int kThreads = 32 * (BM / WM) * (BN / WN);
  static constexpr int kGroup = kPack<T>;  // neighbours in n that a thread owns together
  using PanelA = Panel<T, BM, BK, kGroup, kThreads>;
  using PanelB = Panel<T, BN, BK, kGroup, kThreads>;

  // The lanes of a warp stand in LANES_M rows, and each owns TM / kGroup x TN / kGroup squares, as far apart as all
  // lanes together are wide, so that neighbours read neighbouring packs.
  static constexpr int LANES_M = WM / TM, LANES_N = WN / TN, kSquaresM = TM / kGroup, kSquaresN = TN / kGroup;
  static_assert(LANES_M * LANES_N == 32 && LANES_M % 2 == 0, "a warp has 32 lanes");

  T sum[TM][TN] = {};
  int first_m, first_n;

  __device__ FmaTile() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    // Rows are numbered in pairs: lane 0 in row 0, lane 1 in row 1, lane 2 in row 0 again. A read of 16 bytes by all
    // lanes takes half as long where lanes i and i ^ 1, or lanes i and i ^ 2, read the same pack: so both reads do.
    const int lane_m = lane % 2 + lane / (2 * LANES_N) * 2, lane_n = lane / 2 % LANES_N;
    first_m = warp / (BN / WN) * WM + lane_m * kGroup;
    first_n = warp % (BN / WN) * WN + lane_n * kGroup;
  }

  // sum += a b, over the BK of these panels, in this order.
  __device__ __forceinline__ void add(const typename PanelA::Rows& a, const typename PanelB::Rows& b) {
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      T a_k[TM], b_k[TN];
#pragma unroll
      for (int i = 0; i < kSquaresM; ++i) read(a_k + i * kGroup, &a[k][first_m + i * LANES_M * kGroup]);
#pragma unroll
      for (int j = 0; j < kSquaresN; ++j) read(b_k + j * kGroup, &b[k][first_n + j * LANES_N * kGroup]);
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] += a_k[i] * b_k[j];
    }
  }

  // The groups that the thread owns: kGroup values of row m_of(i), from column n_of(j) on, for i < kRows, j < kGroups.
  static constexpr int kRows = TM, kGroups = kSquaresN;
  __device__ int m_of(int i) const { return first_m + i / kGroup * LANES_M * kGroup + i % kGroup; }
  __device__ int n_of(int j) const { return first_n + j * LANES_N * kGroup; }
  __device__ const T* values(int i, int j) const { return sum[i] + j * kGroup; }

 private:
  __device__ static __forceinline__ void read(T* to, const T* from) {
    const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(from);
#pragma unroll
    for (int v = 0; v < kGroup; ++v) to[v] = pack.v[v];
  }
};

// The shared memory of a block.
template <class Tile>
struct Panels {
  alignas(16) typename Tile::PanelA::Rows a[Tile::STAGES];
  alignas(16) typename Tile::PanelB::Rows b[Tile::STAGES];
};

struct Nothing {
  template <class Rows>
  __device__ void operator()(const Rows&) const {}
};

// tile += a b, `k` long. `look(panel)` is shown each panel of b by every thread.
template <class Tile, class A, class B, class Look = Nothing>
__device__ __forceinline__ void multiply(Tile& tile, Panels<Tile>& panels, A a, B b, int k, Look look = {}) {
  const int steps = (k + Tile::BK - 1) / Tile::BK;
  int to_load = 0, stage_to_load = 0, stage = 0;
  const auto load = [&] {
    if (to_load < steps) {
      a.next(panels.a[stage_to_load]);
      b.next(panels.b[stage_to_load]);
    }
    async_commit();  // also without a copy: async_wait counts groups
    ++to_load;
    stage_to_load = stage_to_load + 1 == Tile::STAGES ? 0 : stage_to_load + 1;
  };
#pragma unroll 1
  for (int i = 0; i < Tile::STAGES - 1; ++i) load();
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    async_wait<Tile::STAGES - 2>();  // the panels of this step have arrived, for the thread that copied them,
    __syncthreads();  // and for all others; and nobody reads those of the step before any more, which load() overwrites
    load();
    look(panels.b[stage]);
    tile.add(panels.a[stage], panels.b[stage]);
    stage = stage + 1 == Tile::STAGES ? 0 : stage + 1;
  }
}

// The first row and column of a tile of c, by its number. Tiles that are computed at the same time form a rectangle of
// c, kGroup high, rather than a row of it: so they share panels of b in the L2 cache as well as panels of a.
template <int BM, int BN>
struct Origin {
  long long m, n;

  __device__ static long long count(long long size, int tile) { return (size + tile - 1) / tile; }

  __device__ Origin(long long tile, long long rows, long long columns) {
    constexpr int kGroup = 8;
    const long long tiles_m = count(rows, BM), tiles_n = count(columns, BN);
    const long long per_group = kGroup * tiles_n, group = tile / per_group, in_group = tile % per_group;
    const long long height = min(tiles_m - group * kGroup, (long long)kGroup);
    m = (group * kGroup + in_group % height) * BM;
    n = in_group / height * BN;
  }
};

template <class T, int N>
struct alignas(N * sizeof(T)) Neighbours {
  T v[N];
};

// N neighbours from `from`, at once where `packs`, and else as many as are `left`.
template <int N, class T>
__device__ __forceinline__ void read(const T* from, T (&values)[N], int left, bool packs) {
  if (packs) {
    const auto together = *reinterpret_cast<const Neighbours<T, N>*>(from);
#pragma unroll
    for (int v = 0; v < N; ++v) values[v] = together.v[v];
  } else {
#pragma unroll
    for (int v = 0; v < N; ++v) values[v] = v < left ? from[v] : T(0);
  }
}

// N neighbours to `to`, in the same way.
template <int N, class T>
__device__ __forceinline__ void write(T* to, const T (&values)[N], int left, bool packs) {
  if (packs) {
    Neighbours<T, N> together;
#pragma unroll
    for (int v = 0; v < N; ++v) together.v[v] = values[v];
    *reinterpret_cast<Neighbours<T, N>*>(to) = together;
  } else {
#pragma unroll
    for (int v = 0; v < N; ++v)
      if (v < left) to[v] = values[v];
  }
}

// row_of(m)[n] = tile[m][n] + bias[n], after change(these values, m, n), some neighbours at a time; row_of returns a
// null pointer for rows that are not there. With `packs` every row begins at a multiple of 16 bytes and `columns` is a
// multiple of kPack. `bias` may be null.
template <class Tile, class T, class RowOf, class Change>
__device__ __forceinline__ void write_tile(const Tile& tile, RowOf row_of, int columns, bool packs, const T* bias,
                                           Change change) {
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i) {
    T* const row = row_of(tile.m_of(i));
#pragma unroll
    for (int j = 0; j < Tile::kGroups; ++j) {
      const int n = tile.n_of(j);
      T values[Tile::kGroup];
#pragma unroll
      for (int v = 0; v < Tile::kGroup; ++v)
        values[v] = tile.values(i, j)[v] + (bias && n + v < columns ? bias[n + v] : T(0));
      if (row && n < columns) {
        change(values, tile.m_of(i), n);
        write(row + n, values, columns - n, packs);
      }
    }
  }
}
