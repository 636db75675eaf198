// The products of product.cu on tensor cores: a and b rounded to bf16, their products added up in float32.
//
// Only where the caller asks for it, with precision.py: precision("bf16").
//
// Tensor cores multiply bf16 so fast that reading float32 and rounding it at every use would take longer. So operands
// are rounded once, by a kernel in front, into memory where both lie along k, which is padded with zeros to a multiple
// of BK: one form of the product is left, without ends along k. A tile of 128 x 256 does 85 multiply-adds for each
// value that it reads from the L2 cache.
#include "mma.cuh"
#include "product_forms.cuh"

using Bf16 = unsigned short;

// A panel of bf16: kOuter rows of BK values, each row four chunks of 16 bytes. Two rows fill the 32 banks, so eight
// rows read together (load_matrices) would meet in the same banks, did not every second row swap its chunks in another
// way. Rows a multiple of 8 apart swap alike; 16 further along k a chunk lies at the place with the other bit of 16.
template <int kOuter_, int kDepth_, int kThreads_>
struct Bf16Panel {
  static constexpr int kOuter = kOuter_, kDepth = kDepth_, kThreads = kThreads_, kChunk = 8;
  static_assert(kDepth == 4 * kChunk, "four chunks in a row");
  using Rows = Bf16[kOuter][kDepth];

  __device__ static int place(int outer, int chunk) { return (chunk ^ (outer / 2 % 4)) * kChunk; }
};

// An operand with element (outer, k) at from[outer * row + k], row a multiple of kDepth and as many rows as panels
// have.
template <class Panel>
struct Bf16Rows {
  const Bf16* from;
  long long row;

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    constexpr int kStep = Panel::kThreads / 4;
    const int outer = threadIdx.x / 4, chunk = threadIdx.x % 4;
    const Bf16* values = from + outer * row + chunk * Panel::kChunk;
#pragma unroll
    for (int i = 0; i < Panel::kOuter / kStep; ++i) {
      const int here = outer + i * kStep;
      async_copy<Panel::kChunk>(&to[here][Panel::place(here, chunk)], values, true);
      values += kStep * row;
    }
    from += Panel::kDepth;
  }
};

template <int BM_, int BN_, int BK_, int WM, int WN, int STAGES_>
struct Bf16Tile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, STAGES = STAGES_;
  static constexpr int kThreads = 32 * (BM / WM) * (BN / WN);
  using PanelA = Bf16Panel<BM, BK, kThreads>;
  using PanelB = Bf16Panel<BN, BK, kThreads>;
  static constexpr int kMmasM = WM / 16, kMmasN = WN / 8;

  float sum[kMmasM][kMmasN][4] = {};
  int lane, warp_m, warp_n;
  int place_a, place_b;  // in a panel, that this lane points at for load_matrices: of the first fragments at k = 0

  __device__ Bf16Tile() {
    const int warp = threadIdx.x / 32;
    lane = threadIdx.x % 32;
    warp_m = warp / (BN / WN) * WM;
    warp_n = warp % (BN / WN) * WN;
    const int row = lane % 8, matrix = lane / 8;
    const int m = warp_m + matrix % 2 * 8 + row;  // the fragments of a: rows 0-7 and 8-15, then the same at k + 8
    const int n = warp_n + matrix / 2 * 8 + row;  // those of b, for two neighbours in n: k and k + 8 of each
    place_a = m * BK + PanelA::place(m, matrix / 2);
    place_b = n * BK + PanelB::place(n, matrix % 2);
  }

  // The fragments of 16 of k, which a warp holds while it fetches those of the next 16.
  struct Fragments {
    unsigned a[kMmasM][4], b[kMmasN / 2][4];
  };

  __device__ __forceinline__ void fetch(Fragments& to, const typename PanelA::Rows& a, const typename PanelB::Rows& b,
                                        int k) const {
#pragma unroll
    for (int i = 0; i < kMmasM; ++i) load_matrices(to.a[i], a[0] + (place_a ^ k) + 16 * i * BK);
#pragma unroll
    for (int j = 0; j < kMmasN / 2; ++j) load_matrices(to.b[j], b[0] + (place_b ^ k) + 16 * j * BK);
  }

  __device__ __forceinline__ void add(const Fragments& of) {
#pragma unroll
    for (int i = 0; i < kMmasM; ++i)
#pragma unroll
      for (int j = 0; j < kMmasN; ++j) {
        const unsigned both[2] = {of.b[j / 2][j % 2 * 2], of.b[j / 2][j % 2 * 2 + 1]};
        mma_bf16(sum[i][j], of.a[i], both);
      }
  }

  static constexpr int kRows = 2 * kMmasM, kGroups = kMmasN, kGroup = 2;  // as of FmaTile
  __device__ int m_of(int i) const { return warp_m + i / 2 * 16 + i % 2 * 8 + lane / 4; }
  __device__ int n_of(int j) const { return warp_n + j * 8 + lane % 4 * 2; }
  __device__ const float* values(int i, int j) const { return sum[i / 2][j] + i % 2 * 2; }
};

//                                BM   BN  BK  WM  WN stages
using Tile128x256 = Bf16Tile<    128, 256, 32, 64, 64, 4>;
using Tile128x64 = Bf16Tile<     128,  64, 32, 64, 32, 4>;
using Tile64x64 = Bf16Tile<       64,  64, 32, 32, 32, 4>;

// tile += a b, `k` long, as multiply: but the fragments of the next 16 of k are fetched while those before are
// multiplied, so that tensor cores do not wait for shared memory. No barrier stands between a fetch and the products
// that it shall hide behind: the compiler moves products in front of one, and the fetch would come last.
template <class Tile, class A, class B>
__device__ __forceinline__ void multiply_ahead(Tile& tile, Panels<Tile>& panels, A a, B b, int k) {
  static_assert(Tile::BK == 32, "two times 16 of k in a step");
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
  if (steps == 0) return;
  typename Tile::Fragments first, second;
  async_wait<Tile::STAGES - 2>();
  __syncthreads();
  tile.fetch(first, panels.a[0], panels.b[0], 0);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    async_wait<Tile::STAGES - 3>();  // the next step's panels have arrived, for the thread that copied them,
    __syncthreads();  // and for all others; and all have fetched those of the step before, which load() overwrites
    tile.fetch(second, panels.a[stage], panels.b[stage], 16);
    tile.add(first);
    stage = stage + 1 == Tile::STAGES ? 0 : stage + 1;
    tile.fetch(first, panels.a[stage], panels.b[stage], 0);  // behind the last step: of anything, and nobody uses it
    load();
    tile.add(second);
  }
}

// c = activation(a b^T + bias) as product_nn, of a [m, k] and b [n, k] as the kernels below left them; k is a multiple
// of BK, and memory goes on for whole tiles of rows, with whatever it holds: it ends in values of c that nobody writes.
template <class Tile>
__device__ __forceinline__ void product_bf16(const Bf16* a, const Bf16* b, const float* bias, float* z, float* c,
                                             long long m, long long n, long long k, long long chunk, long long stride,
                                             long long activation) {
  extern __shared__ __align__(128) unsigned char memory[];
  auto& panels = *reinterpret_cast<Panels<Tile>*>(memory);
  const Block<Tile, float> block(m, n, k, chunk);
  Tile tile;
  multiply_ahead(tile, panels, Bf16Rows<typename Tile::PanelA>{a + block.at.m * k + block.first_k, k},
           Bf16Rows<typename Tile::PanelB>{b + block.at.n * k + block.first_k, k}, block.part);
  block.finish(tile, bias, z, c, n, stride, int(activation));
}

#define PRODUCT(name, Tile, ...)                                                                                  \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) product_##name(                                      \
      const Bf16* __restrict__ a, const Bf16* __restrict__ b, const float* __restrict__ bias, float* z, float* c, \
      long long m, long long n, long long k, long long chunk, long long stride, long long activation) {          \
    product_bf16<Tile>(FORWARD_NAMES);                                                                           \
  }
PRODUCT(128x256_float32, Tile128x256, 256, 1)
PRODUCT(128x64_float32, Tile128x64, 128, 3)
PRODUCT(64x64_float32, Tile64x64, 128, 4)

// out[rows, padded] <- bf16(x[rows, columns]), zeros behind the columns; padded is a multiple of 8. A thread owns four
// neighbours of out. Memory moved: 6 bytes a value.
extern "C" __global__ void __launch_bounds__(256) round_rows_float32(
    const float* __restrict__ x, Bf16* __restrict__ out, long long rows, long long columns, long long padded) {
  const long long i = 4 * (256ll * blockIdx.x + threadIdx.x);
  if (i >= rows * padded) return;
  const long long row = i / padded, column = i % padded;
  const float* from = x + row * columns + column;
  float values[4] = {};
  if (columns % 4 == 0 && on_packs(x)) {
    if (column < columns) load(from, values);
  } else {
#pragma unroll
    for (int v = 0; v < 4; ++v)
      if (column + v < columns) values[v] = from[v];
  }
  *reinterpret_cast<uint2*>(out + i) = make_uint2(to_bf16(values[0], values[1]), to_bf16(values[2], values[3]));
}

// out[columns, padded] <- bf16(x[rows, columns]^T), zeros behind the rows; padded is a multiple of 64. Block (i, j) of
// them, number i + j padded / 64, owns 64 rows from 64 i on and 32 columns from 32 j on, in shared memory between
// reading along columns and writing along rows. Even and odd rows lie apart there, as a lane reads one of each, and the
// padding by 1 lets 32 lanes read from 32 banks.
extern "C" __global__ void __launch_bounds__(256) round_columns_float32(
    const float* __restrict__ x, Bf16* __restrict__ out, long long rows, long long columns, long long padded) {
  constexpr int kRows = 64, kColumns = 32, kWarps = 8;
  __shared__ float tile[2][kRows / 2][kColumns + 1];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned tiles = padded / kRows;
  const long long row = (long long)kRows * (blockIdx.x % tiles), column = (long long)kColumns * (blockIdx.x / tiles);
#pragma unroll
  for (int i = warp; i < kRows; i += kWarps)
    tile[i % 2][i / 2][lane] =
        row + i < rows && column + lane < columns ? x[(row + i) * columns + column + lane] : 0.0f;
  __syncthreads();  // columns of the tile are read by other warps than wrote its rows
#pragma unroll
  for (int j = warp; j < kColumns; j += kWarps)
    if (column + j < columns)
      *reinterpret_cast<unsigned*>(out + (column + j) * padded + row + 2 * lane) =
          to_bf16(tile[0][lane][j], tile[1][lane][j]);
}
