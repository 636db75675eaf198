// The three products of a convolution of images [N,H,W,C] with filters [R,S,C,K], as implicit matrix products
// ("implicit GEMM": Chetlur et al., cuDNN, 2014). A window is one placement of the filter: N OH OW of them; a tap is
// one element of it: R S C of them.
//
//   forward          y[window, k]   = x[window, tap] w[tap, k] + bias[k]
//   input gradient   dx[pixel, c]   = dy[window, tap] w[tap, c]            windows that hold the pixel
//   filter gradient  dw[tap, k]     = x[window, tap]^T dy[window, k]       and db[k], the sums of dy's columns
//
// Blocks, parts and their sums are those of product.cu: block (i, s) computes tile i over part s of the sum. The sum of
// the filter gradient is by far the longest, and its result small, so that it is cut into many parts. Images are read
// value by value (along channels, 32 bytes by neighbouring threads) where a panel has to be transposed on its way,
// 16 bytes at a time elsewhere if C and K are multiples of 4.
#include "conv.cuh"

//                                    BM   BN  BK  WM  WN TM TN stages
using Tile128x128 = FmaTile<float,   128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64 = FmaTile<float,    128,  64, 16, 32, 64, 8, 8, 3>;
using Tile128x32 = FmaTile<float,    128,  32, 16, 32, 32, 8, 4, 3>;
using Tile32x32 = FmaTile<float,      32,  32, 16, 16, 32, 4, 4, 4>;
using Double64x64 = FmaTile<double,   64,  64, 16, 16, 32, 4, 4, 2>;

// The bounds: threads, and how many blocks a multiprocessor should have registers for.
CONVOLUTIONS(float, 128x128_float32, Tile128x128, 256, 2)
CONVOLUTIONS(float, 128x64_float32, Tile128x64, 128, 3)
CONVOLUTIONS(float, 128x32_float32, Tile128x32, 128, 4)
CONVOLUTIONS(float, 32x32_float32, Tile32x32, 64, 8)
CONVOLUTIONS(double, 64x64_float64, Double64x64, 256)
