"""The same training step in other frameworks: what refplay's throughput is held against.

`make_peer_step` builds a network's model in PyTorch or JAX from its description, layer by layer, copies the network's
initial weights into it, and returns its training step: forward pass, mean cross-entropy, backward pass, update. Each
is written as a user of that framework would write it for speed:

- `"torch"`: PyTorch, eager, NCHW, with its fused optimizers where there are;
- `"torch-channels-last"`: the same with images and filters in the channels-last layout;
- `"torch-compile"`: the same as `"torch"` with model and loss compiled by `torch.compile` (needs a C++ compiler);
- `"jax"`: JAX, NHWC, the whole step under one `jit` that donates its buffers, with optax.

They run on the CPU, or on a GPU where refplay's backend does and the framework sees one; there they compute in float32
as refplay does, not in TensorFloat-32, and their data set lies in the GPU's memory, as refplay's does.

The frameworks are imported inside functions: an import of refplay imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from refplay.data import Gather, Split
from refplay.errors import InputError, missing_extra
from refplay.nn import Network
from refplay.optim import RULES
from refplay.procedures.machine import cores as cores  # the benches ask here
from refplay.procedures.machine import threads as kernel_threads

PeerStep = Callable[[Any, Any], Any]

PEERS: dict[str, tuple[str, ...]] = {  # name -> the packages that it needs
    "torch": ("torch",),
    "torch-channels-last": ("torch",),
    "torch-compile": ("torch",),
    "jax": ("jax", "optax"),
}


def check_peer(name: str) -> None:
    """Raise InputError where there is no such peer or a package that it needs is not installed; imports nothing."""
    if name not in PEERS:
        raise InputError(f"unknown peer {name!r}; choose one of {', '.join(PEERS)}")
    for package in PEERS[name]:
        if find_spec(package) is None:
            raise missing_extra(package, "peers")


def sees_gpu(name: str) -> bool:
    """Return whether a peer that is installed has a GPU to run on; imports it."""
    if name == "jax":
        from refplay.procedures.peers_jax import gpus

        return bool(gpus())
    import torch

    return bool(torch.cuda.is_available())


def make_peer_gather(name: str, split: Split, batch_size: int, seed: int, *, gpu: bool = True) -> Gather:
    """Return what gathers a peer's training batches from a data set that it keeps on its device.

    The batches are those of `refplay.data.make_gather`, as arrays of the framework. As in `DeviceBatches`, which
    refplay has on a device, the indices of many steps come there in one copy.
    """
    if name == "jax":
        from refplay.procedures.peers_jax import make_gather

        return make_gather(split, batch_size, seed, gpu)
    from refplay.procedures.peers_torch import make_gather as make_torch_gather

    return make_torch_gather(split, batch_size, seed, gpu)


def make_peer_step(
    name: str,
    network: Network,
    optimizer: str,
    batch_size: int,
    hyperparameters: Mapping[str, float] | None = None,
    *,
    learning_rate: float = 1e-3,
    threads: int | None = None,
    seed: int = 0,
    gpu: bool = False,
) -> PeerStep:
    """Return a function `step(x, labels) -> loss` that trains a peer's copy of `network` by one batch at each call.

    The first calls compile and warm up; leave them out of a measurement.

    Parameters
    ----------
    name : str
        A name of `PEERS`.
    network : Network
        Its model is rebuilt and its parameters, as they are now, are copied; it is not changed itself. The peer works
        in its dtype; JAX in float32 unless the caller has switched its 64-bit mode on.
    optimizer : str
        A name of `refplay.optim.RULES`. What the framework itself calls so: SGD, momentum and Nesterov are then the
        same equations as ours, RMSProp, Adam and NAdam differ in where epsilon stands and more (`refplay verify`).
    batch_size : int, 1 or more
        Examples of every batch.
    hyperparameters : mapping of str to float
        Of the rule, under refplay's names, without the learning rate; what is missing has refplay's default.
    learning_rate : float
        The same at every step.
    threads : int, optional
        Threads of the peer; None: as many as refplay's kernels run on. PyTorch takes any number; JAX takes as many as
        there are cores (limit those of the process, `taskset`, to give it fewer).
    seed : int
        Of the dropout masks, which differ from refplay's: the step does the same work, not the same numbers.
    gpu : bool
        Whether to run on a GPU; False: on the CPU, even where there is one.

    Of the function returned: x is float[B, ...], images NHWC, labels int64[B], in NumPy; on a GPU, both as they come
    from `make_peer_gather`. What it returns has the loss before the update as `float(loss)`; JAX, and PyTorch on a GPU,
    may still be at work until it is asked for.

    Raises
    ------
    InputError
        No such peer or rule, a package that is not installed, a layer that the peer has no counterpart for.
    MemoryError
        From the step too: the framework cannot allocate what it needs.
    """
    check_peer(name)
    if optimizer not in RULES:
        raise InputError(f"unknown update rule {optimizer!r}; choose one of {', '.join(RULES)}")
    chosen = {**RULES[optimizer].hyperparameters, **(hyperparameters or {})}
    threads = threads or kernel_threads()
    step: PeerStep
    if name == "jax":
        from refplay.procedures.peers_jax import make_step

        step = make_step(network, optimizer, chosen, learning_rate, seed, gpu)
    else:
        from refplay.procedures.peers_torch import make_step as make_torch_step

        variant = name.removeprefix("torch").removeprefix("-")
        step = make_torch_step(network, optimizer, batch_size, chosen, learning_rate, threads, seed, variant, gpu)
    return _with_memory_errors(step)


OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "allocate memory", "not enough memory", "CUDA out of memory")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is used up: Python's own, or both frameworks', a RuntimeError."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


def _with_memory_errors(step: PeerStep) -> PeerStep:
    """Say as Python does that memory is out."""

    def checked(x: Any, labels: Any) -> Any:
        try:
            return step(x, labels)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error).splitlines()[0]) from None
            raise

    return checked
