// The three matrix products of a dense layer, all matrices contiguous by rows.
//
//   nn   c[m,n] = a[m,k] b[k,n]      y  = x w     (+ bias, activation)
//   nt   c[m,n] = a[m,k] b[n,k]^T    dx = dy w^T
//   tn   c[m,n] = a[k,m]^T b[k,n]    dw = x^T dy  (and db: the sums of b's columns)
//
// Block (i, s) computes tile i of c over part s of k, `chunk` long: a product of few tiles becomes enough blocks for the
// whole GPU. With one part it writes c; with several it writes them to c + s * stride, and sum_parts adds them up, always
// in the same order. A tile of BM x BN reads (BM + BN) k values for BM BN k multiply-adds: 64 of them a value for 128 x
// 128, and a multiprocessor of an H200 needs some 30 to be limited by its arithmetic and not by the L2 cache.
//
// Which tile and how many parts is decided in product.py.
#include "activation.cuh"
#include "product.cuh"

//                                      BM   BN  BK  WM  WN TM TN stages
using Tile128x128f = FmaTile<float,    128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64f  = FmaTile<float,    128,  64, 16, 32, 64, 8, 8, 3>;
using Tile64x64f   = FmaTile<float,     64,  64, 16, 32, 32, 8, 4, 3>;
using Tile32x32f   = FmaTile<float,     32,  32, 16, 16, 32, 4, 4, 4>;
using Tile64x64d   = FmaTile<double,    64,  64, 16, 16, 32, 4, 4, 2>;

enum Activation { kNone, kRelu, kTanh, kGelu };  // as product.py numbers them

template <class T>
__device__ inline T activated(T x, int activation) {
  return activation == kRelu ? Relu()(x) : activation == kTanh ? Tanh()(x) : activation == kGelu ? Gelu()(x) : x;
}

// What is left of k for this block's part of it.
__device__ inline int part_of(long long k, long long chunk) {
  return int(max(min(chunk, k - blockIdx.y * chunk), 0ll));
}

// What the kernels take, in this order: matrices that must not overlap, and sizes as Python passes them.
#define FORWARD(T)                                                                                                    \
  const T *__restrict__ a, const T *__restrict__ b, const T *__restrict__ bias, T *z, T *c, long long m, long long n, \
      long long k, long long chunk, long long stride, long long activation
#define BACKWARD(T)                                                                                                   \
  const T *__restrict__ a, const T *__restrict__ b, T *c, T *sums, long long m, long long n, long long k,             \
      long long chunk, long long stride

#define FORWARD_NAMES a, b, bias, z, c, m, n, k, chunk, stride, activation
#define BACKWARD_NAMES a, b, c, sums, m, n, k, chunk, stride

// A block's tile of c: where it begins, how much of it is there, and the part of k.
template <class Tile, class T>
struct Block {
  Origin<Tile::BM, Tile::BN> at;
  long long first_k;
  int rows, columns, part;

  __device__ Block(long long m, long long n, long long k, long long chunk)
      : at(m, n),
        first_k(blockIdx.y * chunk),
        rows(int(min(m - at.m, (long long)Tile::BM))),
        columns(int(min(n - at.n, (long long)Tile::BN))),
        part(int(max(min(chunk, k - first_k), 0ll))) {}

  // c's tile = sums + bias, relu of it where `relu`.
  __device__ __forceinline__ void write(const Tile& tile, T* c, long long n, long long stride, const T* bias = nullptr,
                                        bool relu = false) const {
    T* const first = c + blockIdx.y * stride + at.m * n + at.n;
    const bool packs = n % kPack<T> == 0 && stride % kPack<T> == 0 && on_packs(c);
    const auto row_of = [&](int i) { return i < rows ? first + i * n : nullptr; };
    const auto rectified = [&](T x) { return relu ? Relu()(x) : x; };
    write_tile(tile, row_of, columns, packs, bias ? bias + at.n : nullptr, rectified);
  }

  // c's tile = activation(z's). Each thread takes up what it wrote itself, so that nobody has to wait, and in a loop that
  // stays one: erfc for each of 64 values would be more code than all the rest.
  __device__ __forceinline__ void activate(const Tile& tile, const T* z, T* c, long long n, int activation) const {
#pragma unroll 1
    for (int i = 0; i < Tile::kRows * Tile::kGroups * Tile::kGroup; ++i) {
      const int in_row = i % (Tile::kGroups * Tile::kGroup), row = tile.m_of(i / (Tile::kGroups * Tile::kGroup));
      const int column = tile.n_of(in_row / Tile::kGroup) + in_row % Tile::kGroup;
      const long long place = (at.m + row) * n + at.n + column;
      if (row < rows && column < columns) c[place] = activated(z[place], activation);
    }
  }
};

// z = a b + bias, c = activation(z). Where nobody wants z it is null.
template <class Tile, class T>
__device__ __forceinline__ void product_nn(const T* a, const T* b, const T* bias, T* z, T* c, long long m, long long n,
                                           long long k, long long chunk, long long stride, long long activation) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(m, n, k, chunk);
  Tile tile;
  multiply(tile, panels, AlongK<typename Tile::PanelA>(a + block.at.m * k + block.first_k, k, block.rows, block.part),
           AlongOuter<typename Tile::PanelB>(b + block.first_k * n + block.at.n, n, block.columns, block.part,
                                             n % kPack<T> == 0 && on_packs(b)),
           block.part);
  if (activation == kNone || (activation == kRelu && !z)) {
    block.write(tile, c, n, stride, bias, activation == kRelu);
  } else {
    block.write(tile, z ? z : c, n, stride, bias);
    block.activate(tile, z ? z : c, c, n, int(activation));
  }
}

// c = a b^T
template <class Tile, class T>
__device__ __forceinline__ void product_nt(const T* a, const T* b, T* c, T* sums, long long m, long long n, long long k,
                                           long long chunk, long long stride) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(m, n, k, chunk);
  Tile tile;
  multiply(tile, panels, AlongK<typename Tile::PanelA>(a + block.at.m * k + block.first_k, k, block.rows, block.part),
           AlongK<typename Tile::PanelB>(b + block.at.n * k + block.first_k, k, block.columns, block.part), block.part);
  block.write(tile, c, n, stride);
}

// c = a^T b, and sums[n] = sum_k b[k,n], by the blocks of the first row of tiles: b passes through their shared memory
// anyway. A thread adds up a column of a panel, then those sums: the longer sum is shorter by a factor of BK, and its
// error too.
template <class Tile, class T>
__device__ __forceinline__ void product_tn(const T* a, const T* b, T* c, T* sums, long long m, long long n, long long k,
                                           long long chunk, long long stride) {
  __shared__ Panels<Tile> panels;
  static_assert(Tile::kThreads >= Tile::BN, "a thread for each column");
  const Block<Tile, T> block(m, n, k, chunk);
  const bool has_column = block.at.m == 0 && threadIdx.x < block.columns;
  T sum = 0;
  const auto add_column = [&](const typename Tile::PanelB::Rows& panel) {
    if (!has_column) return;
    T in_panel = 0;
#pragma unroll
    for (int i = 0; i < Tile::BK; ++i) in_panel += panel[i][threadIdx.x];
    sum += in_panel;
  };
  Tile tile;
  multiply(tile, panels,
           AlongOuter<typename Tile::PanelA>(a + block.first_k * m + block.at.m, m, block.rows, block.part,
                                             m % kPack<T> == 0 && on_packs(a)),
           AlongOuter<typename Tile::PanelB>(b + block.first_k * n + block.at.n, n, block.columns, block.part,
                                             n % kPack<T> == 0 && on_packs(b)),
           block.part, add_column);
  block.write(tile, c, n, stride);
  if (has_column) sums[blockIdx.y * stride + block.at.n + threadIdx.x] = sum;
}

// What one block left of several parts: out[i] = sum_s parts[s * (count + tail_count) + i], for i < count with bias[i % n]
// and activation as in product_nn; tail[i] takes the sums behind those.
//
// Block b owns 32 neighbouring sums. Each of its 8 warps adds up every eighth part, and the first adds up the warps.
template <class T>
__device__ __forceinline__ void sum_parts(const T* parts, long long part_count, const T* bias, T* z, T* out, T* tail,
                                          long long count, long long tail_count, long long n, int activation) {
  constexpr int kWarps = 8;
  __shared__ T sums[kWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long stride = count + tail_count, i = blockIdx.x * 32ll + lane;
  T sum = 0;
  if (i < stride) {
#pragma unroll 4
    for (long long part = warp; part < part_count; part += kWarps) sum += parts[part * stride + i];
  }
  sums[warp][lane] = sum;
  __syncthreads();  // the first warp reads what all have written
  if (warp > 0 || i >= stride) return;
#pragma unroll
  for (int other = 1; other < kWarps; ++other) sum += sums[other][lane];
  if (i >= count) {
    tail[i - count] = sum;
    return;
  }
  if (bias) sum += bias[i % n];
  if (z) z[i] = sum;
  out[i] = activated(sum, activation);
}

extern "C" __global__ void __launch_bounds__(256, 2) product_nn_128x128_float32(FORWARD(float)) { product_nn<Tile128x128f>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) product_nn_128x64_float32(FORWARD(float)) { product_nn<Tile128x64f>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_nn_64x64_float32(FORWARD(float)) { product_nn<Tile64x64f>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) product_nn_32x32_float32(FORWARD(float)) { product_nn<Tile32x32f>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(256) product_nn_64x64_float64(FORWARD(double)) { product_nn<Tile64x64d>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(256, 2) product_nt_128x128_float32(BACKWARD(float)) { product_nt<Tile128x128f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) product_nt_128x64_float32(BACKWARD(float)) { product_nt<Tile128x64f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_nt_64x64_float32(BACKWARD(float)) { product_nt<Tile64x64f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) product_nt_32x32_float32(BACKWARD(float)) { product_nt<Tile32x32f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(256) product_nt_64x64_float64(BACKWARD(double)) { product_nt<Tile64x64d>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(256, 2) product_tn_128x128_float32(BACKWARD(float)) { product_tn<Tile128x128f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) product_tn_128x64_float32(BACKWARD(float)) { product_tn<Tile128x64f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_tn_64x64_float32(BACKWARD(float)) { product_tn<Tile64x64f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) product_tn_32x32_float32(BACKWARD(float)) { product_tn<Tile32x32f>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(256) product_tn_64x64_float64(BACKWARD(double)) { product_tn<Tile64x64d>(BACKWARD_NAMES); }

#define PARTS(T)                                                                                                      \
  const T *__restrict__ parts, long long part_count, const T *__restrict__ bias, T *z, T *out, T *tail,              \
      long long count, long long tail_count, long long n, long long activation
extern "C" __global__ void __launch_bounds__(256) sum_parts_float32(PARTS(float)) { sum_parts(parts, part_count, bias, z, out, tail, count, tail_count, n, int(activation)); }
extern "C" __global__ void __launch_bounds__(256) sum_parts_float64(PARTS(double)) { sum_parts(parts, part_count, bias, z, out, tail, count, tail_count, n, int(activation)); }
