"""Data sets: the embedded digits, IDX folders, binary CIFAR-10, .npz files, arrays; splits and batches."""

from refplay.data.batches import batch_indices, evaluation_batches
from refplay.data.dataset import Dataset, Split, from_arrays
from refplay.data.gathering import Batch, Gather, make_gather, prefetching
from refplay.data.loading import load_dataset

__all__ = ["Batch", "Dataset", "Gather", "Split", "batch_indices", "evaluation_batches", "from_arrays", "load_dataset",
           "make_gather", "prefetching"]
