"""Findings: results by batch size and for requests, and the profile that they make."""

import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from capacity import __version__
from capacity.errors import DependencyError, InconclusiveError
from capacity.files import printable
from capacity.measurement.http import Address
from capacity.measurement.overhead import Overhead, RequestWork, overhead, wake
from capacity.measurement.rounds import Rounds, Sampling
from capacity.measurement.sections import Stalls, drift, fit_spells, mean_interval, stalls
from capacity.measurement.users import WorkBeside
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.caveat import Caveat, CaveatCode
from capacity.units import format_duration, format_percent

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_RUNTIMES = ("numpy", "onnxruntime", "torch", "tensorflow", "jax", "openvino")
_CPUINFO_BYTES_MAX = 1 << 16
_TEXT_MAX = 200


def machine() -> dict[str, str]:
    """The machine of this process, and the day."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count() or "unknown"),
        "kernel": _text(f"{platform.system()} {platform.release()} {platform.machine()}"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def process() -> dict[str, str]:
    """Resources and libraries of this process, if it is the one that serves."""
    threads = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return {
        "cores_usable": str(usable),
        "threads": _text(", ".join(threads) or "not limited"),
        "python": platform.python_version(),
        **{name: found for name in _RUNTIMES if name in sys.modules and (found := _version(name))},
    }


def _cpu() -> str:
    """Model name of the CPU."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_CPUINFO_BYTES_MAX).splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return _text(names[0] if names else platform.processor() or "unknown")


def _version(module: str) -> str | None:
    """Version of a loaded module, or else of its package."""
    told = getattr(sys.modules[module], "__version__", None)
    try:
        return _text(told if isinstance(told, str) else version(module))
    except PackageNotFoundError:
        return None


def _text(value: str) -> str:
    return printable(value)[:_TEXT_MAX]


Stop = KeyboardInterrupt | DependencyError | InconclusiveError

MEASURED_BY = f"capacity {__version__}, capacity profile"
# A nanosecond is the clock's resolution; further digits of a float are noise from its subtraction.
_DECIMALS = 9
# A drift smaller than this, even a certain one, is less than what else a profile leaves open.
_DRIFT_OF_NOTE, _STALL_SHARE_OF_NOTE, _HALF_WIDTH_OF_NOTE = 0.02, 0.01, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFinding:
    """Result for one batch size."""

    timing: BatchTiming  # timing for the profile
    count: int  # number of batches behind it
    mean: Interval | None  # mean with its interval; None if a single batch or open buckets give none
    # relative shift from the first half to the second; None if it is unknown
    drift: Interval | None = None
    stalls: Stalls | None = None  # None if no samples are known
    # relative error of a percentile; None if none comes from buckets
    bucket_error: float | None = None

    @property
    def batch_size(self) -> int:
        """Requests in a batch."""
        return self.timing.batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Results for all batch sizes, rising, and for the time outside the batches."""

    findings: tuple[SizeFinding, ...]
    source: Mapping[str, str]  # how and on what it was made, by aspect, for the profile
    caveats: tuple[Caveat, ...] = ()
    overhead: Overhead | None = None
    work: RequestWork | None = None
    beside: WorkBeside | None = None
    spells: Spells | None = None
    wake: Interval | None = None  # how much longer a batch takes after a rest; None if that was not tried
    # interrupt or failure that ended it early, to be raised again once all is saved; None without one
    stop: Stop | None = None

    def profile(
        self,
        asked: ServiceProfile,
        request_overhead_s: float | None = None,
        request_work_s: float | None = None,
    ) -> ServiceProfile:
        """The profile that was measured.

        The time of a lone one-row request outside its batch includes the server's own work on it. A plan adds that
        work to the batch, so it is subtracted from the overhead.

        Args:
            asked: what cannot be measured: name, model, device, price.
            request_overhead_s, request_work_s: values that replace the measured ones; None keeps these. [s]
        """
        batch_s, work_s = self._work_s() if request_work_s is None else (0.0, request_work_s)
        if request_overhead_s is None:
            seen_s = 0.0 if self.overhead is None else self.overhead.median_s
            request_overhead_s = max(0.0, seen_s - batch_s - work_s)
        is_longer = self.wake is not None and self.wake.low > 0.0  # else chance explains it
        return replace(
            asked,
            timings=tuple(one.timing for one in self.findings),
            request_overhead_s=request_overhead_s,
            wake_s=self.wake.value if self.wake is not None and is_longer else 0.0,
            spells=self.spells,
            batch_work_s=batch_s,
            request_work_s=work_s,
            source={printable(key): printable(text) for key, text in self.source.items()},
        )

    def _work_s(self) -> tuple[float, float]:
        """Work outside the timed part: for each batch, and for each request. [s]"""
        if self.beside is not None:
            return self.beside.batch_s, self.beside.request_s
        return 0.0, 0.0 if self.work is None else self.work.request_s


def server_machine(address: Address) -> dict[str, str]:
    """The server's machine if it is this one; of another only the day is known."""
    here = machine()
    return here if address.is_here else {"date": here["date"], "cpu": "of another machine"}


def sampled(
    sampling: Sampling,
    rounds: Rounds,
    confidence: float,
    source: Mapping[str, str],
    caveats: tuple[Caveat, ...] = (),
) -> Measurement:
    """Findings from batches timed one by one; the intervals of drifts hold jointly."""
    each = 1.0 - (1.0 - confidence) / len(sampling.batches)  # Bonferroni's inequality
    findings = []
    for size, batches in sampling.batches.items():
        samples_s = tuple(round(batch.service_s, _DECIMALS) for batch in batches)
        findings.append(_size_finding(size, samples_s, confidence, each))
    beside = overhead(sampling.batches, [one for nap in sampling.naps for one in nap.rested], confidence)
    spells, unfitted = None, list[Caveat]()
    try:
        spells = fit_spells(sampling.batches)
    except InconclusiveError as error:  # a failed fit does not cost the samples
        unfitted.append(Caveat(code=CaveatCode.MEASURED_NOISE, message=str(error)))
    settings = (
        f"{sampling.rounds} rounds of all batch sizes in random order, seed {rounds.seed}, after "
        f"{rounds.warm_up} of warm-up at most"
    )
    return Measurement(
        findings=tuple(findings),
        source={**source, "settings": settings},
        caveats=(
            *caveats,
            *_early_caveats(sampling, rounds),
            *size_caveats(findings),
            *(() if beside is None else beside.caveats()),
            *unfitted,
        ),
        overhead=beside,
        wake=wake(sampling.naps, confidence),
        spells=spells,
        stop=sampling.stop,
    )


def _size_finding(
    size: int, samples_s: tuple[float, ...], confidence: float, confidence_each: float
) -> SizeFinding:
    """What the batches of one size say; the drift's interval has a confidence of its own."""
    return SizeFinding(
        timing=BatchTiming(batch_size=size, samples_s=samples_s),
        count=len(samples_s),
        mean=mean_interval(samples_s, confidence),
        drift=drift(samples_s, confidence_each),
        stalls=stalls(samples_s),
    )


def _early_caveats(sampling: Sampling, rounds: Rounds) -> Iterator[Caveat]:
    if sampling.rounds == rounds.samples:
        return
    if sampling.stop is None:
        limit = format_duration(rounds.duration_max_s)
        why = f"--duration-max {limit} was reached; the profile covers those; raise --duration-max for all"
    else:
        why = "it was interrupted" if isinstance(sampling.stop, KeyboardInterrupt) else "the next one failed"
        why = f"{why}; the profile covers those; measure again for all"
    yield Caveat(
        code=CaveatCode.MEASURED_EARLY_END,
        message=f"{sampling.rounds} of {rounds.samples} rounds were finished, as {why}",
    )


def size_caveats(findings: Iterable[SizeFinding]) -> Iterator[Caveat]:
    """Caveats on sizes that drifted, stalled, or have an uncertain mean, each with the worst."""
    found = tuple(findings)
    drifts = {one.batch_size: one.drift for one in found if one.drift is not None and _is_of_note(one.drift)}
    if drifts:
        size, shift = max(drifts.items(), key=lambda item: abs(item[1].value))
        yield Caveat(
            code=CaveatCode.MEASURED_DRIFT,
            message=f"batches of {_listed(drifts)} drifted from the first half of the rounds to the second, "
            f"those of {size} by {100.0 * shift.value:+.1f} % ({100.0 * shift.low:+.1f} to "
            f"{100.0 * shift.high:+.1f} %), more than chance explains; let the machine settle and measure again",
        )
    stalled = {
        one.batch_size: one.stalls
        for one in found
        if one.stalls and one.stalls.count > 1 and one.stalls.share >= _STALL_SHARE_OF_NOTE
    }
    if stalled:
        size, worst = max(stalled.items(), key=lambda item: item[1].share)
        yield Caveat(
            code=CaveatCode.MEASURED_STALLS,
            message=f"batches of {_listed(stalled)} stalled so often that stalls determine their P99: "
            f"{format_percent(worst.share, 1)} of those of {size} took more than {format_duration(worst.limit_s)}, "
            f"up to {format_duration(worst.largest_s or 0.0)}; these samples are kept; if the fleet will not "
            "stall, find what else runs on the machine",
        )
    widths = {one.batch_size: one.mean.relative_half_width for one in found if one.mean is not None}
    wide = {size: width for size, width in widths.items() if width > _HALF_WIDTH_OF_NOTE}
    if wide:
        size = max(wide, key=wide.__getitem__)
        yield Caveat(
            code=CaveatCode.MEASURED_NOISE,
            message=f"means of batches of {_listed(wide)} are imprecise, that of {size} by "
            f"{format_percent(wide[size])}; measure on a quiet machine, or raise --samples",
        )


def _is_of_note(shift: Interval) -> bool:
    """Whether a drift is beyond chance and large enough to matter."""
    return abs(shift.value) >= _DRIFT_OF_NOTE and (shift.low > 0.0 or shift.high < 0.0)


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sizes))
