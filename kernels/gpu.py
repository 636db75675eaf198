"""What a GPU backend needs of a machine, and the one line that says what is missing and what mends it.

`find` looks, `missing` judges. Neither imports a backend: they are to answer where one cannot be imported.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

# Where NVIDIA's packages exist, as sys.platform and platform.machine() name it.
PLATFORMS = ("linux x86_64", "linux aarch64", "win32 AMD64")
NOT_INSTALLED = "{} is not installed; pip install 'refplay[cuda13]' (or 'refplay[cuda12]')"
OLDEST = (7, 5)  # compute capability: Turing, the oldest that CUDA 13 compiles for and the tests compile for
DRIVERS = {12: 525, 13: 580}  # the first driver for each CUDA
# The libraries that compile and link a kernel, with the package that brings them for CUDA 12 and for 13.
LIBRARIES = {
    "cudart": ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"),
    "nvrtc": ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc"),
    "nvvm": ("nvidia-cuda-nvcc-cu12", "nvidia-nvvm"),
    "nvJitLink": ("nvidia-nvjitlink-cu12", "nvidia-nvjitlink"),
}
NEEDS = {"numba-cuda": ("cudart", "nvrtc", "nvvm", "nvJitLink"), "cupy": ("cudart", "nvrtc")}


class Found(NamedTuple):
    """What a machine has. The defaults are what is not there."""

    platform: str
    package: bool = False  # the one that the backend launches kernels with
    toolkit: int = 0  # the CUDA that its packages are for: 12 or 13
    driver: int = 0  # the CUDA that the driver is for: 12040 is 12.4
    error: str = ""  # of the driver, where it finds no device
    device: str = ""
    capability: tuple[int, int] = (0, 0)
    libraries: frozenset[str] = frozenset()
    name: str = "numba-cuda"  # of the package


def simulated() -> bool:
    """Return whether Numba's CUDA simulator stands for the GPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def missing(found: Found) -> str:
    """Return the first thing that keeps a GPU backend from running, with what mends it; "" if nothing does.

    >>> missing(Found("darwin arm64"))
    'no NVIDIA GPU can be used on darwin arm64; there are packages for linux x86_64, linux aarch64, win32 AMD64'
    >>> missing(Found("linux x86_64"))
    "numba-cuda is not installed; pip install 'refplay[cuda13]' (or 'refplay[cuda12]')"
    """
    if found.platform not in PLATFORMS:
        return f"no NVIDIA GPU can be used on {found.platform}; there are packages for {', '.join(PLATFORMS)}"
    if not found.package:
        return NOT_INSTALLED.format(found.name)
    if found.toolkit not in DRIVERS:
        return "cuda-bindings, which asks the driver, is not installed; pip install 'refplay[cuda13]'"
    extra = f"pip install 'refplay[cuda{found.toolkit}]'"
    if not found.driver:
        line = f"no NVIDIA driver here; install one, {DRIVERS[found.toolkit]} or later"
        simulator = " (NUMBA_ENABLE_CUDASIM=1 runs the kernels without a GPU, slowly)"
        return line + simulator * (found.name == "numba-cuda")
    if found.driver < 1000 * found.toolkit:
        older = " or pip install 'refplay[cuda12]'" if found.driver >= 12000 else ""
        return (f"the driver is for CUDA {dotted(found.driver)}, the packages for CUDA {found.toolkit}; update the "
                f"driver to {DRIVERS[found.toolkit]} or later{older}")
    if found.error:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it" if hidden is not None else "see nvidia-smi"
        return f"the driver finds no GPU ({found.error}); {why}"
    if found.capability < OLDEST:
        least, has = (".".join(map(str, capability)) for capability in (OLDEST, found.capability))
        return f"{found.device} has compute capability {has}; the kernels need a GPU of {least} (Turing, 2018) or later"
    lacking = [name for name in LIBRARIES if name in NEEDS[found.name] and name not in found.libraries]
    if lacking:
        packages = ", ".join(LIBRARIES[name][found.toolkit - 12] for name in lacking)
        return f"CUDA's {', '.join(lacking)} is not installed (package {packages}); {extra}"
    return ""


def dotted(cuda: int) -> str:
    """Return a version of CUDA as people write it: 12040 is 12.4."""
    return f"{cuda // 1000}.{cuda % 1000 // 10}"


def described(found: Found) -> str:
    """Return in a few words what GPU is used."""
    capability = ".".join(map(str, found.capability))
    return f"{found.device}, compute capability {capability}, driver for CUDA {dotted(found.driver)}"


def find(package: str = "numba-cuda") -> Found:
    """Look at this machine for what `package` needs: the first of the GPUs that CUDA_VISIBLE_DEVICES leaves."""
    there = installed(package.replace("-", "_"))
    found = Found(f"{sys.platform} {platform.machine()}", there, _toolkit(), name=package)
    if found.platform not in PLATFORMS or not found.package or not found.toolkit:
        return found
    found = asked(_driver(), found)
    return found._replace(libraries=_libraries()) if found.device else found


def installed(package: str) -> bool:
    """Return whether a package can be imported; a mere folder of that name, as tests/gpu is, does not count."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def _toolkit() -> int:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return int(version("cuda-bindings").partition(".")[0])
    except PackageNotFoundError:
        return 0


def _driver() -> Any:
    from cuda.bindings import driver

    return driver


def asked(driver: Any, found: Found) -> Found:
    """Return `found` with what the driver says, by the functions of `cuda.bindings.driver`."""
    try:
        _, number = driver.cuDriverGetVersion()
    except RuntimeError:  # its library is not there
        return found
    found = found._replace(driver=int(number))
    (error,) = driver.cuInit(0)
    if int(error):
        return found._replace(error=error.name)
    _, count = driver.cuDeviceGetCount()
    if not count:
        return found._replace(error="CUDA_ERROR_NO_DEVICE")
    _, device = driver.cuDeviceGet(0)
    attribute = driver.CUdevice_attribute
    _, major = driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
    _, minor = driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
    _, name = driver.cuDeviceGetName(128, device)
    return found._replace(device=name.split(b"\0")[0].decode(), capability=(major, minor))


@cache
def _libraries() -> frozenset[str]:
    """Return those of LIBRARIES that can be loaded, as packages or from an installed CUDA toolkit."""
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    found = set()
    for name in LIBRARIES:
        try:
            load_nvidia_dynamic_lib(name)
            found.add(name)
        except DynamicLibNotFoundError:
            pass
    return frozenset(found)
