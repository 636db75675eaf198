// The three matrix products of a dense layer, all matrices contiguous by rows.
//
//   nn   c[m,n] = a[m,k] b[k,n]      y  = x w     (+ bias, activation)
//   nt   c[m,n] = a[m,k] b[n,k]^T    dx = dy w^T
//   tn   c[m,n] = a[k,m]^T b[k,n]    dw = x^T dy  (and db: the sums of b's columns)
//
// Block (i, s) computes tile i of c over part s of k, `chunk` long: a product of few tiles becomes enough blocks for
// the whole GPU. With one part it writes c; with several it writes them to c + s * stride, and parts.cu adds them up,
// always in the same order. A tile of BM x BN reads (BM + BN) k values for BM BN k multiply-adds: 64 of them a value
// for 128 x 128, 16 for 32 x 32.
//
// Which tile and how many parts is decided in plan.py.
#include "product_forms.cuh"

//                                     BM   BN  BK  WM  WN TM TN stages
using Tile128x128 = FmaTile<float,    128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64 = FmaTile<float,     128,  64, 16, 32, 64, 8, 8, 3>;
using Tile64x64 = FmaTile<float,       64,  64, 16, 32, 32, 8, 4, 3>;
using Tile32x32 = FmaTile<float,       32,  32, 16, 16, 32, 4, 4, 4>;
using Double64x64 = FmaTile<double,    64,  64, 16, 16, 32, 4, 4, 2>;

// The bounds: threads, and how many blocks a multiprocessor should have registers for.
PRODUCTS(float, 128x128_float32, Tile128x128, 256, 2)
PRODUCTS(float, 128x64_float32, Tile128x64, 128, 3)
PRODUCTS(float, 64x64_float32, Tile64x64, 128, 4)
PRODUCTS(float, 32x32_float32, Tile32x32, 64, 8)
PRODUCTS(double, 64x64_float64, Double64x64, 256)
