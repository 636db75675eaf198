"""Lists of what carries gradient: (offset, factor) of the winners of windows, for `block_sums` to run down.

By channel, over the windows of an image; and by place in the window, over the channels. Dead windows are left out.
"""

from __future__ import annotations

from llvmlite import ir

from .simd import LANES, Emitter, Value, emit

DEAD = 255  # the winner of a window whose maximum is not above 0
_F32, _I8, _I16, _I32, _I64 = ir.FloatType(), *(ir.IntType(bits) for bits in (8, 16, 32, 64))


@emit
def list_windows(
    e: Emitter, window: int, winners: Value, dp: Value, K: Value, height: Value, width: Value, pixel_step: Value,
    line_step: Value, channels: Value, offsets: Value, factors: Value, row: Value, counts: Value, bias: Value,
) -> None:  # fmt: skip
    """For each of the LANES channels list its live windows: the offset of the winner's patch, and its gradient.

    Windows are read LANES at a time, as a matrix of windows by channels, and transposed.
    """
    inside = e.first(channels)
    corners = [e.splat(pixel_step * s + line_step * r) for r in range(window) for s in range(window)]
    total = height * width

    def read(i: Value) -> tuple[Value, Value, Value]:
        """Return offset, gradient and liveness of the i-th window of all channels; dead past the last."""
        mask = inside & e.all_if(i < total)
        winner, value = load_winners(e, winners + K * i, mask), e.load(dp + K * i * 4, mask)
        across = i - i / width * width
        offset = e.splat((i / width * line_step + across * pixel_step) * window)
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
        turned = e.transpose([_as_floats(e, offset) for offset, _ in rows])
        values = e.transpose([value for _, value in rows])
        for k in range(LANES):
            offset = _as_ints(e, turned[k])
            at = row * k + many[k] * 4
            many[k] = many[k] + _append(e, [(offset, offsets + at), (values[k], factors + at)], offset > -1)
        return [total_bias, *many]

    blocks_of_windows = (total + (LANES - 1)) / LANES
    total_bias, *many = e.loop(blocks_of_windows, [e.load(bias), *[e.whole(0)] * LANES], list_block)
    e.store(total_bias, bias)
    for k in range(LANES):
        e.store(many[k], counts + 8 * k)


@emit
def list_channels(
    e: Emitter, window: int, winners: Value, dp: Value, full: Value, rest: Value, filter_bytes: Value, offsets: Value,
    factors: Value, row: Value, counts: Value,
) -> None:  # fmt: skip
    """For each place in the window list the channels that it won: the offset of the filter, and the gradient."""
    places = range(window * window)

    def list_vector(at: Value, mask: Value | None, many: list[Value]) -> list[Value]:
        winner, value = load_winners(e, winners + at, mask), e.load(dp + at * 4, mask)
        lane = Value(e, ir.Constant(ir.VectorType(_I32, LANES), list(range(LANES))))
        offset = (lane + e.splat(at)) * e.splat(filter_bytes)
        new = []
        for z, before in zip(places, many, strict=True):
            here = winner.equals(e.ints(z))
            to = row * z + before * 4
            new.append(before + _append(e, [(offset, offsets + to), (value, factors + to)],
                                       here if mask is None else here & mask))
        return new

    many = e.loop(full, [e.whole(0)] * len(places), lambda j, *many: list_vector(j * LANES, None, list(many)))
    many = e.loop(e.min(rest, 1), many, lambda _, *many: list_vector(full * LANES, e.first(rest), list(many)))
    for z in places:
        e.store(many[z], counts + 8 * z)


def load_winners(e: Emitter, address: Value, mask: Value | None) -> Value:
    """Return the bytes at `address` as a vector of int32; 0 outside of the mask."""
    loaded = e._load(address, ir.VectorType(_I8, LANES), mask)
    return Value(e, e.b.zext(loaded.v, ir.VectorType(_I32, LANES)))


def _as_floats(e: Emitter, ints: Value) -> Value:
    """Return the bits of a vector of int32 as float32."""
    return Value(e, e.b.bitcast(ints.v, ir.VectorType(_F32, LANES)))


def _as_ints(e: Emitter, floats: Value) -> Value:
    return Value(e, e.b.bitcast(floats.v, ir.VectorType(_I32, LANES)))


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
        bits = e.b.bitcast(mask.v, _I16)
        return Value(e, e.b.zext(e._call("llvm.ctpop.i16", _I16, bits), _I64))
    many = e.whole(0)
    for lane in range(LANES):
        for vector, address in columns:
            one = Value(e, e.b.extract_element(vector.v, _I32(lane)))
            e.store(one, address + many * 4)
        many = many + Value(e, e.b.zext(e.b.extract_element(mask.v, _I32(lane)), _I64))
    return many
