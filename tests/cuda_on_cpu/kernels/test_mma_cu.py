"""mma.cuh on the CPU: the fragments are those of the PTX ISA, and numbers are rounded as the instructions round."""

from pathlib import Path

import numpy as np
import pytest

from cuda_on_cpu.launch import load

LANE = np.arange(32)
GROUP, IN_GROUP = LANE >> 2, LANE % 4  # "groupID" and "threadID_in_group" of the PTX ISA


def launch(name: str, *arguments: object) -> None:
    load(Path(__file__).with_name("mma.cu")).get_function(name)((1,), (32,), arguments)


def elements_of_a(halves: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of a's elements a_0, a_1, ... for each lane: PTX ISA, "Matrix Fragments for mma.m16n8k8"
    (tf32: halves = 1) and "... mma.m16n8k16 with floating point type" (bf16: halves = 2)."""
    i = np.arange(4 * halves)
    if halves == 1:  # row: groupID for a0 and a2, else groupID + 8; col: threadID_in_group for a0, a1, else + 4
        return GROUP[:, None] + 8 * (i % 2), IN_GROUP[:, None] + 4 * (i // 2)
    low = (i < 2) | ((i >= 4) & (i < 6))  # row: groupID for 0 <= i < 2 or 4 <= i < 6, else groupID + 8
    return GROUP[:, None] + np.where(low, 0, 8), IN_GROUP[:, None] * 2 + (i & 1) + np.where(i < 4, 0, 8)


def elements_of_b(halves: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(2 * halves)
    if halves == 1:
        return IN_GROUP[:, None] + 4 * i, GROUP[:, None] + 0 * i
    return IN_GROUP[:, None] * 2 + (i & 1) + np.where(i < 2, 0, 8), GROUP[:, None] + 0 * i


def elements_of_c() -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(4)
    return GROUP[:, None] + np.where(i < 2, 0, 8), IN_GROUP[:, None] * 2 + (i & 1)


def of_strides(rows: int, lanes: tuple[int, int], values: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the elements that a lane holds, as CUTLASS writes such layouts down.

    An element's place in the matrix, column by column, is a sum of strides: two for the lane, whose first digit has
    four values, and one for each bit of the element's number, the lowest first.
    """
    place = (lanes[0] * IN_GROUP + lanes[1] * GROUP)[:, None]
    for bit, stride in enumerate(values):
        place = place + stride * (np.arange(2 ** len(values)) >> bit & 1)
    return place % rows, place // rows


def test_the_fragments_are_those_of_cutlass() -> None:
    """A second source for what no CPU can show: strides of cute/atom/mma_traits_sm80.hpp, b given as (n, k) there."""
    for halves, a, b_lanes, b in [(1, (8, 64), (8, 1), (32,)), (2, (16, 8, 128), (16, 1), (8, 64))]:
        np.testing.assert_array_equal(elements_of_a(halves), of_strides(16, (16 * halves, 1), a))
        np.testing.assert_array_equal(elements_of_b(halves)[::-1], of_strides(8, b_lanes, b))
    np.testing.assert_array_equal(elements_of_c(), of_strides(16, (32, 1), (16, 8)))


def packed(values: np.ndarray, halves: int) -> np.ndarray:
    """Return registers: the bits of a float32, or the upper halves of two, the first one lower."""
    bits = values.astype(np.float32).view(np.uint32)
    return bits if halves == 1 else np.ascontiguousarray(bits[:, 0::2] >> 16 | bits[:, 1::2])


@pytest.mark.parametrize(("kernel", "halves"), [("multiply_tf32", 1), ("multiply_bf16", 2)])
def test_a_product_of_fragments(kernel: str, halves: int) -> None:
    """Small whole numbers are exact in every precision, and so are their sums."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(-9, 10, (16, 8 * halves)), rng.integers(-9, 10, (8 * halves, 8))
    c = rng.integers(-9, 10, (16, 8)).astype(np.float32)
    fragments = np.ascontiguousarray(c[elements_of_c()])
    a_bits, b_bits = packed(a[elements_of_a(halves)], halves), packed(b[elements_of_b(halves)], halves)
    launch(kernel, a_bits, b_bits, fragments)
    np.testing.assert_array_equal(fragments, (a @ b + c)[elements_of_c()])


def test_four_matrices() -> None:
    """ldmatrix.x4: lane 8 i + r points at row r of matrix i; a lane gets elements 2 (lane % 4).. of row lane / 4."""
    x = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    out = np.zeros((32, 4), np.uint32)
    launch("four_matrices", x, out)
    pairs = x.astype(np.uint32)[:, :, 0::2] | x.astype(np.uint32)[:, :, 1::2] << 16
    np.testing.assert_array_equal(out, pairs[:, GROUP, IN_GROUP].T)


def numbers() -> np.ndarray:
    rng = np.random.default_rng(2)
    ties = (np.arange(1 << 10, 1 << 12) / 4096 + 0.0).astype(np.float32)
    close = np.array([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11 - 2**-23, 1 + 2**-8 + 2**-23])
    spread = rng.standard_normal(2000) * 10.0 ** rng.uniform(-30, 30, 2000)
    x = np.concatenate([ties, close, spread, [0.0, 3.4028234e38]]).astype(np.float32)
    return np.concatenate([x, -x])


def test_rounding_to_tf32() -> None:
    """To 11 significant bits, half a unit away from zero; a mantissa of frexp lies in [1/2, 1)."""
    x = numbers()
    out = np.zeros(x.size, np.uint32)
    launch("round_tf32", x, out, x.size)
    mantissa, exponent = np.frexp(x.astype(float))
    expected = np.ldexp(np.copysign(np.floor(abs(mantissa) * 2**11 + 0.5), mantissa), exponent - 11)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out.view(np.float32), expected.astype(np.float32))


def test_rounding_to_bf16() -> None:
    """To 8 significant bits, half a unit to the even neighbour."""
    x = numbers()
    out = np.zeros(x.size // 2, np.uint32)
    launch("round_bf16", x, out, out.size)
    both = np.stack([out << 16, out & 0xFFFF0000], axis=1).ravel().view(np.float32)
    mantissa, exponent = np.frexp(x.astype(float))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(both, np.ldexp(np.round(mantissa * 2**8), exponent - 8).astype(np.float32))


@pytest.mark.parametrize("kernel", ["round_tf32", "round_bf16"])
def test_what_is_no_number_stays_so(kernel: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, np.uint32(0x7F800001).view(np.float32)], np.float32)
    out = np.zeros(4, np.uint32)
    launch(kernel, x, out, 4 if kernel == "round_tf32" else 2)
    if kernel == "round_bf16":
        out = np.stack([out[:2] << 16, out[:2] & 0xFFFF0000], axis=1).ravel()
    values = out.view(np.float32)
    np.testing.assert_array_equal(values, [np.inf, -np.inf, np.nan, np.nan])
