"""The Halton sequence: held for ever by golden values, equal to its equation in fractions, the same on every path."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from refplay.errors import InputError
from refplay.search import Choice, Integer, Space, halton, suggest
from refplay.search.halton import (
    MAX_INDEX,
    digit_count,
    digit_permutations,
    digit_weights,
    fill_compiled,
    fill_plain,
    primes,
)

GOLDEN = [  # halton(2, 8, seed=12, start=5)
    ["0x1.2d15ac98eeb52p-1", "0x1.e85ac56413f45p-1", "0x1.39ddccd068158p-1", "0x1.5a498b17f9e8bp-1",
     "0x1.e25f9c9fde0a2p-2", "0x1.45f47722f9c38p-2", "0x1.79839ef047c5cp-4", "0x1.b2facaa07dddfp-1"],
    ["0x1.5a2b5931dd6a4p-2", "0x1.09f29ce7bc142p-4", "0x1.b444000e6d22bp-3", "0x1.9000cd0b61884p-2",
     "0x1.7cd2b70a1d90bp-1", "0x1.50d53d0adfd5cp-3", "0x1.11255bfeada9bp-5", "0x1.114ba234b3c30p-1"],
]


def test_golden_values():
    assert [[x.hex() for x in row] for row in halton(2, 8, seed=12, start=5).tolist()] == GOLDEN
    far = halton(1, 3, seed=0, start=10**9)
    assert [x.hex() for x in far[0].tolist()] == [
        "0x1.4cc0104fd4d93p-1", "0x1.79a3cf059b523p-1", "0x1.49f61591f5c61p-1"]


def test_golden_digest_of_all_columns():
    points = np.ascontiguousarray(halton(1000, 100, seed=2024), "<f8")
    digest = hashlib.sha256(points.tobytes()).hexdigest()
    assert digest == "d9d331a97d7f35ad4bb7b53db6b91761318b896e9419e10e53dda5e2feda3062"


def test_the_random_words_are_those_of_the_published_generator():
    # Random123's known-answer test "philox4x64 10", counter and key zero. NumPy counts up before it draws.
    words = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
    assert [hex(int(word)) for word in words] == ["0x16554d9eca36314c", "0xdb20fe9d672d0fdc", "0xd7e772cee186176b",
                                                  "0x7e68b68aec7ba23b"]


@pytest.mark.parametrize("column", [0, 1, 2, 5, 24, 99])
def test_equals_the_equation_in_exact_fractions(column):
    base = primes()[column]
    permutations = digit_permutations(base, 3).tolist()
    for index, value in enumerate(halton(50, column + 1, seed=3, start=10**6)[:, column].tolist(), start=10**6):
        digits = [index // base**k % base for k in range(digit_count(base))]
        exact = sum(Fraction(permutations[k][digit], base ** (k + 1)) for k, digit in enumerate(digits))
        assert value == float(exact)


def test_equals_scipy_where_no_digit_is_moved():
    peer = qmc.Halton(30, scramble=False).random(200)
    for column, base in enumerate(primes()[:30]):
        own = np.empty(200)
        fill_plain(own, 0, *digit_weights(np.tile(np.arange(base), (digit_count(base), 1))))
        # SciPy adds a rounded term for each of at most 8 digits; refplay rounds once.
        assert np.abs(own - peer[:, column]).max() <= 8 * np.finfo(float).eps


@pytest.mark.parametrize("column", [0, 3, 40])
def test_permutations_are_permutations_and_differ_from_place_to_place(column):
    base = primes()[column]
    permutations = digit_permutations(base, 8)
    assert permutations.shape == (digit_count(base), base)
    assert (np.sort(permutations, axis=1) == np.arange(base)).all()
    assert len(np.unique(permutations, axis=0)) > 1


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 300), column=st.integers(0, 99), seed=st.integers(0, 2**64),
       start=st.integers(0, MAX_INDEX - 300))
def test_compiled_equals_plain_to_the_last_bit(n, column, seed, start):
    weights, whole = digit_weights(digit_permutations(primes()[column], seed))
    plain, compiled = np.empty(n), np.empty(n)
    fill_plain(plain, start, weights, whole)
    fill_compiled()(compiled, start, weights, whole)
    assert plain.tobytes() == compiled.tobytes()


def test_bulk_is_the_same_sequence():
    bulk = halton(200_001, 10, seed=5)  # beyond the size at which the compiled version takes over
    assert np.array_equal(bulk[199_000:199_500], halton(500, 10, seed=5, start=199_000))


@given(n=st.integers(1, 60), d=st.integers(1, 12), seed=st.integers(0, 2**63), start=st.integers(0, 10**6),
       data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_coordinate_depends_on_seed_row_and_column_only(n, d, seed, start, data):
    points = halton(n, d, seed, start)
    row = data.draw(st.integers(0, n - 1))
    fewer = data.draw(st.integers(1, d))
    assert np.array_equal(halton(1, fewer, seed, start + row)[0], points[row, :fewer])


def test_seeds_and_columns_differ():
    points = [halton(20, 3, seed).T.tolist() for seed in range(5)]
    columns = [tuple(column) for sample in points for column in sample]
    assert len(set(columns)) == len(columns)


@pytest.mark.parametrize(("column", "digits"), [(0, 1), (0, 7), (1, 4), (2, 3), (9, 2)])
@pytest.mark.parametrize("run", [0, 1, 6])
def test_every_aligned_run_has_one_point_in_each_cell(column, digits, run):
    cells = primes()[column] ** digits
    points = halton(cells, column + 1, seed=11, start=run * cells)[:, column]
    assert np.array_equal(np.sort(np.floor(points * cells)), np.arange(cells))


def test_every_base_has_digits_for_every_index():
    assert len(primes()) == 100
    assert primes()[-1] == 541
    for base in primes():
        assert MAX_INDEX < base ** digit_count(base) <= 2**53


def test_shape_type_and_range():
    points = halton(1000, 100, seed=1)
    assert points.shape == (1000, 100)
    assert points.dtype == np.float64
    assert points.min() >= 0
    assert points.max() < 1
    assert halton(0, 3, seed=1).shape == (0, 3)
    assert halton(4, 0, seed=1).shape == (4, 0)


def test_the_largest_point_stays_below_one():
    base = 2
    largest = np.tile([1, 0], (digit_count(base), 1))  # every digit 0 becomes 1: 0.111...
    column = np.empty(1)
    fill_plain(column, 0, *digit_weights(largest))
    assert column[0] == 1 - 2.0**-53


@pytest.mark.parametrize(("arguments", "message"), [
    ((10, 101, 0), "101 dimensions"),
    ((-1, 2, 0), "at least 0"),
    ((5, 2, -3), "at least 0"),
    ((5, 2, 0, -1), "at least 0"),
    ((5, 2, 0, MAX_INDEX - 4), "there are 1099511627776"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        halton(*arguments)


def test_integers_and_choices_are_tried_equally_often():
    space = Space(layers=Integer(1, 8), norm=Choice(["batch", "layer", "none"]), width=Integer(-2, 2))
    trials = suggest(space, 8 * 3 * 25, "halton", seed=4)  # a multiple of 8 in base 2, of 3 in base 3, of 5 in base 5
    for name, values in [("layers", range(1, 9)), ("norm", ["batch", "layer", "none"]), ("width", range(-2, 3))]:
        counts = [sum(trial[name] == value for trial in trials) for value in values]
        assert counts == [len(trials) // len(counts)] * len(counts), name
