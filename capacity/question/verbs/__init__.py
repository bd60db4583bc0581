"""Verbs: commands and functions of the same name; `import`, `report` and a few more have functions with longer names.

Flags that only some commands have, and no function, are here as well.
"""

from collections.abc import Mapping
from functools import cache

from capacity.question.flag import Flag
from capacity.question.verbs.measurements import DESCRIBED, MEASUREMENTS
from capacity.question.verbs.questions import BATCHING, EFFORT, QUESTIONS
from capacity.question.verbs.verb import Verb, in_both, typed_name

__all__ = ["BATCHING", "DESCRIBED", "EFFORT", "VERBS", "in_both", "keywords", "typed_name"]

VERBS: Mapping[str, Verb] = {**QUESTIONS, **MEASUREMENTS}


@cache
def keywords(name: str) -> Mapping[str, Flag]:
    """Keywords of a verb's function, in their order: the flags by their names in Python."""
    flags = VERBS[name].flags
    return {flag.keyword or one: flag for one, flag in flags.items() if flag.keyword != ""}
