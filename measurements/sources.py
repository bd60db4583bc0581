"""The three sources of a measurement: a callable, an endpoint, and a server's own metrics."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from capacity import __version__
from capacity.caveats import Caveat, CaveatCode
from capacity.errors import DependencyError, InconclusiveError
from capacity.spells import Spells
from measurements import environment
from measurements.address import Address
from measurements.callable_subject import CallableSubject
from measurements.counted import counted_findings, counting_caveats
from measurements.endpoint_source import Endpoint, sample_endpoint
from measurements.histogram_delta import gains, sectioned
from measurements.histogram_names import Histograms
from measurements.http_exchange import HttpExchange
from measurements.measurement import Measurement
from measurements.overhead import overhead, overhead_caveats
from measurements.request_work import request_work
from measurements.rests import wake
from measurements.rounds import Rounds
from measurements.sampled import sampled_findings, sampling_caveats
from measurements.sampling import Report, Sampling, take
from measurements.server_facts import server_facts
from measurements.spell_fit import fit_spells
from measurements.window import watch
from measurements.work_caveats import work_caveats

_PATH_MAX = 200
_BY = f"capacity {__version__}, capacity profile"


def measure_callable(
    function: Callable[[int], Any], name: str, rounds: Rounds, confidence: float, report: Report
) -> Measurement:
    """Time calls of a function in this process."""
    subject = CallableSubject(function, time.perf_counter)
    measured_by = {
        "measured_by": f"{_BY} --callable {name}",
        "excludes": "HTTP, network and queue",
        **environment.machine(),
        **environment.process(),
    }
    sampling = take(subject, rounds, time.perf_counter, report)
    return _sampled(sampling, rounds, confidence, measured_by)


def measure_endpoint(endpoint: Endpoint, rounds: Rounds, *, confidence: float, report: Report) -> Measurement:
    """Time requests to a server, which carry a batch each."""
    found = sample_endpoint(endpoint, rounds, report)
    service = "the server's batch time, by Server-Timing" if found.tells_batch else "all that the client saw"
    path = endpoint.address.path[:_PATH_MAX]
    measured_by = {
        "measured_by": f"{_BY} --url, POST {path} on one connection, one request at a time",
        "service_time": service,
        **_machine(endpoint.address),
        **found.server,
    }
    measured = _sampled(found.sampling, rounds, confidence, measured_by, found.caveats)
    return replace(measured, beside=found.beside, stop=found.stop)


def measure_metrics(
    address: Address,
    where: Histograms,
    *,
    duration_s: float,
    timeout_s: float,
    confidence: float,
    report: Report,
) -> Measurement:
    """Take what a server counted of its own batches while others sent it traffic.

    Raises:
        DependencyError: its metrics cannot be had, read or believed.
        InconclusiveError: it served too few batches.
        KeyboardInterrupt: before there was anything.
    """
    with closing(HttpExchange(address, timeout_s=timeout_s)) as exchange:
        window = watch(exchange, duration_s, report, where.totals)
    try:
        counted = gains(window.before, window.after, where.metric, where.label)
        gained = sectioned(counted, window.scrapes, where)
        findings = counted_findings(gained, confidence)
    except (DependencyError, InconclusiveError):
        if window.interrupt is not None:  # what was asked for, and nothing is lost by it
            raise window.interrupt from None
        raise
    work = request_work(window.before, window.after, gained)
    errors = [one.bucket_error for one in findings if one.bucket_error is not None]
    source = {
        "measured_by": f"{_BY} --metrics, {where.metric} by {where.label} in {window.seconds:.1f} s",
        "service_time": "the server's own histograms; means are exact, percentiles are within "
        + (f"{max(errors):.1%}, the width of their buckets" if errors else "wide buckets and left out"),
        "batches": str(sum(one.count for one in findings)),
        "excludes": "HTTP and network",
        **_machine(address),
        **server_facts(window.after),
    }
    early = [_EARLY] if window.interrupt is not None else []
    caveats = (*early, *counting_caveats(gained, findings), *work_caveats(work))
    return Measurement(findings=findings, source=source, caveats=caveats, work=work, stop=window.interrupt)


_EARLY = Caveat(
    code=CaveatCode.MEASURED_EARLY_END,
    message="an interrupt came before --duration was over; the profile is of the time until then, measure "
    "again for all of it",
)


def _sampled(
    sampling: Sampling,
    rounds: Rounds,
    confidence: float,
    measured_by: dict[str, str],
    caveats: tuple[Caveat, ...] = (),
) -> Measurement:
    findings = sampled_findings(sampling, confidence)
    rested = [one for nap in sampling.naps for one in nap.rested]
    beside = overhead(sampling.batches, rested, confidence)
    spells, unfitted = _spells(sampling)
    source = measured_by | {
        "settings": f"{sampling.rounds} rounds of all batch sizes in random order, seed {rounds.seed}, "
        f"after {rounds.warm_up} to warm up at most",
    }
    return Measurement(
        findings=findings,
        source=source,
        caveats=(
            *caveats,
            *sampling_caveats(findings, sampling, rounds),
            *overhead_caveats(beside),
            *unfitted,
        ),
        overhead=beside,
        wake=wake(sampling.naps, confidence),
        spells=spells,
        stop=sampling.stop,
    )


def _spells(sampling: Sampling) -> tuple[Spells | None, tuple[Caveat, ...]]:
    """A fit that fails does not cost the samples."""
    try:
        return fit_spells(sampling.batches), ()
    except InconclusiveError as error:
        return None, (Caveat(code=CaveatCode.MEASURED_NOISE, message=str(error)),)


def _machine(address: Address) -> dict[str, str]:
    """The server's machine where it is this one; of another nothing is known but the day."""
    here = environment.machine()
    return here if address.is_here else {"date": here["date"], "cpu": "of another machine"}
