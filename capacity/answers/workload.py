"""Answer of `describe_workload`."""

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

if TYPE_CHECKING:
    from capacity.render.plot import Plot
    from capacity.traffic.description import TraceDescription
    from capacity.traffic.lengths import LengthRows


@dataclass(frozen=True, slots=True, kw_only=True)
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
