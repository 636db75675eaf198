// Mean and squares around it, of values and of groups of values, in double.
#pragma once
#include "numbers.cuh"

constexpr int kAtOnce = 4;  // rows that a thread asks for before it uses the first
constexpr int kHeld = 8;    // rows of which a thread holds its channels in registers

struct Moments {
  double mean = 0, squares = 0;  // the sum of (x - mean)^2
};

// Put kRows rows of values to the moments of the `count` values before, all as differences from a pivot of their
// channel. Of two groups a and b, by Chan's formula (Chan, Golub, LeVeque 1983):
//
//   mean = mean_a + n_b / n (mean_b - mean_a)       squares = squares_a + squares_b + n_a n_b / n (mean_b - mean_a)^2
template <int kRows, class T, int N>
__device__ inline void add_rows(Moments (&m)[N], double& count, const T (*values)[N], const double (&pivots)[N]) {
  static_assert(kRows == 1 || kRows == 4, "the sum below, and dividing by their number is exact");
  const double share = kRows * reciprocal(count + kRows), weight = count * share;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    double off_pivot[kRows], squares = 0;
#pragma unroll
    for (int k = 0; k < kRows; ++k) off_pivot[k] = double(values[k][j]) - pivots[j];
    double mean = off_pivot[0];
    if constexpr (kRows == 4) {
      mean = ((off_pivot[0] + off_pivot[1]) + (off_pivot[2] + off_pivot[3])) / kRows;
#pragma unroll
      for (int k = 0; k < kRows; ++k) squares += (off_pivot[k] - mean) * (off_pivot[k] - mean);
    }
    const double off = mean - m[j].mean, moved = m[j].mean + off * share;
    m[j].squares += squares + off * off * weight;
    m[j].mean = moved == moved ? moved : m[j].mean + mean;  // infinity stays: inf - inf is none
  }
  count += kRows;
}
