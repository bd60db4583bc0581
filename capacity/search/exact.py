"""Exact: what theory says of a plan of any kind of server, and how far a search of that kind may go.

The only file of the search that names the kinds, each with its theory in a file of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from capacity.performance import Performance, Width
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.candidate import Candidate, Doubt, Rejection
from capacity.question.caveat import Caveat
from capacity.question.objective import Limit
from capacity.question.overload import Saturation
from capacity.question.plan import Measured, Plan
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.search.batches import BatchTheory
from capacity.search.engines import EngineTheory
from capacity.search.recommendation import Floors, HeadroomEffort, RatesEffort
from capacity.traffic.workload import is_patient


class Theory(Protocol):
    """What is known of a kind of server without simulating a fleet of it, and what a search of it may take.

    Attributes:
        search_requests_max: simulated requests after which a search gives up; a count, so that the answer does not
            depend on speed.
        confirm_requests_max: simulated requests after which no larger fleet is confirmed: it would need as many.
        mends: what settles a doubt, by its cause.
        careful_requests_max: simulated requests that longer trials of what-ifs may take where short ones leave a doubt.
        around_requests_max: simulated requests that the fleets around a plan may need, all together.
        confirms_from_start: whether a confirmation begins with the fewest requests, whatever choosing the plan took.
        curve_loads: shares of the sustainable rate at which a curve is simulated: the closer to the wall, the denser.
        serves_all: whether attempts are served that no client waits for, so that retries can keep a fleet down.
    """

    search_requests_max: int
    confirm_requests_max: int
    careful_requests_max: int
    around_requests_max: int
    mends: Mapping[Doubt, str]
    confirms_from_start: bool
    curve_loads: tuple[float, ...]
    serves_all: bool

    def require(self, profile: Any) -> None:
        """Refuse a profile that lacks what every fleet needs."""

    def require_plan(self, scenario: Any) -> None:
        """Refuse a plan that its profile or its requests do not allow."""

    def floors(self, question: Any, confidence: float) -> Floors:
        """Settings that no number of replicas helps."""

    def fleets(self, question: Any, family: Any, devices: int, floors: Floors) -> Iterator[Any]:
        """Plans of a family with this many devices, the simplest first; without settings at a floor."""

    def may_wait(
        self, question: Any, plan: Any, size_max: int | None, judged: Callable[[Any], Candidate]
    ) -> bool:
        """Whether a batch wait may save a plan, by what is judged of it without one.

        Args:
            size_max: beyond which batches never form without a wait, if that is known.
        """

    def devices_min(self, question: Any, family: Any, floors: Floors, judge: Any) -> int | None:
        """Fewest devices that are stable under some setting of a family; None if all its settings are at a floor."""

    def doubt_parts(self, family: Any) -> int:
        """Parts of a number of devices in doubt, of which a judge tells two numbers apart that differ by one."""

    def one_by_one(self, question: Any, family: Any, floors: Floors) -> list[bool]:
        """Which fleets tell nothing of larger ones: those that start at once (False), and those that wait (True)."""

    def refuse_load(self, scenario: Any) -> Rejection | None:
        """Why the queues of a plan would grow for ever."""

    def refuse_setting(self, scenario: Any, confidence: float) -> Rejection | None:
        """Why a plan misses the objective at any rate and with any number of replicas."""

    def is_barely_stable(self, scenario: Any) -> bool:
        """Whether a plan is so near saturation that it takes long to judge, and another setting is likely better."""

    def law(self, scenario: Any, quantiles: tuple[float, ...]) -> Candidate | None:
        """What an exact law says of a plan; None if there is none."""

    def too_many(self, question: Any, family: Any, devices: int, floors: Floors) -> Candidate[Any]:
        """The refusal of a family that needs more devices to be stable than are allowed."""

    def sustained_rps(self, profile: Any, plan: Any) -> float | None:
        """The rate below which queues do not grow for ever; None if only a judge can measure it. [requests/s]"""

    def saturation(self, scenario: Any, judge: Any) -> Saturation | None:
        """What one replica of a plan does while requests always wait; None if theory needs no more than its rate."""

    def in_service(self, scenario: Any, judge: Any) -> float:
        """How many requests a fleet serves at once when it sustains most."""

    def size_max(self, scenario: Any, judge: Any) -> float:
        """The rate from which on queues grow for ever [requests/s], or the users from whom on all wait too long."""

    def rates_effort(self, scenario: Any) -> RatesEffort:
        """Which rates are tried where all at which the plan meets its objective are looked for."""

    def lone(self, scenario: Any, confidence: float) -> Candidate | None:
        """The verdict at the limit of low rates; None if it is not known."""

    def served_max_rps(self, scenario: Any, judge: Any) -> float:
        """The rate from which on theory refuses a plan. [requests/s]"""

    def headroom_effort(self, scenario: Any) -> HeadroomEffort:
        """How finely rates are tried for the headroom, and how many requests that may take."""

    def neighbours(self, question: Any, plan: Any) -> Iterator[tuple[str, Any]]:
        """The plan with another setting, smaller and larger, and which setting that is."""

    def fewer(self, question: Any, plan: Any) -> Iterator[Any]:
        """Plans of one device fewer, in settings that may need the fewest devices, the smallest first."""

    def strongest(self, question: Any, plan: Any) -> Any:
        """The plan in the setting that sustains most."""

    def strain(self, performance: Any) -> float:
        """What counts beside the limits where fleets of one price are compared, 1 where all is used up."""

    def load_min(self, question: Any, plan: Any, judge: Any) -> float:
        """The lowest load that this many replicas can have at the question's rate, in any setting."""

    def floor_s(self, scenario: Any, limit: Limit) -> float | None:
        """Time that no fleet in a plan's setting beats, of what a limit is on; None if it is not known. [s]"""

    def lone_s(self, scenario: Any, limit: Limit) -> float | None:
        """What a request takes that meets no other, of what a limit is on; None if it is not known. [s]"""

    def other_rules(self, scenario: Any) -> Any | None:
        """The scenario by other rules that the measured server may have had; None if it is known which it had."""

    def unbatched(self, plan: Any) -> Any | None:
        """The plan without batches; None if it has none."""

    def mend(self, profile: Any, candidate: Candidate) -> str:
        """What would settle the doubt about a candidate."""

    def setting_text(self, plans: Sequence[Any]) -> str:
        """How the replicas of some plans are set, in a few words."""

    def implausible(self, profiles: Sequence[Any], quantile_max: float) -> Iterator[Caveat]:
        """What in some profiles is more likely a mistake than a measurement."""

    def interval_caveats(self, profile: Any, width: Width, precision: float) -> Iterator[Caveat]:
        """Why an interval is wider than was asked for, where that one is narrowed."""

    def trouble_caveats(self, stress: Any) -> Iterator[Caveat]:
        """What the measurements and the requests of a fleet in trouble leave open."""

    def controlled_caveats(self, scenario: Any) -> Iterator[Caveat]:
        """What the measurements and the autoscaler behind the figures of a day leave open."""

    def profile_caveats(self, scenario: Any) -> Iterator[Caveat]:
        """What the measurements behind a plan leave open, at any rate."""

    def setting_caveats(self, scenario: Any) -> Iterator[Caveat]:
        """What the settings of a plan leave open, at any rate."""

    def grid_caveats(self, scenario: Any, quantile_max: float) -> Iterator[Caveat]:
        """What a grid of fleets of the scenario's profile leaves open, whatever their settings."""

    def caveats(self, scenario: Any, performance: Performance) -> Iterator[Caveat]:
        """What the measurements, the settings and the load of a plan leave open."""


_THEORIES: dict[type, Theory] = {ServiceProfile: BatchTheory(), LlmProfile: EngineTheory()}


def theory_of(profile: Measured) -> Theory:
    """The theory of the kind of server that a profile is of."""
    return _THEORIES[type(profile)]


def judge_exactly(scenario: Scenario, quantiles: tuple[float, ...] = (0.99,)) -> Candidate | None:
    """What an exact law says of a plan; None if there is none, or it would take longer than a simulation.

    No law of a plan knows clients who give up, retry or hedge, nor an autoscaler.

    Args:
        quantiles: those to report besides the objective's.
    """
    if not is_patient(scenario.workload) or scenario.autoscaler is not None:
        return None
    return theory_of(scenario.profile).law(scenario, quantiles)


def refuse_loads(question: Question, plan: Plan) -> Rejection | None:
    """Why the queues of the plan, or of what a failure leaves of it, would grow for ever or lose too much."""
    return question.refused_load(plan, theory_of(question.profile(plan.profile)).refuse_load)
