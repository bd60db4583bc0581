"""Queues: the laws by name, as in `capacity.queues.MMc(...)`, each imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Module of each law, below this folder.
_PLACES = {
    "Axis": "curves",
    "BreakdownMMc": "recovery.breakdowns",
    "Bulk": "batch.bulk",
    "BulkClosed": "batch.closed",
    "BulkJitter": "batch.gamma",
    "BulkMarkov": "batch.exponential",
    "Closed": "markov.closed",
    "Drain": "recovery.drain",
    "Duration": "durations",
    "ErlangA": "markov.erlang_a",
    "Family": "durations",
    "GGc": "general.ggc",
    "GIMc": "general.gimc",
    "Hedged": "recovery.copies",
    "LastInFirstOut": "recovery.lifo",
    "LittlesLaw": "little",
    "LoadTestReport": "little",
    "LongBackoff": "recovery.retrial",
    "MDc": "general.mdc",
    "MG1": "general.mg1",
    "MGcc": "markov.erlang",
    "MM1": "markov.mm1",
    "MMInf": "markov.mminf",
    "MMPPMc": "general.mmpp",
    "MMc": "markov.mmc",
    "MMcD": "recovery.mmcd",
    "MMcK": "markov.mmck",
    "MPHc": "general.mphc",
    "PausedMG1": "recovery.pauses",
    "PowerOfChoices": "power_of_choices",
    "Priority": "markov.priority",
    "Quantity": "curves",
    "RandomSplit": "routing",
    "Redundancy": "recovery.copies",
    "Retrial": "recovery.retrial",
    "RoundRobin": "routing",
    "ShortestQueue": "shortest_queue",
    "erlang_b": "markov.erlang",
    "erlang_c": "markov.erlang",
    "knee": "curves",
    "servers_for_response": "staffing",
    "servers_for_wait": "staffing",
    "utilization_grid": "curves",
}

if TYPE_CHECKING:
    from capacity.queues.batch.bulk import Bulk as Bulk
    from capacity.queues.batch.closed import BulkClosed as BulkClosed
    from capacity.queues.batch.exponential import BulkMarkov as BulkMarkov
    from capacity.queues.batch.gamma import BulkJitter as BulkJitter
    from capacity.queues.curves import Axis as Axis
    from capacity.queues.curves import Quantity as Quantity
    from capacity.queues.curves import knee as knee
    from capacity.queues.curves import utilization_grid as utilization_grid
    from capacity.queues.durations import Duration as Duration
    from capacity.queues.durations import Family as Family
    from capacity.queues.general.ggc import GGc as GGc
    from capacity.queues.general.gimc import GIMc as GIMc
    from capacity.queues.general.mdc import MDc as MDc
    from capacity.queues.general.mg1 import MG1 as MG1
    from capacity.queues.general.mmpp import MMPPMc as MMPPMc
    from capacity.queues.general.mphc import MPHc as MPHc
    from capacity.queues.little import LittlesLaw as LittlesLaw
    from capacity.queues.little import LoadTestReport as LoadTestReport
    from capacity.queues.markov.closed import Closed as Closed
    from capacity.queues.markov.erlang import MGcc as MGcc
    from capacity.queues.markov.erlang import erlang_b as erlang_b
    from capacity.queues.markov.erlang import erlang_c as erlang_c
    from capacity.queues.markov.erlang_a import ErlangA as ErlangA
    from capacity.queues.markov.mm1 import MM1 as MM1
    from capacity.queues.markov.mmc import MMc as MMc
    from capacity.queues.markov.mmck import MMcK as MMcK
    from capacity.queues.markov.mminf import MMInf as MMInf
    from capacity.queues.markov.priority import Priority as Priority
    from capacity.queues.power_of_choices import PowerOfChoices as PowerOfChoices
    from capacity.queues.recovery.breakdowns import BreakdownMMc as BreakdownMMc
    from capacity.queues.recovery.copies import Hedged as Hedged
    from capacity.queues.recovery.copies import Redundancy as Redundancy
    from capacity.queues.recovery.drain import Drain as Drain
    from capacity.queues.recovery.lifo import LastInFirstOut as LastInFirstOut
    from capacity.queues.recovery.mmcd import MMcD as MMcD
    from capacity.queues.recovery.pauses import PausedMG1 as PausedMG1
    from capacity.queues.recovery.retrial import LongBackoff as LongBackoff
    from capacity.queues.recovery.retrial import Retrial as Retrial
    from capacity.queues.routing import RandomSplit as RandomSplit
    from capacity.queues.routing import RoundRobin as RoundRobin
    from capacity.queues.shortest_queue import ShortestQueue as ShortestQueue
    from capacity.queues.staffing import servers_for_response as servers_for_response
    from capacity.queues.staffing import servers_for_wait as servers_for_wait


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
