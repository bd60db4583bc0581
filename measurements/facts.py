"""ProfileFacts: what a measurement cannot find out, and a person says."""

from dataclasses import dataclass

from capacity.errors import InputError
from capacity.profile import DeviceKind, ServiceProfile
from capacity.reading import TEXT_LENGTH_MAX, printable
from measurements.measurement import Measurement
from measurements.rests import wake_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFacts:
    """The profile's own fields.

    Attributes:
        request_overhead_s, request_work_s: instead of what was measured; None takes that. [s]
    """

    name: str
    model: str | None = None
    device: str | None = None
    kind: DeviceKind | None = None
    precision: str | None = None
    runtime: str | None = None
    hourly_usd: float | None = None
    request_overhead_s: float | None = None
    request_work_s: float | None = None

    def __post_init__(self) -> None:
        for flag in ("model", "device", "precision", "runtime"):
            text = getattr(self, flag)
            if text is not None and not (text.isprintable() and len(text) <= TEXT_LENGTH_MAX):
                raise InputError(f"--{flag} must be one line of {TEXT_LENGTH_MAX} characters at most")

    def profile(self, measurement: Measurement) -> ServiceProfile:
        """The profile of what was measured.

        What a lone request of one row takes beside its batch holds the server's own work on it. A plan adds
        that to the batch, so that it is taken off the overhead.
        """
        batch_s, work_s = self._batch_work_s(measurement), self._work_s(measurement)
        overhead_s = self.request_overhead_s
        if overhead_s is None:
            measured = measurement.overhead
            overhead_s = 0.0 if measured is None else max(0.0, measured.request_s - batch_s - work_s)
        return ServiceProfile(
            name=self.name,
            timings=tuple(one.timing for one in measurement.findings),
            model=self.model,
            device=self.device,
            kind=self.kind,
            precision=self.precision,
            runtime=self.runtime,
            hourly_usd=self.hourly_usd,
            request_overhead_s=overhead_s,
            wake_s=wake_s(measurement.wake),
            spells=measurement.spells,
            batch_work_s=batch_s,
            request_work_s=work_s,
            source={printable(key): printable(text) for key, text in measurement.source.items()},
        )

    def _batch_work_s(self, measurement: Measurement) -> float:
        if self.request_work_s is not None or measurement.beside is None:
            return 0.0
        return measurement.beside.batch_s

    def _work_s(self, measurement: Measurement) -> float:
        if self.request_work_s is not None:
            return self.request_work_s
        if measurement.beside is not None:
            return measurement.beside.request_s
        return 0.0 if measurement.work is None else measurement.work.request_s

    def check(self) -> None:
        """Refuse before hours of measuring what no profile can have, or what no file gives back.

        Raises:
            InputError: a name, a price or a duration that is none.
        """
        from capacity.profile import BatchTiming
        from capacity.profile_json import read_document
        from capacity.saved_profile import profile_to_document

        trial = ServiceProfile(
            name=self.name,
            timings=(BatchTiming(batch_size=1, mean_s=1.0),),
            model=self.model,
            device=self.device,
            kind=self.kind,
            precision=self.precision,
            runtime=self.runtime,
            hourly_usd=self.hourly_usd,
            request_overhead_s=self.request_overhead_s or 0.0,
            request_work_s=self.request_work_s or 0.0,
        )
        read_document(profile_to_document(trial), "the profile")
