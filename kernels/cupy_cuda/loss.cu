// Softmax cross entropy of z[B, C] with label smoothing, loss and gradient in one pass over memory.
//
//   q_c = hit [c = label] + miss        hit = 1 - smoothing, miss = smoothing / C
//   loss = -w sum_c q_c log softmax(z)_c = w (log sum_c exp s_c - sum_c q_c s_c)        s_c = z_c - max z
//   dz_c = w (exp s_c / sum_c exp s_c - q_c)
//
// A row is held in the registers of some threads (rows.cuh says which), 16 logits a thread in float32, 8 in float64, so
// that C is at most 4096 or 2048: z is read once and dz written once, 8 bytes a logit in float32, or 4 without dz.
// Longer rows belong to a block each, which goes over them twice. Sums are doubles. exp s is 1 where z is largest, so
// that log sum = log1p(sum - 1) keeps its digits where the loss is small.
//
// A logit of -inf excludes its class: without smoothing its miss s_c is 0 and not 0 times infinity.
// A row of weight 0 gives exactly 0, whatever its logits hold. A label that is no class gives NaN: nobody can raise
// here.
#include "numbers.cuh"
#include "rows.cuh"

constexpr int kThreads = 256;

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float log_of_one_and(float x) { return log1pf(x); }
__device__ inline double log_of_one_and(double x) { return log1p(x); }

// x as a T. A plain T(x) lets the compiler choose between doubles first and round what it has chosen, for each logit.
__device__ inline float rounded(double x, float) { return __double2float_rn(x); }
__device__ inline double rounded(double x, double) { return x; }

// What is one number of an example.
template <class T>
struct Example {
  T weight;
  long long label;
  bool known;

  // labels or short_labels is null
  __device__ Example(const T* weights, const long long* labels, const int* short_labels, long long b, long long C)
      : weight(weights[b]), label(labels ? labels[b] : short_labels[b]), known(0 <= label && label < C) {}

  // `missed` is the sum of all miss s_c, `row` the logits.
  __device__ T loss(const T* row, T top, double total, double missed, double hit) const {
    if (!known) return T(0) / T(0) * weight;
    if (weight == T(0)) return T(0);
    const double s = double(row[label]) - double(top);
    return T(double(weight) * (double(log_of_one_and(T(total - 1))) - hit * s - missed));
  }

  // Whether its logits matter, and the gradient of all of them where they do not.
  __device__ bool counts() const { return known && weight != T(0); }
  __device__ T nothing() const { return known ? T(0) : T(0) / T(0); }
};

// dz_c of an example that counts, from exp s_c; what is the same for all c is computed once. Index is int where a row is
// short.
template <class T, class Index>
struct Slope {
  T weight, per_total, hit_and_miss, miss;
  Index label;

  __device__ Slope(const Example<T>& of, double hit, double miss, double total)
      : weight(of.weight), per_total(T(reciprocal(total))), hit_and_miss(rounded(hit + miss, T(0))),
        miss(rounded(miss, T(0))), label(Index(of.label)) {}

  __device__ T operator()(Index c, T power) const {
    return weight * (power * per_total - (c == label ? hit_and_miss : miss));
  }
};

// Block b has rows b * kThreads / lanes and following. dz may be null.
template <bool packed, class T>
__device__ inline void held_row(const T* __restrict__ z, const Example<T>& example, bool here, double hit, double miss,
                                T* __restrict__ loss, T* __restrict__ dz, long long C, int lanes) {
  constexpr int kValues = 64 / sizeof(T);
  __shared__ T tops[kMostWarps][1];
  __shared__ double totals[kMostWarps][2];
  const T infinity = T(1) / T(0);
  const Row<T, packed, kValues> row(lanes, C);
  T values[kValues], top[1] = {-infinity};
  row.load(z, values, -infinity);
#pragma unroll
  for (int i = 0; i < kValues; ++i) top[0] = Larger()(top[0], values[i]);
  over_row<Larger>(top, lanes, tops);
  double sums[2] = {};  // of exp s, of miss s
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const T s = values[i] - top[0];  // at most 0, so that exp cannot overflow
    values[i] = exponential(s);
    sums[0] += double(values[i]);  // 0 in columns that there are not
    if (miss != 0 && row.inside(i)) sums[1] += miss * double(s);
  }
  over_row<Add>(sums, lanes, totals);
  if (!here) return;
  if (row.lane == 0) *loss = example.loss(z, top[0], sums[0], sums[1], hit);
  if (!dz) return;
  const Slope<T, int> slope(example, hit, miss, sums[0]);
  if (example.counts()) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] = slope(row.column(i), values[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] = example.nothing();
  }
  row.store(dz, values);
}

template <class T>
__device__ inline void held(const T* z, const long long* labels, const int* short_labels, const T* weights, double hit,
                            double miss, T* loss, T* dz, long long B, long long C, int lanes) {
  const long long row = (long long)blockIdx.x * (kThreads / lanes) + threadIdx.x / lanes;
  const bool here = row < B;  // threads beyond the last row wait at the barriers with the others
  const long long b = here ? row : 0;
  const Example<T> example(weights, labels, short_labels, b, C);
  T* slopes = dz ? dz + b * C : nullptr;
  if (on_packs(z, dz) && C % kPack<T> == 0)
    held_row<true>(z + b * C, example, here, hit, miss, loss + b, slopes, C, lanes);
  else held_row<false>(z + b * C, example, here, hit, miss, loss + b, slopes, C, lanes);
}

// Turn sums of exp (z - from) and of miss (z - from), over `count` logits, into those of z - to.
template <class T>
__device__ inline void move(double (&sums)[2], double count, double miss, T from, T to) {
  if (count == 0 || !(from < to)) return;
  sums[0] *= double(exponential(from - to));
  if (miss != 0) sums[1] += count * miss * (double(from) - double(to));
}

// Block b has row b. Each thread keeps the largest of its logits so far and the sum of exp (z - largest), which shrinks
// when a larger one comes (Milakov and Gimelshein 2018, arXiv:1805.02867).
template <class T>
__device__ inline void long_row(const T* __restrict__ z, const long long* labels, const int* short_labels,
                                const T* __restrict__ weights, double hit, double miss, T* __restrict__ loss,
                                T* __restrict__ dz, long long C) {
  constexpr int kAtOnce = 8;
  __shared__ T tops[kMostWarps][1];
  __shared__ double totals[kMostWarps][2];
  const T infinity = T(1) / T(0);
  const long long b = blockIdx.x;
  const Example<T> example(weights, labels, short_labels, b, C);
  z += b * C;
  T mine = -infinity;
  double count = 0, sums[2] = {};  // of exp s, of miss s, with s = z - mine
  for (long long first = threadIdx.x; first < C; first += kAtOnce * kThreads) {
    T values[kAtOnce], largest = mine;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) values[k] = first + k * kThreads < C ? z[first + k * kThreads] : -infinity;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) largest = Larger()(largest, values[k]);
    move(sums, count, miss, mine, largest);
    mine = largest;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k * kThreads < C) {
        const T s = values[k] == -infinity ? -infinity : values[k] - mine;  // mine may be -inf too, as long as all are
        sums[0] += double(exponential(s));
        if (miss != 0) sums[1] += miss * double(s);
        ++count;
      }
  }
  T top[1] = {mine};
  over_row<Larger>(top, kThreads, tops);
  move(sums, count, miss, mine, top[0]);
  over_row<Add>(sums, kThreads, totals);
  if (threadIdx.x == 0) loss[b] = example.loss(z, top[0], sums[0], sums[1], hit);
  if (!dz) return;
  const Slope<T, long long> slope(example, hit, miss, sums[0]);
  const bool counts = example.counts();
#pragma unroll 8
  for (long long c = threadIdx.x; c < C; c += kThreads)
    dz[b * C + c] = counts ? slope(c, exponential(z[c] - top[0])) : example.nothing();
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256, 3) softmax_cross_entropy_##dtype(const T* z, const long long* labels, const int* short_labels,           \
      const T* weights, double hit, double miss, T* loss, T* dz, long long B, long long C, long long lanes) {          \
    held(z, labels, short_labels, weights, hit, miss, loss, dz, B, C, int(lanes));                                     \
  }                                                                                                                    \
  KERNEL(256, 2) softmax_cross_entropy_long_##dtype(const T* z, const long long* labels, const int* short_labels,      \
      const T* weights, double hit, double miss, T* loss, T* dz, long long C) {                                        \
    long_row(z, labels, short_labels, weights, hit, miss, loss, dz, C);                                                \
  }

KERNELS(float, float32)
KERNELS(double, float64)
