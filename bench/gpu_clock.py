"""How long calls on a GPU take: bursts of each contender in turn, and what the GPU can do at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

from gpu_cases import Case
from summary import OURS, summarize

ROUNDS, BURST = 7, 0.03  # bursts of each contender in turn, and their seconds
REPLAYED = 10  # calls in a graph
Call = Callable[[], Any]
MakeGraph = Callable[[str, Call], Call]


def seconds(call: Call, wait: Call) -> float:
    """Return the seconds of a call in a burst of calls that are not waited for one by one."""
    begin = perf_counter()
    call()
    wait()
    count = max(1, int(BURST / max(perf_counter() - begin, 1e-6)))
    begin = perf_counter()
    for _ in range(count):
        call()
    wait()
    return (perf_counter() - begin) / count


def measure(case: Case, wait: Call, graph: MakeGraph | None = None) -> dict[str, Any]:
    """Return medians of alternating bursts, their ratios, and what ours moves and computes in a second.

    Where `graph` is there, the calls of a short case are replayed as graphs: the GPU would be done with such a call
    before Python has launched the next one.
    """
    calls, times = case.calls, 1
    if case.short and graph is not None:
        calls, times = {name: graph(name, call) for name, call in calls.items()}, REPLAYED
    for call in calls.values():  # compiled, allocated, warm
        call()
        call()
        wait()
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(round(1e6 * seconds(call, wait) / times, 4))
    found = summarize(rounds)
    ours = found["median_us"][OURS]
    return found | {"rounds_us": rounds, "graphs": times > 1, "bytes": case.bytes, "operations": case.operations,
                    "gb_per_s": case.bytes / ours / 1e3, "tflops": case.operations / ours / 1e6}


def graphs(ours: Any, torch: Any) -> MakeGraph | None:
    """Return what makes a call into a graph of many; None where our backend, whose `Graph` is given, has none."""
    if ours is None:
        return None

    def many(call: Call) -> None:
        for _ in range(REPLAYED):
            call()

    def graph(name: str, call: Call) -> Call:
        if name.startswith(OURS):
            return ours(partial(many, call)).launch  # type: ignore[no-any-return]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # what cuBLAS and cuDNN prepare, before it is captured
            call()
        torch.cuda.synchronize()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            many(call)
        return captured.replay  # type: ignore[no-any-return]

    return graph


class Ceilings:
    """What the GPU gives at most, each measured when it is first asked for: a copy's GB/s, cuBLAS's TFLOP/s."""

    def __init__(self, torch: Any, wait: Call) -> None:
        self._torch, self._wait, self._found = torch, wait, {}  # type: Any, Call, dict[str, float]

    def __getitem__(self, kind: str) -> float:
        """Return the rate of a copy of 1 GiB within the GPU ("copy"), or of products of 8192 ("float32", ...)."""
        if kind not in self._found:
            self._found[kind] = self._copy() if kind == "copy" else self._product(kind)
            unit = "GB/s" if kind == "copy" else "TFLOP/s of cuBLAS"
            print(f"ceiling: {kind} {self._found[kind]:.0f} {unit}", flush=True)
        return self._found[kind]

    def share(self, case: Case, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return which ceiling stands over a case, how high it is, and what share of it ours reaches."""
        kind, rate = case.ceiling, record["tflops" if case.operations else "gb_per_s"]
        return {"ceiling": kind, "ceiling_rate": self[kind], "share": rate / self[kind]}

    def _copy(self) -> float:
        x = self._torch.randn(2**28, device="cuda")
        y = self._torch.empty_like(x)
        return float(measure(Case("copy", {OURS: lambda: y.copy_(x)}, 2 * x.nbytes), self._wait)["gb_per_s"])

    def _product(self, kind: str) -> float:
        dtype = self._torch.bfloat16 if kind == "bf16" else self._torch.float32
        a, b = (self._torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
        with tf32(self._torch, kind == "tf32"):
            case = Case("product", {OURS: lambda: a @ b}, 0, 2 * 8192**3)
            return float(measure(case, self._wait)["tflops"])


@contextmanager
def tf32(torch: Any, allowed: bool) -> Iterator[None]:
    """Let cuBLAS round the factors of float32 products to TF32, or not."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
