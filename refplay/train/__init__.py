"""Training: the loop, evaluation, checkpoints with retrospective selection, divergence."""

from refplay.train.accumulation import make_accumulated_gradient, make_accumulated_step
from refplay.train.checkpoints import Checkpoint, best_checkpoint, latest_checkpoint, list_checkpoints, read_checkpoint
from refplay.train.divergence import Diverged, check_divergence, check_recovery
from refplay.train.evaluation import Evaluation, evaluate
from refplay.train.loop import Report, Result, fit, load_weights
from refplay.train.memory import Memory, step_memory
from refplay.train.on_device import DeviceBatches
from refplay.train.progress import Curve
from refplay.train.step import Step, make_step
from refplay.train.training import Training

__all__ = [
    "Checkpoint",
    "Curve",
    "DeviceBatches",
    "Diverged",
    "Evaluation",
    "Memory",
    "Report",
    "Result",
    "Step",
    "Training",
    "best_checkpoint",
    "check_divergence",
    "check_recovery",
    "evaluate",
    "fit",
    "latest_checkpoint",
    "list_checkpoints",
    "load_weights",
    "make_accumulated_gradient",
    "make_accumulated_step",
    "make_step",
    "read_checkpoint",
    "step_memory",
]
