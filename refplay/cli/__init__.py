"""The command line: the four verbs of the playbook's loop, the verifier of update rules, the measurer of throughput.

Exit codes: 0 done, 1 no trial completed and some failed, 2 bad input (one clear line on standard error),
130 interrupted (everything stays resumable).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from refplay import __version__
from refplay.errors import InputError

_BACKENDS = "`refplay backends` lists them"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (default: the process's) and return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code = int(arguments.command(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()  # here a broken pipe can still be answered; at exit it could not
        return code
    except InputError as error:
        print(f"refplay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("refplay: interrupted; what is finished is stored, `--resume` (quickstart: the same command) goes on",
              file=sys.stderr)
        return 130
    except BrokenPipeError:  # `refplay report ... | head`: the reader has seen enough
        from refplay.cli.console import discard_stdout

        discard_stdout()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="refplay", description="The Deep Learning Tuning Playbook as a program.")
    parser.add_argument("--version", action="version", version=f"refplay {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    quickstart = commands.add_parser("quickstart", help="one whole round of the playbook on handwritten digits")
    quickstart.add_argument("--out", type=Path, default=Path("refplay-quickstart"), metavar="DIR",
                            help="folder for store, checkpoints and report (default: %(default)s)")
    quickstart.add_argument("--workers", type=_positive, metavar="N", help="processes that train (default: one a core)")
    quickstart.add_argument("--backend", metavar="NAME", help=f"the kernels (default: numba); {_BACKENDS}")
    quickstart.set_defaults(command=_quickstart)

    run = commands.add_parser("run", help="run the round that a plan describes, then report")
    run.add_argument("plan", type=Path, metavar="PLAN.toml", help="the plan: goal, roles, budget, search space")
    run.add_argument("--store", type=Path, metavar="FILE", help="SQLite store (default: the plan's name, .db)")
    run.add_argument("--resume", action="store_true", help="go on with a round that the store already holds")
    run.add_argument("--retry-failed", action="store_true",
                     help="go on likewise, and begin its failed trials again: a bug of the objective was mended")
    run.add_argument("--workers", type=_positive, metavar="N", help="processes that train (default: one a core)")
    run.add_argument("--backend", metavar="NAME",
                     help=f"the kernels of the classifier, in place of the plan's; {_BACKENDS}")
    run.set_defaults(command=_run)

    report = commands.add_parser("report", help="findings, plots and next steps of a stored round")
    report.add_argument("store", type=Path, metavar="STORE", help="the SQLite file that `refplay run` wrote")
    report.add_argument("--study", metavar="NAME",
                        help="the round to report on, or one of its studies (default: every round in the store)")
    report.add_argument("--metric", metavar="NAME", help="judge by another reported metric than the plan's")
    report.add_argument("--csv", type=Path, metavar="FILE", help="also write the tracking spreadsheet, a row a study")
    report.add_argument("--out", type=Path, metavar="FILE", help="the HTML file (default: beside the store)")
    report.set_defaults(command=_report)

    verify = commands.add_parser("verify", help="which update rule is this optimizer, and where does it differ")
    verify.add_argument("target", nargs="?", metavar="TARGET",
                        help="torch.optim.NAME, optax.NAME, keras.optimizers.NAME, or module:factory")
    verify.add_argument("--rule", metavar="NAME", help="the rule that it should be (default: any of the six)")
    verify.add_argument("--dialect", default="any", metavar="NAME",
                        help="the dialect that it should be in: playbook, pytorch, optax, keras (default: any)")
    verify.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="settings",
                        help="a hyperparameter, under the optimizer's name for it")
    verify.add_argument("--matrix", nargs="?", const="", metavar="FILE.md",
                        help="instead of one: all of PyTorch's, optax's and Keras's, as a table (into a page)")
    verify.set_defaults(command=_verify)

    throughput = commands.add_parser("throughput", help="how fast a model trains at each batch size, and which to use")
    throughput.add_argument("--model", metavar="NAME", help="the model family: mlp, convnet or resnet")
    throughput.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="settings",
                            help="a hyperparameter of the model family or of the optimizer")
    throughput.add_argument("--optimizer", metavar="NAME", help="the update rule (default: adam)")
    throughput.add_argument("--backend", metavar="NAME", help=f"the kernels (default: numba); {_BACKENDS}")
    throughput.add_argument("--data", metavar="SOURCE", help="digits (default), a folder of IDX files or of binary "
                            "CIFAR-10, or an .npz file")
    throughput.add_argument("--batch-sizes", default="1:65536", metavar="FIRST:LAST",
                            help="double from FIRST to LAST; or one size (default: %(default)s)")
    throughput.add_argument("--memory", metavar="SIZE",
                            help="what a step may take (default: 4GiB; on a GPU, all of its memory)")
    throughput.add_argument("--seconds", default="1", metavar="S",
                            help="to time each size for; longer is more certain (default: %(default)s)")
    throughput.add_argument("--peer", action="append", default=[], metavar="NAME", dest="peers",
                            help="also measure the same training in torch, torch-channels-last, torch-compile or jax")
    throughput.add_argument("--plot", type=Path, metavar="FILE.png", help="draw throughput and time per step")
    throughput.add_argument("--json", type=Path, metavar="FILE.json", help="keep the results, with what they belong to")
    throughput.add_argument("--from", type=Path, metavar="FILE.json", dest="stored",
                            help="instead of measuring: report on kept results, and whether they are stale")
    throughput.set_defaults(command=_throughput)

    backends = commands.add_parser("backends", help="which kernel backends can run here, and why not")
    backends.set_defaults(command=_backends)
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number, 1 or more, got {text!r}")
    return int(text)


def _warn_of(workers: int | None) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers and workers > cores:
        print(f"refplay: --workers {workers} is more than the {cores} cores here: trials share them and are not done "
              "sooner", file=sys.stderr)


# Each command imports what it needs when it is called, so that `refplay --help` answers at once.


def _quickstart(arguments: argparse.Namespace) -> int:
    from refplay.cli.quickstart import quickstart

    _warn_of(arguments.workers)
    return quickstart(arguments.out, workers=arguments.workers, backend=arguments.backend)


def _run(arguments: argparse.Namespace) -> int:
    from refplay.cli.rounds import run

    _warn_of(arguments.workers)
    return run(arguments.plan, store=arguments.store, resume=arguments.resume or arguments.retry_failed,
               workers=arguments.workers, retry_failed=arguments.retry_failed, backend=arguments.backend)


def _report(arguments: argparse.Namespace) -> int:
    from refplay.cli.rounds import report

    return report(arguments.store, name=arguments.study, metric=arguments.metric, csv=arguments.csv,
                  out=arguments.out)


def _verify(arguments: argparse.Namespace) -> int:
    from refplay.cli.verify import matrix, verify

    if arguments.matrix is not None:
        return matrix(arguments.matrix)
    return verify(arguments.target, rule=arguments.rule, dialect=arguments.dialect, settings=arguments.settings)


def _throughput(arguments: argparse.Namespace) -> int:
    from refplay.cli.throughput import throughput

    return throughput(arguments)


def _backends(arguments: argparse.Namespace) -> int:
    from refplay.kernels import available, describe

    for name, reason in available().items():
        print(f"{name:12} {reason or 'ready: ' + describe(name)}")
    return 0
