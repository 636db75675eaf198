"""Plans, trials, the store and the runner: from a goal to recorded studies."""

from refplay.study.plan import Plan
from refplay.study.plan_toml import dump_plan, load_plan
from refplay.study.record import Best, Curve, Round, State, Study, TrialRecord
from refplay.study.roles import Caution, suggest_role
from refplay.study.spec import StudySpec

__all__ = ["Best", "Caution", "Curve", "Plan", "Round", "State", "Study", "StudySpec", "TrialRecord", "dump_plan",
           "load_plan", "suggest_role"]
