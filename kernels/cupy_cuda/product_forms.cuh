// The three products of a dense layer, for any tile; product.cu says what they are.
#pragma once
#include "activation.cuh"
#include "product.cuh"

// What the kernels take, in this order: matrices that must not overlap, and sizes as Python passes them.
#define FORWARD(T)                                                                                   \
  const T *__restrict__ a, const T *__restrict__ b, const T *__restrict__ bias, T *z, T *c,          \
      long long m, long long n, long long k, long long chunk, long long stride, long long activation
#define INPUT_GRADIENT(T)                                                                            \
  const T *__restrict__ a, const T *__restrict__ b, const T *__restrict__ y, T *c,                   \
      long long m, long long n, long long k, long long chunk, long long stride
#define WEIGHT_GRADIENT(T)                                                                           \
  const T *__restrict__ a, const T *__restrict__ b, T *c, T *sums,                                   \
      long long m, long long n, long long k, long long chunk, long long stride

#define FORWARD_NAMES a, b, bias, z, c, m, n, k, chunk, stride, activation
#define INPUT_GRADIENT_NAMES a, b, y, c, m, n, k, chunk, stride
#define WEIGHT_GRADIENT_NAMES a, b, c, sums, m, n, k, chunk, stride

// A block's tile of c: where it begins, how much of it is there, and the part of k.
template <class Tile, class T>
struct Block {
  Origin<Tile::BM, Tile::BN> at;
  long long first_k;
  int rows, columns, part;

  __device__ Block(long long m, long long n, long long k, long long chunk, long long tile = blockIdx.x)
      : at(tile, m, n),
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
    const auto rectify = [&](T (&values)[Tile::kGroup], int, int) {
#pragma unroll
      for (int v = 0; v < Tile::kGroup; ++v) values[v] = relu ? Relu()(values[v]) : values[v];
    };
    write_tile(tile, row_of, columns, packs, bias ? bias + at.n : nullptr, rectify);
  }

  // c's tile = sums where y > 0, and 0 elsewhere: the gradient back through y = relu(...), y[m, n].
  __device__ __forceinline__ void write_where_positive(const Tile& tile, const T* y, T* c, long long n) const {
    const long long corner = at.m * n + at.n;
    const bool packs = n % kPack<T> == 0 && on_packs(c, y);
    const auto row_of = [&](int i) { return i < rows ? c + corner + i * n : nullptr; };
    const auto keep = [&](T (&values)[Tile::kGroup], int m, int first) {
      T outputs[Tile::kGroup];
      read(y + corner + m * n + first, outputs, columns - first, packs);
#pragma unroll
      for (int v = 0; v < Tile::kGroup; ++v) values[v] = outputs[v] > T(0) ? values[v] : T(0);
    };
    write_tile(tile, row_of, columns, packs, static_cast<const T*>(nullptr), keep);
  }

  // c's tile = activation(z's). Each thread takes up what it wrote itself, so that nobody has to wait, and in a loop
  // that stays one: gelu for each of 64 values would be more code than all the rest.
  __device__ __forceinline__ void activate(const Tile& tile, const T* z, T* c, long long n, int activation) const {
#pragma unroll 1
    for (int i = 0; i < Tile::kRows * Tile::kGroups * Tile::kGroup; ++i) {
      const int in_row = i % (Tile::kGroups * Tile::kGroup), row = tile.m_of(i / (Tile::kGroups * Tile::kGroup));
      const int column = tile.n_of(in_row / Tile::kGroup) + in_row % Tile::kGroup;
      const long long place = (at.m + row) * n + at.n + column;
      if (row < rows && column < columns) c[place] = activated(z[place], activation);
    }
  }

  // z = sums + bias, c = activation(z). Where nobody wants z it is null.
  __device__ __forceinline__ void finish(const Tile& tile, const T* bias, T* z, T* c, long long n, long long stride,
                                         int activation) const {
    if (activation == kNone || activation == kRelu) {
      if (z && activation == kRelu) write(tile, z, n, stride, bias);
      write(tile, c, n, stride, bias, activation == kRelu);
    } else {
      write(tile, z ? z : c, n, stride, bias);
      activate(tile, z ? z : c, c, n, activation);
    }
  }
};

// c = activation(a b + bias)
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
  block.finish(tile, bias, z, c, n, stride, int(activation));
}

// c = a b^T; where y[m,n] is not null, only where y is above 0, and 0 elsewhere.
template <class Tile, class T>
__device__ __forceinline__ void product_nt(const T* a, const T* b, const T* y, T* c, long long m, long long n,
                                           long long k, long long chunk, long long stride) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(m, n, k, chunk);
  Tile tile;
  multiply(tile, panels, AlongK<typename Tile::PanelA>(a + block.at.m * k + block.first_k, k, block.rows, block.part),
           AlongK<typename Tile::PanelB>(b + block.at.n * k + block.first_k, k, block.columns, block.part), block.part);
  if (y) block.write_where_positive(tile, y, c, n);
  else block.write(tile, c, n, stride);
}

// The sums of b's columns, by the blocks of the first row of tiles: b passes through their shared memory anyway. A
// thread adds up a column of a panel, then those sums: the longer sum is shorter by a factor of BK, and its error too.
template <class Tile, class T>
struct ColumnSum {
  static_assert(Tile::kThreads >= Tile::BN && Tile::BN % 32 == 0, "a thread for each column, whole warps of them");
  T sum = 0;
  bool adds;  // the same in all lanes of a warp, which multiply together next; columns that are not there are zeros

  __device__ explicit ColumnSum(const Block<Tile, T>& block) : adds(block.at.m == 0 && threadIdx.x < Tile::BN) {}

  __device__ __forceinline__ void add(const typename Tile::PanelB::Rows& panel) {
    if (!adds) return;
    T in_panel = 0;
#pragma unroll
    for (int i = 0; i < Tile::BK; ++i) in_panel += panel[i][threadIdx.x];
    sum += in_panel;
  }

  __device__ void write(const Block<Tile, T>& block, T* sums, long long stride) const {
    if (adds && threadIdx.x < block.columns) sums[blockIdx.y * stride + block.at.n + threadIdx.x] = sum;
  }
};

// c = a^T b, and sums[n] = sum_k b[k,n]
template <class Tile, class T>
__device__ __forceinline__ void product_tn(const T* a, const T* b, T* c, T* sums, long long m, long long n, long long k,
                                           long long chunk, long long stride) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(m, n, k, chunk);
  ColumnSum<Tile, T> column(block);
  Tile tile;
  multiply(tile, panels,
           AlongOuter<typename Tile::PanelA>(a + block.first_k * m + block.at.m, m, block.rows, block.part,
                                             m % kPack<T> == 0 && on_packs(a)),
           AlongOuter<typename Tile::PanelB>(b + block.first_k * n + block.at.n, n, block.columns, block.part,
                                             n % kPack<T> == 0 && on_packs(b)),
           block.part, [&](const typename Tile::PanelB::Rows& panel) { column.add(panel); });
  block.write(tile, c, n, stride);
  column.write(block, sums, stride);
}

// The kernels of a tile: product_nn_<name>, product_nt_<name>, product_tn_<name>.
#define PRODUCTS(T, name, Tile, ...)                                                                \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) product_nn_##name(FORWARD(T)) {         \
    product_nn<Tile>(FORWARD_NAMES);                                                                \
  }                                                                                                 \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) product_nt_##name(INPUT_GRADIENT(T)) {  \
    product_nt<Tile>(INPUT_GRADIENT_NAMES);                                                         \
  }                                                                                                 \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) product_tn_##name(WEIGHT_GRADIENT(T)) { \
    product_tn<Tile>(WEIGHT_GRADIENT_NAMES);                                                        \
  }
