// The products of product.cu on tensor cores: a and b rounded to tf32, their products added up in float32.
//
// Only where the caller asks for it, with precision.py: precision("tf32"). The sums of b's columns are not
// rounded.
#include "product_forms.cuh"
#include "tf32_tile.cuh"

//                                BM   BN  BK  WM  WN stages
using Tile128x128 = Tf32Tile<    128, 128, 16, 64, 64, 2>;
using Tile64x64 = Tf32Tile<       64,  64, 16, 32, 32, 3>;

PRODUCTS(float, 128x128_float32, Tile128x128, 128, 2)
PRODUCTS(float, 64x64_float32, Tile64x64, 128, 4)
