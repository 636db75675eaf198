"""The contract over all backends that run on the CPU: the same names, the same arguments, the same errors."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import refplay.kernels
from refplay.kernels import CONTRACT, Backend, blas

BACKENDS = ("numpy", "numba")


@pytest.fixture(scope="module", params=BACKENDS)
def kernels(request):
    return refplay.kernels.load(request.param)


def test_a_backend_exports_exactly_the_contract(kernels):
    assert sorted(kernels.__all__) == sorted(CONTRACT)
    assert all(callable(getattr(kernels, name)) for name in CONTRACT)


@pytest.mark.parametrize("name", CONTRACT)
def test_signatures_are_those_of_the_contract(kernels, name):
    expected = inspect.signature(getattr(Backend, name)).parameters.values()
    got = inspect.signature(getattr(kernels, name)).parameters.values()
    assert [(p.name, p.default) for p in got] == [(p.name, p.default) for p in expected if p.name != "self"]


def test_every_function_of_a_backend_says_what_it_does(kernels):
    assert [name for name in CONTRACT if not (getattr(kernels, name).__doc__ or "").strip()] == []


def test_unknown_backend_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'tpu'.*numpy.*numba"):
        refplay.kernels.load("tpu")


def test_available_gives_the_reason_of_a_missing_package(monkeypatch):
    reasons = refplay.kernels.available()
    assert list(reasons) == [*BACKENDS, "numba-cuda", "cupy"]
    assert [reasons[name] for name in BACKENDS] == ["", ""]

    def missing(name, package):
        raise ImportError("No module named 'llvmlite'")

    monkeypatch.setattr(refplay.kernels, "import_module", missing)
    monkeypatch.setattr(refplay.kernels.gpu, "missing", lambda found: "no GPU")
    expected = dict.fromkeys(BACKENDS, "No module named 'llvmlite'") | dict.fromkeys(("numba-cuda", "cupy"), "no GPU")
    assert refplay.kernels.available() == expected
    with pytest.raises(ImportError, match="no GPU"):
        refplay.kernels.load("numba-cuda")


def test_a_package_that_is_broken_leaves_the_other_backends_alone(monkeypatch):
    def broken(name, package):
        if name == ".numba_cpu":
            raise AttributeError("module 'llvmlite' has no attribute 'ir'")

    monkeypatch.setattr(refplay.kernels, "import_module", broken)
    reasons = refplay.kernels.available()
    assert [reasons[name] for name in BACKENDS] == ["", "module 'llvmlite' has no attribute 'ir'"]


def test_backends_are_imported_at_their_first_use():
    code = """if True:
        import sys, refplay.kernels
        assert "numba" not in sys.modules and "scipy" not in sys.modules
        refplay.kernels.load("numpy")
        assert "numba" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BACKENDS)
def test_loading_limits_blas_to_one_thread(name):
    names = [np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]]
    import scipy

    names.append(scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
    refplay.kernels.load(name)
    assert blas.threads() == [1] * sum(n == "scipy-openblas" for n in names)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_arrays(kernels, dtype):
    for new in (kernels.empty((2, 3), dtype), kernels.zeros((2, 3), dtype)):
        assert (new.shape, new.dtype, new.flags.c_contiguous) == ((2, 3), dtype, True)
    assert not kernels.to_host(kernels.zeros(4, dtype)).any()
    assert (kernels.empty(5).dtype, kernels.zeros(0).shape) == ("float32", (0,))
    host = np.arange(6, dtype=dtype).reshape(2, 3).T
    array = kernels.asarray(host)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(kernels.to_host(array), host)
    kernels.synchronize()


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("empty", ((2, -1),), ValueError),
        ("empty", ((2.5,),), TypeError),
        ("zeros", (True,), TypeError),
        ("zeros", (3, "float16"), ValueError),
        ("empty", (3, None), TypeError),
        ("asarray", ([1.0, 2.0],), TypeError),
        ("asarray", (np.array(["a"]),), TypeError),
        ("asarray", (np.zeros(2, "float16"),), TypeError),
        ("to_host", (3.0,), TypeError),
    ],
)
def test_array_functions_refuse(kernels, name, arguments, error):
    with pytest.raises(error, match=rf"{name}: argument '\w+': expected .+, got .+"):
        getattr(kernels, name)(*arguments)
