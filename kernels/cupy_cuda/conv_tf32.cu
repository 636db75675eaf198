// The products of conv.cu on tensor cores: both factors rounded to tf32, their products added up in float32.
//
// Only where the caller asks for it: refplay.kernels.cupy_cuda.precision("tf32"). The sums in db are not rounded.
#include "conv.cuh"
#include "tf32_tile.cuh"

//                                BM   BN  BK  WM  WN stages
using Tile128x128 = Tf32Tile<    128, 128, 16, 64, 64, 2>;
using Tile128x32  = Tf32Tile<    128,  32, 16, 32, 32, 3>;

extern "C" __global__ void __launch_bounds__(128, 2) conv_forward_128x128_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile128x128>(x, w, bias, y, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_forward_128x32_float32(FORWARD_CONVOLUTION(float)) { conv_forward<Tile128x32>(x, w, bias, y, CONVOLUTION_NAMES); }

extern "C" __global__ void __launch_bounds__(128, 2) conv_input_gradient_128x128_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile128x128>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_input_gradient_128x32_float32(INPUT_GRADIENT(float)) { conv_input_gradient<Tile128x32>(w, dy, dx, tiles_of_phase, CONVOLUTION_NAMES); }

extern "C" __global__ void __launch_bounds__(128, 2) conv_filter_gradient_128x128_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile128x128>(x, dy, dw, db, CONVOLUTION_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) conv_filter_gradient_128x32_float32(FILTER_GRADIENT(float)) { conv_filter_gradient<Tile128x32>(x, dy, dw, db, CONVOLUTION_NAMES); }

