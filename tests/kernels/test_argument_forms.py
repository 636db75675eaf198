"""Checks are looked up for calls of known forms: what passed once must not let anything else pass."""

import numpy as np
import pytest

import refplay.kernels
from refplay.kernels import arguments

NUMPY = refplay.kernels.load("numpy")


def call(**changes):
    """Multiply x[4,3] with w[3,2]; the arrays own their memory."""
    arrays = {"x": np.ones((4, 3)), "w": np.ones((3, 2)), "b": np.ones(2), "y": np.zeros((4, 2))} | changes
    NUMPY.dense_forward(*arrays.values())


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.fixture
def known(monkeypatch):
    """Return the table of known forms, for this test alone."""
    table = {}
    monkeypatch.setattr(arguments, "_passed", table)
    return table


def test_a_second_call_of_the_same_forms_is_looked_up(known, monkeypatch):
    checked = []
    check_forms = arguments._check_forms
    monkeypatch.setattr(arguments, "_check_forms", lambda *args: checked.append(args) or check_forms(*args))
    for _ in range(3):
        call()
    call(x=np.ones((5, 3)), y=np.zeros((5, 2)))
    assert len(checked) == len(known) == 2


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("b", None, TypeError),
        ("b", np.ones(2, "float32"), TypeError),
        ("b", np.ones(2, ">f8"), TypeError),
        ("x", np.ones((3, 4)).T, ValueError),
        ("x", np.ones((4, 1)), ValueError),
        ("y", read_only(np.zeros((4, 2))), ValueError),
    ],
)
def test_other_forms_are_refused_however_often_they_come(known, name, value, error):
    call()
    for _ in range(2):
        with pytest.raises(error, match=rf"dense_forward: argument '[{name}w]': expected"):
            call(**{name: value})
    assert len(known) == 1


def test_a_subclass_with_the_form_of_an_array_is_no_array(known):
    view = np.ones(12).reshape(4, 3)
    call(x=view)
    masked = view.view(np.ma.MaskedArray)
    assert (masked.dtype, masked.shape, masked.flags.num) == (view.dtype, view.shape, view.flags.num)
    with pytest.raises(TypeError, match=r"argument 'x': expected a numpy\.ndarray, got numpy\.ma"):
        call(x=masked)


def test_memory_is_compared_at_every_call(known):
    memory = np.ones(100)
    apart = {"x": memory[:12].reshape(4, 3), "y": memory[12:20].reshape(4, 2)}
    call(**apart)
    with pytest.raises(ValueError, match="argument 'y': expected memory apart from 'x'"):
        call(**(apart | {"y": memory[11:19].reshape(4, 2)}))
    assert len(known) == 1  # to its form, the refused call was no news


def test_forms_of_one_kernel_say_nothing_of_another(known):
    x, y = np.ones((4, 3)), np.ones((4, 3))
    NUMPY.relu_forward(x, y)
    with pytest.raises(ValueError, match="global_avg_pool_forward: argument 'x'"):
        NUMPY.global_avg_pool_forward(x, y)


def test_ever_new_shapes_do_not_fill_the_memory(known, monkeypatch):
    monkeypatch.setattr(arguments, "_MOST_FORMS", 5)
    for batch in range(23):
        call(x=np.ones((batch, 3)), y=np.ones((batch, 2)))
        assert 1 <= len(known) <= 5
