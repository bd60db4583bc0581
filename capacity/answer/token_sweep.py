"""Token sweep: columns and rows of a sweep over fleets that serve language models."""

from dataclasses import dataclass

from capacity.answer.sweep import AnyTable, Column, Row, finite
from capacity.question.grid import Answer
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.lengths import LengthRows
from capacity.units import quantile_name

_ASKED = (
    Column("lengths", "text"),
    Column("input_tokens_mean", "number"),
    Column("output_tokens_mean", "number"),
    Column("cached_share", "number"),
    Column("replicas", "count"),
    Column("sequences_max", "count"),
    Column("batched_tokens_max", "count"),
    Column("routing", "text"),
    Column("kv_tokens", "count"),
    Column("request_overhead_s", "number"),
    Column("seed", "count"),
    Column("confidence", "number"),
    Column("outcome", "text"),
    Column("reason", "text"),
    Column("load", "number"),
)
_SCALARS = (
    "utilization",
    "throughput_rps",
    "output_tokens_per_s",
    "ttft_mean_s",
    "tpot_mean_s",
    "itl_mean_s",
    "response_mean_s",
    "preemption_rate",
    "kv_utilization",
    "running_mean",
    "queue_length_mean",
    "in_system_mean",
)
_QUANTILES = ("ttft_quantiles_s", "tpot_quantiles_s", "itl_quantiles_s", "response_quantiles_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSweepTable(AnyTable):
    """What the rows of a sweep over fleets of language models share.

    `quantiles` are those of TTFT, TPOT, ITL and the response, rising: P99 of the first has the columns `ttft_p99_s`,
    `ttft_p99_low_s` and `ttft_p99_high_s`.
    """

    @property
    def columns(self) -> tuple[Column, ...]:
        """Name and kind of every value of a row."""
        whats = [name.removesuffix("_quantiles_s") for name in _QUANTILES]
        names = [f"{what}_{quantile_name(q)}" for what in whats for q in self.quantiles]
        ends = (f"{name}{end}_s" for name in names for end in ("", "_low", "_high"))
        return (*self.demand_columns, *_ASKED, *(Column(name, "number") for name in (*_SCALARS, *ends)))

    def row(self, cell: TokenScenario, load: float | None, answer: Answer) -> Row:
        """One cell: no number of a performance where there is none, and none that is not finite."""
        plan, lengths = cell.plan, cell.lengths
        asked = (
            plan.profile,
            *self.demand(cell.workload),
            lengths.name
            if isinstance(lengths, LengthRows)
            else f"input={lengths.input.kind};output={lengths.output.kind}",
            float(lengths.moments.input),
            float(lengths.moments.output),
            float(cell.cached_share),
            plan.replicas,
            plan.sequences_max,
            plan.batched_tokens_max,
            plan.routing.value,
            cell.profile.kv.tokens,
            float(cell.profile.overhead.request_s),
            self.seed,
            float(self.confidence),
            answer.outcome.value,
            answer.reason or None,
            finite(load),
        )
        performance = answer.performance
        if performance is None:
            return (*asked, *[None] * (len(self.columns) - len(asked)))
        scalars = (finite(getattr(performance, name)) for name in _SCALARS)
        known = (getattr(performance, name) for name in _QUANTILES)
        return (*asked, *scalars, *(value for one in known for value in self.values(one)))
