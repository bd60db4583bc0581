"""Engine rows: what a row of a sweep says of a fleet that serves a language model."""

from collections.abc import Mapping
from typing import ClassVar

from capacity.question.grid import Column, Value
from capacity.server.engine.plan import TokenScenario
from capacity.server.engine.router import routing_text
from capacity.traffic.lengths import LengthLaws


class EngineRows:
    """`capacity.question.grid.RowForm` of fleets that serve a language model."""

    asked = (
        Column("lengths", "text"),
        Column("input_tokens_mean", "number"),
        Column("output_tokens_mean", "number"),
        Column("cached_share", "number"),
        Column("replicas", "count"),
        Column("sequences_max", "count"),
        Column("batched_tokens_max", "count"),
        Column("routing", "text"),
        Column("queue_limit", "count"),
        Column("kv_tokens", "count"),
        Column("request_overhead_s", "number"),
    )
    scalars = (
        "utilization",
        "throughput_rps",
        "output_tokens_per_s",
        "ttft_mean_s",
        "tpot_mean_s",
        "itl_mean_s",
        "response_mean_s",
        "attempts_mean",
        "retried_share",
        "loss_probability",
        "preemption_rate",
        "kv_utilization",
        "hit_share",
        "sessions_live_mean",
        "running_mean",
        "queue_length_mean",
        "in_system_mean",
    )
    durations = ("ttft", "tpot", "itl", "response", "ttft_with_losses", "response_with_losses")
    settings: ClassVar[Mapping[str, str]] = {"sequences": "sequences_max", "tokens": "batched_tokens_max"}
    hides_shared = True  # there is hardly room for two durations
    shown: ClassVar[Mapping[str, str]] = {"TTFT": "ttft_with_losses", "TPOT": "tpot"}

    def values(self, cell: TokenScenario) -> tuple[Value, ...]:
        """Values of the columns `asked`."""
        plan, lengths, profile = cell.plan, cell.lengths, cell.profile
        return (
            f"input={lengths.input.kind};output={lengths.output.kind}"
            if isinstance(lengths, LengthLaws)
            else lengths.typed,
            float(lengths.moments.input),
            float(lengths.moments.output),
            float(cell.cached_share),
            cell.whole.replicas,
            plan.sequences_max,
            plan.batched_tokens_max,
            routing_text(plan.routing, plan.router),
            plan.queue_limit,
            profile.kv.tokens,
            float(profile.overhead.request_s),
        )

    def label(self, row: Mapping[str, Value]) -> str:
        """Sequences and tokens of a step, in words."""
        return f"{row['sequences_max']} sequences, {row['batched_tokens_max']} tokens"
