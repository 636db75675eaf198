"""Whole steps without Python in between: calls of the contract are written down once and replayed as one program.

    recorder = Recorder()                       # offers the functions of the contract, but only takes notes
    x = recorder.input("x", (B, I))             # what changes from step to step has a name
    recorder.dense_forward(x, w, b, y)
    recorder.relu_forward(y, h)
    ...
    recorder.adam(theta, g, m, v, 0, lr, beta1, beta2, epsilon)
    step = recorder.finish()

    step.point("x", batch)                      # no copy: the program reads this array from now on
    step.adam(theta, g, m, v, 1, lr, beta1, beta2, epsilon)     # nothing but the scalars: the next run will use these
    step.run()

What was written down is first fused: see `fusion`. The results are those of the calls one by one, to the bit where
`fusion` says nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import check, check_vectors
from ..contract import CONTRACT, Array
from . import activation, conv, conv_pool, dense, dropout, loss, norm, optim, pooling, reduce, update
from .fusion import Op, fuse
from .program import Call, Program, call, doubles_at, floats_at, kernel, packer, word
from .threads import WORDS, threads

_MODULES = (dense, conv, conv_pool, pooling, activation, norm, dropout, loss, optim, reduce, update)
_CALLS: dict[str, Callable[..., list[Call]]] = {
    name.removesuffix("_calls"): function
    for module in _MODULES for name, function in vars(module).items() if name.endswith("_calls")
}  # fmt: skip


class Recorder:
    """Takes the calls of the contract, checks their arguments as always, and keeps them for `finish`.

    Float32 only. What a call reads from the host when it is made (scalars, and which arrays) is as it was then in
    every replay, but for what a `Recording` can change.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inputs: dict[str, Array] = {}

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """Return an array that stands for the one that `Recording.point` will name."""
        self.inputs[name] = np.zeros(shape, dtype)
        return self.inputs[name]

    def total(self, x: Array, result: Array) -> None:
        """result[0] (float64) <- the sum of x[n], in the order of its values."""
        self.ops.append(Op("total", (x, result)))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in CONTRACT or name not in _CALLS or name == "l2_norm":  # that returns a number to Python
            raise AttributeError(f"{name} cannot be recorded")
        examine = getattr(check, name, None) or getattr(check_vectors, name)

        def take_down(*arguments: Any) -> None:
            examine(*arguments)
            self.ops.append(Op(name, arguments))

        return take_down

    def finish(self, needed: tuple[Array, ...] = ()) -> Recording:
        """Return the program of what was recorded.

        Parameters
        ----------
        needed : arrays
            Results that will be read after a replay; of others (a gradient that a rule has used) the fused program may
            leave the arrays unwritten.
        """
        return Recording(fuse(self.ops, needed), self.inputs)


class Recording:
    """A program, and where in it the things are that change from step to step."""

    def __init__(self, ops: list[Op], inputs: dict[str, Array]) -> None:
        self._inputs: dict[str, Array] = {}  # as they were pointed at
        self._expected = {name: (array.dtype, array.shape) for name, array in inputs.items()}
        calls: list[Call] = []
        self._rows: dict[str, list[int]] = {}  # where, in bytes, an op's scalars are: first in its first call
        named = {word(array): name for name, array in inputs.items()}
        self._labels = [(op.arguments[0].shape, named.get(word(op.arguments[1])), op.arguments[1])
                        for op in ops if op.name == "softmax_cross_entropy"]
        for op in ops:
            new = [c for c in _CALLS[op.name](*op.arguments, **op.options) if c.tasks]
            scalars_of = op.arguments[0] if op.name == "dense_update" else op.name
            self._rows.setdefault(scalars_of, []).append(8 * (len(calls) * WORDS + 2))
            calls += new
        self._program = Program(calls)
        self._code = self._program.code.reshape(-1)
        self._where = {name: np.flatnonzero(self._code == word(array)) for name, array in inputs.items()}
        stand_ins = {id(array) for array in inputs.values()}
        self._program.calls = [
            c._replace(arguments=tuple(None if id(_owner(a)) in stand_ins else a for a in c.arguments))
            for c in self._program.calls
        ]
        self._named = {id(_owner(a)) for op in ops for a in op.arguments}

    def memory(self, *known: Array) -> tuple[int, int]:
        """Return the bytes of the recorded arrays but for `known`, and of what the kernels need beside.

        Inputs are not counted. What only one part of a fused op would have read or written is not held at all.
        """
        known_owners = {id(_owner(array)) for array in known}
        owners = [_owner(a) for c in self._program.calls for a in c.arguments if isinstance(a, np.ndarray)]
        sizes = {id(array): array.nbytes for array in owners if id(array) not in known_owners}
        recorded = sum(size for key, size in sizes.items() if key in self._named)
        beside = sum(sizes.values()) - recorded + self._code.nbytes
        return recorded, beside + self._program.scratch * threads()

    def point(self, name: str, array: Array) -> None:
        """Let the program read `array` where it read the input `name`; `run` looks whether labels are classes.

        Raises
        ------
        TypeError, ValueError
            Another dtype or shape than the input was recorded with, or not contiguous.
        """
        if array is self._inputs.get(name):
            return
        dtype, shape = self._expected[name]
        if type(array) is not np.ndarray or array.dtype != dtype:
            got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"input {name!r}: expected an array of {dtype}, got {got}")
        if array.shape != shape or not array.flags.c_contiguous:
            raise ValueError(f"input {name!r}: expected a contiguous array of shape {shape}, got "
                             f"{array.shape}, strides {array.strides}")
        self._code[self._where[name]] = word(array)
        self._inputs[name] = array

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a stand-in for an update rule of the contract: it notes its scalars for the next run."""
        if name not in _SCALARS:
            raise AttributeError(name)
        return lambda *arguments: self.rewrite(name, *[a for a in arguments if not isinstance(a, np.ndarray)])

    def rewrite(self, name: str, *scalars: float) -> None:
        """Replace what changes from step to step in all calls of `name`: a rule's scalars, the step of a dropout."""
        rows = self._rows.get(name)
        if rows:
            values = _SCALARS[name](*scalars)
            pack = packer(tuple(map(type, values)))
            for at in rows:
                pack(self._code, at, *values)

    def run(self) -> None:
        """Run the program; labels are checked before anything is written.

        Raises
        ------
        ValueError
            A label outside of the classes, or an input that has not been pointed at anything.
        """
        if len(self._inputs) < len(self._expected):
            missing = sorted(self._expected.keys() - self._inputs.keys())
            raise ValueError(f"inputs {missing} have not been pointed at any array")
        for shape, name, labels in self._labels:
            check.class_labels("softmax_cross_entropy", self._inputs[name] if name else labels, *shape)
        self._program.run()


def _owner(a: Any) -> Any:
    """Return the array whose memory `a` is a view of."""
    while isinstance(a, np.ndarray) and isinstance(a.base, np.ndarray):
        a = a.base
    return a


def _total_calls(x: Array, result: Array) -> list[Call]:
    return [call(_total, 1, x, x.size, result)]


@kernel
def _total(a: Any, task: int, scratch: int) -> None:
    x, n, result = floats_at(a[0]), a[1], doubles_at(a[2])
    total = 0.0
    for i in range(n):
        total += x[i]
    result[0] = total


_CALLS["total"] = _total_calls
_SCALARS: dict[str, Callable[..., tuple[float, ...]]] = {
    name.removesuffix("_scalars"): function
    for module in _MODULES for name, function in vars(module).items() if name.endswith("_scalars")
}  # fmt: skip
