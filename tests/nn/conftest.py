"""The reference backend, and one small model for every hyperparameter of the families."""

import pytest

from refplay import kernels
from refplay.kernels import Backend
from refplay.nn import Model, convnet, mlp, resnet

VECTOR, IMAGE, CLASSES = (5,), (5, 6, 2), 3


def small_models() -> dict[str, Model]:
    """Return models that together hold every kind of layer, activation, norm and residual form."""
    models = {
        "mlp-relu": mlp(VECTOR, CLASSES, depth=2, width=4),
        "mlp-of-images": mlp(IMAGE, CLASSES, depth=1, width=3, activation="tanh"),
        "mlp-gelu-layer": mlp(VECTOR, CLASSES, width=4, activation="gelu", normalization="layer", dropout=0.3),
        "convnet-tanh": convnet(IMAGE, CLASSES, width=3, activation="tanh", dropout=0.4),
        "convnet-batch": convnet(IMAGE, CLASSES, depth=1, width=3, normalization="batch", ghost_size=3),
        "convnet-layer": convnet(IMAGE, CLASSES, depth=1, width=3, activation="gelu", normalization="layer"),
    }
    for residual in ("none", "norm-inside", "norm-outside"):
        models[f"mlp-{residual}"] = mlp(
            VECTOR, CLASSES, depth=3, width=4, activation="tanh", normalization="batch", residual=residual, ghost_size=3
        )
        models[f"resnet-{residual}"] = resnet(
            IMAGE, CLASSES, depth=2, width=2, strides=(1, 2), residual=residual, ghost_size=3, dropout=0.2
        )
    return models


@pytest.fixture(params=sorted(small_models()))
def model(request: pytest.FixtureRequest) -> Model:
    return small_models()[request.param]


@pytest.fixture(scope="session")
def numpy_kernels() -> Backend:
    return kernels.load("numpy")
