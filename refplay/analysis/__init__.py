"""Learning from finished studies: pure functions from records to findings; see `learn` for the checklist."""

from refplay.analysis.checklist import learn
from refplay.analysis.finding import Finding

__all__ = ["Finding", "learn"]
