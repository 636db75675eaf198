// The three products of a convolution, for any tile; conv.cu says what they are.
//
// Each is a matrix product whose matrix of windows is never written down: a loader finds its elements in the images
// while they are copied to shared memory. For that an index is taken apart again and again: of a pixel into image, row
// and column, of a tap into row and column of the filter, and channel. Pixels are taken apart once for each block, into
// a table in shared memory; taps at each step, one for each thread.
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

// The sizes, in the order in which conv.py passes them, as Python's numbers arrive. A window is a pixel of y.
struct Convolution {
  long long count, height, width, inputs, window_rows, window_columns, outputs, filter_rows, filter_columns, stride,
      padding;

  __device__ Images images() const { return {int(height), int(width), int(inputs)}; }
  __device__ Images gradients() const { return {int(window_rows), int(window_columns), int(outputs)}; }
  __device__ long long windows() const { return count * window_rows * window_columns; }
  __device__ long long taps() const { return filter_rows * filter_columns * inputs; }
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

// The panels of b[tap, c] = w[r, s, c, channel of dy], along k in memory for each tap: the filters of the input
// gradient. Of a filter's taps only every `stride`-th is there, from (first_row, first_column) on.
template <class Panel>
struct TapRows {
  using T = typename Panel::Value;
  using Position = AlongKPosition<Panel>;

  const T* w;
  int first_row, first_column, stride, filter_columns, inputs, outputs, k, end, outer_left;
  Divider by_outputs, by_columns;

  __device__ TapRows(const T* w, int first_row, int first_column, int tap_columns, const Convolution& of, int columns,
                     long long first_k, int part)
      : w(w), first_row(first_row), first_column(first_column), stride(int(of.stride)),
        filter_columns(int(of.filter_columns)), inputs(int(of.inputs)), outputs(int(of.outputs)),
        by_outputs(int(of.outputs)), by_columns(tap_columns) {
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

// The panels of a[tap, window]^T: as WindowRows, but k goes through the windows and the outer index through the taps,
// so that a thread stays with its tap.
template <class Panel>
struct WindowColumns {
  using T = typename Panel::Value;

  const T* x;  // the image that the part's first window lies over; windows are counted from the first of this image
  Images images;
  int stride, row, column, window, end;  // row, column: of the thread's tap under the image's first window
  Divider by_windows, by_window_columns;
  bool packs;

  __device__ WindowColumns(const T* first_image, const Convolution& of, long long first_tap, int tap_count,
                           long long first_window, int part, bool packs)
      : images(of.images()), stride(int(of.stride)), by_windows(int(of.window_rows * of.window_columns)),
        by_window_columns(int(of.window_columns)), packs(packs) {
    const int outer = packs ? AlongOuterPosition<Panel, kPack<T>>().outer : AlongOuterPosition<Panel, 1>().outer;
    const long long tap = first_tap + outer, position = tap / of.inputs, in_image = of.window_rows * of.window_columns;
    row = outer < tap_count ? int(position / of.filter_columns - of.padding) : kNowhere;
    column = int(position % of.filter_columns - of.padding);
    x = first_image + first_window / in_image * images.size() + tap % of.inputs;
    window = int(first_window % in_image);
    end = window + part;
  }

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
    // Value by value there are so many copies that, side by side, they would take the registers of the sums.
    constexpr int kTogether = kWidth == 1 ? 1 : Position::kCopies;
#pragma unroll kTogether
    for (int i = 0; i < Position::kCopies; ++i) {
      const int k = at.k + i * Position::kStep;
      int x_column = window + k, image = by_windows.divide(x_column), x_row = by_window_columns.divide(x_column);
      x_row = x_row * stride + row;
      x_column = x_column * stride + column;
      const bool inside = window + k < end && unsigned(x_row) < unsigned(images.height) &&
                          unsigned(x_column) < unsigned(images.width);
      async_copy<kWidth>(&to[k][at.outer], x + image * images.size() + images.at(x_row, x_column), inside);
    }
  }
};

// z = x[window, tap] w[tap, k] + bias, y = activation(z). Where nobody wants z it is null.
template <class Tile, class T>
__device__ __forceinline__ void conv_forward(const T* x, const T* w, const T* bias, T* z, T* y, const Convolution& of,
                                             long long chunk, long long part_stride, long long activation) {
  __shared__ Panels<Tile> panels;
  __shared__ Window windows[Tile::BM];
  const Block<Tile, T> block(of.windows(), of.outputs, of.taps(), chunk);
  const Images images = of.images();
  for (int i = threadIdx.x; i < Tile::BM; i += Tile::kThreads) {
    const long long m = block.at.m + i, in_image = m % (of.window_rows * of.window_columns);
    const int row = int(in_image / of.window_columns * of.stride - of.padding);
    const int column = int(in_image % of.window_columns * of.stride - of.padding);
    const long long image = m / (of.window_rows * of.window_columns);
    windows[i] = {image * images.size() + images.at(row, column), i < block.rows ? row : kNowhere, column};
  }
  __syncthreads();  // the table is read by all threads
  Tile tile;
  multiply(tile, panels,
           WindowRows<typename Tile::PanelA, 1>(x, images, windows, int(of.filter_columns), block.first_k, block.part),
           AlongOuter<typename Tile::PanelB>(w + block.first_k * of.outputs + block.at.n, of.outputs, block.columns,
                                             block.part, of.outputs % kPack<T> == 0 && on_packs(w)),
           block.part);
  block.finish(tile, bias, z, y, of.outputs, part_stride, int(activation));
}

// The pixels (row, column) of an image with one value of (row + padding) % stride and one of (column + padding) %
// stride: every stride-th from (row0, column0) on. They all are under the same taps of a filter, every stride-th from
// (tap_row0, tap_column0) on.
struct Phase {
  int tap_row0, tap_column0, row0, column0, rows, columns, tap_rows, tap_columns;

  __device__ Phase(int number, const Convolution& of) {
    const int stride = int(of.stride), shift = int(stride - of.padding % stride);
    tap_row0 = number / stride;
    tap_column0 = number % stride;
    row0 = (tap_row0 + shift) % stride;
    column0 = (tap_column0 + shift) % stride;
    rows = (int(of.height) - row0 + stride - 1) / stride;
    columns = (int(of.width) - column0 + stride - 1) / stride;
    tap_rows = (int(of.filter_rows) - tap_row0 + stride - 1) / stride;
    tap_columns = (int(of.filter_columns) - tap_column0 + stride - 1) / stride;
  }
};

// dx: every pixel of x sums over the windows that hold it, dx[pixel, c] = dy[window, k] w[tap, c, k]. Phase by phase:
// the next tap of a phase lies over the window before, as with stride 1, and no product is with a zero in between.
// (Beside the windows there are zeros. numpy_ref leaves those products out: with an infinite weight they are NaN here
// and not there.)
template <class Tile, class T>
__device__ __forceinline__ void conv_input_gradient(const T* w, const T* dy, T* dx, long long tiles_of_phase,
                                                    const Convolution& of, long long chunk, long long part_stride) {
  __shared__ Panels<Tile> panels;
  __shared__ Window windows[Tile::BM];
  __shared__ long long pixels[Tile::BM];  // where the rows of the tile lie in dx
  using Where = Origin<Tile::BM, Tile::BN>;
  const Phase phase(int(blockIdx.x / tiles_of_phase), of);
  const long long number = blockIdx.x % tiles_of_phase, pixel_count = of.count * phase.rows * phase.columns;
  if (number >= Where::count(pixel_count, Tile::BM) * Where::count(of.inputs, Tile::BN)) return;  // others have more
  const Block<Tile, T> block(pixel_count, of.inputs, phase.tap_rows * phase.tap_columns * of.outputs, chunk, number);
  const Images gradients = of.gradients(), images = of.images();
  for (int i = threadIdx.x; i < Tile::BM; i += Tile::kThreads) {
    const long long m = block.at.m + i, in_image = m % (phase.rows * phase.columns);
    const long long image = m / (phase.rows * phase.columns);
    const int row = int(phase.row0 + in_image / phase.columns * of.stride);
    const int column = int(phase.column0 + in_image % phase.columns * of.stride);
    pixels[i] = image * images.size() + images.at(row, column) + block.at.n;
    const int first_row = int((row + of.padding) / of.stride);  // the window that has the phase's first tap here
    const int first_column = int((column + of.padding) / of.stride);
    windows[i] = {image * gradients.size() + gradients.at(first_row, first_column),
                  i < block.rows ? first_row : kNowhere, first_column};
  }
  __syncthreads();  // the tables are read by all threads
  Tile tile;
  const int tap_columns = max(phase.tap_columns, 1);  // something to divide by
  multiply(tile, panels,
           WindowRows<typename Tile::PanelA, -1>(dy, gradients, windows, tap_columns, block.first_k, block.part),
           TapRows<typename Tile::PanelB>(w + block.at.n * of.outputs, phase.tap_row0, phase.tap_column0, tap_columns,
                                          of, block.columns, block.first_k, block.part),
           block.part);
  T* const to = dx + blockIdx.y * part_stride;
  const auto row_of = [&](int i) { return i < block.rows ? to + pixels[i] : nullptr; };
  const bool packs = of.inputs % kPack<T> == 0 && part_stride % kPack<T> == 0 && on_packs(dx);
  const auto as_it_is = [](T (&)[Tile::kGroup], int, int) {};
  write_tile(tile, row_of, block.columns, packs, static_cast<const T*>(nullptr), as_it_is);
}

// dw = x[window, tap]^T dy[window, k], and db, the sums of dy's columns.
template <class Tile, class T>
__device__ __forceinline__ void conv_filter_gradient(const T* x, const T* dy, T* dw, T* db, const Convolution& of,
                                                     long long chunk, long long part_stride) {
  __shared__ Panels<Tile> panels;
  const Block<Tile, T> block(of.taps(), of.outputs, of.windows(), chunk);
  ColumnSum<Tile, T> column(block);
  Tile tile;
  multiply(tile, panels,
           WindowColumns<typename Tile::PanelA>(x, of, block.at.m, block.rows, block.first_k, block.part,
                                                of.inputs % kPack<T> == 0 && on_packs(x)),
           AlongOuter<typename Tile::PanelB>(dy + block.first_k * of.outputs + block.at.n, of.outputs, block.columns,
                                             block.part, of.outputs % kPack<T> == 0 && on_packs(dy)),
           block.part, [&](const typename Tile::PanelB::Rows& panel) { column.add(panel); });
  block.write(tile, dw, of.outputs, part_stride);
  column.write(block, db, part_stride);
}

// The kernels of a tile: conv_forward_<name>, conv_input_gradient_<name>, conv_filter_gradient_<name>.
#define CONVOLUTION                                                                                                   \
  long long count, long long height, long long width, long long inputs, long long window_rows,                       \
      long long window_columns, long long outputs, long long filter_rows, long long filter_columns, long long stride, \
      long long padding, long long chunk, long long part_stride
#define SIZES                                                                                                        \
  Convolution{count,   height,      width,          inputs, window_rows, window_columns,                             \
              outputs, filter_rows, filter_columns, stride, padding}
#define CONVOLUTIONS(T, name, Tile, ...)                                                                             \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) conv_forward_##name(                                     \
      const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* z, T* y, CONVOLUTION,         \
      long long activation) {                                                                                        \
    conv_forward<Tile>(x, w, bias, z, y, SIZES, chunk, part_stride, activation);                                     \
  }                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) conv_input_gradient_##name(                              \
      const T* __restrict__ w, const T* __restrict__ dy, T* dx, long long tiles_of_phase, CONVOLUTION) {             \
    conv_input_gradient<Tile>(w, dy, dx, tiles_of_phase, SIZES, chunk, part_stride);                                 \
  }                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) conv_filter_gradient_##name(                             \
      const T* __restrict__ x, const T* __restrict__ dy, T* dw, T* db, CONVOLUTION) {                                \
    conv_filter_gradient<Tile>(x, dy, dw, db, SIZES, chunk, part_stride);                                            \
  }
