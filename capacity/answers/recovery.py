"""Answers of the verb `stress`, and of `plan` about trouble."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, outage_document, plain
from capacity.answers.answer import Answer, frame_of
from capacity.performance import Interval
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat
from capacity.recovery.findings import Remedy, Runs, Screen, SpikeSurvived
from capacity.recovery.stress import Stress
from capacity.search.disturbed_plan import DisturbedPlan, Responses
from capacity.search.recovery_plan import RecoveryPlan, is_harmless
from capacity.search.stress import stress_caveats

if TYPE_CHECKING:
    import pandas as pd

    from capacity.render.plot import Panels


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StressAnswer(Answer):
    """Whether a fleet recovers, why, and what would make it recover."""

    screen: Screen
    effort: Effort

    @property
    def stress(self) -> Stress:
        """The scenario that was asked about."""
        return self.screen.found.stress

    @property
    def recovered(self) -> Interval:
        """Share of runs that recover."""
        return self.screen.found.recovered

    @property
    def recovery_s(self) -> Interval | None:
        """Mean time from the trigger's end until recovery, over runs that recover; None if none does. [s]"""
        return self.screen.found.recovery_s

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the answer."""
        return tuple(stress_caveats(self.stress))

    @property
    def exit_code(self) -> int:
        """0 if all runs recover, 3 if none does, else 4."""
        return self.screen.found.exit_code

    def document(self) -> Document:
        """Document of `capacity stress --json`."""
        screen, found, stress = self.screen, self.screen.found, self.stress
        return {
            "exit_code": self.exit_code,
            **_runs_document(found),
            "runs": len(found.runs),
            "horizon_s": stress.horizon_s,
            "relapsed": found.relapsed,
            "intervals": {"goodput_during": _ends(found.goodput_during), "lost": _ends(found.lost)},
            "fluid": plain(screen.fluid),
            "smallest_fleet": None if screen.smallest is None else screen.smallest.stress.plan.replicas,
            "remedies": [_remedy_document(one) for one in screen.remedies],
            "spikes_survived": [_spike_document(one) for one in screen.spikes],
            "plan": plain(stress.whole),
            **outage_document(stress.outage, stress.plan),
            **_tokens_document(stress),
            **_sessions_document(found),
            "arrival_rate_rps": stress.rate_rps,
            "load": stress.load,
            "capacity_rps": stress.capacity_rps,
            "clients": plain(stress.clients),
            "protection": plain(stress.protection),
            "trigger": plain(stress.trigger),
            "breakdowns": plain(stress.breakdowns),
            "cold_batches": plain(stress.cold),
            "caveats": plain(self.caveats),
            "seed": self.effort.seed,
            "confidence": self.effort.confidence,
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Screen of `capacity stress`."""
        from capacity.render.recovery.screen import shows_spikes, stress_tables
        from capacity.render.tables import notes_that_matter

        yield from stress_tables(self.screen, width, verbose=verbose)
        if verbose:
            yield Text("")
        is_more = self.screen.spikes and not shows_spikes(self.screen)
        spikes = ", spikes that are survived" if is_more else ""
        yield from notes_that_matter(self.caveats, f"the course{spikes}", verbose=verbose)

    def rows(self) -> list[dict[str, Any]]:
        """One row for the fleet as it is, for the smallest that recovers, and for each setting that was tried."""
        screen = self.screen
        found = [("as it is", screen.found)]
        found += [] if screen.smallest is None else [("smallest fleet", screen.smallest)]
        found += [(one.setting, one.found) for one in screen.remedies]
        return [_row(name, runs) for name, runs in found]

    def course(self) -> "pd.DataFrame":
        """Means of the runs by seconds from the trigger on: share of first tries that succeed, attempts sent.

        Raises:
            DependencyError: pandas is not installed.
        """
        from capacity.render.recovery.screen import course_of

        found, begins_s = self.screen.found, int(self.stress.begins_s)
        last = min(len(run.course.came) for run in found.runs)
        success, sent = course_of(found, 0, last, 1)
        seconds = [second - begins_s for second in range(last)]
        return frame_of({"second": seconds, "success": success, "attempts_rps": sent})

    def plot(self) -> "Panels":
        """Success and attempts over time, and the spikes that are survived."""
        from capacity.render.recovery.figure import stress_figure

        return stress_figure(self.screen)


def _runs_document(found: Runs) -> Document:
    return {
        "recovered": plain(found.recovered),
        "recovery_s": None if found.recovery_s is None else plain(found.recovery_s),
        "goodput_during": found.goodput_during.value,
        "lost": found.lost.value,
        "response_p99_during_s": None if found.response_p99_s is None else plain(found.response_p99_s),
    }


def disturbed_plan_document(found: DisturbedPlan) -> Document:
    """The part of `capacity plan --json` about pauses and classes of requests."""
    return {
        "pauses": plain(found.disturbances.pauses),
        "classes": plain(found.disturbances.all_classes),
        "chosen": None if found.chosen is None else _responses_document(found.chosen),
        "calm": {
            "plan": plain(found.calm),
            "hourly_usd": found.hourly_usd,
            "disturbed": None if found.calm_disturbed is None else _responses_document(found.calm_disturbed),
        },
    }


def _responses_document(responses: Responses) -> Document:
    return {
        "response_quantiles_s": plain(responses.response_quantiles_s),
        "by_class": {name: plain(quantiles) for name, quantiles in responses.by_class.items()},
    }


def recovery_plan_document(recovery: RecoveryPlan) -> Document:
    """The part of `capacity plan --json` about what the fleet needs to recover in time."""
    as_is, chosen = recovery.as_is, recovery.chosen
    return {
        "within_s": recovery.within_s,
        "flags": list(recovery.flags),
        "replicas_min": recovery.replicas_min,
        "setting": recovery.setting,
        "chosen": None if chosen is None else _runs_document(chosen) | {"runs": len(chosen.runs)},
        "as_planned": {
            "replicas": recovery.as_planned.stress.plan.replicas,
            **_runs_document(recovery.as_planned),
        },
        "tried": [
            _remedy_document(one) | {"harmless": is_harmless(one.found, recovery.as_planned)}
            for one in recovery.tried
        ],
        "smallest_fleet": None if as_is is None else as_is.stress.plan.replicas,
        "trigger": plain(recovery.as_planned.stress.trigger),
        "clients": plain(recovery.as_planned.stress.clients),
    }


def _tokens_document(stress: Stress) -> Document:
    """The requests of a language model as a document; empty for batches."""
    server = stress.server
    if server.lengths is None:
        return {}
    from capacity.answer.documents import lengths_document

    return {**lengths_document(server.lengths), "cached_share": server.cached_share}


def _sessions_document(found: Runs) -> Document:
    """Sessions before, during and after the trigger; empty where requests come by themselves."""
    around = found.sessions_around
    if around["before"] is None:
        return {}
    return {"sessions": {when: plain(mean) for when, mean in around.items()}}


def _ends(interval: Interval) -> Document:
    return {"low": plain(interval.low), "high": plain(interval.high)}


def _remedy_document(remedy: Remedy) -> Document:
    return {"setting": remedy.setting, **_runs_document(remedy.found)}


def _spike_document(spike: SpikeSurvived) -> Document:
    survived = None if spike.lasting_s is None else plain(spike.lasting_s)
    return {"factor": spike.factor, "lasting_s": survived, "searched_s": plain(spike.searched_s)}


def _row(name: str, found: Runs) -> dict[str, Any]:
    recovery_s = found.recovery_s
    return {
        "setting": name,
        "replicas": found.stress.plan.replicas,
        "recovered": found.recovered.value,
        "recovered_low": found.recovered.low,
        "recovered_high": found.recovered.high,
        "recovery_s": None if recovery_s is None else recovery_s.value,
        "goodput_during": found.goodput_during.value,
        "lost": found.lost.value,
    }
