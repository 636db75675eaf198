// A tile of a product on tensor cores, from panels of float32 that are rounded to tf32 on their way to registers.
#pragma once
#include "mma.cuh"
#include "product.cuh"

// A tile like FmaTile, whose warps multiply on tensor cores: m16n8k8, WM / 16 x WN / 8 of them at each 8 of k.
template <int BM_, int BN_, int BK_, int WM, int WN, int STAGES_>
struct Tf32Tile {
  using Value = float;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, STAGES = STAGES_;
  static constexpr int kThreads = 32 * (BM / WM) * (BN / WN);
  static constexpr int kPad = 8;  // lane (g, t) reads row t, value g: rows 8 banks apart keep 32 lanes in 32 banks
  using PanelA = Panel<float, BM, BK, kPad, kThreads>;
  using PanelB = Panel<float, BN, BK, kPad, kThreads>;
  static constexpr int kMmasM = WM / 16, kMmasN = WN / 8;

  float sum[kMmasM][kMmasN][4] = {};
  int g, t, warp_m, warp_n;

  __device__ Tf32Tile() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    g = lane / 4;
    t = lane % 4;
    warp_m = warp / (BN / WN) * WM;
    warp_n = warp % (BN / WN) * WN;
  }

  __device__ __forceinline__ void add(const typename PanelA::Rows& a, const typename PanelB::Rows& b) {
#pragma unroll
    for (int k = 0; k < BK; k += 8) {
      unsigned b_k[kMmasN][2];
#pragma unroll
      for (int j = 0; j < kMmasN; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) b_k[j][half] = to_tf32(b[k + t + 4 * half][warp_n + 8 * j + g]);
#pragma unroll
      for (int i = 0; i < kMmasM; ++i) {
        unsigned a_k[4];
#pragma unroll
        for (int part = 0; part < 4; ++part)
          a_k[part] = to_tf32(a[k + t + part / 2 * 4][warp_m + 16 * i + g + part % 2 * 8]);
#pragma unroll
        for (int j = 0; j < kMmasN; ++j) mma_tf32(sum[i][j], a_k, b_k[j]);
      }
    }
  }

  static constexpr int kRows = 2 * kMmasM, kGroups = kMmasN, kGroup = 2;  // as of FmaTile
  __device__ int m_of(int i) const { return warp_m + i / 2 * 16 + i % 2 * 8 + g; }
  __device__ int n_of(int j) const { return warp_n + j * 8 + 2 * t; }
  __device__ const float* values(int i, int j) const { return sum[i / 2][j] + i % 2 * 2; }
};
