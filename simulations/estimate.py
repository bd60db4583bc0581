"""Estimate: replications until the intervals are narrow enough, or the budget of requests is spent."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass, replace

from capacity.errors import DependencyError, InconclusiveError
from capacity.performance import Performance
from capacity.plan import Plan, Routing
from capacity.profile import ServiceProfile
from capacity.stability import load, relaxation_requests
from capacity.workload import DeterministicArrivals, GammaArrivals, PoissonArrivals, TraceArrivals, Workload
from simulations.arrivals import Seed, Stage
from simulations.pool import SECTIONS, Pool
from simulations.replication import Length, Sample, Task, replicate
from simulations.service import ProfileTimes
from simulations.warm_up import RELAXATIONS

# Requests above a quantile that each section should see in its first look.
_EXCEEDANCES_PER_SECTION = 30
_LOOK_QUANTILES = (0.5, 0.9, 0.95, 0.99)
