"""Models with explicit forward and backward passes over one parameter vector.

`mlp`, `convnet` and `resnet` describe a model; `Network` gives it parameters on a backend of `refplay.kernels`.
"""

from refplay.nn.families import FAMILIES, convnet, mlp, resnet
from refplay.nn.layer import Layer, Mode, Parameter, Place
from refplay.nn.layers import Activation, Conv2D, Dense, Dropout, Flatten, GlobalAveragePool, MaxPool2D, Residual
from refplay.nn.model import Model
from refplay.nn.network import Network
from refplay.nn.norm import BatchNorm, LayerNorm

__all__ = [
    "FAMILIES",
    "Activation",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "MaxPool2D",
    "Mode",
    "Model",
    "Network",
    "Parameter",
    "Place",
    "Residual",
    "convnet",
    "mlp",
    "resnet",
]
