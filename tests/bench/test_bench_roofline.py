"""bench/gpu_roofline.py: what a step must do and move, against counts by hand."""

import doctest

import gpu_roofline
import pytest
from gpu_roofline import Work, least_us, step_work
from workloads import MODELS


def test_the_example_of_its_docstring() -> None:
    assert doctest.testmod(gpu_roofline).failed == 0
    assert doctest.testmod(gpu_roofline).attempted > 0


def test_a_dense_network_has_three_products_a_layer_and_two_in_the_first() -> None:
    works = list(step_work(MODELS["mlp-256"](64), 64))
    inner = 2 * 64 * 256 * 256
    assert [work.operations for work in works] == [2 * 64 * 784 * 256] * 2 + [inner] * 3 + [2 * 64 * 256 * 10] * 3 + [0]
    assert works[2] == Work(inner, 4 * (64 * 256 + 256 * 256 + 256 + 64 * 256))
    assert works[4] == Work(inner, 4 * (64 * 256 + 256 * 256 + 64 * 256))  # of the input: without a bias
    assert works[-1].bytes == 4 * 7 * (784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10)


def test_a_convolution_multiplies_each_filter_at_each_pixel() -> None:
    first = next(step_work(MODELS["convnet"](8), 8))
    assert first == Work(2 * 8 * 28 * 28 * 9 * 32, 4 * (8 * 28 * 28 + 9 * 32 + 32 + 8 * 28 * 28 * 32))


def test_each_part_waits_for_arithmetic_or_for_memory() -> None:
    model, ceilings = MODELS["mlp-1024"](1), {"copy": 4000.0, "float32": 50.0}
    bytes_of_all = sum(work.bytes for work in step_work(model, 1))
    assert least_us(model, 1, ceilings) == pytest.approx(bytes_of_all / 4e12 * 1e6)  # a batch of 1 is all memory
    operations = sum(work.operations for work in step_work(model, 65536))
    update = list(step_work(model, 65536))[-1].bytes / 4e12 * 1e6
    arithmetic = operations / 50e12 * 1e6
    assert arithmetic + update < least_us(model, 65536, ceilings) < 1.02 * (arithmetic + update)  # the last layer waits
