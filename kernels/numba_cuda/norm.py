"""Batch and layer normalization; a file each."""

from .batch_norm import batch_norm_forward, batch_norm_inference
from .batch_norm_grad import batch_norm_backward
from .layer_norm import layer_norm_backward, layer_norm_forward

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "layer_norm_backward",
    "layer_norm_forward",
]
