"""Search spaces and the non-adaptive ways through them: quasi-random, random and grid."""

from refplay.search.halton import halton
from refplay.search.plain import domain_from_data, domain_to_data, space_from_data, space_to_data
from refplay.search.sampling import SEARCHES, grid, random_search, suggest
from refplay.search.space import (
    Choice,
    Dimension,
    Domain,
    Integer,
    LogUniform,
    OneMinusLogUniform,
    Space,
    Uniform,
)

__all__ = [
    "SEARCHES",
    "Choice",
    "Dimension",
    "Domain",
    "Integer",
    "LogUniform",
    "OneMinusLogUniform",
    "Space",
    "Uniform",
    "domain_from_data",
    "domain_to_data",
    "grid",
    "halton",
    "random_search",
    "space_from_data",
    "space_to_data",
    "suggest",
]
