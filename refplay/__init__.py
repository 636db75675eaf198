"""refplay: the Deep Learning Tuning Playbook as a program that runs.

Four verbs carry the playbook's loop:

1. a `Plan` is one narrow goal with the role of every hyperparameter, a budget and a search space;
2. `run` runs its studies into a store, and goes on where an earlier run stopped;
3. `learn` answers the playbook's checklist with findings;
4. `launch` decides whether the best configuration changes, beyond what another seed would change, and records it.

Training of one's own needs none of our kernels: an objective is any function that takes a trial and reports metrics.
"""

from pathlib import Path

# In a checkout that is not installed (or shadows an installed refplay, because it is the working directory) the kernels
# lie beside this folder and not in it.
if not Path(__file__).with_name("kernels").exists():
    __path__.append(str(Path(__file__).parents[1]))

from refplay.analysis import Finding, learn
from refplay.errors import InputError
from refplay.procedures.rounds import launch
from refplay.search import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.plan import Plan
from refplay.study.plan_toml import load_plan
from refplay.study.record import Round, State, Study, TrialRecord
from refplay.study.runner import run
from refplay.study.trial import Trial

__version__ = "0.1.0"

__all__ = ["Choice", "Finding", "InputError", "Integer", "LogUniform", "OneMinusLogUniform", "Plan", "Round", "Space",
           "State", "Study", "Trial", "TrialRecord", "Uniform", "launch", "learn", "load_plan", "run"]
