"""Caveat: what an answer does not say by itself, each kind with its mend."""

from dataclasses import dataclass
from enum import StrEnum


class CaveatCode(StrEnum):
    """What a caveat is about."""

    PROFILE_UNIT = "profile_unit"
    PROFILE_LARGER_FASTER = "profile_larger_faster"
    PROFILE_ONE_SAMPLE = "profile_one_sample"
    PROFILE_ONE_SIZE = "profile_one_size"
    PROFILE_NO_SPREAD = "profile_no_spread"
    PROFILE_PERCENTILE_MISSING = "profile_percentile_missing"
    PROFILE_TAIL_STRETCHED = "profile_tail_stretched"
    PROFILE_FEW_SAMPLES = "profile_few_samples"
    PROFILE_ERROR_UNKNOWN = "profile_error_unknown"
    PROFILE_EXCLUDES = "profile_excludes"
    DEVICE_SHARED = "device_shared"
    MEANS_OF_SERVED = "means_of_served"
    FLOOR_IN_DOUBT = "floor_in_doubt"
    HEADROOM_IN_DOUBT = "headroom_in_doubt"
    HEADROOM_THIN = "headroom_thin"
    ONE_BALANCER = "one_balancer"
    PRICE_UNKNOWN = "price_unknown"
    CHEAPER_INCONCLUSIVE = "cheaper_inconclusive"
    FLEETS_UNTRIED = "fleets_untried"
    PRECISION_MISSED = "precision_missed"
    TRACE_FEW_BURSTS = "trace_few_bursts"
    TRACE_ONE_PATH = "trace_one_path"
    TRACE_READING = "trace_reading"
    RATES_IN_DOUBT = "rates_in_doubt"
    RATES_OPEN = "rates_open"
    RATES_UNSEEN = "rates_unseen"
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
    """Something to know before betting on the number beside it, and what would mend it."""

    code: CaveatCode
    message: str
