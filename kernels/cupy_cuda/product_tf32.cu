// The products of product.cu on tensor cores: a and b rounded to tf32, their products added up in float32.
//
// Only where the caller asks for it: refplay.kernels.cupy_cuda.precision("tf32"). The sums of b's columns are not rounded.
#include "product_forms.cuh"
#include "tf32_tile.cuh"

//                                BM   BN  BK  WM  WN stages
using Tile128x128 = Tf32Tile<    128, 128, 16, 64, 64, 2>;
using Tile64x64   = Tf32Tile<     64,  64, 16, 32, 32, 3>;

extern "C" __global__ void __launch_bounds__(128, 2) product_nn_128x128_float32(FORWARD(float)) { product_nn<Tile128x128>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_nn_64x64_float32(FORWARD(float)) { product_nn<Tile64x64>(FORWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 2) product_nt_128x128_float32(BACKWARD(float)) { product_nt<Tile128x128>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_nt_64x64_float32(BACKWARD(float)) { product_nt<Tile64x64>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 2) product_tn_128x128_float32(BACKWARD(float)) { product_tn<Tile128x128>(BACKWARD_NAMES); }
extern "C" __global__ void __launch_bounds__(128, 4) product_tn_64x64_float32(BACKWARD(float)) { product_tn<Tile64x64>(BACKWARD_NAMES); }
