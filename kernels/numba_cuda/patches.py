"""Images and filters as matrices that exist nowhere in memory: operands of `product4` for the convolution.

A convolution is a matrix product of patches and filters,

    y[pixel, filter] = sum over (tap, channel) of patch[pixel, (tap, channel)] w[(tap, channel), filter]

where patch[pixel, (tap, channel)] is the number of image x under tap (r, s) of the filter when it lies at the output
pixel, or 0 outside of the image. The matrix of all patches would repeat each number of x up to R S times; here the
threads that fill a tile work out where in x its numbers are. The gradient of the input is such a product too, of
patches of dy: the pixel of dx gathers from all outputs that it went into. Nothing is ever added to from two sides.

Images and filters come as matrices: x[images * height * width, channels], w[R * S * C, K].
"""

from __future__ import annotations

from typing import NamedTuple

from .device import device_function
from .indices import inside, natural, nearest, split
from .operands import THREADS, Operand, across, along


class Form(NamedTuple):
    """Where the patches lie, the same for all; kernels take it as so many numbers."""

    grid_h: int  # rows of the product are images x grid_h x grid_w pixels
    grid_w: int
    spread: int  # the patch of pixel (i, j) begins at row top + spread i and column left + spread j of its image
    top: int
    left: int
    walk: int  # tap (r, s) lies walk r rows and walk s columns from there: 1, or -1 in the gradient of the input
    taps_w: int  # taps in a row of the patch
    height: int  # of the images that the patches are of
    width: int
    # Of the gradient of the input alone, which takes only some taps of the filter, and writes only some pixels:
    tap_h: int = 0  # tap (r, s) of the patch is tap (tap_h + stride r, tap_w + stride s) of the filter
    tap_w: int = 0
    filter_w: int = 0  # taps in a row of the filter
    channels: int = 0  # of the filter, in
    stride: int = 1
    pixel_h: int = 0  # pixel (i, j) of the product is pixel (pixel_h + stride i, pixel_w + stride j) of dx
    pixel_w: int = 0
    dx_height: int = 0
    dx_width: int = 0


def patches_along(sides: int, step: int) -> Operand:
    """patch[side, k]: side is a pixel, k = (r, s, channel)"""
    numbers, put = along(sides, step)
    apart = THREADS // step

    @device_function
    def locate(places, x, first, end, thread, form):
        for n in range(numbers):
            image, pixel = split(nearest(first + thread // step + apart * n, end), form.grid_h * form.grid_w)
            i, j = split(pixel, form.grid_w)
            places[n, 0] = image * form.height
            places[n, 1] = form.top + form.spread * i
            places[n, 2] = form.left + form.spread * j

    @device_function
    def ask(held, places, x, k0, last, thread, form):
        k = k0 + thread % step
        tap, channel = split(nearest(k, last), x.shape[1])
        r, s = split(tap, form.taps_w)
        given = 0
        for n in range(numbers):
            h, w = places[n, 1] + form.walk * r, places[n, 2] + form.walk * s
            exists = inside(h, form.height) and inside(w, form.width)
            held[n] = x[natural((places[n, 0] + h) * form.width + w if exists else 0), channel]
            if exists and k < last:
                given |= 1 << n
        return given

    return Operand(numbers, (numbers, 3), locate, ask, put)


def patches_across(sides: int, step: int) -> Operand:
    """patch[k, side]: k is a pixel, side = (r, s, channel)"""
    numbers, put = across(sides, step)

    @device_function
    def locate(places, x, first, end, thread, form):
        tap, channel = split(nearest(first + thread % sides, end), x.shape[1])
        r, s = split(tap, form.taps_w)
        places[0, 0] = form.top + form.walk * r
        places[0, 1] = form.left + form.walk * s
        places[0, 2] = channel

    @device_function
    def ask(held, places, x, k0, last, thread, form):
        k = k0 + numbers * (thread // sides)
        image, pixel = split(nearest(k, last), form.grid_h * form.grid_w)
        i, j = split(pixel, form.grid_w)
        given = 0
        for n in range(numbers):
            h, w = places[0, 0] + form.spread * i, places[0, 1] + form.spread * j
            exists = k + n < last and inside(h, form.height) and inside(w, form.width)
            held[n] = x[natural((image * form.height + h) * form.width + w if exists else 0), natural(places[0, 2])]
            if exists:
                given |= 1 << n
            j += 1  # the next pixel
            if j == form.grid_w:
                i, j = i + 1, 0
            if i == form.grid_h:
                image, i = image + 1, 0
        return given

    return Operand(numbers, (1, 3), locate, ask, put)


def filters_along(sides: int, step: int) -> Operand:
    """filter[k, side] of the gradient of the input: side is a channel in, k = (r, s, channel out)

    With a stride, only each stride-th tap of the filter lies on an output that the pixel went into.
    """
    numbers, put = along(sides, step)
    apart = THREADS // step

    @device_function
    def locate(places, w, first, end, thread, form):
        for n in range(numbers):
            places[n, 0] = nearest(first + thread // step + apart * n, end)

    @device_function
    def ask(held, places, w, k0, last, thread, form):
        k = k0 + thread % step
        tap, filter_ = split(nearest(k, last), w.shape[1])
        r, s = split(tap, form.taps_w)
        tap = (form.tap_h + form.stride * r) * form.filter_w + form.tap_w + form.stride * s
        for n in range(numbers):
            held[n] = w[natural(tap * form.channels + places[n, 0]), filter_]
        return 2**numbers - 1 if k < last else 0

    return Operand(numbers, (numbers, 1), locate, ask, put)


@device_function
def every_stride(row, slice_, rows, form):
    """Return the row of dx, as a matrix, that is row `row` of the product."""
    image, pixel = split(row, form.grid_h * form.grid_w)
    i, j = split(pixel, form.grid_w)
    h, w = form.pixel_h + form.stride * i, form.pixel_w + form.stride * j
    return natural((image * form.dx_height + h) * form.dx_width + w)
