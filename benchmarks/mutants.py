"""Mutants: plants one bug at a time in a copy of the repository and runs the tests that should notice.

    python benchmarks/mutants.py [word ...]     # only the mutants whose name holds a word
    python benchmarks/mutants.py --quick        # those that CI plants, each with the one test that finds it

The working tree is never touched. Exits with 1 if a mutant survives, and with 2 if the tests fail without
one or the text of any mutant does not match the code exactly once.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "capacity",
    "simulations",
    "measurements",
    "serve_api",
    "tests",
    "cli.py",
    "conftest.py",
    "pyproject.toml",
)
AT_ONCE = os.cpu_count() or 1
TIMEOUT_S = 240.0  # a mutant that hangs is noticed too
ALL_TIMEOUT_S = 1200.0  # all tests without a mutant, on all cores

INVARIANTS = "tests/simulations/test_invariants.py"
CLUSTER = "tests/simulations/test_cluster.py"
ARRIVALS = "tests/simulations/test_arrivals.py"
POOL = "tests/simulations/test_pool.py"
ESTIMATE = "tests/simulations/test_estimate.py"
PARALLEL = "tests/test_parallel.py"
JUDGE = "tests/simulations/test_judge.py"
SEARCH = "tests/search/test_search.py"
PLANNER = "tests/search/test_planner.py"
CHEAPEST = "tests/search/test_cheapest.py"
OBJECTIVE = "tests/question/test_objective.py"
SURVIVAL = "tests/question/test_survival.py"
EXACT = "tests/search/test_exact.py"
SPIKE = "tests/simulations/test_spike.py"
RELAXATION = "tests/simulations/test_relaxation.py"
AGREEMENT = "tests/simulations/test_agreement.py"
KERNEL = "tests/simulations/test_kernel.py"
TALLY = "tests/simulations/test_tally.py"
COMPILED = "tests/simulations/test_compiled.py"
DEVICES = "tests/simulations/test_devices.py"
CONTENTION = "tests/profile/test_contention.py"
RATES = "tests/search/test_rates.py"
WHAT_IF = "tests/search/test_what_if.py"
REASONS = "tests/explanation/test_reasons.py"
PLAN_FILE = "tests/answer/test_plan_file.py"
GATE = "tests/answer/test_gate.py"
PAIRED = "tests/simulations/test_paired.py"


@dataclass(frozen=True)
class Mutant:
    """A planted bug: in one file each `old` becomes its `new`; `tests` should fail."""

    name: str
    breaks: str
    file: str
    edits: Sequence[tuple[str, str]]
    tests: str


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a mutant; `caught_by` is empty for a survivor."""

    mutant: Mutant
    caught_by: str


def in_file(file: str, name: str) -> str:
    return f"{file}::test_{name}"


def invariant(name: str) -> str:
    return in_file(INVARIANTS, name)


def rule(name: str) -> str:
    return in_file(CLUSTER, name)


REPLICA = "simulations/reference/replica.py"
ROUTER = "simulations/reference/replica.py"
CLOCK = "simulations/reference/replica.py"
DEVICE = "simulations/reference/replica.py"
KERNEL_DEVICES = "simulations/kernel/shared_devices.py"
STABILITY = "capacity/question/stability.py"

NAMED_INVARIANTS = [
    Mutant(
        "a request is lost",
        "conservation",
        REPLICA,
        [("started_s, clock.now, requests))", "started_s, clock.now, requests[:-1] or requests))")],
        invariant("conservation"),
    ),
    Mutant(
        "a batch starts before it is there",
        "causality",
        REPLICA,
        [("started_s = clock.now\n", "started_s = clock.now - 0.3\n")],
        invariant("causality"),
    ),
    Mutant(
        "a replica is free halfway through its batch",
        "clock: batches of a replica do not overlap",
        REPLICA,
        [
            (
                "Batch(self.index, started_s, clock.now,",
                "Batch(self.index, started_s, 2 * clock.now - started_s,",
            )
        ],
        invariant("clock"),
    ),
    Mutant(
        "the newest request is served first",
        "FIFO",
        REPLICA,
        [("self._waiting.popleft()", "self._waiting.pop()")],
        invariant("fifo"),
    ),
    Mutant(
        "an idle replica looks late",
        "work conservation, greedy",
        REPLICA,
        [("call.at(self._clock.now, Phase", "call.at(self._clock.now + 0.1, Phase")],
        invariant("work_conservation"),
    ),
    Mutant(
        "a batch is due when it is more than full",
        "work conservation, dispatch when full",
        REPLICA,
        [("len(self._waiting) >= self._plan", "len(self._waiting) > self._plan")],
        invariant("work_conservation"),
    ),
    Mutant(
        "a replica that falls idle sets no timer",
        "work conservation, batch wait",
        REPLICA,
        [
            (
                "heappush(self._idle, (replica, call))\n        self._call_replica()\n",
                "heappush(self._idle, (replica, call))\n",
            )
        ],
        rule("a_replica_that_is_free_before_the_deadline_waits_for_it"),
    ),
    Mutant(
        "a batch may hold one more",
        "batch limits",
        REPLICA,
        [
            (
                "size = min(len(self._waiting), self._plan.batch_size_max)",
                "size = min(len(self._waiting), self._plan.batch_size_max + 1)",
            )
        ],
        invariant("batch_limits"),
    ),
    Mutant(
        "a batch leaves one behind",
        "a batch takes all that waits",
        REPLICA,
        [
            (
                "size = min(len(self._waiting), self._plan.batch_size_max)",
                "size = min(len(self._waiting), max(1, self._plan.batch_size_max - 1))",
            )
        ],
        invariant("batch_takes_all_that_waits"),
    ),
    Mutant(
        "the generator is not seeded",
        "determinism",
        "simulations/draws/arrivals.py",
        [("default_rng(np.random.SeedSequence(self.value, spawn_key=key))", "default_rng()")],
        invariant("determinism_same_seed_same_bytes"),
    ),
    Mutant(
        "the seed is ignored",
        "different seeds differ",
        "simulations/draws/arrivals.py",
        [("SeedSequence(self.value, spawn", "SeedSequence(0, spawn")],
        invariant("different_seeds_differ"),
    ),
    Mutant(
        "service draws depend on the rate",
        "common random numbers",
        "simulations/draws/arrivals.py",
        [
            (
                "return own.random(count)",
                "return own.random(count) / (1.0 + self._demand.arrival_rate_rps)",
            )
        ],
        invariant("common_random_numbers_at_another_rate"),
    ),
    Mutant(
        "requests leave the system when they start",
        "L = λW",
        "simulations/statistics/pool.py",
        [("in_system_mean=responses.total_s / window_s", "in_system_mean=waits.total_s / window_s")],
        invariant("littles_law"),
    ),
    Mutant(
        "busy replicas are not averaged",
        "utilization",
        "simulations/statistics/pool.py",
        [("whole.busy_s / (replicas * window_s)", "whole.busy_s / window_s")],
        invariant("utilization"),
    ),
    Mutant(
        "the warm-up counts",
        "window",
        "simulations/statistics/sample.py",
        [("        start = length.warm_up\n", "        start = 0\n")],
        invariant("window"),
    ),
    Mutant(
        "the cool-down counts",
        "window",
        "simulations/statistics/sample.py",
        [("end = requests - length.cool_down", "end = requests")],
        invariant("window"),
    ),
]

BATCHING = [
    Mutant(
        "the timer counts from the last arrival",
        "timer from the oldest request's arrival",
        REPLICA,
        [("self._arrived_s[self._waiting[0]] +", "self._arrived_s[self._waiting[-1]] +")],
        rule("the_timer_counts_from_the_arrival_of_the_oldest"),
    ),
    Mutant(
        "the timer counts from when the replica fell idle",
        "timer from the oldest request's arrival",
        REPLICA,
        [
            ("        while True:\n", "        while True:\n            self.queue.since_s = clock.now\n"),
            (
                "return self._arrived_s[self._waiting[0]] +",
                "return max(self._arrived_s[self._waiting[0]], self.since_s) +",
            ),
        ],
        rule("a_replica_that_was_busy_past_the_deadline_dispatches_at_once"),
    ),
    Mutant(
        "the deadline is compared by the time waited",
        "deadline is the floating-point sum",
        REPLICA,
        [
            (
                "self._deadline_s() <= self._clock.now",
                "self._clock.now - self._arrived_s[self._waiting[0]] >= self._plan.batch_wait_max_s",
            )
        ],
        CLUSTER,
    ),
    Mutant(
        "arrivals come before completions",
        "order at one instant",
        CLOCK,
        [("COMPLETION = 0\n    ARRIVAL = 1\n", "ARRIVAL = 0\n    COMPLETION = 1\n")],
        rule("an_arrival_at_the_instant_of_a_completion_comes_too_late_for_its_dispatch"),
    ),
    Mutant(
        "timers come before arrivals",
        "an arrival at the timer's instant joins the batch",
        REPLICA,
        [
            ("at(self._deadline_s(), Phase.TIMER)", "at(self._deadline_s(), Phase.COMPLETION, 2**20)"),
            ("lambda _: self._call_replica()", "lambda _: self._call_replica(Phase.COMPLETION)"),
            (
                'def _call_replica(self) -> None:\n        """Call',
                'def _call_replica(self, phase=Phase.DISPATCH) -> None:\n        """Call',
            ),
            ("Phase.DISPATCH, replica)", "phase, replica + 2**21)"),
        ],
        rule("an_arrival_at_the_instant_of_the_timer_joins_the_batch"),
    ),
    Mutant(
        "each arrival is dispatched before the next of its instant",
        "simultaneous arrivals share a batch",
        CLOCK,
        [("ARRIVAL = 1\n    DISPATCH = 2\n", "DISPATCH = 1\n    ARRIVAL = 2\n")],
        rule("simultaneous_arrivals_share_a_batch"),
    ),
    Mutant(
        "the highest idle replica is called",
        "lowest replica first",
        REPLICA,
        [
            ("heappush(self._idle, (replica, call))", "heappush(self._idle, (-replica, call))"),
        ],
        rule("the_lowest_idle_replica_serves_the_shared_queue"),
    ),
    Mutant(
        "the highest replica completes first",
        "completions of the lowest replica first",
        DEVICE,
        [(".at(ends_s, Phase.COMPLETION, replica)", ".at(ends_s, Phase.COMPLETION, -replica)")],
        rule("completions_of_one_instant_dispatch_the_lowest_replica_first"),
    ),
    Mutant(
        "the service time is that of the newest request",
        "service drawn by the oldest request's uniform",
        REPLICA,
        [("uniforms[requests[0]]", "uniforms[requests[-1]]")],
        rule("the_service_time_is_drawn_by_the_uniform_of_the_oldest_request"),
    ),
    Mutant(
        "the service time is that of a batch of one",
        "service drawn for the size of the batch",
        REPLICA,
        [("service_times(len(requests), ", "service_times(1, ")],
        rule("the_service_time_is_drawn_for_the_size_of_the_batch"),
    ),
    Mutant(
        "every routing has one queue",
        "a request never moves",
        "simulations/reference/cluster.py",
        [("shared = plan.routing is Routing.SHARED_QUEUE", "shared = True")],
        rule("a_request_never_moves_to_another_queue"),
    ),
    Mutant(
        "overhead is forgotten",
        "overhead added to the response",
        "simulations/statistics/sample.py",
        [("finished_s[place] - came_s + overhead_s", "finished_s[place] - came_s")],
        rule("overhead_is_added_to_the_response_and_takes_no_capacity"),
    ),
    Mutant(
        "overhead occupies the server",
        "overhead takes no capacity",
        "simulations/statistics/sample.py",
        [
            (
                "busy_s += (finished_s[place] - started_s[place]) * share",
                "busy_s += (finished_s[place] - started_s[place] + overhead_s) * share",
            )
        ],
        f"{ESTIMATE}::test_mean_wait_is_pollaczeks",
    ),
]

QUEUE_LIMIT = [
    Mutant(
        "one more may wait than the limit says",
        "queue limit",
        REPLICA,
        [("len(self._waiting) >= self._limit + ", "len(self._waiting) > self._limit + ")],
        invariant("queue_limit"),
    ),
    Mutant(
        "a request that a free replica could start is lost",
        "an idle replica has room for a batch",
        REPLICA,
        [(">= self._limit + self._room()", ">= self._limit")],
        rule("without_waiting_places_only_an_idle_replica_serves"),
    ),
    Mutant(
        "a free replica has room for one request",
        "an idle replica has room for a batch",
        REPLICA,
        [("self._free * self._plan.batch_size_max", "self._free")],
        rule("an_idle_replica_has_room_for_a_batch_beside_the_queue"),
    ),
    Mutant(
        "a replica that has finished is not free",
        "queue limit",
        REPLICA,
        [("            self.queue.release()\n", "")],
        rule("a_place_is_free_at_the_instant_of_a_completion"),
    ),
    Mutant(
        "a lost request is outstanding for ever",
        "least-outstanding counts who is there",
        REPLICA,
        [
            (
                "if self.queue.join(request):\n            self.outstanding",
                "self.queue.join(request)\n        if request >= 0:\n            self.outstanding",
            )
        ],
        rule("each_queue_has_its_own_places_and_a_lost_request_is_not_outstanding"),
    ),
    Mutant(
        "lost requests are not counted",
        "arrived = finished + lost",
        "simulations/statistics/sample.py",
        [("lost=asked - responses.count", "lost=0")],
        invariant("queue_limit"),
    ),
    Mutant(
        "losses are a share of the served",
        "loss probability",
        "simulations/statistics/pool.py",
        [("whole.lost / (whole.lost + whole.counted)", "whole.lost / whole.counted")],
        AGREEMENT,
    ),
]

OPEN_TIMER = [
    Mutant(
        "the open timer is the oldest request's",
        "timer from when an idle replica sees a request",
        REPLICA,
        [("kind = OpenQueue if plan.timer is BatchTimer.OPEN else RequestQueue", "kind = RequestQueue")],
        rule("the_open_timer_starts_when_a_busy_replica_falls_idle"),
    ),
    Mutant(
        "each arrival starts the open timer anew",
        "timer from when an idle replica sees a request",
        REPLICA,
        [("if self._opened_s is None and self._idle", "if self._idle")],
        rule("the_open_timer_of_an_idle_replica_starts_with_the_arrival"),
    ),
    Mutant(
        "the open timer runs on for what a batch leaves behind",
        "one timer for each batch",
        REPLICA,
        [("        self._opened_s = None\n        return super().take()", "        return super().take()")],
        rule("the_open_timer_starts_when_a_busy_replica_falls_idle"),
    ),
    Mutant(
        "the open timer runs while every replica is busy",
        "timer from when an idle replica sees a request",
        REPLICA,
        [
            (
                "self._opened_s is None and self._idle and self._waiting",
                "self._opened_s is None and self._waiting",
            )
        ],
        rule("the_open_timer_starts_when_a_busy_replica_falls_idle"),
    ),
]

CLOSED = [
    Mutant(
        "users think while they wait for the answer",
        "think time from the answer",
        "simulations/reference/population.py",
        [("batch.finished_s + self._think_s", "batch.started_s + self._think_s")],
        invariant("population"),
    ),
    Mutant(
        "users start at one instant",
        "staggered start",
        "simulations/reference/population.py",
        [("user / self._users * spread_s", "0.0 * user * spread_s")],
        rule("users_start_evenly_over_the_first_service_time"),
    ),
    Mutant(
        "all users of a batch think as long",
        "think times belong to requests",
        "simulations/reference/population.py",
        [("self._think_s[request])", "self._think_s[batch.requests[0]])")],
        invariant("population"),
    ),
    Mutant(
        "think times are drawn by the numbers of the service",
        "one stream per purpose",
        "simulations/draws/arrivals.py",
        [
            (
                "self._generator(Purpose.THINK).standard_exponential(count)",
                "self._generator(Purpose.SERVICE).random(count)",
            )
        ],
        ARRIVALS,
    ),
    Mutant(
        "users come back before the dispatch of their replica",
        "order at one instant",
        "simulations/reference/population.py",
        [(".at(instant_s, Phase.ARRIVAL)", ".at(instant_s, Phase.COMPLETION)")],
        CLUSTER,
    ),
    Mutant(
        "users who walk among queues forget at once",
        "warm-up by relaxation time",
        "simulations/statistics/relaxation.py",
        [("    if is_pooled(plan):\n        return users", "    if users:\n        return users")],
        RELAXATION,
    ),
    Mutant(
        "users are served by the turns of their start",
        "warm-up by relaxation time",
        "simulations/case.py",
        [("if isinstance(workload, ClosedPopulation) and _is_by_turns(simulated)", "if False")],
        RELAXATION,
    ),
    Mutant(
        "the walls of a limited queue are those of one without variance",
        "warm-up by relaxation time",
        "simulations/statistics/relaxation.py",
        [("math.pi / (places + 1)", "math.pi / places")],
        RELAXATION,
    ),
]

GRID = [
    Mutant(
        "any deviation is within an approximation's error",
        "agreement",
        "simulations/validation/agreement.py",
        [("max(0.0, abs(deviation) - allowed)", "max(0.0, abs(deviation) - 2.0 * allowed)")],
        AGREEMENT,
    ),
    Mutant(
        "an atom must come out to the last bit",
        "agreement",
        "simulations/validation/agreement.py",
        [("max(self.simulation.standard_error, _ROUNDING * self.theory)", "self.simulation.standard_error")],
        AGREEMENT,
    ),
    Mutant(
        "the slow branch is drawn by the fast one's numbers",
        "service times of a law",
        "simulations/validation/laws.py",
        [("np.maximum(uniforms - fast, 0.0) / slow", "uniforms")],
        AGREEMENT,
    ),
]

ROUTING = [
    Mutant(
        "round-robin starts at replica 1",
        "round-robin",
        ROUTER,
        [("replicas[request % count]", "replicas[(request + 1) % count]")],
        rule("round_robin_starts_at_replica_0_and_skips_none"),
    ),
    Mutant(
        "round-robin skips every other replica",
        "round-robin",
        ROUTER,
        [("replicas[request % count]", "replicas[2 * request % count]")],
        rule("round_robin_starts_at_replica_0_and_skips_none"),
    ),
    Mutant(
        "random routing takes the second uniform",
        "random",
        ROUTER,
        [
            (
                "return replicas[int(uniforms[2 * request] * count)]",
                "return replicas[int(uniforms[2 * request + 1] * count)]",
            )
        ],
        rule("random_routing_uses_the_first_uniform_of_each_request"),
    ),
    Mutant(
        "requests in service are not outstanding",
        "least-outstanding",
        REPLICA,
        [
            ("            self.outstanding[self.index] -= len(requests)\n", ""),
            (
                "requests = self.queue.take()\n",
                "requests = self.queue.take()\n            self.outstanding[self.index] -= len(requests)\n",
            ),
        ],
        rule("least_outstanding_counts_batches_in_service_and_ties_go_to_the_lowest"),
    ),
    Mutant(
        "batches are outstanding, not requests",
        "least-outstanding",
        REPLICA,
        [("self.outstanding[self.index] -= len(requests)", "self.outstanding[self.index] -= 1")],
        rule("least_outstanding_counts_requests_and_not_batches"),
    ),
    Mutant(
        "least-outstanding ties go to the highest",
        "ties by lowest index",
        ROUTER,
        [("outstanding.index(min(outstanding))", "count - 1 - outstanding[::-1].index(min(outstanding))")],
        rule("least_outstanding_counts_batches_in_service_and_ties_go_to_the_lowest"),
    ),
    Mutant(
        "power-of-two has one choice",
        "power-of-two",
        ROUTER,
        [
            (
                "return replicas[min((outstanding[first], first), (outstanding[second], second))[1]]",
                "return replicas[first]",
            )
        ],
        rule("power_of_two_compares_two_different_replicas"),
    ),
    Mutant(
        "power-of-two may choose the same replica twice",
        "power-of-two",
        ROUTER,
        [("uniforms[2 * request + 1] * (count - 1)", "uniforms[2 * request + 1] * count")],
        rule("power_of_two_compares_two_different_replicas"),
    ),
    Mutant(
        "power-of-two ties go to the first drawn",
        "ties by lowest index",
        ROUTER,
        [
            (
                "min((outstanding[first], first), (outstanding[second], second))[1]",
                "first if outstanding[first] <= outstanding[second] else second",
            )
        ],
        rule("power_of_two_ties_go_to_the_lowest_index_not_to_the_first_drawn"),
    ),
]

STATISTICS = [
    Mutant(
        "gamma gaps have the wrong shape",
        "cv of the gaps",
        "simulations/draws/arrivals.py",
        [("shape = 1.0 / cv**2", "shape = 1.0 / cv")],
        ARRIVALS,
    ),
    Mutant(
        "a trace is played at its own rate",
        "trace is scaled to the rate",
        "simulations/draws/arrivals.py",
        [("- instants_s[0]) * trace.rate_rps", "- instants_s[0]) * self._demand.arrival_rate_rps")],
        ARRIVALS,
    ),
    Mutant(
        "purposes share a stream",
        "one stream per purpose",
        "simulations/draws/arrivals.py",
        [("key = (self.stage, self.replication, purpose)", "key = (self.stage, self.replication)")],
        ARRIVALS,
    ),
    Mutant(
        "replications share a stream",
        "one stream per replication",
        "simulations/draws/arrivals.py",
        [("key = (self.stage, self.replication, purpose)", "key = (self.stage, purpose)")],
        ARRIVALS,
    ),
    Mutant(
        "the certificate has the numbers of the search",
        "fresh seeds for the certificate",
        "simulations/judge.py",
        [("scenario, Stage.CERTIFY, attempt)", "objective, Stage.SEARCH, attempt)")],
        JUDGE,
    ),
    Mutant(
        "the quantile is a mean of quantiles",
        "quantiles of the pooled requests",
        "simulations/statistics/pool.py",
        [
            (
                "value = whole.quantile_s(quantile)",
                "value = float(np.mean([tally(one).quantile_s(quantile) for one in self.sections]))",
            )
        ],
        POOL,
    ),
    Mutant(
        "the rank is one too low",
        "quantile is the inverted distribution function",
        "simulations/statistics/sample.py",
        [("math.ceil(quantile", "math.floor(quantile")],
        TALLY,
    ),
    Mutant(
        "the standard error is a variance",
        "half-width by sectioning",
        "simulations/statistics/pool.py",
        [
            (
                "error = math.sqrt(squares / degrees / len(sections))",
                "error = squares / degrees / len(sections)",
            )
        ],
        POOL,
    ),
    Mutant(
        "the standard error is that of one section",
        "half-width by sectioning",
        "simulations/statistics/pool.py",
        [("math.sqrt(squares / degrees / len(sections))", "math.sqrt(squares / degrees)")],
        POOL,
    ),
    Mutant(
        "sections are cut off in a row",
        "replication i in section i mod 20",
        "simulations/statistics/pool.py",
        [
            (
                "group = groups[replications % SECTIONS]",
                "group = groups[min(replications // 2, SECTIONS - 1, len(groups) - 1)]",
            )
        ],
        POOL,
    ),
    Mutant(
        "student's t is one-sided",
        "coverage",
        "simulations/statistics/pool.py",
        [("0.5 + confidence / 2.0", "confidence")],
        POOL,
    ),
    Mutant(
        "runs that fall are taken for unsettled",
        "settled",
        "simulations/statistics/pool.py",
        [("return float(rises_s.mean()) <=", "return -float(rises_s.mean()) <=")],
        POOL,
    ),
    Mutant(
        "looks ignore the budget",
        "budget in requests",
        "simulations/looks.py",
        [("while wanted <= affordable:", "while pool.replications <= affordable:")],
        ESTIMATE,
    ),
    Mutant(
        "warm-up ignores that a batch's draw moves all of it",
        "warm-up by relaxation time",
        "simulations/case.py",
        [
            (
                "return arrivals_scv(self.workload) + self.plan.batch_size_max * service.scv",
                "return arrivals_scv(self.workload) + service.scv",
            )
        ],
        ESTIMATE,
    ),
    Mutant(
        "the profile's error is one standard deviation",
        "profile error is part of the interval",
        "simulations/statistics/profile_error.py",
        [("return student_t(confidence, len(values) - 1) * float(", "return float(")],
        JUDGE,
    ),
    Mutant(
        "warm-up ignores the number of queues",
        "warm-up by relaxation time",
        "simulations/case.py",
        [("queues = 1 if is_pooled(plan) else plan.replicas", "queues = 1")],
        ESTIMATE,
    ),
    Mutant(
        "a stand-in sees gaps as bursty as the fleet's",
        "one replica for all: sums of gaps",
        "simulations/case.py",
        [("return GammaArrivals(cv=cv / math.sqrt(count))", "return GammaArrivals(cv=cv)")],
        f"{ESTIMATE}::test_one_replica_stands_for_all_that_do_not_look_at_each_other",
    ),
    Mutant(
        "a round-robin stand-in sees Poisson arrivals",
        "one replica for all: sums of gaps",
        "simulations/case.py",
        [
            (
                "return arrivals if count == 1 else GammaArrivals(cv=1.0 / math.sqrt(count))",
                "return arrivals",
            )
        ],
        f"{ESTIMATE}::test_one_replica_stands_for_all_that_do_not_look_at_each_other",
    ),
    Mutant(
        "a short trace is good enough",
        "a trace too short is refused",
        "simulations/looks.py",
        [("if requests < needed:", "if requests < needed // 2:")],
        ESTIMATE,
    ),
    Mutant(
        "a dead worker is not noticed",
        "DependencyError",
        "simulations/parallel.py",
        [("= (BrokenExecutor, CancelledError),", "= (CancelledError,),")],
        PARALLEL,
    ),
    Mutant(
        "results come as they finish",
        "the bytes do not depend on the workers",
        "simulations/parallel.py",
        [("while turn in ready:", "for turn in sorted(ready):")],
        PARALLEL,
    ),
    Mutant(
        "Ctrl-C reaches every worker",
        "an interrupt is one line",
        "simulations/worker_processes.py",
        [("signal.SIG_BLOCK, {signal.SIGINT}", "signal.SIG_BLOCK, set()")],
        PARALLEL,
    ),
    Mutant(
        "an interrupt is raised amid LLVM's bindings",
        "an interrupt neither crashes nor is lost",
        "capacity/interrupts.py",
        [(".startswith(_UNBREAKABLE)", '.startswith("nothing")')],
        "tests/test_interrupts_put_off.py",
    ),
    Mutant(
        "an interrupt in a destructor is lost",
        "an interrupt neither crashes nor is lost",
        "capacity/interrupts.py",
        [("sys.unraisablehook = sys.unraisablehook, raiser.tell", "_ = sys.unraisablehook, raiser.tell")],
        "tests/test_interrupts_put_off.py",
    ),
    Mutant(
        "an interrupt is put off without end",
        "an interrupt ends within seconds",
        "capacity/interrupts.py",
        [("self._put_off < _AGAIN_MAX and ", "")],
        "tests/test_interrupts_put_off.py",
    ),
    Mutant(
        "a cut-off line is taken for a row",
        "an interrupted sweep ends with the same bytes",
        "capacity/answer/sweep.py",
        [('if not first.endswith(b"\\n") and header', "if header")],
        "tests/answer/test_sweep_files.py",
    ),
    Mutant(
        "the journal of other settings is gone on with",
        "a journal with other settings is refused",
        "capacity/answer/sweep.py",
        [("    _require_same(first, header, shown)\n", "")],
        "tests/answer/test_sweep_files.py",
    ),
    Mutant(
        "abandoned threads are not told",
        "an interrupt ends within seconds",
        "simulations/parallel.py",
        [("        mapper.abandon()\n        executor.shutdown", "        executor.shutdown")],
        PARALLEL,
    ),
]

DECISIONS = [
    Mutant(
        "met by the quantile's point value",
        "accepted only by the upper end",
        "simulations/judge.py",
        [("and interval.high <= promise.allowed", "and interval.value <= promise.allowed")],
        JUDGE,
    ),
    Mutant(
        "met by the late share's point value",
        "accepted only by the upper end",
        "simulations/judge.py",
        [("late.interval(accept).high <= allowed", "late.value <= allowed")],
        JUDGE,
    ),
    Mutant(
        "refused by the late share's point value",
        "refused only by the lower end",
        "simulations/judge.py",
        [("late.interval(refuse).low > allowed_share", "late.value > allowed_share")],
        JUDGE,
    ),
    Mutant(
        "unsettled runs accept",
        "unsettled runs may only refuse",
        "simulations/judge.py",
        [("met = look.settled", "met = True")],
        JUDGE,
    ),
    Mutant(
        "looks and candidates are not corrected for",
        "correction for the number of tests",
        "simulations/judge.py",
        [
            (
                "corrected = self.error * share_of_error(self.attempt) * share_of_error(look)",
                "corrected = self.error",
            )
        ],
        JUDGE,
    ),
    Mutant(
        "the profile's own error is left out",
        "profile error is part of the interval",
        "simulations/statistics/profile_error.py",
        [("q: widened(found, extra.get((name, q), 0.0))", "q: widened(found, 0.0)")],
        JUDGE,
    ),
    Mutant(
        "stability by the best throughput",
        "load = λ·s_B/(c·B)",
        "capacity/question/stability.py",
        [
            (
                "working * profile.throughput_rps(plan.batch_size_max)",
                "working * max(profile.throughput_rps(b) for b in range(1, plan.batch_size_max + 1))",
            )
        ],
        SEARCH,
    ),
    Mutant(
        "the service floor is that of a batch of one",
        "service floor over all batch sizes",
        "capacity/profile/profile.py",
        [
            (
                "min(self.law(size).quantile_s(quantile) for size in sizes)",
                "min(self.law(size).quantile_s(quantile) for size in sizes[:1])",
            )
        ],
        SEARCH,
    ),
    Mutant(
        "a load of 1 is stable",
        "stability",
        "capacity/search/screen.py",
        [("if rho >= 1.0 else None", "if rho > 1.0 else None")],
        SEARCH,
    ),
    Mutant(
        "a limit that was just reached ends the list",
        "skipped sizes change nothing",
        "capacity/search/candidates.py",
        [("largest is not None and largest < size", "largest is not None and largest <= size")],
        SEARCH,
    ),
    Mutant(
        "halving stops one short",
        "fewest replicas",
        "capacity/search/cheapest.py",
        [("while accepted - refused > 1:", "while accepted - refused > 2:")],
        SEARCH,
    ),
    Mutant(
        "headroom is the first refused rate",
        "headroom still accepts",
        "capacity/search/headroom.py",
        [("accepted_rps=low_rps", "accepted_rps=high_rps")],
        SEARCH,
    ),
    Mutant(
        "the certificate is not asked",
        "certificate with fresh numbers",
        "capacity/search/certificate.py",
        [("        if not trial.candidate.accepted:\n", "        if False:\n")],
        PLANNER,
    ),
    Mutant(
        "the plan nearest to its limit wins",
        "preference among batch sizes",
        "capacity/search/certificate.py",
        [("0.0 if tied else value,", "0.0 if tied else -value,")],
        PLANNER,
    ),
    Mutant(
        "doubt is a miss",
        "inconclusive is not missed",
        "capacity/search/planner.py",
        [
            (
                "return Verdict.INCONCLUSIVE if is_open else Verdict.MISSED",
                "return Verdict.MISSED",
            )
        ],
        PLANNER,
    ),
    Mutant(
        "a cheaper plan in doubt is not named",
        "caveats",
        "capacity/search/caveats.py",
        [("cost(search, one) < price:", "cost(search, one) > price:")],
        PLANNER,
    ),
]

PLANNING = [
    Mutant(
        "the first fleet that waits and is refused ends their search",
        "fleets that wait are tried at every count",
        "capacity/search/cheapest.py",
        [
            (
                "and is_open:\n            break\n    return 0",
                "and is_open:\n            break\n        if not is_open:\n            break\n    return 0",
            )
        ],
        CHEAPEST,
    ),
    Mutant(
        "a crooked profile is halved in",
        "a profile that is not monotone is tried at every count",
        "capacity/search/cheapest.py",
        [("[False] if not family.profile.is_monotone else []", "[]")],
        CHEAPEST,
    ),
    Mutant(
        "a random router is taken never to do better",
        "every routing is tried",
        "capacity/search/cheapest.py",
        [
            (
                "for family in _cheapest_first(search):",
                'for family in [f for f in _cheapest_first(search) if f.routing != "random"] '
                "or _cheapest_first(search):",
            )
        ],
        CHEAPEST,
    ),
    Mutant(
        "of one price fleets that wait are not looked at",
        "of one price the one farthest from its limit",
        "capacity/search/cheapest.py",
        [
            (
                "        search.at(family, devices, waits=True)\n",
                "        search.at(family, devices)\n",
            )
        ],
        CHEAPEST,
    ),
    Mutant(
        "a fleet that waits makes nothing cheaper",
        "lowest price",
        "capacity/search/cheapest.py",
        [
            (
                "    bound = min((cost(search, one) for",
                "    bound = bound if bound < math.inf else min((cost(search, one) for",
            )
        ],
        CHEAPEST,
    ),
    Mutant(
        "what is left of a fleet need not be stable",
        "survival: load after a loss",
        "capacity/search/candidates.py",
        [
            (
                '[("", question.scenario(plan)), *question.events(plan)]',
                '[("", question.scenario(plan))]',
            )
        ],
        CHEAPEST,
    ),
    Mutant(
        "the search asks nothing of what is left",
        "survival: the objective after a loss",
        "capacity/search/candidates.py",
        [("for event, scenario in [*losses[:1], *spikes]:", "for event, scenario in spikes:")],
        CHEAPEST,
    ),
    Mutant(
        "a certificate asks nothing of what is left",
        "survival: every event is certified",
        "capacity/search/certificate.py",
        [("in question.events(plan) if candidate.accepted else ():", "in ():")],
        PLANNER,
    ),
    Mutant(
        "a fleet that waits is the simpler one",
        "of those that cannot be told apart the simplest",
        "capacity/search/certificate.py",
        [("plan.batch_wait_max_s > 0.0,\n", "plan.batch_wait_max_s == 0.0,\n")],
        PLANNER,
    ),
    Mutant(
        "after a certificate that fails only the first family grows",
        "the next dearer of all fleets",
        "capacity/search/certificate.py",
        [
            (
                "                best, bound = certified, cost(search, certified.candidate)\n",
                "                return certified\n",
            )
        ],
        PLANNER,
    ),
    Mutant(
        "prices are told apart by their rounding",
        "three devices at 0.1 cost one at 0.3",
        "capacity/question/question.py",
        [
            (
                'float(f"{devices * (self.profile.hourly_usd or 1.0):.12g}")',
                "devices * (self.profile.hourly_usd or 1.0)",
            )
        ],
        PLANNER,
    ),
    Mutant(
        "the promise farthest from its limit binds",
        "what binds",
        "capacity/question/objective.py",
        [("return max(self.promises, key=pressure)", "return min(self.promises, key=pressure)")],
        OBJECTIVE,
    ),
    Mutant(
        "the smallest zone is lost",
        "zones as even as they go",
        "capacity/question/resilience.py",
        [("-(-devices // self.zones) * per_device", "devices // self.zones * per_device")],
        SURVIVAL,
    ),
    Mutant(
        "a rolling update takes nothing from a small fleet",
        "at least one is taken away",
        "capacity/question/resilience.py",
        [("max(1, math.floor(share * replicas))", "math.floor(share * replicas)")],
        SURVIVAL,
    ),
    Mutant(
        "a share of the replicas is rounded in binary",
        "29 % of 100 are 29",
        "capacity/question/resilience.py",
        [("math.floor(share * replicas)", "math.floor(self.unavailable_share * replicas)")],
        SURVIVAL,
    ),
    Mutant(
        "a spike would take the requests of the steady state",
        "a budget refusal needs more than is allowed",
        "simulations/judge.py",
        [("if self.scenario.spike is None:", "if True:")],
        SPIKE,
    ),
    Mutant(
        "the spike begins one arrival late",
        "the jump comes when the start is forgotten",
        "simulations/looks.py",
        [("before=warm_up,", "before=warm_up + 1,")],
        SPIKE,
    ),
    Mutant(
        "a spike lasts as many requests as before",
        "until new replicas are ready",
        "simulations/looks.py",
        [("* spike.factor * spike.startup_time_s", "* spike.startup_time_s")],
        SPIKE,
    ),
    Mutant(
        "a surge moves the past",
        "gaps before a surge are as they were",
        "simulations/draws/arrivals.py",
        [
            (
                "self._surge_from + (instants[within] - self._surge_from) / surging.factor",
                "instants[within] / surging.factor",
            )
        ],
        ARRIVALS,
    ),
    Mutant(
        "a mean is met by its point value",
        "accepted only by the upper end",
        "simulations/judge.py",
        [("high.high <= promise.allowed and not few", "high.value <= promise.allowed and not few")],
        JUDGE,
    ),
    Mutant(
        "nothing lost is nothing to lose",
        "rule of three",
        "simulations/statistics/pool.py",
        [("low=0.0, high=exact)", "low=0.0, high=0.0)")],
        JUDGE,
    ),
    Mutant(
        "one loss is known as well as a thousand",
        "few events have their exact interval",
        "simulations/statistics/pool.py",
        [("high=max(interval.high, exact)", "high=interval.high")],
        POOL,
    ),
    Mutant(
        "one request that was lost is known as well as a thousand",
        "few events have their exact interval",
        "measurements/sections.py",
        [("min(1.0, max(interval.high, exact))", "min(1.0, interval.high)")],
        "tests/test_sections.py",
    ),
    Mutant(
        "spells longer than a section are a drift",
        "a drift is beyond what chance explains",
        "measurements/drift.py",
        [("        reach *= _widened(first, second)\n", "        pass\n")],
        "tests/test_measured_samples.py",
    ),
    Mutant(
        "an address is kept with its secrets",
        "what stands behind ? is kept nowhere",
        "measurements/http_client.py",
        [('parse_address(url, "--url").shown[:80]', "url[:80]")],
        "tests/test_http_client.py",
    ),
    Mutant(
        "a law refuses on the limit",
        "met up to the limit itself",
        "capacity/search/exact.py",
        [(") > promise.allowed\n", ") >= promise.allowed\n")],
        EXACT,
    ),
]

KERNELS = [
    Mutant(
        "a batch due at an arrival's instant leaves it out",
        "the same bytes as SimPy: order at one instant",
        "simulations/kernel/own_queues.py",
        [("queue.waiting > 0 and queue.due_s < now_s", "queue.waiting > 0 and queue.due_s <= now_s")],
        KERNEL,
    ),
    Mutant(
        "of two equal replicas the kernel takes the first drawn",
        "the same bytes as SimPy: ties by lowest index",
        "simulations/kernel/own_queues.py",
        [
            (
                "at(ranks, two) < at(ranks, one)",
                "at(ranks, two) // leaves < at(ranks, one) // leaves",
            )
        ],
        KERNEL,
    ),
    Mutant(
        "a batch that has ended is one request less",
        "the same bytes as SimPy: least-outstanding",
        "simulations/kernel/own_queues.py",
        [("at(ranks, replica) - queue.in_service * leaves", "at(ranks, replica) - leaves")],
        KERNEL,
    ),
    Mutant(
        "a busy replica of the kernel has room for a batch",
        "the same bytes as SimPy: queue limit",
        "simulations/kernel/own_queues.py",
        [("limit + (size_max if is_free else 0)", "limit + size_max")],
        KERNEL,
    ),
    Mutant(
        "a due batch of the shared queue comes before completions",
        "the same bytes as SimPy: order at one instant",
        "simulations/kernel/shared_queue.py",
        [("if end_s <= ready_s:", "if end_s < ready_s:")],
        KERNEL,
    ),
    Mutant(
        "of the free replicas one has room",
        "the same bytes as SimPy: queue limit",
        "simulations/kernel/shared_queue.py",
        [("limit + idle * size_max", "limit + min(idle, 1) * size_max")],
        KERNEL,
    ),
    Mutant(
        "the recursion takes the arrivals of a completion's instant",
        "the same bytes as SimPy: order at one instant",
        "simulations/kernel/recursion.py",
        [("arrived_s[end] < start_s", "arrived_s[end] <= start_s")],
        KERNEL,
    ),
    Mutant(
        "the recursion forgets that another batch ends then",
        "the same bytes as SimPy: order at one instant",
        "simulations/kernel/recursion.py",
        [("came_s < start_s and timed_s <= start_s and _ends_at(free_s, start_s)", "False")],
        KERNEL,
    ),
    Mutant(
        "those carried over draw what comes next",
        "the same bytes as SimPy: blocks of any size",
        "simulations/kernel/serve.py",
        [("for column in (arrived_s, service):", "for column in (arrived_s,):")],
        KERNEL,
    ),
    Mutant(
        "every block is the last",
        "the same bytes as SimPy: blocks of any size",
        "simulations/kernel/serve.py",
        [("base + here, arrivals, to_come == 0)", "base + here, arrivals, True)")],
        KERNEL,
    ),
    Mutant(
        "requests stay in memory that are done",
        "memory does not grow with the run",
        "simulations/kernel/serve.py",
        [
            (
                "window[:done]\n        window[",
                "window[:done]\n        window = np.append(window, window[:count])\n        window[",
            )
        ],
        KERNEL,
    ),
    Mutant(
        "the uniforms of routing are swapped",
        "the same bytes as SimPy: power-of-two",
        "simulations/kernel/own_queues.py",
        [
            ("one, looks = int(dice[2 * place] *", "one, looks = int(dice[2 * place + 1] *"),
            ("two = one + 1 + int(dice[2 * place + 1] *", "two = one + 1 + int(dice[2 * place] *"),
        ],
        KERNEL,
    ),
    Mutant(
        "of equal replicas the last wins",
        "the same bytes as SimPy: ties by lowest index",
        "simulations/kernel/state.py",
        [("tree[node + 1] < tree[node]", "tree[node + 1] <= tree[node]")],
        "tests/simulations/test_tournament.py",
    ),
    Mutant(
        "a heap that lost its first sinks to the later one",
        "the same bytes as SimPy: closed population",
        "simulations/kernel/state.py",
        [("heap[child + 1] < heap[child]", "heap[child + 1] > heap[child]")],
        "tests/simulations/test_tournament.py",
    ),
    Mutant(
        "at a jump of its law the kernel draws what lies above",
        "the same digits as the profile",
        "simulations/draws/service.py",
        [
            (
                "np.searchsorted(probabilities[low:high], probability)",
                'np.searchsorted(probabilities[low:high], probability, side="right")',
            ),
            ("if probability == u1:", "if probability == -1.0:"),
        ],
        KERNEL,
    ),
    Mutant(
        "an end of a line is an atom",
        "atoms are marks",
        "simulations/draws/service.py",
        [
            (
                "self.probabilities[level + 1] > self.probabilities[level]",
                "self.probabilities[level + 1] >= self.probabilities[level]",
            ),
            (
                "self.durations_s[1:] == self.durations_s[:-1]",
                "self.durations_s[1:] >= self.durations_s[:-1]",
            ),
        ],
        KERNEL,
    ),
    Mutant(
        "overhead shifts no atom",
        "atoms are marks",
        "simulations/replication.py",
        [("wait_s + atoms_s]) + overhead_s", "wait_s + atoms_s])")],
        KERNEL,
    ),
    Mutant(
        "cells are twice as wide",
        "relative error of a cell",
        "simulations/statistics/sample.py",
        [("_BITS = 52 - 10", "_BITS = 52 - 9")],
        TALLY,
    ),
    Mutant(
        "what is just below a mark is counted above it",
        "a share above a mark is exact",
        "simulations/statistics/sample.py",
        [("int(~(2 * mark + 1)) if cell_of(marks_s[mark]) == cell else cell", "cell")],
        TALLY,
    ),
    Mutant(
        "the clock's rounding moves a value off its mark",
        "marks come back",
        "simulations/statistics/sample.py",
        [("if abs(duration_s - marks_s[mark]) <= rounding_s:", "if duration_s == marks_s[mark]:")],
        TALLY,
    ),
    Mutant(
        "a cell is not cut at its marks",
        "a share above a mark is exact",
        "simulations/statistics/sample.py",
        [("np.maximum(low_s, padded[right]), np.minimum(high_s, padded[right + 1])", "low_s, high_s")],
        TALLY,
    ),
    Mutant(
        "of a value that both have the second's count is kept",
        "merging",
        "simulations/statistics/sample.py",
        [("counts[filled] += other_counts[there]", "counts[filled] = other_counts[there]")],
        TALLY,
    ),
    Mutant(
        "waits of 0 are short ones",
        "wait probability",
        "simulations/statistics/sample.py",
        [("zeros += wait_s == 0.0", "zeros += wait_s < 0.0")],
        TALLY,
    ),
    Mutant(
        "the window is a gap short",
        "window",
        "simulations/statistics/sample.py",
        [(" * asked / (asked - 1)", "")],
        TALLY,
    ),
    Mutant(
        "the halves of a run are not those of what counts",
        "start that still shows",
        "simulations/statistics/sample.py",
        [("(start + end) // 2", "end // 2")],
        TALLY,
    ),
    Mutant(
        "a batch counts for each of its requests",
        "batch size",
        "simulations/statistics/sample.py",
        [("batches += share", "batches += 1.0")],
        TALLY,
    ),
    Mutant(
        "instants begin anew with each block",
        "a stream in pieces is the draws at once",
        "simulations/draws/arrivals.py",
        [("self._unit_instant = add_up(", "add_up(")],
        ARRIVALS,
    ),
    Mutant(
        "folded samples are left out",
        "a pool counts each replication once",
        "simulations/statistics/pool.py",
        [("group[:] = [Sample.merged(group)]", "group[:] = [Sample.merged(group[1:])]")],
        POOL,
    ),
    Mutant(
        "bursts count as so many responses",
        "independent exceedances",
        "simulations/statistics/pool.py",
        [
            (
                "return (1.0 - quantile) * late.value * (1.0 - late.value) / late.standard_error**2",
                "return (1.0 - quantile) * self.counted",
            )
        ],
        POOL,
    ),
    Mutant(
        "few bursts are enough",
        "settled",
        "simulations/looks.py",
        [("return enough and pool.is_level and", "return pool.is_level and")],
        ESTIMATE,
    ),
    Mutant(
        "few relaxation times are enough",
        "settled",
        "simulations/looks.py",
        [("pool.is_level and pool.counted >= care * counted_min(case)", "pool.is_level")],
        ESTIMATE,
    ),
    Mutant(
        "a calm queue must be seen as long as a bursty one",
        "settled",
        "simulations/case.py",
        [("seen * calm /", "seen /")],
        ESTIMATE,
    ),
    Mutant(
        "a trace of few busy periods is believed",
        "settled",
        "simulations/looks.py",
        [(">= _TRACE_INDEPENDENT_MIN", ">= 0")],
        ESTIMATE,
    ),
    Mutant(
        "an earlier look is good enough",
        "the last look answers",
        "simulations/looks.py",
        [("settled = last if last.settled else None", "settled = last if last.settled else settled")],
        ESTIMATE,
    ),
    Mutant(
        "a clock of any length tells every service",
        "a run that its clock cannot resolve is refused",
        "simulations/looks.py",
        [("if run_s * _CLOCK_DIGITS > _CLOCK_SHARE * shortest_s:", "if run_s == math.inf:")],
        ESTIMATE,
    ),
    Mutant(
        "a queue limit is a whole number of 64 bits",
        "a limit beyond the kernel's numbers is none",
        "simulations/kernel/state.py",
        [("min(plan.queue_limit, _LIMIT_MAX)", "min(plan.queue_limit, 2**63 - 1)")],
        KERNEL,
    ),
    Mutant(
        "users are served in no time",
        "service of a closed population takes time",
        "simulations/draws/service.py",
        [("if is_closed and not durations_s.all():", "if is_closed and not len(durations_s):")],
        KERNEL,
    ),
    Mutant(
        "every user of a crowd has a place in the heap",
        "memory does not grow with users who never ask",
        "simulations/kernel/state.py",
        [("np.arange(min(users, requests))", "np.arange(users)")],
        KERNEL,
    ),
    Mutant(
        "a response of 0 is a short one",
        "responses of 0 in cells",
        "simulations/statistics/sample.py",
        [('int(sums["response_zeros"])', "0")],
        TALLY,
    ),
    Mutant(
        "Erlang gaps are sums of phases",
        "rate of the gaps",
        "simulations/draws/arrivals.py",
        [("gaps[place] = total / phases", "gaps[place] = total")],
        ARRIVALS,
    ),
    Mutant(
        "machine code is kept by the sources of functions alone",
        "machine code is in step with its sources",
        "simulations/compiled.py",
        [('sorted(_HERE.glob("*.py"))', 'sorted(_HERE.glob("kernel*.py"))')],
        COMPILED,
    ),
]

SHARED_DEVICES = [
    Mutant(
        "work goes on at the rate of later",
        "work of a batch, by the slowdown while it was served",
        DEVICE,
        [
            (
                "(now_s - job.since_s) / self._slowdowns[before - 1]",
                "(now_s - job.since_s) / self._slowdowns[after - 1]",
            )
        ],
        DEVICES,
    ),
    Mutant(
        "the work done is counted from the start again",
        "work of a batch, piece by piece",
        DEVICE,
        [("                job.since_s = now_s\n", "")],
        DEVICES,
    ),
    Mutant(
        "a replica at rest still burdens its device",
        "slowdown by those who are busy",
        DEVICE,
        [("self._change(self._clock.now, busy + 1, busy)", "self._change(self._clock.now, busy, busy)")],
        DEVICES,
    ),
    Mutant(
        "replicas are dealt to devices in turn",
        "devices hold neighbours by index",
        "simulations/reference/cluster.py",
        [("devices[index // instances]", "devices[index % len(devices)]")],
        DEVICES,
    ),
    Mutant(
        "the kernel ends a batch at the instant of a change",
        "the same bytes as SimPy: no end by a change of rate",
        KERNEL_DEVICES,
        [("np.nextafter(now_s, np.inf))\n", "now_s)\n")],
        DEVICES,
    ),
    Mutant(
        "the kernel changes the rate of one too few",
        "the same bytes as SimPy: all instances of a device",
        KERNEL_DEVICES,
        [("min(first + instances, len(jobs))", "min(first + instances, len(jobs) - 1)")],
        DEVICES,
    ),
    Mutant(
        "a recursion serves shared devices",
        "the same bytes as SimPy: no end is known in advance",
        "simulations/kernel/serve.py",
        [("plan.replicas > _SORTED_MAX or _are_slowed(plan, slowdowns)", "plan.replicas > _SORTED_MAX")],
        DEVICES,
    ),
    Mutant(
        "stability by replicas that share nothing",
        "sustainable rate of shared devices",
        STABILITY,
        [("    slow = 1.0 / profile.slowdown(instances)\n", "    slow = 1.0\n")],
        CONTENTION,
    ),
    Mutant(
        "own queues are as stable as a shared one",
        "the slowest device decides where each replica has its share",
        STABILITY,
        [("if routing in (Routing.ROUND_ROBIN, Routing.RANDOM) or rest == 0:", "if rest == 0:")],
        CONTENTION,
    ),
    Mutant(
        "two choices are as good as all",
        "the crowd of slow replicas keeps up with what can go nowhere else",
        STABILITY,
        [("return min(together, replicas *", "return max(together, replicas *")],
        CONTENTION,
    ),
    Mutant(
        "one replica stands for a shared device",
        "reduction to one device",
        "simulations/case.py",
        [
            (
                "one_for_all(self.workload, self.plan, len(self.slowdowns))",
                "one_for_all(self.workload, self.plan)",
            )
        ],
        CONTENTION,
    ),
    Mutant(
        "measured contention is left out of a task",
        "slowdowns reach the engines",
        "simulations/case.py",
        [("            slowdowns=case.slowdowns,\n", "")],
        CONTENTION,
    ),
]

TRAFFIC = [
    Mutant(
        "traffic: every run begins in a burst",
        "bursts begin in their steady state",
        "simulations/draws/arrivals.py",
        [("in_burst = generator.random() < arrivals.burst_share", "in_burst = True")],
        ARRIVALS,
    ),
    Mutant(
        "traffic: bursts shrink as the rate grows",
        "bursts last by the wall clock",
        "simulations/draws/arrivals.py",
        [("means = arrival_rate_rps * np.array(", "means = np.array(")],
        ARRIVALS,
    ),
    Mutant(
        "traffic: a block of phases begins in the other one",
        "a stream in pieces is the draws at once",
        "simulations/draws/arrivals.py",
        [
            ("_BLOCK = 1024", "_BLOCK = 1023"),
            ("np.tile(self._means, _BLOCK // 2)", "np.resize(self._means, _BLOCK)"),
        ],
        ARRIVALS,
    ),
    Mutant(
        "traffic: every third arrival of bursts is taken for bursts",
        "one replica for all, where there is such a law",
        "simulations/case.py",
        [("elif plan.routing is Routing.RANDOM and", "elif plan.routing is not Routing.SHARED_QUEUE and")],
        "tests/simulations/test_reduction.py",
    ),
    Mutant(
        "traffic: runs forget the queue and not the phases",
        "warm-up by relaxation time",
        "simulations/statistics/relaxation.py",
        [("return max(phases, queue,", "return max(queue,")],
        RELAXATION,
    ),
    Mutant(
        "traffic: nanoseconds since 1970 go through a double",
        "no digit of a stamp is lost",
        "capacity/traffic/trace.py",
        [
            (
                "float(in_seconds(value - first, unit)) for",
                "float(in_seconds(value, unit)) - float(in_seconds(first, unit)) for",
            )
        ],
        "tests/traffic/test_traffic.py",
    ),
    Mutant(
        "traffic: the zone of a stamp is added",
        "dates are read by their zone",
        "capacity/traffic/trace.py",
        [('(60 if clock[4] == "+" else -60)', '(-60 if clock[4] == "+" else 60)')],
        "tests/traffic/test_traffic.py",
    ),
    Mutant(
        "traffic: gaps are tested without Durbin's weights",
        "a Poisson stream is refused as seldom as promised",
        "capacity/traffic/description.py",
        [("* np.arange(len(gaps), 0, -1)", "* len(gaps)")],
        "tests/traffic/test_trace_description.py",
    ),
    Mutant(
        "traffic: each test has the level of all",
        "p-values are adjusted by Holm's rule",
        "capacity/traffic/description.py",
        [("(len(found) - rank) * found[place][2]", "found[place][2]")],
        "tests/traffic/test_trace_description.py",
    ),
    Mutant(
        "traffic: before its first time a day has its first rate",
        "a day's last rate holds round midnight",
        "capacity/traffic/daily.py",
        [("[self.rates_rps[-1], *self.rates_rps]", "[self.rates_rps[0], *self.rates_rps]")],
        "tests/traffic/test_daily_curve.py",
    ),
]

CLOSER_LOOKS = [
    Mutant(
        "losses are accepted on a few",
        "losses come in bursts",
        "simulations/judge.py",
        [("promise.allowed * pool.counted < _LOSSES_MIN", "promise.allowed * pool.counted < 0")],
        JUDGE,
    ),
    Mutant(
        "a fleet of which nothing is left is a candidate",
        "survival: something is left",
        "capacity/search/candidates.py",
        [("if not self.question.leaves_some(family, devices):", "if False:")],
        CHEAPEST,
    ),
    Mutant(
        "an hour of the night keeps the peak's fleet",
        "fewest replicas of each hour",
        "capacity/search/by_hour.py",
        [("    while most - refused > 1:\n", "    while False:\n")],
        "tests/search/test_schedule.py",
    ),
    Mutant(
        "bursts are compared with themselves",
        "how many more than under Poisson",
        "capacity/search/planner.py",
        [("workload=replace(workload, arrivals=PoissonArrivals())", "workload=workload")],
        "tests/search/test_bursty_plans.py",
    ),
    Mutant(
        "few bursts are told as many",
        "a trace that holds few bursts is told",
        "capacity/search/planner.py",
        [("settled=certified.candidate.settled", "settled=True")],
        "tests/search/test_bursty_plans.py",
    ),
    Mutant(
        "headroom never asks the law",
        "headroom by the law where there is one",
        "capacity/search/headroom.py",
        [("judge_exactly(trial) or self.judge.accepts(trial)", "self.judge.accepts(trial)")],
        "tests/search/test_search.py",
    ),
    Mutant(
        "headroom in doubt ends at the wall",
        "both ends of the headroom are sought",
        "capacity/search/headroom.py",
        [("    trials.close_in(high_rps)\n", "")],
        "tests/search/test_planner.py",
    ),
    Mutant(
        "one fewer than the certified is not looked at",
        "the cheapest accepted plan wins",
        "capacity/search/certificate.py",
        [("                self._one_fewer(best)\n", "                pass\n")],
        "tests/search/test_planner.py",
    ),
    Mutant(
        "a family that the budget leaves out is passed in silence",
        "what was not tried is named",
        "capacity/search/cheapest.py",
        [("            _note_untried(search, family, bound)\n", "")],
        "tests/search/test_cheapest.py",
    ),
    Mutant(
        "what was just accepted is forgotten at the end of the budget",
        "the cheapest accepted plan wins",
        "capacity/search/cheapest.py",
        [
            ("or (devices_max if is_bounded else None)", ""),
            (
                "    bound = min((cost(search, one) for one in search.considered if one.accepted), "
                "default=math.inf)",
                "    bound = bound",
            ),
        ],
        "tests/search/test_cheapest.py",
    ),
    Mutant(
        "larger fleets are certified whatever the profile",
        "no fleet mends a profile",
        "capacity/search/certificate.py",
        [("_WORTH_IT = 0.01", "_WORTH_IT = -1.0")],
        "tests/profile/test_profile_sampling.py",
    ),
    Mutant(
        "a service time in doubt is simulated",
        "the service's own interval comes first",
        "capacity/search/candidates.py",
        [("            doubts |= floor_doubts(", "            dict() | floor_doubts(")],
        "tests/profile/test_profile_sampling.py",
    ),
    Mutant(
        "random routing is searched from one replica more",
        "the fewest replicas under random routing",
        "capacity/search/planner.py",
        [("refused, devices, step = today - 1, today, 1", "refused, devices, step = today, today + 1, 1")],
        "tests/search/test_planner.py",
    ),
]

LOST = [
    Mutant(
        "a lost request is not late",
        "lost or late",
        "simulations/statistics/pool.py",
        [("return sample.responses.with_lost(sample.lost)", "return sample.responses")],
        "tests/search/test_lost_requests.py",
    ),
    Mutant(
        "a lost request waits for nothing",
        "lost or late",
        "simulations/statistics/pool.py",
        [("return sample.waits.with_lost(sample.lost)", "return sample.waits")],
        "tests/search/test_lost_requests.py",
    ),
    Mutant(
        "a promise is held against the served",
        "the headline counts the lost",
        "capacity/question/objective.py",
        [("return (late or served).get(self.quantile)", "return served.get(self.quantile)")],
        "tests/search/test_lost_requests.py",
    ),
    Mutant(
        "a fleet may lose what the laxest promise leaves",
        "the strictest promise bounds the losses",
        "capacity/question/objective.py",
        [("return min((share for share, _ in", "return max((share for share, _ in")],
        "tests/search/test_lost_requests.py",
    ),
    Mutant(
        "a search lets go while another limit is open",
        "all that is open must be near",
        "simulations/judge.py",
        [
            (
                "found(pool, one, 1.0 - errors.accept, replicas).high > one.allowed\n            and ",
                "",
            )
        ],
        "tests/search/test_lost_requests.py",
    ),
    Mutant(
        "ends of an interval are middles of cells",
        "ends are rounded outward",
        "simulations/statistics/pool.py",
        [("low=(1.0 - self.tally.relative_error_of(low_s)) * low_s", "low=low_s")],
        "tests/simulations/test_pool.py",
    ),
    Mutant(
        "a refused request of a load test is in no percentile",
        "lost or late, measured",
        "measurements/load_run.py",
        [("all_s = np.full(len(self.outcomes), np.inf)", "all_s = np.zeros(len(self.outcomes))")],
        "tests/search/test_lost_requests.py",
    ),
]

RATES_AND_REASONS = [
    Mutant(
        "a rate in doubt is called kept",
        "what stays in doubt is never accepted",
        "capacity/search/rates.py",
        [
            ("for first, last in _runs(points, Verdict.MET):", "for first, last in _runs(points, *_RUNS):"),
            (
                "def _runs(points: Sequence[Point], verdict: Verdict)",
                "_RUNS = (Verdict.MET, Verdict.INCONCLUSIVE)\n\n\n"
                "def _runs(points: Sequence[Point], *verdict: Verdict)",
            ),
            (
                "inside = [point.verdict is verdict for point in points]",
                "inside = [point.verdict in verdict for point in points]",
            ),
        ],
        f"{RATES}::test_what_stays_in_doubt_is_never_called_kept",
    ),
    Mutant(
        "only the first stretch of rates is reported",
        "all accepted stretches",
        "capacity/search/rates.py",
        [("stretches=tuple(stretches_of(points)),", "stretches=tuple(stretches_of(points)[:1]),")],
        f"{RATES}::test_two_stretches_with_a_missed_one_between",
    ),
    Mutant(
        "an end of the rates is the middle of its bracket",
        "every rate that is reported kept is kept",
        "capacity/search/rates.py",
        [
            (
                "high=Interval(value=end_rps, low=end_rps, high=high_rps),",
                "high=Interval(value=(end_rps + high_rps) / 2.0, low=end_rps, high=high_rps),",
            )
        ],
        f"{RATES}::test_every_rate_that_is_reported_kept_is_kept",
    ),
    Mutant(
        "a lone request does not wait for its batch",
        "limit of low rates",
        "capacity/search/what_if.py",
        [("wait_s = plan.batch_wait_max_s if plan.batch_size_max > 1 else 0.0", "wait_s = 0.0")],
        f"{WHAT_IF}::test_a_lone_request_is_the_limit_of_the_law_at_low_rates",
    ),
    Mutant(
        "scaled service leaves its percentiles",
        "every quantile is scaled",
        "capacity/search/what_if.py",
        [("p99_s=scaled(timing.p99_s),", "")],
        f"{WHAT_IF}::test_scaling_leaves_what_is_not_service",
    ),
    Mutant(
        "a saving is the largest share that does not do",
        "the least change that saves one is enough",
        "capacity/explanation/savings.py",
        [("share, candidate = middle, other", "share, candidate = refused, other")],
        f"{REASONS}::test_the_least_that_saves_one_is_the_root_of_the_law",
    ),
    Mutant(
        "a what-if forgets what a loss leaves",
        "a plan outlives losses in what-ifs too",
        "capacity/search/what_if.py",
        [("for event, scenario in question.events(plan):", "for event, scenario in ():")],
        f"{WHAT_IF}::test_a_plan_is_kept_only_if_what_a_loss_leaves_of_it_keeps_too",
    ),
    Mutant(
        "a knee as if the curve were straight between points",
        "1/y is straight, as of M/M/1",
        "capacity/queues/curves.py",
        [
            (
                "share = (1.0 / kept - 1.0 / limit) / (1.0 / kept - 1.0 / broken)",
                "share = (limit - kept) / (broken - kept)",
            )
        ],
        "tests/queues/test_knee.py",
    ),
    Mutant(
        "the design effect forgets its quantile",
        "how long a burst of late responses lasts",
        "capacity/queues/markov/mm1.py",
        [(" * (1.0 + (1.0 - quantile) * math.log1p(-quantile) / quantile)", "")],
        "tests/queues/test_mm1.py",
    ),
    Mutant(
        "a fleet that cannot keep up is an answer",
        "the fewest replicas are stable",
        "capacity/queues/staffing.py",
        [
            (
                "        except UnstableError:\n            return False",
                "        except UnstableError:\n            return True",
            )
        ],
        "tests/queues/test_staffing.py",
    ),
    Mutant(
        "a long title runs out of the rates' chart",
        "charts keep their width",
        "capacity/render/charts.py",
        [("textwrap.fill(title, width)", "title")],
        "tests/render/test_charts.py",
    ),
]

GATES = [
    Mutant(
        "an edited promise is believed",
        "digest of a saved plan",
        "capacity/answer/saved_plan.py",
        [('if given.text("sha256") != _signature(document):', "if False:")],
        PLAN_FILE,
    ),
    Mutant(
        "a saved plan that was edited is believed",
        "digest of a saved profile",
        "capacity/profile/formats.py",
        [('digest(document) != given.text("sha256")', 'given.text("sha256") == ""')],
        PLAN_FILE,
    ),
    Mutant(
        "a saved plan is written in its place",
        "a file is whole or not there",
        "capacity/files.py",
        [('beside.open("xb")', 'target.open("wb")'), ("beside.replace(target)", "target.exists()")],
        PLAN_FILE,
    ),
    Mutant(
        "a saved plan is certified as if it were the first",
        "judged again to the last digit",
        "capacity/answer/check.py",
        [("saved.certificate or Certificate()", "Certificate()")],
        GATE,
    ),
    Mutant(
        "a saved plan may grow for the same price",
        "more replicas of one role are more",
        "capacity/answer/check.py",
        [("return is_dearer or (self", "return is_dearer and (self")],
        GATE,
    ),
    Mutant(
        "a saved plan is annotated without escapes",
        "workflow commands are escaped",
        "capacity/render/check.py",
        [('_data(text).replace(":", "%3A").replace(",", "%2C")', "_data(text)")],
        GATE,
    ),
    Mutant(
        "paired fleets have users of their own",
        "common random numbers",
        "simulations/paired.py",
        [
            (
                "for task in tasks(case, length, self._seed, numbers)",
                "for task in tasks(case, length, replace(self._seed, value=cases.index(case)), numbers)",
            )
        ],
        PAIRED,
    ),
    Mutant(
        "paired errors are taken for independent",
        "the interval of a difference knows their correlation",
        "simulations/paired.py",
        [("- 2.0 * correlation * up * down", "- 0.0 * correlation * up * down")],
        PAIRED,
    ),
    Mutant(
        "paired errors add up where they cancel",
        "the interval of a difference knows their correlation",
        "simulations/paired.py",
        [("- 2.0 * correlation * up * down", "- 4.0 * correlation * up * down")],
        PAIRED,
    ),
    Mutant(
        "paired fleets are reduced to one replica each",
        "the same requests for all",
        "simulations/paired.py",
        [("is_whole=True", "is_whole=False")],
        PAIRED,
    ),
]

SPELLS = "tests/profile/test_spells.py"
WORK_BESIDE = "tests/test_work_beside.py"
SPELLS_AND_WORK = [
    Mutant(
        "work beside batches counts once a batch",
        "a batch of b takes b times the work of a request",
        "capacity/profile/profile.py",
        [("batch_size * self.request_work_s", "self.request_work_s")],
        "tests/profile/test_profile.py",
    ),
    Mutant(
        "spells last half as long",
        "scores go together by exp(-apart / lasting)",
        "simulations/draws/arrivals.py",
        [("/ lasting_s)", "/ (0.5 * lasting_s))")],
        SPELLS,
    ),
    Mutant(
        "a batch's own score counts in full",
        "each number alone is uniform",
        "simulations/draws/arrivals.py",
        [("math.sqrt(1.0 - share) * own", "own")],
        SPELLS,
    ),
    Mutant(
        "a block forgets the spell of the one before",
        "however it is asked the numbers are the same",
        "simulations/draws/arrivals.py",
        [("last[0], last[1] = before_s, score", "last[0], last[1] = -np.inf, score")],
        SPELLS,
    ),
    Mutant(
        "replications have no spells",
        "queues are longer in spells",
        "simulations/case.py",
        [("spells=case.profile.spells,", "spells=None,")],
        SPELLS,
    ),
    Mutant(
        "samples of spells are resampled one by one",
        "the error of samples that came in spells",
        "capacity/profile/sampling.py",
        [("if profile.spells is None:\n        return 1", "if True:\n        return 1")],
        SPELLS,
    ),
    Mutant(
        "spells are fitted to samples out of their order",
        "spells are found as they were",
        "measurements/spell_fit.py",
        [('np.argsort(instants_s, kind="stable")', "np.arange(len(instants_s))")],
        "tests/test_spell_fit.py",
    ),
    Mutant(
        "work between batches counts too",
        "requests within batches are as many as batches last",
        "measurements/work_beside.py",
        [("run.requests * min(1.0, run.batches_s / run.lasted_s)", "float(run.requests)")],
        WORK_BESIDE,
    ),
    Mutant(
        "what a lone batch takes to be handed over counts again",
        "crowds tell the very work",
        "measurements/work_beside.py",
        [("crowd.beside_s - alone.beside_s", "crowd.beside_s")],
        WORK_BESIDE,
    ),
]
LOAD_TESTS = [
    Mutant(
        "a generator that fell behind is believed",
        "a run that was late is invalid",
        "measurements/validity.py",
        [("if lag_s > max(LAG_FORGIVEN_S", "if lag_s > 1e9 + max(LAG_FORGIVEN_S")],
        "tests/test_load_validity.py",
    ),
    Mutant(
        "stalls that no P99 of the lag shows are believed",
        "a run whose mean is the load generator's own is invalid",
        "measurements/validity.py",
        [("elif stalls_s > max(", "elif stalls_s > 1e9 + max(")],
        "tests/test_load_validity.py",
    ),
    Mutant(
        "faults of a run are not asked for",
        "a run that was late is invalid, and says nothing",
        "measurements/verifier.py",
        [
            (
                "        yield from faults(run, self.load.test.in_flight_max, measured.cpu_share)",
                "        yield from ()",
            )
        ],
        "tests/test_verify_verdicts.py",
    ),
    Mutant(
        "a run that became slower midway is believed",
        "a run under steady arrivals is a steady state",
        "measurements/verifier.py",
        [("            yield from drift_faults(run)", "            yield from ()")],
        "tests/test_verify_verdicts.py",
    ),
    Mutant(
        "a tail that the load generator made is believed",
        "of all runs together no quantile is of requests sent late",
        "measurements/verifier.py",
        [("pool_faults=tuple(tail_faults(runs, self.quantiles)),", "pool_faults=(),")],
        "tests/test_verify_verdicts.py",
    ),
    Mutant(
        "requests that timed out are in no response",
        "who gave up waited for the timeout at least",
        "measurements/load_run.py",
        [("((self.outcomes == _OK) | (self.outcomes < UNKNOWN))", "(self.outcomes == _OK)")],
        "tests/test_measured.py",
    ),
    Mutant(
        "another wait than the plan's is not told",
        "servers that batch otherwise than planned are told of",
        "measurements/batching_told.py",
        [(" or not is_same_wait", "")],
        "tests/test_batching_told.py",
    ),
    Mutant(
        "a promise that was not measured counts as kept",
        "prediction and measurement agree only where every promise is proven",
        "measurements/verification.py",
        [("if not finding.is_proven and", "if finding.is_proven and")],
        "tests/test_verification.py",
    ),
    Mutant(
        "of several runs the first alone is measured",
        "the answers of all runs are pooled",
        "measurements/measured.py",
        [("np.concatenate([getattr(run, name) for run in runs])", "getattr(runs[0], name)")],
        "tests/test_measured.py",
    ),
    Mutant(
        "of two replicas the busier one is taken",
        "power of two choices",
        "measurements/balancer.py",
        [("return min((outstanding[first]", "return max((outstanding[first]")],
        "tests/test_balancer.py",
    ),
]

PROFILES = [
    Mutant(
        "a server that contradicts the client's clock is believed",
        "microseconds for milliseconds are refused",
        "measurements/server_timing.py",
        [("if len(below_s) > _CONTRADICTED_MAX * len(known_s):", "if len(below_s) > 1e9:")],
        "tests/test_endpoint_subject.py",
    ),
    Mutant(
        "a contradiction midway leaves a profile",
        "all samples are looked at in the end",
        "measurements/endpoint_source.py",
        [("    for batches in sampling.batches.values():", "    for batches in ():")],
        "tests/test_profile_command.py::test_a_server_that_contradicts_the_clock_leaves_no_profile",
    ),
    Mutant(
        "the bytes of an answer are not counted",
        "a chunk of -1 is no licence",
        "measurements/http_exchange.py",
        [("        if self._left < 0:", "        if False:")],
        "tests/test_endpoint_subject.py::test_no_length_that_is_told_lets_an_answer_be_endless",
    ),
    Mutant(
        "a connection that is closed is opened again",
        "who closes ends what other threads ask",
        "measurements/http_exchange.py",
        [("        self._is_closed = True\n", "")],
        "tests/test_endpoint_subject.py",
    ),
    Mutant(
        "http.client connects by itself",
        "between our looking and its sending nobody connects",
        "measurements/http_exchange.py",
        [("auto_open = 0", "auto_open = 1")],
        "tests/test_endpoint_subject.py",
    ),
    Mutant(
        "who closes while it connects leaves a socket",
        "it is looked at after connecting too",
        "measurements/http_exchange.py",
        [
            (
                "            self.hang_up()\n            raise self._closed()",
                "            raise self._closed()",
            )
        ],
        "tests/test_endpoint_subject.py",
    ),
    Mutant(
        "after an interrupt the last scrape goes on over the same connection",
        "an answer that was cut short is nobody's",
        "measurements/window.py",
        [("        exchange.hang_up()", "        pass")],
        "tests/test_measured_profile.py",
    ),
    Mutant(
        "after an interrupt a crowd goes on",
        "who thinks looks up before asking",
        "measurements/crowd.py",
        [("            if stop.is_set():", "            if False:")],
        WORK_BESIDE,
    ),
    Mutant(
        "sections of a mean are taken for independent",
        "sections like their neighbours are worth fewer",
        "measurements/mean_interval.py",
        [("(1.0 + alike) / (1.0 - alike)", "1.0")],
        "tests/test_sections.py",
    ),
    Mutant(
        "sections of a ratio all count alike",
        "a section counts by what was in it",
        "measurements/mean_interval.py",
        [
            (
                "half_width([sum_ - mean * count for sum_, count in parts], confidence)",
                "half_width([sum_ - mean for sum_, count in parts], confidence)",
            )
        ],
        "tests/test_measured_samples.py",
    ),
    Mutant(
        "the overhead of eight rows is taken for that of one",
        "the overhead of one row is told by the growth",
        "measurements/overhead.py",
        [("(smallest - 1) * max(0.0, growth_s or 0.0)", "0.0")],
        "tests/test_measured_samples.py",
    ),
]

WAKE = "tests/simulations/test_wake.py"
WAKES = [
    Mutant(
        "SimPy wakes a replica for every batch",
        "who starts as the last batch ends is not woken",
        REPLICA,
        [("self._clock.now > self._ended_s", "self._clock.now >= self._ended_s")],
        WAKE,
    ),
    Mutant(
        "the recursion wakes a replica for every batch",
        "the mean wait is Welch's",
        "simulations/kernel/recursion.py",
        [
            (
                "and not _ends_at(free_s, start_s):\n            finished_s[request] += wake_s",
                "and True:\n            finished_s[request] += wake_s",
            )
        ],
        f"{WAKE}::test_one_replica_waits_as_long_as_welch_says",
    ),
    Mutant(
        "the recursion looks at the replica alone to wake it",
        "the same bytes as SimPy: replicas of one queue rest by the last end of any",
        "simulations/kernel/recursion.py",
        [
            (
                "if wake_s > 0.0 and not _ends_at(free_s, start_s):\n            work_s += wake_s",
                "if wake_s > 0.0 and start_s > free_s[0]:\n            work_s += wake_s",
            )
        ],
        KERNEL,
    ),
    Mutant(
        "the very first batch does not wake its replica",
        "the same bytes as SimPy: all rest at first",
        "simulations/kernel/state.py",
        [('queues["finish_s"] = -np.inf', 'queues["finish_s"] = np.inf')],
        KERNEL,
    ),
    Mutant(
        "a block does not wake its first batch",
        "the same bytes as SimPy: blocks of any size",
        "simulations/kernel/shared_queue.py",
        [("queue.finish_s = ended_s", "queue.finish_s = np.inf")],
        KERNEL,
    ),
    Mutant(
        "a shared device does not stretch what a wake takes",
        "the same bytes as SimPy: the wake is work",
        KERNEL_DEVICES,
        [
            (
                "            if wake_s > 0.0 and start_s > queue.finish_s:\n"
                "                job.work_s += wake_s\n"
                "            job.ends_s = start_s + job.work_s * slowdowns[lead.busy - 1]\n",
                "            job.ends_s = start_s + job.work_s * slowdowns[lead.busy - 1]\n"
                "            if wake_s > 0.0 and start_s > queue.finish_s:\n"
                "                job.ends_s += wake_s\n",
            )
        ],
        DEVICES,
    ),
    Mutant(
        "a wake makes no atoms of its own",
        "a quantile at which many responses lie is exact",
        "simulations/draws/service.py",
        [("return atoms_s if self.wake_s == 0.0 else", "return atoms_s if True else")],
        f"{KERNEL}::test_atoms_are_the_durations_that_come_up_again",
    ),
    Mutant(
        "exact laws overlook the wake",
        "no law is asked that does not know it",
        "capacity/search/exact.py",
        [("if profile.wake_s > 0.0:", "if profile.wake_s > 1e9:")],
        WAKE,
    ),
    Mutant(
        "a lone request finds its replica awake",
        "what a request takes that meets nobody",
        "capacity/search/what_if.py",
        [("wait_s + profile.wake_s + profile.request_overhead_s", "wait_s + profile.request_overhead_s")],
        WHAT_IF,
    ),
]

LAWS = [
    Mutant(
        "nobody waits for what a server has left to do",
        "Pollaczek and Khinchine's mean",
        "capacity/queues/general/mg1.py",
        [("self.utilization * (1.0 + self.service.variability) / (2.0 *", "self.utilization / (2.0 *")],
        "tests/queues/test_mg1.py",
    ),
    Mutant(
        "a lost call takes load off",
        "Erlang's loss formula",
        "capacity/queues/markov/erlang.py",
        [("return pmf / (1.0 - pmf * above(", "return pmf / (1.0 + pmf * above(")],
        "tests/queues/test_erlang.py",
    ),
    Mutant(
        "everybody waits for a server",
        "Erlang's delay formula",
        "capacity/queues/markov/mmc.py",
        [
            (
                "return self.wait_probability * math.exp(-self._spare * (self.service_rate_rps * time_s))",
                "return math.exp(-self._spare * (self.service_rate_rps * time_s))",
            )
        ],
        "tests/queues/test_mmc.py",
    ),
    Mutant(
        "a batch waits for its service twice",
        "the response is the wait and the service",
        "capacity/queues/batch/bulk.py",
        [
            (
                "waits = (time_s - served_s) * self._phase_rate_rps",
                "waits = (time_s - 2 * served_s) * self._phase_rate_rps",
            )
        ],
        "tests/queues/test_bulk.py",
    ),
]

RATIOS = [
    Mutant(
        "a ratio takes like ends together",
        "a ratio allows for both intervals",
        "capacity/performance.py",
        [
            (
                "low=self.low / other.high, high=self.high / other.low",
                "low=self.low / other.low, high=self.high / other.high",
            )
        ],
        "tests/question/test_performance.py",
    ),
    Mutant(
        "a profile of means counts work twice",
        "a profile of means sustains the same",
        "capacity/profile/profile.py",
        [("mean_s=timing.law().mean_s", "mean_s=self.service_mean_s(timing.batch_size)")],
        "tests/profile/test_profile.py",
    ),
    Mutant(
        "only the first of two profiles is resampled",
        "a ratio has the error of both",
        "simulations/statistics/profile_error.py",
        [
            (
                "resampled(one, generator) for one in profiles",
                "one if one is profiles[-1] else resampled(one, generator) for one in profiles",
            )
        ],
        JUDGE,
    ),
    Mutant(
        "memory of all weights is a mean of ratios",
        "memory of all weights is a ratio of sums",
        "capacity/profile/quantization.py",
        [
            (
                "return math.fsum(before) / math.fsum(after)",
                "return math.fsum(x.memory_ratio for x in layers) / len(layers)",
            )
        ],
        "tests/profile/test_measured_quantization.py",
    ),
]

MUTANTS = [
    *SPELLS_AND_WORK,
    *WAKES,
    *PROFILES,
    *LOAD_TESTS,
    *NAMED_INVARIANTS,
    *BATCHING,
    *QUEUE_LIMIT,
    *OPEN_TIMER,
    *CLOSED,
    *GRID,
    *ROUTING,
    *STATISTICS,
    *DECISIONS,
    *PLANNING,
    *KERNELS,
    *SHARED_DEVICES,
    *TRAFFIC,
    *CLOSER_LOOKS,
    *LOST,
    *RATES_AND_REASONS,
    *GATES,
    *RATIOS,
    *LAWS,
]


# What CI has time for: of each field some of the quickest, with the one test that finds them.
QUICK = {
    # a lost request is late
    "a lost request is not late": in_file(
        "tests/search/test_lost_requests.py", "lost_requests_lie_beyond_every_response"
    ),
    "a promise is held against the served": in_file(
        "tests/search/test_lost_requests.py", "a_promise_is_found_among_all_requests"
    ),
    "ends of an interval are middles of cells": in_file(
        "tests/simulations/test_pool.py", "ends_of_an_interval_are_the_edges_of_their_cells"
    ),
    "a service time in doubt is simulated": in_file(
        "tests/profile/test_profile_sampling.py", "no_fleet_is_simulated_that_cannot_be_proved"
    ),
    "headroom in doubt ends at the wall": in_file(
        "tests/search/test_planner.py", "headroom_in_doubt_is_a_bracket_with_its_cause"
    ),
    # the simulator
    "a request is lost": invariant("conservation"),
    "a batch starts before it is there": invariant("causality"),
    "a replica is free halfway through its batch": invariant("clock"),
    "the newest request is served first": invariant("fifo"),
    "an idle replica looks late": invariant("work_conservation"),
    "the generator is not seeded": invariant("determinism_same_seed_same_bytes"),
    "service draws depend on the rate": invariant("common_random_numbers_at_another_rate"),
    "the warm-up counts": invariant("window"),
    "users think while they wait for the answer": invariant("population"),
    "lost requests are not counted": invariant("queue_limit"),
    "traffic: every run begins in a burst": in_file(
        ARRIVALS, "bursts_are_a_unit_poisson_process_read_off_a_broken_line"
    ),
    # the rules of batching and routing
    "a batch may hold one more": invariant("batch_limits"),
    "the timer counts from the last arrival": rule("the_timer_counts_from_the_arrival_of_the_oldest"),
    "arrivals come before completions": rule(
        "an_arrival_at_the_instant_of_a_completion_comes_too_late_for_its_dispatch"
    ),
    "timers come before arrivals": rule("an_arrival_at_the_instant_of_the_timer_joins_the_batch"),
    "the highest idle replica is called": rule("the_lowest_idle_replica_serves_the_shared_queue"),
    "the highest replica completes first": rule(
        "completions_of_one_instant_dispatch_the_lowest_replica_first"
    ),
    "the service time is that of the newest request": rule(
        "the_service_time_is_drawn_by_the_uniform_of_the_oldest_request"
    ),
    "the service time is that of a batch of one": rule("the_service_time_is_drawn_for_the_size_of_the_batch"),
    "a free replica has room for one request": rule("an_idle_replica_has_room_for_a_batch_beside_the_queue"),
    "the open timer is the oldest request's": rule("the_open_timer_starts_when_a_busy_replica_falls_idle"),
    "requests in service are not outstanding": rule(
        "least_outstanding_counts_batches_in_service_and_ties_go_to_the_lowest"
    ),
    "power-of-two may choose the same replica twice": rule("power_of_two_compares_two_different_replicas"),
    # screening, searching, planning
    "stability by the best throughput": in_file(
        SEARCH, "stability_counts_full_batches_and_not_the_best_throughput"
    ),
    "stability by replicas that share nothing": in_file(
        CONTENTION, "pooled_work_takes_the_sum_and_shares_the_slowest_device"
    ),
    "a load of 1 is stable": in_file(SEARCH, "a_load_of_1_is_refused"),
    "a law refuses on the limit": in_file(EXACT, "on_its_limit_a_plan_is_met_and_a_hair_beyond_it_is_missed"),
    "the promise farthest from its limit binds": in_file(
        OBJECTIVE, "the_promise_that_binds_is_the_one_nearest_to_its_limit_whatever_its_measure"
    ),
    "the smallest zone is lost": in_file(SURVIVAL, "losses_by_hand"),
    "a share of the replicas is rounded in binary": in_file(
        SURVIVAL, "a_share_of_a_hundred_replicas_is_its_percentage"
    ),
    "prices are told apart by their rounding": in_file(
        PLANNER, "three_devices_at_a_third_of_the_price_cost_the_same"
    ),
    "halving stops one short": in_file(SEARCH, "finds_the_true_minimum"),
    # intervals
    "the rank is one too low": in_file(TALLY, "the_quantile_of_an_exact_tally_is_numpys_inverted_cdf"),
    "cells are twice as wide": in_file(TALLY, "cells_are_within_the_relative_error_of_every_value"),
    "the standard error is a variance": in_file(POOL, "interval_of_a_share_by_sectioning_by_hand"),
    "student's t is one-sided": in_file(POOL, "student_t"),
    "a ratio takes like ends together": in_file(
        "tests/question/test_performance.py", "a_ratio_by_hand_and_of_what_is_known_exactly"
    ),
    "sections of a mean are taken for independent": in_file(
        "tests/test_sections.py", "sections_that_are_like_their_neighbours_are_worth_fewer"
    ),
    "one request that was lost is known as well as a thousand": in_file(
        "tests/test_sections.py", "none_of_n_is_not_never"
    ),
    "unsettled runs accept": in_file(JUDGE, "runs_that_have_not_settled_may_refuse_and_never_accept"),
    # exact laws
    "nobody waits for what a server has left to do": in_file(
        "tests/queues/test_mg1.py", "wait_of_constant_service_is_half_of_exponential_service"
    ),
    "a lost call takes load off": in_file("tests/queues/test_erlang.py", "loss_table_of_one_percent"),
    "everybody waits for a server": in_file("tests/queues/test_mmc.py", "all_numbers_at_sixty_digits"),
    "a batch waits for its service twice": in_file(
        "tests/queues/test_bulk.py", "tail_equals_the_integral_over_arrival_instants"
    ),
    "the design effect forgets its quantile": in_file(
        "tests/queues/test_mm1.py", "the_design_effect_is_that_of_a_chain_in_small_steps"
    ),
    "a fleet that cannot keep up is an answer": in_file(
        "tests/queues/test_staffing.py", "fewest_replicas_by_trying_all"
    ),
}


def give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(2)


def copy_to(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)


def text_errors(mutant: Mutant) -> Iterator[str]:
    """What a mutant names that is not there: each of its texts once, and its test."""
    text = (ROOT / mutant.file).read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            yield f"mutant {mutant.name!r}: {old!r} occurs {text.count(old)} times in {mutant.file}, not once"
        text = text.replace(old, new)
    file, _, test = mutant.tests.partition("::")
    if test and f"def {test}(" not in (ROOT / file).read_text():
        yield f"mutant {mutant.name!r}: {file} has no test {test}"


def mutated(mutant: Mutant) -> str:
    """The text of its file with the bug planted."""
    text = (ROOT / mutant.file).read_text()
    for old, new in mutant.edits:
        text = text.replace(old, new)
    return text


def failure(
    folder: Path,
    tests: Sequence[str],
    *,
    may_break_imports: bool = False,
    workers: str = "0",
    timeout_s: float = TIMEOUT_S,
) -> str:
    """The first test that fails, or the first file that cannot be imported; empty where all pass."""
    # Plugins that are found by themselves take longer to import than most of these tests to run.
    plugins = ("-p", "xdist.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", f"-n{workers}", "-x", "-q", "--tb=no", *plugins, *tests]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"hangs for {timeout_s:g} s"
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) \S+?::(\w+)", done.stdout, re.MULTILINE)
    if may_break_imports and (broken := re.search(r"^ERROR (tests/\w+\.py)", done.stdout, re.MULTILINE)):
        return f"import of {broken[1]}"
    if done.returncode != 1 or found is None:
        give_up(f"the tests did not run: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return found[1]


@contextmanager
def planted(mutant: Mutant, folder: Path) -> Iterator[None]:
    """The bug is in the folder's copy of the file, which then is as it was, down to its time."""
    path = folder / mutant.file
    path.write_text(mutated(mutant))
    try:
        yield
    finally:
        shutil.copy2(ROOT / mutant.file, path)


def check_without_bug(mutants: Sequence[Mutant]) -> None:
    """The texts and tests of all mutants are there, asked for or not, and the tests pass."""
    if errors := [error for mutant in MUTANTS for error in text_errors(mutant)]:
        give_up("\n".join(errors))
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        copy_to(Path(name))
        tests = sorted({mutant.tests for mutant in mutants})
        failed = failure(Path(name), tests, workers="auto", timeout_s=ALL_TIMEOUT_S)
    if failed:
        give_up(f"{failed} fails without a mutant")


def outcomes(mutants: Sequence[Mutant]) -> Iterator[Outcome]:
    """Of each mutant in turn, in as many copies as run at once, so that Python fills its caches once."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name, ThreadPoolExecutor(AT_ONCE) as executor:
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            folder = Path(name, str(number))
            folder.mkdir()
            copy_to(folder)
            free.put(folder)

        def judge(mutant: Mutant) -> Outcome:
            folder = free.get()
            try:
                with planted(mutant, folder):
                    return Outcome(mutant, failure(folder, [mutant.tests]))
            finally:
                free.put(folder)

        yield from executor.map(judge, mutants)


def show(outcome: Outcome) -> None:
    mutant = outcome.mutant
    caught = f"yes, {outcome.caught_by}" if outcome.caught_by else "NO"
    tests = mutant.tests.removeprefix("tests/")
    print(f"| {mutant.name} | {mutant.file} | {mutant.breaks} | {tests} | {caught} |", flush=True)


def chosen(words: Sequence[str], *, quick: bool) -> list[Mutant]:
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := QUICK.keys() - by_name:
        give_up(f"no mutant has the name {' or '.join(sorted(unknown))}")
    mutants = [replace(by_name[name], tests=test) for name, test in QUICK.items()] if quick else MUTANTS
    found = [one for one in mutants if not words or any(word in one.name for word in words)]
    if not found:
        give_up(f"no mutant has {' or '.join(words)} in its name")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="word")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    mutants = chosen(arguments.words, quick=arguments.quick)
    begun_s = time.monotonic()
    check_without_bug(mutants)
    print("| mutant | file | rule or invariant it breaks | tests run | caught |")
    print("|---|---|---|---|---|")
    survivors = 0
    for outcome in outcomes(mutants):
        show(outcome)
        survivors += not outcome.caught_by
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    print(
        f"\n{len(mutants) - survivors} of {len(mutants)} caught; python benchmarks/mutants.py, {machine}, "
        f"{time.strftime('%Y-%m-%d')}, {time.monotonic() - begun_s:.0f} s"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
