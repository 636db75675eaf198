"""Plans, trials, the store and the runner: from a goal to recorded studies."""

from refplay.study.plan import Plan
from refplay.study.plan_toml import dump_plan, load_plan
from refplay.study.record import Best, Curve, Round, State, Study, TrialRecord
from refplay.study.roles import Caution, suggest_role
from refplay.study.runner import run
from refplay.study.spec import StudySpec
from refplay.study.store import Launch, RoundInfo, Store
from refplay.study.trial import Trial

__all__ = ["Best", "Caution", "Curve", "Launch", "Plan", "Round", "RoundInfo", "State", "Store", "Study", "StudySpec",
           "Trial", "TrialRecord", "dump_plan", "load_plan", "run", "suggest_role"]
