"""Caveat: what to know before relying on an answer, and how to fix it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from capacity.question.autoscaler import Autoscaler, Metric
from capacity.question.plan import Plan


class CaveatCode(StrEnum):
    """What a caveat is about, from what may change the verdict down to mere details."""

    PROFILE_UNIT = "profile_unit"
    STEPS_UNTRUSTED = "steps_untrusted"
    CHEAPER_INCONCLUSIVE = "cheaper_inconclusive"
    FLEETS_UNTRIED = "fleets_untried"
    FLOOR_IN_DOUBT = "floor_in_doubt"
    RETRY_STORM = "retry_storm"
    BISTABLE = "bistable"
    ENGINE_RULES_DECIDE = "engine_rules_decide"
    REPLICAS_GONE = "replicas_gone"
    HEADROOM_THIN = "headroom_thin"
    TRACE_FEW_BURSTS = "trace_few_bursts"
    LOAD_HIGH = "load_high"
    BATCH_TOO_LARGE = "batch_too_large"
    RATES_IN_DOUBT = "rates_in_doubt"
    RATES_OPEN = "rates_open"
    PREEMPTIONS = "preemptions"
    KV_NEARLY_FULL = "kv_nearly_full"
    LENGTHS_CUT = "lengths_cut"
    LENGTHS_OF_A_LAW = "lengths_of_a_law"
    STEPS_FROM_COEFFICIENTS = "steps_from_coefficients"
    STEPS_MIXED_UNMEASURED = "steps_mixed_unmeasured"
    STEPS_PAST_UNMEASURED = "steps_past_unmeasured"
    STEPS_READ_FEW = "steps_read_few"
    DRAFTS_UNMEASURED = "drafts_unmeasured"
    STEPS_ERROR_UNKNOWN = "steps_error_unknown"
    STEPS_UNCHECKED = "steps_unchecked"
    KV_NOT_MEASURED = "kv_not_measured"
    ENGINE_RULES_UNSTATED = "engine_rules_unstated"
    CACHE_HITS_ASSUMED = "cache_hits_assumed"
    ONE_BALANCER = "one_balancer"
    UTILIZATION_OF_BATCHES = "utilization_of_batches"
    BATCHING_WITHOUT_WAIT = "batching_without_wait"
    PROFILE_LARGER_FASTER = "profile_larger_faster"
    PROFILE_ONE_SAMPLE = "profile_one_sample"
    PROFILE_NO_SPREAD = "profile_no_spread"
    PROFILE_PERCENTILE_MISSING = "profile_percentile_missing"
    PROFILE_TAIL_STRETCHED = "profile_tail_stretched"
    PROFILE_FEW_SAMPLES = "profile_few_samples"
    PRECISION_MISSED = "precision_missed"
    MEANS_OF_SERVED = "means_of_served"
    DEVICE_SHARED = "device_shared"
    TRACE_ONE_PATH = "trace_one_path"
    TRACE_READING = "trace_reading"
    DAY_HIGHEST = "day_highest"
    AUTOSCALER_LEFT_OUT = "autoscaler_left_out"
    PROFILE_ONE_SIZE = "profile_one_size"
    PROFILE_EXCLUDES = "profile_excludes"
    HEADROOM_IN_DOUBT = "headroom_in_doubt"
    RATES_UNSEEN = "rates_unseen"
    PROFILE_ERROR_UNKNOWN = "profile_error_unknown"
    PROFILE_ERROR_LEFT_OUT = "profile_error_left_out"
    PRICE_UNKNOWN = "price_unknown"
    MEASURED_EARLY_END = "measured_early_end"
    MEASURED_DRIFT = "measured_drift"
    MEASURED_STALLS = "measured_stalls"
    MEASURED_NOISE = "measured_noise"
    MEASURED_BY_CLIENT = "measured_by_client"
    MEASURED_FEW_BATCHES = "measured_few_batches"
    MEASURED_PERCENTILES = "measured_percentiles"
    MEASURED_ROWS = "measured_rows"
    MEASURED_CORE_SHARED = "measured_core_shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """Something to know before relying on an answer, and what would fix it.

    Attributes:
        of_another_profile: whether it is about a profile that the recommended plan does not have.
    """

    code: CaveatCode
    message: str
    of_another_profile: bool = False


def in_order(caveats: Iterable[Caveat]) -> list[Caveat]:
    """Caveats, the most important first; those about the profiles of other plans come last."""
    weights = list(CaveatCode)
    return sorted(caveats, key=lambda one: (one.of_another_profile, weights.index(one.code)))


def precision_caveat() -> Caveat:
    """The interval is wider than was asked for, for lack of simulated requests."""
    return Caveat(
        code=CaveatCode.PRECISION_MISSED,
        message="the interval is wider than requested, and the budget is used up; raise --requests-max",
    )


def controller_caveats(plan: Plan, scaler: Autoscaler | None) -> Iterator[Caveat]:
    """What utilization says of servers that take several requests at once, and what intervals over days leave out."""
    if plan.at_once > 1 and scaler is not None and scaler.target.metric is Metric.UTILIZATION:
        yield Caveat(
            code=CaveatCode.UTILIZATION_OF_BATCHES,
            message=f"{plan.names.busier}: utilization asks for replicas long before it is full; what is measured "
            f"here is {plan.names.work}",
        )
    yield Caveat(
        code=CaveatCode.PROFILE_ERROR_LEFT_OUT,
        message="intervals leave out the errors of the profile and of the day's rates",
    )


# Batches beyond which a different limit helps, not more measurements.
BATCHES_MAX = 1e6
