"""Kernels that compute each value from the values at the same place, made from the formula of one value.

    n values in, n values out. Block k owns the values from k * 4 * BLOCK on, its thread j those at j, j + BLOCK,
    j + 2 BLOCK and j + 3 BLOCK from there. Neighbouring threads touch neighbouring values, so that what 32 threads
    (a warp) ask for is one access of 128 bytes.

Memory answers late, after some 500 cycles, so what counts is how much is on its way at a time. A thread therefore asks
for its four values before it uses the first. The compiler may not do that by itself: for all it knows y overlaps x.
The arrays `cuda.local.array` are registers: the loops are unrolled, so that every index is a constant. `index` makes
the kernels a third as long (see `device`).

A formula is written with `type(x)` for the dtype of the arrays. A Python float in it would be a double, and one double
makes all of a formula double; where that is meant, the formula says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .device import BLOCK, blocks_for, cuda, device_function, index, kernel, launch

PER_THREAD = 4


def map1(formula: Callable[..., Any]) -> Any:
    """Return the kernel (x[n], y[n]) of y = formula(x); y may be x."""
    f = device_function(formula)

    def apply(x, y):
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        xs = cuda.local.array(PER_THREAD, x.dtype)
        for k in range(PER_THREAD):
            if first + k * BLOCK < x.size:
                xs[k] = x[index(first + k * BLOCK)]
        for k in range(PER_THREAD):
            if first + k * BLOCK < x.size:
                y[index(first + k * BLOCK)] = f(xs[k])

    return kernel(_named(apply, formula))


def map2(formula: Callable[..., Any]) -> Any:
    """Return the kernel (a[n], b[n], y[n], *scalars) of y = formula(a, b); y may be a or b."""
    f = device_function(formula)

    def apply(a, b, y):
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        as_ = cuda.local.array(PER_THREAD, a.dtype)
        bs = cuda.local.array(PER_THREAD, b.dtype)
        for k in range(PER_THREAD):
            if first + k * BLOCK < a.size:
                as_[k] = a[index(first + k * BLOCK)]
                bs[k] = b[index(first + k * BLOCK)]
        for k in range(PER_THREAD):
            if first + k * BLOCK < a.size:
                y[index(first + k * BLOCK)] = f(as_[k], bs[k])

    return kernel(_named(apply, formula))


def update(formula: Callable[..., Any]) -> Any:
    """Return the kernel (theta[n], g[n], scalars) of theta = formula(theta, g, scalars)."""
    f = device_function(formula)

    def apply(theta, g, scalars):
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        thetas = cuda.local.array(PER_THREAD, theta.dtype)
        gs = cuda.local.array(PER_THREAD, theta.dtype)
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                thetas[k], gs[k] = theta[index(i)], g[index(i)]
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                theta[index(i)] = f(thetas[k], gs[k], scalars)

    return kernel(_named(apply, formula))


def update1(formula: Callable[..., Any]) -> Any:
    """Return the kernel (theta[n], g[n], u[n], scalars) of theta, u = formula(theta, g, u, scalars)."""
    f = device_function(formula)

    def apply(theta, g, u, scalars):
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        thetas = cuda.local.array(PER_THREAD, theta.dtype)
        gs = cuda.local.array(PER_THREAD, theta.dtype)
        us = cuda.local.array(PER_THREAD, theta.dtype)
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                thetas[k], gs[k], us[k] = theta[index(i)], g[index(i)], u[index(i)]
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                theta[index(i)], u[index(i)] = f(thetas[k], gs[k], us[k], scalars)

    return kernel(_named(apply, formula))


def update2(formula: Callable[..., Any]) -> Any:
    """Return the kernel (theta[n], g[n], u[n], v[n], scalars) of theta, u, v = formula(theta, g, u, v, scalars)."""
    f = device_function(formula)

    def apply(theta, g, u, v, scalars):
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        thetas = cuda.local.array(PER_THREAD, theta.dtype)
        gs = cuda.local.array(PER_THREAD, theta.dtype)
        us = cuda.local.array(PER_THREAD, theta.dtype)
        vs = cuda.local.array(PER_THREAD, theta.dtype)
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                thetas[k], gs[k], us[k], vs[k] = theta[index(i)], g[index(i)], u[index(i)], v[index(i)]
        for k in range(PER_THREAD):
            i = first + k * BLOCK
            if i < theta.size:
                theta[index(i)], u[index(i)], v[index(i)] = f(thetas[k], gs[k], us[k], vs[k], scalars)

    return kernel(_named(apply, formula))


def _named(function: Callable[..., Any], formula: Callable[..., Any]) -> Callable[..., Any]:
    """Give `function` the name of its formula, by which profilers and tables know the kernel."""
    function.__name__, function.__qualname__ = formula.__name__, formula.__qualname__
    function.__module__ = formula.__module__
    return function


def run(mapping: Any, *arguments: Any) -> None:
    """Launch a kernel of this file on contiguous arrays of one shape, and what follows them."""
    arrays = [flat(a) if hasattr(a, "ndim") and a.ndim else a for a in arguments]
    launch(mapping, blocks_for(arrays[0].size, PER_THREAD * BLOCK), BLOCK, *arrays)


def flat(x: Any) -> Any:
    """Return a contiguous device array as a vector, without a copy."""
    return x if x.ndim == 1 else x.reshape(x.size)
