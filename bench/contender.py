"""One contender in a process of its own: `python contender.py NAME`, driven by lines of JSON over its pipes.

    {"case": "mlp-256", "size": 64}    set up; answers {"check": ...}
    {"seconds": 0.5}                   a burst; answers with a `Burst`
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import TextIO

from work import Work, time_burst


def make_work(contender: str, case: str, size: int) -> Work:
    """Return what `contender` does in a case."""
    kind, _, name = case.rpartition(".")
    module, function = {
        "": ("training_steps", "training_step"), "rules": ("rule_cases", "rule"), "kernels": ("kernel_cases", "kernel"),
    }[kind]  # fmt: skip
    maker: Callable[[str, str, int], Work] = getattr(importlib.import_module(module), function)
    return maker(contender, name, size)


def serve(contender: str, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until they end."""
    work: Work | None = None
    for line in requests:
        request = json.loads(line)
        if "case" in request:
            work = None  # what the last case held goes first
            gc.collect()
            work = make_work(contender, request["case"], request["size"])
            work.call()  # whatever is still to be compiled
            answer = {"check": work.check}
        else:
            assert work is not None
            answer = time_burst(work, request["seconds"])._asdict()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints must not get into the answers
    serve(sys.argv[1], sys.stdin, pipe)
