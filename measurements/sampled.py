"""From samples to findings: batches that were timed one by one."""

from collections.abc import Iterable, Iterator

from capacity.caveats import Caveat, CaveatCode
from capacity.profile import BatchTiming
from capacity.units import format_duration
from measurements.drift import drift, family_confidence, is_of_note
from measurements.mean_interval import mean_interval
from measurements.measurement import SizeFinding
from measurements.rounds import Rounds
from measurements.sampling import Sampling
from measurements.stalls import stalls

# A nanosecond is the clock's own step; further digits of a float are noise of its subtraction.
_DECIMALS = 9
_STALL_SHARE_OF_NOTE = 0.01
_HALF_WIDTH_OF_NOTE = 0.05


def sampled_findings(sampling: Sampling, confidence: float) -> tuple[SizeFinding, ...]:
    """Each batch size, by its samples in their order."""
    each = family_confidence(confidence, len(sampling.batches))
    return tuple(
        _finding(size, tuple(round(batch.service_s, _DECIMALS) for batch in batches), confidence, each)
        for size, batches in sampling.batches.items()
    )


def _finding(batch_size: int, samples_s: tuple[float, ...], confidence: float, each: float) -> SizeFinding:
    return SizeFinding(
        timing=BatchTiming(batch_size=batch_size, samples_s=samples_s),
        count=len(samples_s),
        mean=mean_interval(samples_s, confidence),
        drift=drift(samples_s, each),
        stalls=stalls(samples_s),
    )


def sampling_caveats(
    findings: tuple[SizeFinding, ...], sampling: Sampling, rounds: Rounds
) -> Iterator[Caveat]:
    """What to know before betting on the samples."""
    if sampling.rounds < rounds.samples:
        yield Caveat(
            code=CaveatCode.MEASURED_EARLY_END,
            message=f"{sampling.rounds} of {rounds.samples} rounds were finished, as "
            f"{_end(sampling, rounds)}",
        )
    yield from _drift_caveats(findings)
    yield from _stall_caveats(findings)
    yield from _noise_caveats(findings)


def _end(sampling: Sampling, rounds: Rounds) -> str:
    if sampling.stop is None:
        limit = format_duration(rounds.duration_max_s)
        return f"--duration-max {limit} was up; the profile is of those, raise --duration-max for all"
    why = "an interrupt came" if isinstance(sampling.stop, KeyboardInterrupt) else "the next one failed"
    return f"{why}; the profile is of those, measure again for all"


def _drift_caveats(findings: tuple[SizeFinding, ...]) -> Iterator[Caveat]:
    drifted = {one.batch_size: one.drift for one in findings if one.drift and is_of_note(one.drift)}
    if drifted:
        size, shift = max(drifted.items(), key=lambda item: abs(item[1].value))
        yield Caveat(
            code=CaveatCode.MEASURED_DRIFT,
            message=f"batches of {_listed(drifted)} drifted from the first half of the rounds to the second, "
            f"those of {size} by {shift.value:+.1%} ({shift.low:+.1%} to {shift.high:+.1%}), more than "
            "chance explains; let the machine settle, and measure again",
        )


def _stall_caveats(findings: tuple[SizeFinding, ...]) -> Iterator[Caveat]:
    stalled = {
        one.batch_size: one.stalls
        for one in findings
        if one.stalls and one.stalls.count > 1 and one.stalls.share >= _STALL_SHARE_OF_NOTE
    }
    if stalled:
        size, worst = max(stalled.items(), key=lambda item: item[1].share)
        yield Caveat(
            code=CaveatCode.MEASURED_STALLS,
            message=f"batches of {_listed(stalled)} stalled so often that their P99 is one of stalls: of "
            f"{size}, {worst.share:.1%} took more than {format_duration(worst.limit_s)}, up to "
            f"{format_duration(worst.largest_s or 0.0)}; they are kept; if the fleet has none, find what "
            "else runs",
        )


def _noise_caveats(findings: tuple[SizeFinding, ...]) -> Iterator[Caveat]:
    widths = {one.batch_size: one.mean.relative_half_width for one in findings if one.mean is not None}
    wide = {size: width for size, width in widths.items() if width > _HALF_WIDTH_OF_NOTE}
    if wide:
        size = max(wide, key=wide.__getitem__)
        yield Caveat(
            code=CaveatCode.MEASURED_NOISE,
            message=f"means of batches of {_listed(wide)} are not known well, that of {size} to "
            f"{wide[size]:.0%} only; measure on a quiet machine, or raise --samples",
        )


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sizes))
