"""What keeps a GPU backend from running, in one line that names it and the mend."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

import refplay.kernels
from refplay.kernels import gpu

READY = gpu.Found("linux x86_64", True, 13, 13010, "", "NVIDIA H200", (9, 0), frozenset(gpu.LIBRARIES))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"platform": "darwin arm64"}, "no NVIDIA GPU can be used on darwin arm64; there are packages for"),
        ({"platform": "linux ppc64le"}, "no NVIDIA GPU can be used on linux ppc64le"),
        ({"package": False}, r"numba-cuda is not installed; pip install 'refplay\[cuda13\]' \(or"),
        ({"toolkit": 0}, r"cuda-bindings, .*, is not installed; pip install 'refplay\[cuda13\]'"),
        ({"driver": 0}, "no NVIDIA driver here; install one, 580 or later"),
        ({"driver": 0, "toolkit": 12}, "no NVIDIA driver here; install one, 525 or later"),
        ({"driver": 12040}, r"the driver is for CUDA 12.4, the packages for CUDA 13; update the driver to 580 or later "
         r"or pip install 'refplay\[cuda12\]'"),
        ({"driver": 11080}, "is for CUDA 11.8, the packages for CUDA 13; update the driver to 580 or later$"),
        ({"driver": 11080, "toolkit": 12}, "is for CUDA 11.8, .* CUDA 12; update the driver to 525 or later$"),
        ({"error": "CUDA_ERROR_NO_DEVICE", "device": ""}, r"finds no GPU \(CUDA_ERROR_NO_DEVICE\); .*nvidia-smi"),
        ({"device": "Tesla V100", "capability": (7, 0)}, "Tesla V100 has compute capability 7.0; .* of 7.5 .*or later"),
        ({"libraries": frozenset(gpu.LIBRARIES) - {"nvvm"}},
         r"CUDA's nvvm is not installed \(package nvidia-nvvm\); pip install 'refplay\[cuda13\]'"),
        ({"libraries": frozenset({"nvrtc"}), "toolkit": 12},
         r"CUDA's cudart, nvvm, nvJitLink is not installed \(package nvidia-cuda-runtime-cu12, nvidia-cuda-nvcc-cu12, "
         r"nvidia-nvjitlink-cu12\); pip install 'refplay\[cuda12\]'"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_its_mend(monkeypatch, change, says):
    found = READY._replace(**change)
    line = gpu.missing(found)
    assert "\n" not in line
    monkeypatch.setattr(gpu, "find", lambda package: found)
    with pytest.raises(ImportError, match=says):
        refplay.kernels.load("numba-cuda")
    assert refplay.kernels.available()["numba-cuda"] == line


@pytest.mark.parametrize(
    "change", [{}, {"toolkit": 12, "driver": 12000}, {"capability": (7, 5)}, {"capability": (12, 0)}]
)
def test_nothing_is_missing_from_what_suffices(change):
    assert gpu.missing(READY._replace(**change)) == ""


def test_a_gpu_that_is_hidden_is_said_to_be(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    line = gpu.missing(READY._replace(error="CUDA_ERROR_NO_DEVICE"))
    assert line == "the driver finds no GPU (CUDA_ERROR_NO_DEVICE); CUDA_VISIBLE_DEVICES is '': unset it"


def test_a_gpu_is_described():
    assert gpu.described(READY) == "NVIDIA H200, compute capability 9.0, driver for CUDA 13.1"


class Status(int):
    name = "CUDA_ERROR_NO_DEVICE"


def driver(**answers):
    """Return what stands for `cuda.bindings.driver` on a machine with one GPU."""
    attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )
    functions = {
        "cuDriverGetVersion": lambda: (0, 12080),
        "cuInit": lambda flags: (Status(0),),
        "cuDeviceGetCount": lambda: (0, 1),
        "cuDeviceGet": lambda i: (0, 40 + i),
        "cuDeviceGetName": lambda size, device: (0, b"Tesla T4" + bytes(120)),
        "cuDeviceGetAttribute": lambda which, device: (0, {"major": 7, "minor": 5}[which]),
    }
    return SimpleNamespace(CUdevice_attribute=attribute, **(functions | answers))


def test_the_driver_is_asked():
    nothing = gpu.Found("linux x86_64", True, 12)
    assert gpu.asked(driver(), nothing) == nothing._replace(driver=12080, device="Tesla T4", capability=(7, 5))
    without = gpu.asked(driver(cuInit=lambda flags: (Status(100),)), nothing)
    assert without == nothing._replace(driver=12080, error="CUDA_ERROR_NO_DEVICE")
    none = gpu.asked(driver(cuDeviceGetCount=lambda: (0, 0)), nothing)
    assert none == without

    def no_library():
        raise RuntimeError("libcuda.so.1 cannot be opened")

    assert gpu.asked(driver(cuDriverGetVersion=no_library), nothing) == nothing


def test_this_machine_is_looked_at(monkeypatch):
    found = gpu.find()
    assert found.platform == f"{sys.platform} {platform.machine()}"
    assert found.package
    assert found.toolkit in (12, 13)
    assert gpu._libraries() == set(gpu.LIBRARIES)  # the test extra brings them
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert gpu.find() == gpu.Found(found.platform, False, found.toolkit)


def test_a_folder_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "nvidia_nothing").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not gpu.installed("nvidia_nothing")
    assert gpu.installed("numba_cuda")


def test_a_library_that_is_nowhere_is_missed(monkeypatch):
    from cuda import pathfinder

    def load(name):
        if name == "nvvm":
            raise pathfinder.DynamicLibNotFoundError(name)

    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", load)
    gpu._libraries.cache_clear()
    assert gpu._libraries() == set(gpu.LIBRARIES) - {"nvvm"}
    gpu._libraries.cache_clear()


def test_the_simulator_stands_for_a_gpu(monkeypatch):
    assert not gpu.simulated()
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code = ("import refplay.kernels as k; k.load('numba-cuda');"
            "print(k.available()['numba-cuda'], k.describe('numba-cuda'))")  # fmt: skip
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "simulated on the CPU, for tests: NUMBA_ENABLE_CUDASIM is set", result.stderr


def test_the_kernels_can_be_imported_without_a_gpu():
    """The offline compilation does so."""
    code = "import refplay.kernels.numba_cuda as k; print('adam' in k.__all__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "True", result.stderr
