// The three products of a convolution of images [N,H,W,C] with filters [R,S,C,K], as implicit matrix products ("implicit
// GEMM": Chetlur et al., cuDNN, 2014). A window is one placement of the filter: N OH OW of them; a tap is one element of it:
// R S C of them.
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

//                                     BM   BN  BK  WM  WN TM TN stages
using Tile128x128f = FmaTile<float,   128, 128, 16, 32, 64, 8, 8, 2>;
using Tile128x64f  = FmaTile<float,   128,  64, 16, 32, 64, 8, 8, 3>;
using Tile128x32f  = FmaTile<float,   128,  32, 16, 32, 32, 8, 4, 3>;
using Tile32x32f   = FmaTile<float,    32,  32, 16, 16, 32, 4, 4, 4>;
using Tile64x64d   = FmaTile<double,   64,  64, 16, 16, 32, 4, 4, 2>;

extern "C" __global__ void __launch_bounds__(256, 2) conv_forward_128x128_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile128x128f>(x, w, bias, y, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_forward_128x64_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile128x64f>(x, w, bias, y, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_forward_128x32_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile128x32f>(x, w, bias, y, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) conv_forward_32x32_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile32x32f>(x, w, bias, y, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(256) conv_forward_64x64_float64(FORWARD_CONVOLUTION(double)) { conv_forward<Tile64x64d>(x, w, bias, y, CONVOLUTION_NAMES); }

extern "C" __global__ void __launch_bounds__(256, 2) conv_input_gradient_128x128_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile128x128f>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_input_gradient_128x64_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile128x64f>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_input_gradient_128x32_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile128x32f>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) conv_input_gradient_32x32_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile32x32f>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(256) conv_input_gradient_64x64_float64(INPUT_GRADIENT(double)) { conv_input_gradient<Tile64x64d>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }

extern "C" __global__ void __launch_bounds__(256, 2) conv_filter_gradient_128x128_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile128x128f>(x, dy, dw, db, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 3) conv_filter_gradient_128x64_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile128x64f>(x, dy, dw, db, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_filter_gradient_128x32_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile128x32f>(x, dy, dw, db, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(64, 8) conv_filter_gradient_32x32_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile32x32f>(x, dy, dw, db, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(256) conv_filter_gradient_64x64_float64(FILTER_GRADIENT(double)) { conv_filter_gradient<Tile64x64d>(x, dy, dw, db, CONVOLUTION_NAMES); }

