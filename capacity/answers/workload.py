"""Answers of `describe_workload`."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
)
from capacity.answers.answer import Answer
from capacity.profile.profile import ServiceProfile
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat
from capacity.question.comparison import PoissonError
from capacity.search.caveats import sections_caveat
from capacity.server.batch.caveats import profile_caveats
from capacity.server.batch.plan import BatchPlan
from capacity.units import format_rate

if TYPE_CHECKING:
    from capacity.render.plot import Plot
    from capacity.traffic.description import TraceDescription
    from capacity.traffic.lengths import LengthRows
    from capacity.traffic.sessions.description import SessionsDescription


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WorkloadAnswer(Answer):
    """A description of recorded arrivals, and the cost of assuming Poisson.

    Attributes:
        lengths: lengths of a language model's requests, if the trace has them.
    """

    description: "TraceDescription"
    effort: Effort
    error: PoissonError[BatchPlan] | None = None
    profile: ServiceProfile | None = None
    lengths: "LengthRows | None" = None

    @property
    def summary(self) -> str:
        """The trace, and whether it is Poisson, on one line."""
        about = self.description
        counted = f"{about.burstiness.events} arrivals at {format_rate(about.burstiness.rate_rps)}"
        return f"{about.trace.name}, {counted}: {about.verdict}"

    @property
    def caveats(self) -> list[Caveat]:
        """Caveats on the profile and the trace, for the plan that was simulated."""
        if self.error is None or self.profile is None:
            return []
        return [
            *profile_caveats(self.profile, self.error.plan.batch_size_max, (self.error.quantile,)),
            sections_caveat(self.error.quantile),
        ]

    def document(self) -> Document:
        """Document of `capacity workload --json`."""
        from capacity.render.trace import description_document, lengths_document

        document = description_document(self.description, self.error, self.caveats, seed=self.effort.seed)
        return document if self.lengths is None else document | {"lengths": lengths_document(self.lengths)}

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity workload`."""
        from capacity.render.trace import description_tables, lengths_table

        if self.lengths is not None:
            yield lengths_table(self.lengths)
        yield from description_tables(self.description, self.error, self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each length of window in which arrivals were counted."""
        counts = self.description.burstiness.counts
        return [{field.name: getattr(one, field.name) for field in fields(one)} for one in counts]

    def plot(self) -> "Plot":
        """Dispersion of the counts against the window's length; a Poisson stream has 1."""
        from capacity.render.plot import new_plot

        counts = self.description.burstiness.counts
        plot = new_plot(
            x_title="window (s)",
            y_title="dispersion of counts",
            title=self.description.trace.name,
            x_log=True,
        )
        plot.theory([one.window_s for one in counts], [one.dispersion for one in counts], "recorded")
        plot.limit(1.0, "Poisson")
        return plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SessionsAnswer(Answer):
    """A description of recorded sessions, and of what caches of prefixes would find."""

    description: "SessionsDescription"

    @property
    def summary(self) -> str:
        """The sessions, and what one cache would find at best, on one line."""
        about = self.description
        rows, best = about.rows, about.infinite_caches[0]
        return (
            f"{rows.name}, {rows.sessions} sessions of {rows.turns_mean:.3g} turns: "
            f"a cache finds {100.0 * best.hit_share:.1f} % of their prompts at best"
        )

    def document(self) -> Document:
        """Document of `capacity workload --json`."""
        from capacity.render.sessions import sessions_document

        return sessions_document(self.description)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Table of `capacity workload`."""
        from capacity.render.sessions import sessions_tables

        yield from sessions_tables(self.description)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each number of replicas with caches that forget nothing."""
        found = self.description.infinite_caches
        return [{field.name: getattr(one, field.name) for field in fields(one)} for one in found]

    def plot(self) -> "Plot":
        """Hit share at one replica against the size of its cache.

        Raises:
            InputError: nothing comes again.
        """
        from capacity.errors import InputError
        from capacity.render.plot import new_plot

        about = self.description
        if not about.depths.total:
            raise InputError(f"no prompt of {about.rows.name} repeats another: there is nothing to draw")
        parts = [k / 100 for k in range(1, 101)]
        rooms = [float(about.kv_tokens_for(part) or 0) for part in parts]
        plot = new_plot(x_title="KV cache (tokens)", y_title="hit share", title=about.rows.name, x_log=True)
        best = about.infinite_caches[0].hit_share
        plot.theory(rooms, [best * part for part in parts], "least recently used")
        return plot
