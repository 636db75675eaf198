"""refplay and its peers, each in a process of its own, in alternating bursts: medians and ratios.

    python bench/compare.py --cases convnet:1,8,64,512 mlp-256:1,8,64,512,2048 resnet:8,64,256 rules kernels
    python bench/compare.py --cases convnet:1 --load 2        # while 2 busy processes compete for the cores
    python bench/compare.py --cases mlp-256:64 --cpu avx2     # our kernels compiled as for a CPU without AVX-512

A case is written to the file of results as soon as it is done, and one that the file has from the same commit, machine,
versions and settings is not measured again: after an interruption, give the same command. `bench/tables.py` makes the
tables of README and docs from that file. What the contenders are stands in docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from processes import Contender, ContenderError, OtherUse, busy_processes
from results import BUSY, FILE, Results, describe_run
from summary import OURS, slowdowns, summarize
from work import Burst

SIZES = {
    "convnet": (1, 8, 64, 512), "mlp-256": (1, 8, 64, 512, 2048), "mlp-1024": (1, 8, 64, 512, 2048),
    "resnet": (8, 64, 256),
}  # fmt: skip
RULES = ("adam", "sgd", "momentum", "nesterov", "rmsprop", "nadam")
RULE_SIZES = (2**16, 2**20, 2**25)
KERNELS = ("batch_norm", "layer_norm", "softmax_cross_entropy", "max_pool2d")

CONTENDERS = (OURS, "torch", "torch-malloc", "torch-channels-last", "torch-compile", "jax", "jax-ahead", "jax-scan",
              "optax", "triad")  # fmt: skip

# PyTorch gets its large buffers back from the system, page by page, at every step, unless malloc keeps them.
_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_TOP_PAD_": "268435456"}
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "torch-malloc": _MALLOC, "torch-channels-last": _MALLOC, "torch-compile": _MALLOC,
}  # fmt: skip
# What Numba compiles for, and OpenBLAS takes, in the place of what the CPU has. The peers keep all that it has.
CPUS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {"NUMBA_CPU_NAME": "haswell", "OPENBLAS_CORETYPE": "Haswell",
             "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"},
}  # fmt: skip

SETUP_SECONDS, BURST_SECONDS = 300.0, 120.0  # at most; with what has to be compiled, and under load
REST = 0.05  # seconds between bursts: thread pools that still spin go to sleep


class Case(NamedTuple):
    """A model and a batch size, a rule and a vector's length, or a kernel."""

    name: str  # "mlp-256", "rules.adam", "kernels.layer_norm"
    size: int

    def __str__(self) -> str:
        return f"{self.name}:{self.size}"

    @property
    def group(self) -> str:
        """What shares processes, since to start them all takes longer than to measure: all sizes of a model."""
        return self.name.split(".")[0]


def parse_cases(words: Sequence[str]) -> list[Case]:
    """Return the cases of a command line.

    >>> parse_cases(["convnet:1,8"])
    [Case(name='convnet', size=1), Case(name='convnet', size=8)]
    """
    cases: list[Case] = []
    for word in words:
        name, _, sizes = word.partition(":")
        if name in SIZES:
            given = sizes.split(",") if sizes else [str(size) for size in SIZES[name]]
            if not all(size.isdecimal() and int(size) > 0 for size in given):
                raise ValueError(f"{word}: a batch size is a whole number of at least 1")
            cases += [Case(name, int(size)) for size in given]
        elif word == "rules":
            cases += [Case(f"rules.{rule}", size) for size in RULE_SIZES for rule in RULES]
        elif word == "kernels":
            cases += [Case(f"kernels.{kernel}_{way}", 2**20) for kernel in KERNELS for way in ("forward", "backward")]
        else:
            raise ValueError(f"unknown case {word!r}; there are: {', '.join([*SIZES, 'rules', 'kernels'])}")
    return cases


class Settings(NamedTuple):
    """How to measure."""

    rounds: int
    burst: float
    load: int
    cpu: str
    contenders: Sequence[str]  # only these; empty: all


def contenders_of(case: Case, settings: Settings) -> list[str]:
    """Return who takes part in a case, ours first."""
    able = _able(case)
    if settings.load or settings.cpu != "native":  # a second look at those that can win
        able = [name for name in able if name not in ("torch", "torch-compile", "jax-scan")]
    return [name for name in able if not settings.contenders or name in settings.contenders]


def _able(case: Case) -> list[str]:
    if case.name.startswith("rules."):
        return [OURS, "torch", "torch-compile", "optax", *(["triad"] if case.size == max(RULE_SIZES) else [])]
    if case.name.startswith("kernels."):
        layouts = ["torch-channels-last"] if case.name.startswith(("kernels.batch", "kernels.max")) else []
        return [OURS, "torch-malloc", *layouts]
    images = [] if case.name.startswith("mlp") else ["torch-channels-last"]
    ahead = ["jax-ahead"] if case.size <= (8 if images else 64) else []  # beyond, no time is lost between steps
    scan = ["jax-scan"] if case.size <= (1 if images else 8) else []  # it runs convolutions on one core
    return [OURS, "torch", "torch-malloc", *images, "torch-compile", "jax", *ahead, *scan]


def measure(case: Case, contenders: Mapping[str, Contender], settings: Settings) -> dict[str, Any]:
    """Set a case up everywhere and measure it in alternating bursts."""
    checks, errors = set_up(case, contenders)
    refuse_other_work(case, checks)
    ready = list(checks)
    rounds: list[Round] = []
    while ready and not rounds:
        try:
            rounds = measure_rounds(contenders, ready, settings)
        except ContenderError as error:  # the others begin anew
            errors[error.contender] = str(error)
            ready.remove(error.contender)
    chosen = quietest(rounds, settings.rounds)
    free = {name: [each.free[name].median_us for each in chosen] for name in ready}
    record = {**summarize(free), "rounds_us": free, "errors": errors, "rounds_left_out": len(rounds) - len(chosen),
              "other_cores": max((each.other_cores for each in chosen), default=0.0)}
    if settings.load:
        loaded = {name: [each.loaded[name].median_us for each in chosen] for name in ready}
        medians = {name: median(values) for name, values in loaded.items()}
        means = {name: median(each.free[name].mean_us for each in chosen) for name in ready}
        loaded_means = {name: median(each.loaded[name].mean_us for each in chosen) for name in ready}
        record |= {"loaded_us": medians, "loaded_rounds_us": loaded,
                   "slowdown": slowdowns(record["median_us"], medians),
                   "slowdown_of_mean": slowdowns(means, loaded_means)}
    return record


def set_up(case: Case, contenders: Mapping[str, Contender]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Have all contenders set a case up, side by side; return their checks, and the errors of those that cannot."""
    checks, errors = {}, {}
    with ThreadPoolExecutor(len(contenders)) as waiting:
        request = {"case": case.name, "size": case.size}
        answers = {name: waiting.submit(each.ask, request, SETUP_SECONDS) for name, each in contenders.items()}
    for name, answer in answers.items():
        try:
            checks[name] = answer.result()["check"]
        except ContenderError as error:
            errors[name] = str(error)
    return checks, errors


class OtherWorkError(Exception):
    """Contenders that do not do the same work."""


class Round(NamedTuple):
    """One burst of every contender, or two: without and with load."""

    free: dict[str, Burst]
    loaded: dict[str, Burst]
    other_cores: float  # how many were busy with what is no part of the measurement


def measure_rounds(contenders: Mapping[str, Contender], names: Sequence[str], settings: Settings) -> list[Round]:
    """Return rounds until `settings.rounds` of them were undisturbed, or twice as many are over."""
    rounds: list[Round] = []
    processes = [contender.process for contender in contenders.values()]
    while len(rounds) < 2 * settings.rounds and sum(r.other_cores <= BUSY for r in rounds) < settings.rounds:
        first = len(rounds) % len(names)
        order = [*names[first:], *names[:first]]
        use = OtherUse(processes)
        free, loaded = _bursts(contenders, order, settings.burst), {}
        if settings.load:
            with busy_processes(settings.load):
                loaded = _bursts(contenders, order, settings.burst)
        rounds.append(Round(free, loaded, use.other_cores()))
    return rounds


def _bursts(contenders: Mapping[str, Contender], order: Sequence[str], burst: float) -> dict[str, Burst]:
    bursts = {}
    for name in order:
        time.sleep(REST)
        bursts[name] = Burst(**contenders[name].ask({"seconds": burst}, BURST_SECONDS))
    return bursts


def quietest(rounds: Sequence[Round], count: int) -> list[Round]:
    """Return the `count` rounds that other programs disturbed least, in the order in which they were measured.

    What chooses is the others' use of the machine, never a time measured.
    """
    chosen = sorted(range(len(rounds)), key=lambda i: rounds[i].other_cores > BUSY and rounds[i].other_cores)[:count]
    return [rounds[i] for i in sorted(chosen)]


def refuse_other_work(case: Case, checks: Mapping[str, float | None]) -> None:
    """Raise OtherWorkError where contenders do not compute the same: first losses that differ by more than rounding.

    A thousandth is far above what float32 sums in another order make of a loss near 2.3, and far below what another
    model, another batch or other weights would.
    """
    given = {name: value for name, value in checks.items() if value is not None}
    if given and not max(given.values()) - min(given.values()) <= 1e-3 * abs(min(given.values())):
        raise OtherWorkError(f"{case}: the contenders do not do the same work, their first losses are {given}")


def line(case: Case, record: Mapping[str, Any]) -> str:
    """Return what is printed of a case."""
    parts = [f"{case!s:34}"]
    for name, value in record["median_us"].items():
        slower = ""
        if "slowdown" in record:
            slower = f" (under load x{record['slowdown'][name]:.1f}, mean x{record['slowdown_of_mean'][name]:.1f})"
        parts.append(f"{name} {value:.4g}{slower}")
    if record["ratio"] is not None:
        low, high = record["quartiles"]
        parts.append(f"| {record['better_peer']} / ours = {record['ratio']:.2f} ({low:.2f}-{high:.2f})")
    parts += [f"| {name} failed: {error}" for name, error in record["errors"].items()]
    if record["other_cores"] > BUSY:
        parts.append(f"| BUSY: {record['other_cores']:.2f} cores were in use by others")
    return "  ".join(parts)


def key_of(case: Case, settings: Settings) -> str:
    """Return the name of a case in the file of results."""
    load = f" load {settings.load}" if settings.load else ""
    return f"{case}{load}" + (f" {settings.cpu}" if settings.cpu != "native" else "")


def run(cases: Sequence[Case], settings: Settings, results: Results) -> bool:
    """Measure all cases that the file does not have; return whether all went well."""
    missing = [case for case in cases if not results.has(key_of(case, settings))]
    if len(missing) < len(cases):
        print(f"{len(cases) - len(missing)} of {len(cases)} cases are in {results.path} already")
    print("medians in microseconds a step")
    good = True
    for _, group in groupby(missing, lambda case: case.group):
        with ExitStack() as stack:
            running: dict[str, Contender] = {}
            for case in group:
                names = contenders_of(case, settings)
                for name in names:
                    if name not in running or running[name].process.poll() is not None:  # at first, or after a failure
                        running[name] = start(name, settings)
                        stack.callback(running[name].close)
                for name in running.keys() - names:
                    running.pop(name).close()
                try:
                    record = measure(case, {name: running[name] for name in names}, settings)
                except OtherWorkError as error:
                    print(error, file=sys.stderr, flush=True)
                    good = False
                    continue
                results.put(key_of(case, settings), record)
                print(line(case, record), flush=True)
    return good


def start(name: str, settings: Settings) -> Contender:
    """Start a contender's process."""
    return Contender(name, {**ENVIRONMENTS.get(name, {}), **(CPUS[settings.cpu] if name == OURS else {})})


def main() -> int:
    """Run the command; 1 where contenders did other work (2, by argparse, on bad input)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[*SIZES, "rules", "kernels"], metavar="CASE",
                        help="MODEL[:BATCH,...], rules, kernels; default: all")
    parser.add_argument("--contenders", nargs="+", default=[], choices=CONTENDERS,
                        metavar="NAME", help=f"only some of {', '.join(CONTENDERS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--burst", type=float, default=0.2, help="seconds")
    parser.add_argument("--load", type=int, default=0, help="busy processes that compete")
    parser.add_argument("--cpu", choices=CPUS, default="native", help="what our kernels are compiled for")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    if given.rounds < 1 or given.burst <= 0 or given.load < 0:
        parser.error("rounds is a whole number of at least 1, burst is above 0, load is not negative")
    try:
        cases = parse_cases(given.cases)
    except ValueError as error:
        parser.error(str(error))
    settings = Settings(given.rounds, given.burst, given.load, given.cpu, given.contenders)
    return 0 if run(cases, settings, Results(given.out, describe_run(settings._asdict()))) else 1


if __name__ == "__main__":
    sys.exit(main())
