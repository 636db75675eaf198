// The products of conv.cu on tensor cores: both factors rounded to tf32, their products added up in float32.
//
// Only where the caller asks for it, with precision.py: precision("tf32"). The sums in db are not rounded.
#include "conv.cuh"
#include "tf32_tile.cuh"

//                                BM   BN  BK  WM  WN stages
using Tile128x128 = Tf32Tile<    128, 128, 16, 64, 64, 2>;
using Tile128x32 = Tf32Tile<     128,  32, 16, 32, 32, 3>;

CONVOLUTIONS(float, 128x128_float32, Tile128x128, 128, 2)
CONVOLUTIONS(float, 128x32_float32, Tile128x32, 128, 4)
