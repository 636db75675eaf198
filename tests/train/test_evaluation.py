"""Loss and error of a set, against scikit-learn, for every evaluation batch size."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from refplay.data import Dataset, Split
from refplay.errors import InputError
from refplay.kernels import Backend, check
from refplay.nn import Network, convnet, mlp
from refplay.seeds import generator
from refplay.train import evaluate

SIZES = (1, 7, 64, 299, 300, 301, 1024)


def moved(network: Network) -> Network:
    """Return the network with statistics and norm parameters away from where they begin."""
    rng = generator(2)
    statistics = rng.uniform(0.5, 1.5, network.statistics.shape)
    network.assign(network.theta + 0.05 * rng.standard_normal(network.theta.shape), statistics)
    return network


@pytest.mark.parametrize("backend", ["numpy_kernels", "numba_kernels"])
@pytest.mark.parametrize("family", [mlp, convnet])
def test_no_batch_size_changes_loss_or_error(
    family: object, backend: str, digits: Dataset, request: pytest.FixtureRequest
) -> None:
    model = family((8, 8, 1), 10, width=8, normalization="batch", dropout=0.5)
    network = moved(Network(model, request.getfixturevalue(backend), seed=1))
    found = [evaluate(network, digits.valid, size) for size in SIZES]
    assert len({f.error for f in found}) == 1
    # A matrix product may round differently with its number of rows: the longest sum is 72 terms, over three layers.
    bound = 3 * 72 * np.finfo(np.float32).eps
    np.testing.assert_allclose([f.loss for f in found], found[0].loss, rtol=bound)


def test_loss_and_error_are_those_of_scikit_learn(digits: Dataset, numpy_kernels: Backend) -> None:
    network = moved(Network(mlp((8, 8, 1), 10, normalization="batch"), numpy_kernels, seed=1, dtype="float64"))
    x, y = digits.valid
    z = network.logits(x.astype(np.float64)).copy()
    p = np.exp(z - z.max(axis=1, keepdims=True))
    found = evaluate(network, digits.valid, batch_size=70)  # 300 = 4 x 70 + 20
    assert found.loss == pytest.approx(log_loss(y, p / p.sum(axis=1, keepdims=True)), rel=1e-12)
    assert found.error == pytest.approx(1 - accuracy_score(y, z.argmax(axis=1)), abs=1e-15)
    assert 0.5 < found.error < 1.0


def test_the_first_of_equal_logits_is_the_answer(digits: Dataset, numpy_kernels: Backend) -> None:
    network = Network(mlp((8, 8, 1), 10), numpy_kernels, seed=0)
    network.assign(np.zeros(network.theta.size), network.statistics)
    found = evaluate(network, digits.valid, 64)
    assert found.error == np.mean(digits.valid.y != 0)
    assert found.loss == pytest.approx(np.log(10), rel=2 * float(np.finfo(np.float32).eps))


def test_an_empty_set_and_a_batch_size_of_zero_are_refused(digits: Dataset, numpy_kernels: Backend) -> None:
    network = Network(mlp((8, 8, 1), 10), numpy_kernels, seed=0)
    with pytest.raises(InputError, match="empty"):
        evaluate(network, Split(digits.valid.x[:0], digits.valid.y[:0]))
    with pytest.raises(InputError, match="batch size 0"):
        evaluate(network, digits.valid, 0)


def test_kernels_get_no_read_only_arrays(
    digits: Dataset, numpy_kernels: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only array has a type of its own, for which Numba would compile the kernel a second time."""
    calls = []

    def record(signature: object, *arrays: np.ndarray | None) -> dict[str, int]:
        calls.append(all(a.flags.writeable for a in arrays if a is not None))
        return hold(signature, *arrays)

    hold = check.arrays
    monkeypatch.setattr(check, "arrays", record)
    x, y = (array.copy() for array in digits.valid)
    x.flags.writeable = y.flags.writeable = False
    network = Network(mlp((8, 8, 1), 10), numpy_kernels, seed=0)
    assert evaluate(network, Split(x, y), 128) == evaluate(network, digits.valid, 128)
    assert len(calls) == 2 * 3 * 6
    assert all(calls)
    assert not x.flags.writeable
