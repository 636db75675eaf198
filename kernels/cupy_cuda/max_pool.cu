// Maxima of the square windows of x[N, H, W, C], which move by `stride` and fill no padding: y[N, OH, OW, C].
//
//   forward       y[n, i, j, c] = max x[n, i stride + r, j stride + s, c] over 0 <= r, s < window; a NaN is a maximum
//   backward      dx = the sum of dy over the windows of which this pixel is the first maximum in row-major order
//   rectified     the same back through x = relu(...) too: where the maximum is not above 0, the window adds nothing
//
// A thread has one pixel and kPack channels, the fastest axis: neighbours lie side by side. Nobody adds to what others
// write: backward, a thread looks for the windows that have its pixel. Where windows do not overlap, it owns instead a
// cell, the stride x stride pixels from the corner of a window on, and reads x once. Memory moved, in float32, of
// windows 2 x 2 side by side: 5 bytes a value of x forward (4 read, 1/4 of 4 written), 9 backward.
#include "pack.cuh"

struct Pooled {
  long long N, H, W, C, OH, OW;
  int window, stride;
};

// kPack channels of a thread: beside each other on packs; else as many apart as there are packs.
template <class T, bool packed, class Index>
struct Channels {
  Index pack, packs, C;

  __device__ Index channel(int k) const { return packed ? pack * kPack<T> + k : pack + k * packs; }

  __device__ void load(const T* pixel, T (&values)[kPack<T>]) const {
    if constexpr (packed) {
      ::load(pixel + channel(0), values);
    } else {
#pragma unroll
      for (int k = 0; k < kPack<T>; ++k) values[k] = channel(k) < C ? pixel[channel(k)] : T(0);
    }
  }

  __device__ void store(T* pixel, const T (&values)[kPack<T>]) const {
    if constexpr (packed) {
      ::store(pixel + channel(0), values);
    } else {
#pragma unroll
      for (int k = 0; k < kPack<T>; ++k)
        if (channel(k) < C) pixel[channel(k)] = values[k];
    }
  }
};

// Pixel (n, i, j) of an array of N x rows x columns pixels, and the channels of this thread.
template <class T, bool packed, class Index>
struct Pixel {
  Index n, i, j;
  Channels<T, packed, Index> channels;

  __device__ Pixel(Index at, Index rows, Index columns, Index C) {
    channels.C = C;
    channels.packs = (C + kPack<T> - 1) / kPack<T>;
    channels.pack = at % channels.packs;
    at /= channels.packs;
    j = at % columns;
    at /= columns;
    i = at % rows;
    n = at / rows;
  }
};

template <class T>
__device__ inline bool is_nan(T x) { return x != x; }

template <bool packed, class Index, class T>
__device__ inline void maximum(const T* __restrict__ x, T* __restrict__ y, Index at, const Pooled& p) {
  const Pixel<T, packed, Index> out(at, p.OH, p.OW, p.C);
  const T* corner = x + ((out.n * p.H + out.i * p.stride) * p.W + out.j * p.stride) * p.C;
  T best[kPack<T>];
  out.channels.load(corner, best);
  for (int r = 0; r < p.window; ++r)
#pragma unroll 4
    for (int s = 0; s < p.window; ++s) {
      T values[kPack<T>];
      out.channels.load(corner + (r * p.W + s) * p.C, values);
#pragma unroll
      for (int k = 0; k < kPack<T>; ++k) best[k] = values[k] > best[k] || is_nan(values[k]) ? values[k] : best[k];
    }
  out.channels.store(y + ((out.n * p.OH + out.i) * p.OW + out.j) * p.C, best);
}

// Windows that do not overlap. Cell (i, j): the pixels from (i stride, j stride) on, up to those of the next cell.
template <bool packed, class Index, class T>
__device__ inline void spread(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, Index at,
                              const Pooled& p, bool rectified) {
  const Pixel<T, packed, Index> cell(at, (p.H + p.stride - 1) / p.stride, (p.W + p.stride - 1) / p.stride, p.C);
  const long long corner = ((cell.n * p.H + cell.i * p.stride) * p.W + cell.j * p.stride) * p.C;
  const bool has_window = cell.i < p.OH && cell.j < p.OW;
  T best[kPack<T>], slope[kPack<T>] = {};
  int first[kPack<T>] = {};  // of the window's maximum, as r * window + s
  if (has_window) {
    cell.channels.load(dy + ((cell.n * p.OH + cell.i) * p.OW + cell.j) * p.C, slope);
    cell.channels.load(x + corner, best);
    for (int r = 0; r < p.window; ++r)
#pragma unroll 4
      for (int s = 0; s < p.window; ++s) {
        T values[kPack<T>];
        cell.channels.load(x + corner + (r * p.W + s) * p.C, values);
#pragma unroll
        for (int k = 0; k < kPack<T>; ++k)
          if (values[k] > best[k] || (is_nan(values[k]) && !is_nan(best[k]))) {
            best[k] = values[k];
            first[k] = r * p.window + s;
          }
      }
#pragma unroll
    for (int k = 0; k < kPack<T>; ++k)
      if (rectified && !(best[k] > T(0))) slope[k] = T(0);
  }
  const int rows = min((long long)p.stride, p.H - cell.i * p.stride);
  const int columns = min((long long)p.stride, p.W - cell.j * p.stride);
  for (int r = 0; r < rows; ++r)
#pragma unroll 2
    for (int s = 0; s < columns; ++s) {
      const bool in_window = has_window && r < p.window && s < p.window;
      T out[kPack<T>];
#pragma unroll
      for (int k = 0; k < kPack<T>; ++k) out[k] = in_window && first[k] == r * p.window + s ? slope[k] : T(0);
      cell.channels.store(dx + corner + (r * p.W + s) * p.C, out);
    }
}

template <class T>
__device__ inline bool same(T a, T b) { return a == b || (is_nan(a) && is_nan(b)); }

// Whether none of the pixels of the window before (r, s) holds `value`, the maximum of the window.
template <class T>
__device__ inline bool none_before(const T* corner, T value, int r, int s, const Pooled& p) {
  for (int row = 0; row <= r; ++row)
    for (int column = 0; column < (row < r ? p.window : s); ++column)
      if (same(corner[(row * p.W + column) * p.C], value)) return false;
  return true;
}

// Windows that overlap. Window i has the rows i stride to i stride + window - 1, so row h is in the windows
// (h - window) / stride + 1 to h / stride.
template <bool packed, class Index, class T>
__device__ inline void collect(const T* __restrict__ x, const T* __restrict__ y, const T* __restrict__ dy,
                               T* __restrict__ dx, Index at, const Pooled& p) {
  const Pixel<T, packed, Index> in(at, p.H, p.W, p.C);
  const long long h = in.i, w = in.j, image = in.n * p.H, out_image = in.n * p.OH;
  const long long top = h < p.window ? 0 : (h - p.window) / p.stride + 1, bottom = min(h / p.stride, p.OH - 1);
  const long long left = w < p.window ? 0 : (w - p.window) / p.stride + 1, right = min(w / p.stride, p.OW - 1);
  T value[kPack<T>], sum[kPack<T>] = {};
  in.channels.load(x + ((image + h) * p.W + w) * p.C, value);
  for (long long i = top; i <= bottom; ++i)
    for (long long j = left; j <= right; ++j) {
      T maxima[kPack<T>], slopes[kPack<T>];
      const long long window = ((out_image + i) * p.OW + j) * p.C;
      in.channels.load(y + window, maxima);
      in.channels.load(dy + window, slopes);
      const T* corner = x + ((image + i * p.stride) * p.W + j * p.stride) * p.C;
#pragma unroll
      for (int k = 0; k < kPack<T>; ++k)
        if (same(value[k], maxima[k]) && in.channels.channel(k) < p.C &&
            none_before(corner + in.channels.channel(k), value[k], int(h - i * p.stride), int(w - j * p.stride), p))
          sum[k] += slopes[k];
    }
  in.channels.store(dx + ((image + h) * p.W + w) * p.C, sum);
}

// Where numbers of threads are below 2^31, the divisions that find a pixel take a fraction of the time.
constexpr long long kSmall = 1ll << 31;

template <class T>
__device__ inline void forward(const T* x, T* y, const Pooled& p) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const long long threads = p.N * p.OH * p.OW * ((p.C + kPack<T> - 1) / kPack<T>);
  if (at >= threads) return;
  const bool packed = on_packs(x, y) && p.C % kPack<T> == 0;
  if (packed && threads < kSmall) maximum<true>(x, y, unsigned(at), p);
  else if (threads < kSmall) maximum<false>(x, y, unsigned(at), p);
  else maximum<false>(x, y, at, p);
}

template <class T>
__device__ inline void apart(const T* x, const T* dy, T* dx, const Pooled& p, bool rectified) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x, packs = (p.C + kPack<T> - 1) / kPack<T>;
  const long long threads = p.N * ((p.H + p.stride - 1) / p.stride) * ((p.W + p.stride - 1) / p.stride) * packs;
  if (at >= threads) return;
  const bool packed = on_packs(x, dy, dx) && p.C % kPack<T> == 0;
  if (packed && threads < kSmall) spread<true>(x, dy, dx, unsigned(at), p, rectified);
  else if (threads < kSmall) spread<false>(x, dy, dx, unsigned(at), p, rectified);
  else spread<false>(x, dy, dx, at, p, rectified);
}

template <class T>
__device__ inline void overlapping(const T* x, const T* y, const T* dy, T* dx, const Pooled& p) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const long long threads = p.N * p.H * p.W * ((p.C + kPack<T> - 1) / kPack<T>);
  if (at >= threads) return;
  const bool packed = on_packs(x, y, dy, dx) && p.C % kPack<T> == 0;
  if (packed && threads < kSmall) collect<true>(x, y, dy, dx, unsigned(at), p);
  else if (threads < kSmall) collect<false>(x, y, dy, dx, unsigned(at), p);
  else collect<false>(x, y, dy, dx, at, p);
}

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

#define KERNELS(T, dtype)                                                                                              \
  KERNEL(256, 2) max_pool2d_forward_##dtype(const T* x, T* y, long long N, long long H, long long W, long long C,      \
      long long OH, long long OW, long long window, long long stride) {                                                \
    forward(x, y, {N, H, W, C, OH, OW, int(window), int(stride)});                                                     \
  }                                                                                                                    \
  KERNEL(256, 2) max_pool2d_apart_##dtype(const T* x, const T* dy, T* dx, long long N, long long H, long long W,       \
      long long C, long long OH, long long OW, long long window, long long stride, long long rectified) {              \
    apart(x, dy, dx, {N, H, W, C, OH, OW, int(window), int(stride)}, rectified);                                       \
  }                                                                                                                    \
  KERNEL(256, 2) max_pool2d_overlapping_##dtype(const T* x, const T* y, const T* dy, T* dx, long long N, long long H,  \
      long long W, long long C, long long OH, long long OW, long long window, long long stride) {                      \
    overlapping(x, y, dy, dx, {N, H, W, C, OH, OW, int(window), int(stride)});                                         \
  }

KERNELS(float, float32)
KERNELS(double, float64)
