// Warps: 32 threads that can read each other's registers.
#pragma once

constexpr unsigned kAllLanes = 0xffffffffu;  // all lanes of a warp take part in a shuffle
