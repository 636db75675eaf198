// The three products of a convolution, for any tile; conv.cu says what they are.
//
// Each is a matrix product whose matrix of windows is never written down: a loader finds its elements in the images while
// they are copied to shared memory. For that an index is taken apart again and again: of a pixel into image, row and
// column, of a tap into row and column of the filter, and channel. Pixels are taken apart once for each block, into a
// table in shared memory; taps at each step, one for each thread.
#pragma once
#include "product_forms.cuh"

// n / divisor and n % divisor of numbers below 2^31, without dividing (Granlund and Montgomery 1994).
struct Divider {
  unsigned divisor, magic;
  int shift;

  __device__ explicit Divider(int d) : divisor(d), shift(32 - __clz(d - 1)) {
    magic = unsigned(((1ull << 32) * ((1ull << shift) - d)) / d) + 1;
  }

  __device__ __forceinline__ int divide(int& n) const {  // leaves the rest in n
    const unsigned quotient = (__umulhi(n, magic) + n) >> shift;
    n -= quotient * divisor;
    return quotient;
  }
};

// Images in memory, [N, height, width, channels].
struct Images {
  int height, width, channels;

  __device__ long long size() const { return (long long)height * width * channels; }  // of one image
  __device__ long long at(int row, int column) const { return ((long long)row * width + column) * channels; }
};

// A window: where its first tap lies, which may be outside of the image.
struct alignas(16) Window {
  long long offset;  // in values, from the first image
  int row, column;
};

constexpr int kNowhere = -(1 << 30);  // a row that no tap brings back into an image

// The panels of a[window, tap]: the values of images that windows lie over, k going through the taps, channels fastest.
// kStep = 1: tap (r, s) lies r rows below and s columns right of the window's first; kStep = -1: above and left.
template <class Panel, int kStep>
struct WindowRows {
  using T = typename Panel::Value;
  using Position = AlongKPosition<Panel>;

  const T* x;
  Images images;
  const Window* windows;  // in shared memory, one for each row of the tile
  Divider by_channels, by_columns;
  int k, end;

  __device__ WindowRows(const T* x, Images images, const Window* windows, int tap_columns, long long first_k, int part)
      : x(x), images(images), windows(windows), by_channels(images.channels), by_columns(tap_columns) {
    k = int(first_k) + Position().k;
    end = int(first_k) + part;
  }

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    const Position at;
    int channel = k, column = by_channels.divide(channel), row = by_columns.divide(column);
    row *= kStep;
    column *= kStep;
    const T* from = x + images.at(row, column) + channel;
#pragma unroll
    for (int i = 0; i < Position::kCopies; ++i) {
      const int outer = at.outer + i * Position::kStep;
      const Window window = windows[outer];
      const bool inside = k < end && unsigned(window.row + row) < unsigned(images.height) &&
                          unsigned(window.column + column) < unsigned(images.width);
      async_copy<1>(&to[at.k][outer], from + window.offset, inside);
    }
    k += Panel::kDepth;
  }
};

// The panels of b[tap, c] = w[r, s, c, channel of dy], along k in memory for each tap: the filters of the input gradient.
// Of a filter's taps only every `stride`-th is there, from (first_row, first_column) on.
template <class Panel>
struct TapRows {
  using T = typename Panel::Value;
  using Position = AlongKPosition<Panel>;

  const T* w;
  int first_row, first_column, stride, filter_columns, inputs, outputs;  // inputs: C, outputs: K
  Divider by_outputs, by_columns;
  int k, end, outer_left;

  __device__ TapRows(const T* w, int first_row, int first_column, int stride, int filter_columns, int tap_columns,
                     int inputs, int outputs, int columns, long long first_k, int part)
      : w(w), first_row(first_row), first_column(first_column), stride(stride), filter_columns(filter_columns),
        inputs(inputs), outputs(outputs), by_outputs(outputs), by_columns(tap_columns) {
    k = int(first_k) + Position().k;
    end = int(first_k) + part;
    outer_left = columns - Position().outer;
  }

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    const Position at;
    int output = k, column = by_outputs.divide(output), row = by_columns.divide(column);
    const int tap = (first_row + stride * row) * filter_columns + first_column + stride * column;
    const T* from = w + ((long long)tap * inputs + at.outer) * outputs + output;
#pragma unroll
    for (int i = 0; i < Position::kCopies; ++i) {
      async_copy<1>(&to[at.k][at.outer + i * Position::kStep], from, k < end && outer_left > i * Position::kStep);
      from += (long long)Position::kStep * outputs;
    }
    k += Panel::kDepth;
  }
};

// The panels of a[tap, window]^T: as WindowRows, but k goes through the windows and the outer index through the taps.
template <class Panel>
struct WindowColumns {
  using T = typename Panel::Value;

  const T* x;
  Images images;
  Divider by_windows, by_window_columns, by_channels, by_columns;
  int stride, padding, first_tap, tap_count, window, end;  // windows are counted from the first of the part's first image
  bool packs;

  __device__ WindowColumns(const T* x, Images images, int window_rows, int window_columns, int tap_columns, int stride,
                           int padding, int first_tap, int tap_count, long long first_window, int part, bool packs)
      : x(x + first_window / (window_rows * window_columns) * images.size()), images(images),
        by_windows(window_rows * window_columns), by_window_columns(window_columns), by_channels(images.channels),
        by_columns(tap_columns), stride(stride), padding(padding), first_tap(first_tap), tap_count(tap_count),
        window(int(first_window % (window_rows * window_columns))), end(window + part), packs(packs) {}

  __device__ __forceinline__ void next(typename Panel::Rows& to) {
    if (packs) copy<kPack<T>>(to);
    else copy<1>(to);
    window += Panel::kDepth;
  }

 private:
  template <int kWidth>
  __device__ __forceinline__ void copy(typename Panel::Rows& to) {
    using Position = AlongOuterPosition<Panel, kWidth>;
    const Position at;
    int channel = first_tap + at.outer, s = by_channels.divide(channel), r = by_columns.divide(s);
#pragma unroll
    for (int i = 0; i < Position::kCopies; ++i) {
      const int k = at.k + i * Position::kStep;
      int column = window + k, image = by_windows.divide(column), row = by_window_columns.divide(column);
      row = row * stride - padding + r;
      column = column * stride - padding + s;
      const bool inside = window + k < end && at.outer < tap_count && unsigned(row) < unsigned(images.height) &&
                          unsigned(column) < unsigned(images.width);
      async_copy<kWidth>(&to[k][at.outer], x + image * images.size() + images.at(row, column) + channel, inside);
    }
  }
};

// What the kernels take behind their arrays, as Python passes it.
#define CONVOLUTION                                                                                                   \
  long long count, long long height, long long width, long long inputs, long long window_rows,                       \
      long long window_columns, long long outputs, long long filter_rows, long long filter_columns, long long stride, \
      long long padding, long long chunk, long long part_stride
#define CONVOLUTION_NAMES                                                                                             \
  count, height, width, inputs, window_rows, window_columns, outputs, filter_rows, filter_columns, stride, padding,  \
      chunk, part_stride

// y = windows(x) w + bias
template <class Tile, class T>
__device__ __forceinline__ void conv_forward(const T* x, const T* w, const T* bias, T* y, CONVOLUTION) {
  __shared__ Panels<Tile> panels;
  __shared__ Window windows[Tile::BM];
  const long long taps = filter_rows * filter_columns * inputs;
  const Block<Tile, T> block(count * window_rows * window_columns, outputs, taps, chunk);
  const Images images{int(height), int(width), int(inputs)};
  for (int i = threadIdx.x; i < Tile::BM; i += Tile::kThreads) {
    const long long m = block.at.m + i, image = m / (window_rows * window_columns);
    const int in_image = int(m % (window_rows * window_columns));
    const int row = int(in_image / window_columns * stride - padding), column = int(in_image % window_columns * stride - padding);
    windows[i] = {image * images.size() + images.at(row, column), i < block.rows ? row : kNowhere, column};
  }
  __syncthreads();  // the table is read by all threads
  Tile tile;
  multiply(tile, panels, WindowRows<typename Tile::PanelA, 1>(x, images, windows, int(filter_columns), block.first_k, block.part),
           AlongOuter<typename Tile::PanelB>(w + block.first_k * outputs + block.at.n, outputs, block.columns, block.part,
                                             outputs % kPack<T> == 0 && on_packs(w)),
           block.part);
  block.write(tile, y, outputs, part_stride, bias);
}

// dx: every pixel of x sums over the windows that hold it. Which taps it is under depends on its place modulo the stride,
// so pixels are dealt with by phases, (row + padding) % stride and (column + padding) % stride; in each the taps are every
// stride-th of a filter, and windows follow one another as with stride 1, no product being with a zero in between.
template <class Tile, class T>
__device__ __forceinline__ void conv_input_gradient(const T* w, const T* dy, T* dx, long long tiles_of_phase, CONVOLUTION) {
  __shared__ Panels<Tile> panels;
  __shared__ Window windows[Tile::BM];
  using Where = Origin<Tile::BM, Tile::BN>;
  __shared__ long long pixels[Tile::BM];  // where the rows of the tile go in dx
  const int phase = int(blockIdx.x / tiles_of_phase), phase_row = int(phase / stride), phase_column = int(phase % stride);
  // The first pixel of the phase, how many rows and columns of pixels and of taps it has.
  const int row0 = int((phase_row + stride - padding % stride) % stride), column0 = int((phase_column + stride - padding % stride) % stride);
  const long long rows = (height - row0 + stride - 1) / stride, columns = (width - column0 + stride - 1) / stride;
  const int tap_rows = int((filter_rows - phase_row + stride - 1) / stride);
  const int tap_columns = int((filter_columns - phase_column + stride - 1) / stride);
  const bool has_taps = tap_rows > 0 && tap_columns > 0;
  const long long tile_number = blockIdx.x % tiles_of_phase, pixel_count = count * rows * columns;
  if (tile_number >= Where::count(pixel_count, Tile::BM) * Where::count(inputs, Tile::BN)) return;  // other phases have more
  const Block<Tile, T> block(pixel_count, inputs, has_taps ? tap_rows * tap_columns * outputs : 0, chunk, tile_number);
  const Images gradients{int(window_rows), int(window_columns), int(outputs)}, images{int(height), int(width), int(inputs)};
  for (int i = threadIdx.x; i < Tile::BM; i += Tile::kThreads) {
    const long long m = block.at.m + i, image = m / (rows * columns);
    const int in_image = int(m % (rows * columns));
    const int row = row0 + int(in_image / columns * stride), column = column0 + int(in_image % columns * stride);
    const int window_row = int((row + padding) / stride), window_column = int((column + padding) / stride);  // under tap (0, 0) of the phase
    windows[i] = {image * gradients.size() + gradients.at(window_row, window_column), i < block.rows ? window_row : kNowhere, window_column};
    pixels[i] = image * images.size() + images.at(row, column) + block.at.n;
  }
  __syncthreads();  // the tables are read by all threads
  Tile tile;
  multiply(tile, panels, WindowRows<typename Tile::PanelA, -1>(dy, gradients, windows, has_taps ? tap_columns : 1, block.first_k, block.part),
           TapRows<typename Tile::PanelB>(w + block.at.n * outputs, phase_row, phase_column, int(stride), int(filter_columns), has_taps ? tap_columns : 1,
                                          int(inputs), int(outputs), block.columns, block.first_k, block.part),
           block.part);
  T* const to = dx + blockIdx.y * part_stride;
  const bool packs = inputs % kPack<T> == 0 && part_stride % kPack<T> == 0 && on_packs(dx);
  write_tile(tile, [&](int i) { return i < block.rows ? to + pixels[i] : nullptr; }, block.columns, packs,
             static_cast<const T*>(nullptr), [](T sum) { return sum; });
}

// dw = windows(x)^T dy, and db, the sums of dy's columns.
template <class Tile, class T>
__device__ __forceinline__ void conv_filter_gradient(const T* x, const T* dy, T* dw, T* db, CONVOLUTION) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(filter_rows * filter_columns * inputs, outputs, count * window_rows * window_columns, chunk);
  const Images images{int(height), int(width), int(inputs)};
  ColumnSum<Tile, T> sum(block);
  Tile tile;
  multiply(tile, panels,
           WindowColumns<typename Tile::PanelA>(x, images, int(window_rows), int(window_columns), int(filter_columns), int(stride), int(padding),
                                                int(block.at.m), block.rows, block.first_k, block.part, inputs % kPack<T> == 0 && on_packs(x)),
           AlongOuter<typename Tile::PanelB>(dy + block.first_k * outputs + block.at.n, outputs, block.columns, block.part,
                                             outputs % kPack<T> == 0 && on_packs(dy)),
           block.part, [&](const typename Tile::PanelB::Rows& panel) { sum.add(panel); });
  block.write(tile, dw, outputs, part_stride);
  sum.write(block, db, part_stride);
}

#define FORWARD_CONVOLUTION(T) const T *__restrict__ x, const T *__restrict__ w, const T *__restrict__ bias, T *y, CONVOLUTION
#define INPUT_GRADIENT(T) const T *__restrict__ w, const T *__restrict__ dy, T *dx, long long tiles_of_phase, CONVOLUTION
#define FILTER_GRADIENT(T) const T *__restrict__ x, const T *__restrict__ dy, T *dw, T *db, CONVOLUTION
