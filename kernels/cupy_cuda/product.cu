// The three matrix products of a dense layer, all matrices contiguous by rows.
//
//   nn   c[m,n] = a[m,k] b[k,n]      y  = x w     (+ bias, activation)
//   nt   c[m,n] = a[m,k] b[n,k]^T    dx = dy w^T
//   tn   c[m,n] = a[k,m]^T b[k,n]    dw = x^T dy  (and db: the sums of b's columns)
//
// Block (i, s) computes tile i of c over part s of k, `chunk` long: a product of few tiles becomes enough blocks for the
// whole GPU. With one part it writes c; with several it writes them to c + s * stride, and parts.cu adds them up, always in
// the same order. A tile of BM x BN reads (BM + BN) k values for BM BN k multiply-adds: 64 of them a value for 128 x
// 128, and a multiprocessor of an H200 needs some 30 to be limited by its arithmetic and not by the L2 cache.
//
// Which tile and how many parts is decided in product.py.
#include "product_forms.cuh"

//                                      BM   BN  BK  WM  WN TM TN stages
using Tile128x128f = FmaTile<float,    128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64f  = FmaTile<float,    128,  64, 16, 32, 64, 8, 8, 3>;
using Tile64x64f   = FmaTile<float,     64,  64, 16, 32, 32, 8, 4, 3>;
using Tile32x32f   = FmaTile<float,     32,  32, 16, 16, 32, 4, 4, 4>;
using Tile64x64d   = FmaTile<double,    64,  64, 16, 16, 32, 4, 4, 2>;

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

// out[part * stride + n] = sum of x[m,n] over the rows of part blockIdx.y, `chunk` long: where no product reads x anyway.
// Block (i, part) owns 32 columns; each of its 8 warps adds up every eighth row, and the first adds up the warps.
template <class T>
__device__ __forceinline__ void column_sums(const T* x, T* out, long long m, long long n, long long chunk,
                                            long long stride) {
  constexpr int kWarps = 8;
  __shared__ T sums[kWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long column = blockIdx.x * 32ll + lane, first = blockIdx.y * chunk, end = min(m, first + chunk);
  T sum = 0;
  if (column < n) {
#pragma unroll 4
    for (long long row = first + warp; row < end; row += kWarps) sum += x[row * n + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();  // the first warp reads what all have written
  if (warp > 0 || column >= n) return;
#pragma unroll
  for (int other = 1; other < kWarps; ++other) sum += sums[other][lane];
  out[blockIdx.y * stride + column] = sum;
}
