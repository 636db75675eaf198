"""The GPU backend to be fast: the contract as CUDA C++ (`*.cu`), compiled by NVRTC and launched by CuPy.

The equations and the meaning of the arguments stand in `refplay.kernels.numpy_ref`; a backend that explains how a GPU
works in `refplay.kernels.numba_cuda`. Here each topic is two files: `topic.cu` has the kernels, `topic.py` checks the
arguments and launches them. tests/cuda_on_cpu runs the very same `*.cu` files on the CPU, under sanitizers.
"""
