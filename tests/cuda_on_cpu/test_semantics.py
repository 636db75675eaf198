"""The runtime against the CUDA C++ Programming Guide, in closed forms: what a kernel sees, and what it gets back."""

from pathlib import Path

import numpy as np
import pytest

from cuda_on_cpu.launch import KernelFault, load

i32 = np.int32
LANES = np.arange(32)


def launch(name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: object, **options: object) -> None:
    load(Path(__file__).with_name("semantics.cu")).get_function(name)(grid, block, args, **options)  # type: ignore[arg-type]


def test_indices_in_three_dimensions() -> None:
    grid, block = (3, 2, 4), (5, 3, 2)
    out = np.full((8, 6, 15), -1, i32)
    launch("indices", grid, block, out, i32(15), i32(6))
    z, y, x = np.indices(out.shape)
    rank = x % 5 + 5 * (y % 3 + 3 * (z % 2))
    np.testing.assert_array_equal(out, rank + 1000 * (x // 5 + 3 * (y // 3 + 2 * (z // 2))))


@pytest.mark.parametrize("width", [1, 2, 8, 32])
@pytest.mark.parametrize("by", [0, 1, 3, 8, 31])
def test_shuffles(by: int, width: int) -> None:
    """`width` makes sections; up and down keep their own value at the ends: xor reads earlier sections only."""
    out = np.zeros((4, 32), i32)
    launch("shuffles", (1,), (32,), out, i32(by), i32(width))
    first, within = LANES // width * width, LANES % width
    np.testing.assert_array_equal(out[0], 100 + first + by % width)
    np.testing.assert_array_equal(out[1], 100 + np.where(within >= by, LANES - by, LANES))
    np.testing.assert_array_equal(out[2], 100 + np.where(within + by < width, LANES + by, LANES))
    np.testing.assert_array_equal(out[3], 100 + np.where((LANES ^ by) < first + width, LANES ^ by, LANES))


def test_half_warps_shuffle_apart() -> None:
    out = np.zeros(32)
    launch("half_warps", (1,), (32,), out)
    np.testing.assert_array_equal(out[:16], 0.5 + (LANES[:16] ^ 15))
    np.testing.assert_array_equal(out[16:], 0.25 + (LANES[16:] ^ 1))


def test_lanes_that_have_returned_are_not_waited_for() -> None:
    out = np.zeros(32, i32)
    launch("after_return", (1,), (32,), out, i32(21))
    np.testing.assert_array_equal(out, np.where(LANES < 21, 11, 0))


@pytest.mark.parametrize("true", [[], [5], [40, 41, 63], range(64)])
def test_votes(true: list[int]) -> None:
    predicate = np.zeros(64, i32)
    predicate[list(true)] = 3
    out = np.zeros((6, 64), i32)
    launch("votes", (1,), (64,), predicate, out)
    warps = (predicate != 0).reshape(2, 32)
    ballots = [sum(int(p) << lane for lane, p in enumerate(warp)) for warp in warps]
    np.testing.assert_array_equal(out[0].view(np.uint32), np.repeat(ballots, 32))
    np.testing.assert_array_equal(out[1], np.repeat(warps.any(1), 32))
    np.testing.assert_array_equal(out[2], np.repeat(warps.all(1), 32))
    np.testing.assert_array_equal(out[3], warps.sum())
    np.testing.assert_array_equal(out[4], warps.any())
    np.testing.assert_array_equal(out[5], warps.all())


@pytest.mark.parametrize("threads", [1, 2, 64, 1024])
def test_sums_in_dynamic_shared_memory(threads: int) -> None:
    x = np.random.default_rng(1).integers(-(2**40), 2**40, 2 * threads - threads // 3).astype(float)  # sums are exact
    sums = np.full(2, np.nan)
    launch("block_sums", (2,), (threads,), x, sums, i32(x.size), shared_mem=8 * threads)
    np.testing.assert_array_equal(sums, [x[:threads].sum(), x[threads:].sum()])


def test_shared_memory_of_templates() -> None:
    out = np.full(3, -1, i32)
    launch("arrays_of_templates", (1,), (1,), out)
    np.testing.assert_array_equal(out, [1, 0, 7])


def test_shared_memory_is_strange_at_the_start_of_every_block() -> None:
    values, words = np.zeros(24, np.float32), np.zeros(24, i32)
    launch("fresh_shared", (3,), (8,), values, words)
    assert np.isnan(values).all()
    np.testing.assert_array_equal(words, -1)


def test_atomics() -> None:
    i, u = np.array([0, 0, -1, 1, 0], i32), np.array([0, 0, 2**32 - 1, 0, 0, 0], np.uint32)
    l, d = np.zeros(1, np.uint64), np.zeros(1)
    n = 3 * 96
    launch("atomics", (3,), (96,), i, u, l, d)
    total = n * (n - 1) // 2
    np.testing.assert_array_equal(i, [total, -total, n - 1, 1 - n, 5])
    np.testing.assert_array_equal(u, [n % 10, (10 - n) % 10, 0, 2**32 - 1, 2**32 - 1, n - 1])  # each bit 9 times
    assert (l[0], d[0]) == (n << 33, n)


def test_largest_by_compare_and_swap() -> None:
    x = np.random.default_rng(2).standard_normal(300).astype(np.float32)
    result = np.full(1, -3.0e38, np.float32)
    launch("largest", (5,), (64,), x, result, i32(x.size))
    assert result[0] == x.max()


def test_bit_functions() -> None:
    a = np.array([0, 1, 0x80000000, 0xFFFFFFFF, 0x00F01234, 0x7FC00001], np.uint32)
    b = np.array([7, 0xFFFFFFFF, 2, 0xFFFFFFFF, 0x9E3779B9, 0xD2511F53], np.uint32)
    out = np.zeros((7, a.size), np.uint32)
    launch("bit_functions", (1,), (1,), a, b, out, i32(a.size))
    words = [f"{int(word):032b}" for word in a]
    np.testing.assert_array_equal(out[0], [int(p) * int(q) >> 32 for p, q in zip(a, b, strict=True)])
    np.testing.assert_array_equal(out[1], [word.count("1") for word in words])
    np.testing.assert_array_equal(out[2], [(word + "1").index("1") for word in words])
    np.testing.assert_array_equal(out[3], [word[::-1].find("1") + 1 for word in words])
    np.testing.assert_array_equal(out[4], [int(word[::-1], 2) for word in words])
    np.testing.assert_array_equal(out[5], a)
    signed = [(int(p) * int(q)) >> 32 for p, q in zip(a.view(i32), b.view(i32), strict=True)]
    np.testing.assert_array_equal(out[6].view(i32), signed)


def test_float_functions() -> None:
    rng = np.random.default_rng(3)
    a = rng.uniform(0.1, 40, 50).astype(np.float32)
    b, c = rng.standard_normal((2, 50)).astype(np.float32)
    out = np.zeros((8, 50), np.float32)
    launch("float_functions", (1,), (1,), a, b, c, out, i32(50))
    exact_product = a.astype(float) * b  # fits a double
    np.testing.assert_array_equal(out[0], (exact_product + c).astype(np.float32))
    np.testing.assert_array_equal(out[1], a * b + c)  # two roundings: nothing is fused that the source does not fuse
    np.testing.assert_array_equal(out[2], 1 / a)
    u = 2.0**-24
    np.testing.assert_allclose(out[3], 1 / np.sqrt(a.astype(float)), rtol=u)
    # The product with log2(e) is rounded, and so is log2(e): an error of 2 u |a| log2(e) ln 2 in the exponent.
    np.testing.assert_allclose(out[4], np.exp(a.astype(float)), rtol=2 * u * 40 + 4 * u)
    np.testing.assert_allclose(out[5], np.log(a.astype(float)), rtol=4 * u)
    np.testing.assert_array_equal(out[6], np.clip(b, 0, 1))
    np.testing.assert_array_equal(out[7], np.maximum(a, b))


def test_gather() -> None:
    out = np.zeros(64, np.float32)
    launch("gather", (1,), (64,), out)
    other = np.where(LANES < 8, 7 - LANES, 39 - LANES)
    np.testing.assert_array_equal(out, 10 * np.concatenate([other, 32 + other]) + 2)


def test_copies_arrive_in_groups_when_they_are_waited_for() -> None:
    out = np.zeros((4, 12), np.float32)
    launch("copies", (1,), (1,), np.arange(1, 9, dtype=np.float32), out)  # the third is outside: it reads nothing
    arrived = np.array([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0], np.float32)
    for waits in range(4):
        np.testing.assert_array_equal(out[waits], np.where(np.arange(12) < 4 * waits, arrived, np.nan))


def test_subnormal_numbers_are_kept() -> None:
    x = np.full(1, np.finfo(np.float32).tiny, np.float32)
    launch("half", (1,), (1,), x)
    assert x[0] == np.finfo(np.float32).tiny / 2


def test_arguments_of_every_type() -> None:
    out = np.zeros(9)
    launch("every_type", (1,), (1,), np.float32(0.1), 0.1, i32(-3), np.uint32(2**32 - 1), -(2**40), True, np.uint8(255),
           np.uint16(65535), None, out)  # fmt: skip
    np.testing.assert_array_equal(out, [np.float32(0.1), 0.1, -3, 2**32 - 1, -(2**40), 1, 255, 65535, 1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.zeros(1), np.float32(1)), "takes 1 arguments"),
        ((np.zeros(1),), "argument 0 is f4\\*, got an array of float64"),
        ((np.zeros((4, 4), np.float32)[:, ::2],), "not contiguous"),
        ((np.frombuffer(bytes(8), np.float32),), "read-only"),
        (([1.0],), "got \\[1.0\\]"),
    ],
)
def test_wrong_arguments(args: tuple[object, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        launch("half", (1,), (1,), *args)


def test_python_numbers_are_what_cupy_passes() -> None:
    """CuPy passes a Python float as a double: to a float parameter it would be four of its bytes."""
    out = np.zeros(3, i32)
    with pytest.raises(TypeError, match="argument 1 is i4, got 2, which CuPy passes as i8"):
        launch("after_return", (1,), (32,), out, 2)


@pytest.mark.parametrize(
    ("grid", "block", "options"),
    [((0,), (1,), {}), ((1,), (1025,), {}), ((1, 65536), (1,), {}), ((1,), (1, 1, 65), {}), ((1,), (32, 33), {}),
     ((1,), (1,), {"shared_mem": 49153})],
)  # fmt: skip
def test_launches_that_no_gpu_takes(grid: tuple[int, ...], block: tuple[int, ...], options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="half: "):
        launch("half", grid, block, np.zeros(1, np.float32), **options)


def test_blocks_within_their_launch_bounds() -> None:
    x = np.zeros(200, np.float32)
    launch("bounded", (1,), (128,), x)
    with pytest.raises(ValueError, match="blocks of 129 threads; at most 128 were promised"):
        launch("bounded", (1,), (129,), x)
    np.testing.assert_array_equal(x, np.arange(200) < 128)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 70])
def test_arrays_lie_as_in_an_allocation_of_cupy(start: int) -> None:
    x, out = np.zeros(100, np.float32), np.zeros(2, np.int64)
    launch("addresses", (1,), (1,), x[start:], x[start + 2 :], out)  # they overlap: one piece of memory
    np.testing.assert_array_equal(out, [4 * start % 256, 8])


def test_orders() -> None:
    seen = {}
    for order in ("forward", "reverse", "random 1", "random 2"):
        position, counter = np.zeros((7, 40), i32), np.zeros(1, i32)
        launch("order_of_threads", (7,), (40,), position, counter, orders=(order,))
        assert sorted(position.ravel()) == list(range(280))
        seen[order] = position
    np.testing.assert_array_equal(seen["forward"].ravel(), np.arange(280))
    np.testing.assert_array_equal(seen["reverse"].ravel(), np.arange(280)[::-1])
    assert len({order.tobytes() for order in seen.values()}) == 4
    says = r"other bits than .forward. from value 0 of argument 0 on \(int32\[7, 40\]\)"
    with pytest.raises(KernelFault, match=says):
        launch("order_of_threads", (7,), (40,), np.zeros((7, 40), i32), np.zeros(1, i32), orders=("forward", "reverse"))


def test_stacks_of_threads() -> None:
    out = np.zeros(2, i32)
    launch("deep_stack", (2,), (256,), out, i32(1999))
    np.testing.assert_array_equal(out, 1999)


def test_an_assertion_stops_the_launch_and_nothing_is_written() -> None:
    out = np.zeros(1, i32)
    where = r"semantics.cu:\d+: thread \(0,0,0\) of block \(0,0,0\)"
    with pytest.raises(KernelFault, match=where + r": assertion failed: out\[0\] == 2"):
        launch("traps", (1,), (1,), out)
    assert out[0] == 0
