// Mean and squares around it, of values and of groups of values, in double.
#pragma once
#include "numbers.cuh"

constexpr int kAtOnce = 4;  // rows that a thread asks for before it uses the first
constexpr int kHeld = 8;    // rows of which a thread holds its channels in registers

struct Moments {
  double mean = 0, squares = 0;  // the sum of (x - mean)^2
};

// Put rows of values, of which the first `rows` (1 or more) are there, to the moments of the `count`
// values before, all as differences from a pivot of their channel. Of two groups a and b, by Chan's formula (Chan,
// Golub, LeVeque 1983):
//
//   mean = mean_a + n_b / n (mean_b - mean_a)       squares = squares_a + squares_b + n_a n_b / n (mean_b - mean_a)^2
template <class T, int kRows, int N>
__device__ inline void add_values(Moments (&m)[N], double& count, const T (&values)[kRows][N], int rows,
                                  const double (&pivots)[N]) {
  static_assert(kRows == 4, "the sum below");
  const double n = rows, per_row = reciprocal(n), share = rows * reciprocal(count + rows), weight = count * share;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    double off_pivot[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) off_pivot[k] = k < rows ? double(values[k][j]) - pivots[j] : 0;
    const double sum = (off_pivot[0] + off_pivot[1]) + (off_pivot[2] + off_pivot[3]);
    const double mean = quotient(sum, n, per_row), off = mean - m[j].mean, moved = m[j].mean + off * share;
    double squares = 0;
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const double from_mean = off_pivot[k] - mean;
      squares += k < rows ? from_mean * from_mean : 0;
    }
    m[j].squares += squares + off * off * weight;
    m[j].mean = moved == moved ? moved : m[j].mean + mean;  // infinity stays: inf - inf is none
  }
  count += rows;
}
