"""bench/gpu.py or gpu_steps.py as they run on a GPU, where there is none: python rehearsal.py gpu --backend cupy ...

Processes, clock, file of results and exit codes are the real ones. The device of the kernels is g++'s (a dry run's),
PyTorch's GPU is its CPU, and a graph of PyTorch is a loop. No figure of it means anything.
"""

import os
import sys
from pathlib import Path


def install():
    """Put the stand-ins in their places, in this process."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
    os.environ["REFPLAY_CUDA_ON_CPU"] = "1"
    import gpu
    import gpu_cases
    import gpu_clock
    import gpu_run
    import gpu_steps
    import torch

    import refplay.kernels.gpu
    from refplay.procedures import stopwatch

    real_load, real_arrays, real_graphs = gpu_run.load_backend, gpu_cases.Arrays.__init__, gpu_clock.graphs

    def load_backend(backend):
        gpu_run.is_dry = lambda backend: True  # the device is the one of a dry run
        try:
            return real_load(backend)
        finally:
            gpu_run.is_dry = lambda backend: False

    def graphs(ours, torch):
        def graph(name, call):
            if name.startswith("ours"):
                return real_graphs(ours, torch)(name, call)
            return lambda: [call() for _ in range(gpu_clock.REPLAYED)]

        return graph

    gpu_run.is_dry = gpu.is_dry = gpu_steps.is_dry = lambda backend: False
    refplay.kernels.gpu.missing = lambda found: ""
    gpu.load_backend = gpu_steps.load_backend = load_backend
    gpu.graphs = graphs
    gpu_cases.Arrays.__init__ = lambda self, kernels, torch, device: real_arrays(self, kernels, torch, "cpu")
    gpu_clock.BURST, gpu_clock.ROUNDS, gpu_clock.REPLAYED = 1e-4, 3, 2
    gpu_clock.Ceilings._copy, gpu_clock.Ceilings._product = lambda self: 4000.0, lambda self, kind: 50.0
    gpu_steps.sees_gpu, gpu_steps.TURN = lambda name: True, 0.0
    gpu_steps.tidy = lambda backend, torch: None
    torch.cuda.is_available = lambda: os.environ["REHEARSED"] == "gpu"  # the peers of steps stay on the CPU
    torch.cuda.synchronize = lambda: None
    stopwatch.ROUNDS, stopwatch.LEAST, stopwatch.WARM_UP = 3, 1, 1
    go_wrong(os.environ.get("REHEARSE", ""), gpu, gpu_cases, gpu_steps)
    return {"gpu": gpu.main, "gpu_steps": gpu_steps.main}


def go_wrong(how, gpu, gpu_cases, gpu_steps):
    """Plant what is to go wrong."""
    real_vectors, real_contender = gpu_cases.vectors, gpu_steps.make_contender

    def vectors(arrays, n):
        for case in real_vectors(arrays, n):
            yield case._replace(values=lambda: (1.0, 2.0)) if case.name == "scale" else case

    def make_contender(setup, name, network, size):
        made = real_contender(setup, name, network, size)
        return made if name != "torch-compile" else made._replace(step=lambda x, labels: 2.0)

    if how == "result":
        gpu_cases.vectors = vectors
    if how == "process":
        gpu_cases.vectors = lambda arrays, n: os._exit(9)
    if how == "backend":
        gpu.load_backend = lambda backend: 1 / 0
    if how == "peer":
        gpu_steps.make_contender = make_contender


if __name__ == "__main__":
    os.environ["REHEARSED"] = sys.argv.pop(1)  # processes that it starts read it too
    sys.exit(install()[os.environ["REHEARSED"]]())
if __name__ == "__mp_main__":  # such a process
    install()
