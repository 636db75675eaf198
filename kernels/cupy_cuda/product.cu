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
#include "product.cuh"

//                                      BM   BN  BK  WM  WN TM TN stages
using Tile128x128f = FmaTile<float,    128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64f  = FmaTile<float,    128,  64, 16, 32, 64, 8, 8, 3>;
using Tile64x64f   = FmaTile<float,     64,  64, 16, 32, 32, 8, 4, 3>;
using Tile32x32f   = FmaTile<float,     32,  32, 16, 16, 32, 4, 4, 4>;
using Tile64x64d   = FmaTile<double,    64,  64, 16, 16, 32, 4, 4, 2>;

// What is left of k for this block's part of it.
__device__ inline int part_of(long long k, long long chunk) {
  return int(max(min(chunk, k - blockIdx.y * chunk), 0ll));
}

template <int BM, class T>
struct PlainRows {
  T* first;
  long long row;
  int count;

  __device__ T* operator()(int m) const { return m < count ? first + m * row : nullptr; }
};

// c <- activation(a b + bias). Where there is an activation and a `z`, z <- a b + bias.
template <class Tile, class T>
__device__ __forceinline__ void product_nn(const T* a, const T* b, const T* bias, T* z, T* c, long long m, long long n,
                                           long long k, long long chunk, long long stride, int activation) {
  __shared__ Panels<Tile> panels;
  const Origin<Tile::BM, Tile::BN> at(m, n);
  const int rows = int(min(m - at.m, (long long)Tile::BM)), columns = int(min(n - at.n, (long long)Tile::BN));
  const long long first_k = blockIdx.y * chunk;
  const int part = part_of(k, chunk);
  Tile tile;
  multiply(tile, panels, AlongK<typename Tile::PanelA>(a + at.m * k + first_k, k, rows, part),
           AlongOuter<typename Tile::PanelB>(b + first_k * n + at.n, n, columns, part, n % kPack<T> == 0 && on_packs(b)),
           part);
  T* const linear = (z ? z : c) + blockIdx.y * stride;
  const bool packs = n % kPack<T> == 0 && stride % kPack<T> == 0 && on_packs(linear);
  const auto row_of = [&](int i) { return i < rows ? linear + (at.m + i) * n + at.n : nullptr; };
  write_tile(tile, row_of, columns, packs, bias ? bias + at.n : nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 2) product_nn_128x128_float32(
    const float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ bias, float* z, float* c,
    long long m, long long n, long long k, long long chunk, long long stride, long long activation) {
  product_nn<Tile128x128f>(a, b, bias, z, c, m, n, k, chunk, stride, int(activation));
}
