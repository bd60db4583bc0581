"""Answers of the verb `autoscale`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import Document, autoscaler_document, outage_document, plain, plan_document
from capacity.answers.answer import Answer, frame_of
from capacity.autoscaling.cheapest import AutoscaledPlan
from capacity.autoscaling.findings import COURSE_S, Days, Kept, ScaledScreen, setting_of
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Interval
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat
from capacity.search.caveats import outage_caveats
from capacity.search.engines import warmth_caveats
from capacity.search.exact import theory_of

if TYPE_CHECKING:
    import pandas as pd

    from capacity.render.plot import Panels

_VERDICTS = {0: "met", 3: "missed", 4: "inconclusive"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AutoscaleAnswer(Answer):
    """Cost and limited quantile of a fleet that follows its load, and of a fixed one."""

    screen: ScaledScreen
    effort: Effort
    runs: int

    @property
    def fleet(self) -> ScaledFleet:
        """The fleet that was asked about."""
        return self.screen.found.fleet

    @property
    def limited_s(self) -> Interval:
        """The limited quantile of all requests, lost ones infinitely late; of several limits the binding one. [s]"""
        return self.screen.found.binding.found_s

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the answer."""
        usual = theory_of(self.fleet.profile).controlled_caveats(self.fleet.scenario)
        return (*usual, *outage_caveats([self.fleet.scenario.outage]), *warmth_caveats(self.fleet))

    @property
    def exit_code(self) -> int:
        """0 if the autoscaled fleet meets the limit, 3 if it does not, 4 if the runs do not tell."""
        return self.screen.found.exit_code

    def document(self) -> Document:
        """Document of `capacity autoscale --json`."""
        screen, fleet = self.screen, self.fleet
        return {
            "verdict": _VERDICTS[self.exit_code],
            "exit_code": self.exit_code,
            "autoscaled": _days_document(screen.found),
            "smallest_fleet": None if screen.smallest is None else _days_document(screen.smallest),
            "remedies": [
                {"setting": setting_of(fleet, one.fleet), **_days_document(one)} for one in screen.remedies
            ],
            "worst": plain(screen.worst),
            "objective": plain(fleet.scenario.objective),
            "plan": plan_document(fleet.scenario.whole),
            **outage_document(fleet.scenario.outage, fleet.plan),
            "traffic": {
                "name": fleet.curve.name,
                "begins_s": fleet.begins_s,
                "ends_s": fleet.ends_s,
                "mean_rate_rps": fleet.mean_rate_rps,
                "peak_rate_rps": fleet.peak_rate_rps,
            },
            "replica_hourly_usd": fleet.replica_hourly_usd,
            "runs": self.runs,
            "caveats": plain(self.caveats),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Screen of `capacity autoscale`."""
        from capacity.render.autoscaling.screen import autoscale_tables
        from capacity.render.tables import notes_that_matter

        yield from autoscale_tables(self.screen, width, verbose=verbose)
        yield from notes_that_matter(self.caveats, "the course of the day", verbose=verbose)

    def rows(self) -> list[dict[str, Any]]:
        """One row each for the autoscaled fleet, the smallest fixed one, and the alternatives."""
        screen = self.screen
        found = [("autoscaled", screen.found)]
        found += [] if screen.smallest is None else [("fixed", screen.smallest)]
        found += [("remedy", one) for one in screen.remedies]
        return [_row(name, days) for name, days in found]

    def course(self) -> "pd.DataFrame":
        """Means of the runs minute by minute: arrivals, late ones, replicas wanted and ready.

        Raises:
            DependencyError: pandas is not installed.
        """
        course = self.screen.found.course
        return frame_of(
            {
                "time_s": [self.fleet.begins_s + step * COURSE_S for step in range(len(course.arrived))],
                "arrived": course.arrived,
                "late": course.late,
                "wanted": course.wanted,
                "ready": course.ready,
            }
        )

    def plot(self) -> "Panels":
        """Arrivals, replicas and late requests over the day."""
        from capacity.render.autoscaling.figure import autoscale_figure

        return autoscale_figure(self.screen)


def autoscaled_plan_document(found: AutoscaledPlan) -> Document:
    """The part of `capacity plan --json` about the autoscaler of the day."""
    screen, fleet = found.screen, found.screen.found.fleet
    curve = fleet.curve
    return {
        "verdict": found.verdict.value,
        "asked": found.asked,
        **_days_document(screen.found),
        "smallest_fleet": None if screen.smallest is None else _days_document(screen.smallest),
        "saved_share": plain(found.saved_share),
        "passed_over": [_days_document(one) for one in found.passed_over],
        "searched": found.searched,
        "runs": screen.found.runs,
        "confidence": screen.found.confidence,
        "plan": plan_document(fleet.scenario.whole),
        **outage_document(fleet.scenario.outage, fleet.plan),
        "day": {"name": curve.name, "times_s": curve.times_s, "rates_rps": curve.rates_rps},
        "replica_hourly_usd": fleet.replica_hourly_usd,
        "flags": found.flags,
    }


def _days_document(days: Days) -> Document:
    scaler = days.fleet.autoscaler
    return {
        "autoscaler": None if scaler is None else autoscaler_document(scaler),
        "replicas_max": days.fleet.replicas,
        **{f"{one.limit.name}_s": plain(one.found_s) for one in days.kept},
        "late_share": plain(days.binding.late_share),
        **(
            {"late_shares": {one.limit.name: plain(one.late_share) for one in days.kept}}
            if len(days.kept) > 1
            else {}
        ),
        "lost_share": days.lost_share,
        "replica_hours": plain(days.replica_hours),
        "cost_usd": plain(days.cost_usd),
        "replicas_mean": days.replicas_mean,
        "replicas_most": days.replicas_most,
        "scalings": plain(days.scalings),
        **({} if days.attempts_mean is None else {"attempts_mean": plain(days.attempts_mean)}),
        "requests": days.requests,
    }


def _limit_columns(one: Kept) -> dict[str, float]:
    name, found_s = one.limit.name, one.found_s
    return {f"{name}_s": found_s.value, f"{name}_low_s": found_s.low, f"{name}_high_s": found_s.high}


def _row(name: str, days: Days) -> dict[str, Any]:
    scaler = days.fleet.autoscaler
    return {
        "fleet": name,
        "target": None if scaler is None else str(scaler.target),
        "replicas_min": days.fleet.replicas if scaler is None else scaler.replicas_min,
        "replicas_max": days.fleet.replicas,
        **{key: value for one in days.kept for key, value in _limit_columns(one).items()},
        "late_share": days.binding.late_share.value,
        "replica_hours": days.replica_hours.value,
        "cost_usd": None if days.cost_usd is None else days.cost_usd.value,
        "replicas_mean": days.replicas_mean,
        "replicas_most": days.replicas_most,
        "scalings": days.scalings.value,
    }
