"""Settings of the server: what it holds itself to, valid or not born."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from capacity.errors import InputError

_NICE_MAX = 19  # as POSIX has it
_TOKEN_LENGTH_MIN, _TOKEN_LENGTH_MAX = 16, 1024


def _within(name: str, value: float, low: float, high: float, mend: str) -> None:
    if not low <= value <= high:  # NaN too
        raise InputError(f"{name} must be from {low:g} to {high:g}, got {value:g}; {mend}")


def _check_token(token: str) -> None:
    """What no client could send as it is would lock everybody out."""
    if not _TOKEN_LENGTH_MIN <= len(token) <= _TOKEN_LENGTH_MAX:
        raise InputError(
            f"the token must have {_TOKEN_LENGTH_MIN} to {_TOKEN_LENGTH_MAX} characters, got {len(token)}; "
            "make one of 32 at random"
        )
    wrong = next((place for place, c in enumerate(token, start=1) if not "!" <= c <= "~"), None)
    if wrong is not None:
        raise InputError(
            "the token must have no blanks, control characters or letters beyond ASCII, but its character "
            f"{wrong} of {len(token)} is one; take it out of --token-file or SERVE_TOKEN"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How requests are put together.

    Attributes:
        size_max: rows of a batch at most; a request's rows are never split.
        wait_max_s: longest that the oldest request waits for its batch to fill; 0 is greedy.
    """

    size_max: int = 32
    wait_max_s: float = 0.005

    def __post_init__(self) -> None:
        _within("--batch-size-max", self.size_max, 1, 65_536, "32 is usual")
        _within("--batch-wait-max", self.wait_max_s, 0.0, 60.0, "5ms is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """How a batch is computed.

    Attributes:
        threads: of one batch, fixed, so that its time does not depend on what else runs.
        nice: how far the inference steps back behind the event loop on a core that they share. At 0 a request
            that comes during a batch waits for some milliseconds until the scheduler lets the loop read it.
        time_max_s: a batch that takes longer counts as hung. Well below the deadline, or those in a batch
            of a canary that hangs have no time left to be served by the other version.
    """

    threads: int = 1
    nice: int = 10
    time_max_s: float = 2.0

    def __post_init__(self) -> None:
        _within("--threads", self.threads, 1, 1024, "1 is right beside an event loop on one core")
        _within("--inference-nice", self.nice, 0, _NICE_MAX, "0 leaves the priority as it is")
        _within("--inference-time-max", self.time_max_s, 0.001, 3600.0, "2s is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What one client, and all together, may take up.

    Attributes:
        queue_max: requests that wait at most; one more is refused.
        in_flight_max: requests to predict that are read, waiting or answered at most.
        connections_max: open at once; one more is refused, but for probes. What each can be made
            to hold must fit into memory so many times.
        open_bytes_max: of all bodies that come in parts together.
        rows_max: rows of one request; those of a batch where it is None.
        answer_time_max_s: for which an answer may lie there that its client does not read.
        deadline_s: a request that has waited longer is refused and never computed.
    """

    queue_max: int = 1024
    in_flight_max: int = 2048
    connections_max: int = 4096
    rows_max: int | None = None
    body_bytes_max: int = 256 * 1024
    open_bytes_max: int = 64 * 2**20
    body_time_max_s: float = 10.0
    header_time_max_s: float = 10.0
    answer_time_max_s: float = 10.0
    deadline_s: float = 10.0

    def __post_init__(self) -> None:
        _within("--queue-max", self.queue_max, 1, 1_000_000, "1024 is usual")
        _within("--in-flight-max", self.in_flight_max, 1, 1_000_000, "2048 is usual")
        _within("--connections-max", self.connections_max, 1, 1_000_000, "4096 is usual")
        _within("--body-bytes-max", self.body_bytes_max, 64, 2**30, "262144 is usual")
        _within("--open-bytes-max", self.open_bytes_max, 64, 2**40, "67108864 is usual")
        if self.rows_max is not None:
            _within("--rows-max", self.rows_max, 1, 65_536, "leave it out for the rows of a batch")
        times = {
            "--body-time-max": self.body_time_max_s,
            "--header-time-max": self.header_time_max_s,
            "--answer-time-max": self.answer_time_max_s,
            "--deadline": self.deadline_s,
        }
        for name, value in times.items():
            _within(name, value, 0.001, 3600.0, "10s is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a model that fails is left alone, and how it is tried again.

    Attributes:
        failures_max: batches that fail in a row until the circuit opens.
        cooldown_s: for which it stays open.
        probes_max: requests let in at once while it is half-open.
    """

    failures_max: int = 3
    cooldown_s: float = 5.0
    probes_max: int = 1

    def __post_init__(self) -> None:
        _within("--breaker-failures", self.failures_max, 1, 1_000_000, "3 is usual")
        _within("--breaker-cooldown", self.cooldown_s, 0.001, 3600.0, "5s is usual")
        _within("--breaker-probes", self.probes_max, 1, 1_000_000, "1 is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may ask.

    Attributes:
        token: that `Authorization: Bearer` must carry; None is no token. Never shown.
        metrics_too: whether `/metrics` asks for it as well.
        cors_origins: that a browser may call from; none unless named.
    """

    token: str | None = field(default=None, repr=False)
    metrics_too: bool = False
    cors_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None:
            _check_token(self.token)
        if self.metrics_too and self.token is None:
            raise InputError("--token-metrics needs a token; give --token-file or SERVE_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Which versions are served.

    Attributes:
        artifacts: folder of one model, with its versions and `current`.
        canary: version that takes a share of the batches.
        poll_interval_s: how often `current` is looked at.
    """

    artifacts: Path
    canary: str | None = None
    canary_share: float = 0.05
    poll_interval_s: float = 1.0

    def __post_init__(self) -> None:
        _within("--canary-share", self.canary_share, 0.0, 1.0, "0.05 is a twentieth")
        _within("--poll-interval", self.poll_interval_s, 0.01, 3600.0, "1s is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where requests come in, and how that ends.

    Attributes:
        drain_delay_s: for which requests are still taken after SIGTERM, until a balancer saw `/readyz`.
        drain_max_s: after which what is not answered is cut off.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    drain_delay_s: float = 0.0
    drain_max_s: float = 30.0

    def __post_init__(self) -> None:
        _within("--port", self.port, 0, 65_535, "0 takes a free one")
        _within("--drain-delay", self.drain_delay_s, 0.0, 3600.0, "5s suits most balancers")
        if not 1.0 <= self.drain_max_s < math.inf:
            raise InputError(f"--drain-max must be 1s or more, got {self.drain_max_s:g}s; 30s is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them."""

    rollout: RolloutSettings
    batch: BatchSettings = field(default_factory=BatchSettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    listen: ListenSettings = field(default_factory=ListenSettings)

    def __post_init__(self) -> None:
        if self.rows_max > self.batch.size_max:
            raise InputError(
                f"--rows-max {self.rows_max} is more than a batch of --batch-size-max {self.batch.size_max} "
                "can hold, and the rows of a request are never split; raise one or lower the other"
            )

    @property
    def rows_max(self) -> int:
        """Rows that one request may have."""
        return self.batch.size_max if self.limits.rows_max is None else self.limits.rows_max
