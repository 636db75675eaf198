"""Lists of what carries gradient: (offset, factor) of the winners of windows, for `block_sums` to run down.

By channel, over the windows of an image; and by place in the window, over the channels. Dead windows are left out.
"""

from __future__ import annotations

from llvmlite import ir

from .simd import LANES, Emitter, Value, emit
from .wide import bits, fold

DEAD = 255  # the winner of a window whose maximum is not above 0
_F32, _I8, _I16, _I32, _I64 = ir.FloatType(), *(ir.IntType(size) for size in (8, 16, 32, 64))
_FLOATS, _INTS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)


@emit
def list_windows(
    e: Emitter, window: int, winners: Value, dp: Value, K: Value, windows: Value, places: Value, pixel_step: Value,
    line_step: Value, channels: Value, offsets: Value, factors: Value, row: Value, counts: Value, bias: Value,
) -> None:  # fmt: skip
    """For each of the LANES channels list its live windows: the offset of the winner's patch, and its gradient.

    Windows are read LANES at a time, as a matrix of windows by channels, and transposed; `places` has the offset of the
    patch of each window's first pixel, int32.
    """
    inside = e.first(channels)
    corners = [e.splat(pixel_step * s + line_step * r) for r in range(window) for s in range(window)]

    def read(i: Value) -> tuple[Value, Value, Value]:
        """Return offset, gradient and liveness of the i-th window of all channels; dead past the last."""
        mask = inside & e.all_if(i < windows)
        winner, value = load_winners(e, winners + K * i, mask), e.load(dp + K * i * 4, mask)
        offset = e.splat(Value(e, e._load(places + i * 4, _I32).v))
        for place, corner in enumerate(corners):
            offset = e.where(winner.equals(e.ints(place)), offset + corner, offset)
        alive = mask & (winner < DEAD)
        return e.where(alive, offset, e.ints(-1)), value, alive

    def list_block(block: Value, *state: Value) -> list[Value]:
        (total_bias, *many), rows = state, []
        for i in range(LANES):
            offset, value, alive = read(block * LANES + i)
            total_bias = total_bias + e.where(alive, value, e.vector(0))
            rows.append((offset, value))
        turned = e.transpose([bits(e, offset, _FLOATS) for offset, _ in rows])
        values = e.transpose([value for _, value in rows])
        for k in range(LANES):
            offset = bits(e, turned[k], _INTS)
            at = row * k + many[k] * 4
            many[k] = many[k] + _append(e, [(offset, offsets + at), (values[k], factors + at)], offset > -1)
        return [total_bias, *many]

    blocks_of_windows = (windows + (LANES - 1)) // LANES
    total_bias, *many = e.loop(blocks_of_windows, [e.load(bias), *[e.whole(0)] * LANES], list_block)
    e.store(total_bias, bias)
    for k in range(LANES):
        e.store(many[k], counts + 8 * k)


@emit
def list_channels(
    e: Emitter, window: int, winners: Value, dp: Value, windows: Value, K: Value, filter_bytes: Value, offsets: Value,
    factors: Value, counts: Value,
) -> None:  # fmt: skip
    """For window after window, and each place in it, list the channels that it won: the filter's offset, the gradient.

    The lists lie one behind the other; `counts` has their lengths, int64.
    """
    places = window * window

    def list_window(i: Value, end: Value) -> list[Value]:
        for z in range(places):
            def list_vector(at: Value, mask: Value | None, end: Value, z: int = z) -> list[Value]:
                winner, value = load_winners(e, winners + K * i + at // 4, mask), e.load(dp + K * i * 4 + at, mask)
                offset = (_lanes(e) + e.splat(at // 4)) * e.splat(filter_bytes)
                here = winner.equals(e.ints(z)) & (e.past(0) if mask is None else mask)
                many = _append(e, [(offset, offsets + end), (value, factors + end)], here)
                return [end + many * 4]

            begin = end
            (end,) = fold(e, K, [begin], list_vector)
            e.store((end - begin) // 4, counts + (i * places + z) * 8)
        return [end]

    e.loop(windows, [e.whole(0)], list_window)


def _lanes(e: Emitter) -> Value:
    """Return 0, 1, 2, ..."""
    return Value(e, ir.Constant(_INTS, list(range(LANES))))


def load_winners(e: Emitter, address: Value, mask: Value | None) -> Value:
    """Return the bytes at `address` as a vector of int32; 0 outside of the mask."""
    loaded = e._load(address, ir.VectorType(_I8, LANES), mask)
    return Value(e, e.b.zext(loaded.v, _INTS))


def _append(e: Emitter, columns: list[tuple[Value, Value]], mask: Value) -> Value:
    """Store the lanes of each vector that are in the mask, side by side at its address; return how many there are.

    With AVX-512 a vector is compressed in a register and stored whole, garbage behind the list; else each lane is
    stored at the place where the list then ends.
    """
    if LANES == 16:
        for vector, address in columns:
            kind = vector.v.type
            zero = ir.Constant(kind, [0] * LANES)
            name = f"llvm.x86.avx512.mask.compress.v16{'i32' if kind.element == _I32 else 'f32'}"
            e.store(Value(e, e._call(name, kind, vector.v, zero, mask.v)), address)
        return Value(e, e.b.zext(e._call("llvm.ctpop.i16", _I16, e.b.bitcast(mask.v, _I16)), _I64))
    many = e.whole(0)
    for lane in range(LANES):
        for vector, address in columns:
            one = Value(e, e.b.extract_element(vector.v, _I32(lane)))
            e.store(one, address + many * 4)
        many = many + Value(e, e.b.zext(e.b.extract_element(mask.v, _I32(lane)), _I64))
    return many
