"""Settings of the server: each field is a flag and a variable `SERVE_...`; valid or not born."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from capacity.errors import InputError, quoted
from capacity.units import parse_duration_s


def flag_of(name: str) -> str:
    """Flag of a field; as a flag a duration is text with its unit.

    >>> flag_of("batch_wait_max_s")
    '--batch-wait-max'
    """
    return "--" + name.removesuffix("_s").replace("_", "-")


def _in_seconds(given: Any, info: ValidationInfo) -> Any:
    return (
        parse_duration_s(given, flag_of(info.field_name or "duration")) if isinstance(given, str) else given
    )


Seconds = Annotated[float, BeforeValidator(_in_seconds), Field(ge=0, le=3600)]
PositiveSeconds = Annotated[float, BeforeValidator(_in_seconds), Field(ge=0.001, le=3600)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Settings(BaseModel):
    """Limits and batching of one server; durations in seconds, or as text with a unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    artifacts: Path | None = Field(None, description="Folder of one model: artifacts/mlp.")
    emulate: str | None = Field(
        None,
        description="Profile whose batch times are slept for instead of serving a model, or of an engine to stream as.",
    )
    sequences_max: Count | None = Field(
        None, description="Requests that an emulated engine runs at once; as measured if left out."
    )
    batched_tokens_max: Count | None = Field(
        None, description="Tokens of a step of an emulated engine at most; as measured if left out."
    )
    kv_tokens: Annotated[int, Field(ge=32, le=10**9)] | None = Field(
        None, description="Tokens that the cache of an emulated engine holds; the profile's if left out."
    )
    step_log: Path | None = Field(
        None,
        description="File for what an emulated engine did, a line of JSON for each step and each request.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8000, description="Port; 0 takes a free one.")
    batch_size_max: Annotated[int, Field(ge=1, le=65_536)] = Field(32, description="Rows of a batch at most.")
    batch_wait_max_s: Seconds = Field(
        0.005, description="Longest that a request waits for its batch to fill; 0s is greedy."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Threads of one batch.")
    inference_nice: Annotated[int, Field(ge=0, le=19)] = Field(
        10, description="How far inference steps back behind the event loop on a core that both share."
    )
    inference_time_max_s: PositiveSeconds = Field(
        2.0, description="A batch that takes longer counts as hung."
    )
    queue_max: Count = Field(1024, description="Requests that wait at most.")
    rows_max: Count | None = Field(None, description="Rows of one request at most; a batch's if left out.")
    body_bytes_max: Annotated[int, Field(ge=64, le=2**30)] = Field(
        262_144, description="Bytes of a body at most."
    )
    deadline_s: PositiveSeconds = Field(10.0, description="A request that has waited longer is not computed.")
    breaker_failures: Count = Field(3, description="Batches that fail in a row until the circuit opens.")
    breaker_cooldown_s: PositiveSeconds = Field(5.0, description="How long the circuit stays open.")
    cors_origin: tuple[str, ...] = Field((), description="Origin that a browser may call from; repeatable.")
    canary: str | None = Field(None, description="Version that takes a share of the batches.")
    canary_share: Annotated[float, Field(ge=0, le=1)] = Field(0.05, description="Share of the canary.")
    poll_interval_s: PositiveSeconds = Field(1.0, description="How often `current` is looked at.")
    drain_delay_s: Seconds = Field(0.0, description="How long requests are still taken after SIGTERM.")
    drain_max_s: Annotated[PositiveSeconds, Field(ge=1)] = Field(
        30.0, description="After this, open requests are cut off."
    )

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if (self.artifacts is None) == (self.emulate is None):
            raise ValueError("give either --artifacts, the folder of one model, or --emulate, a profile")
        engine = ("sequences_max", "batched_tokens_max", "kv_tokens", "step_log")
        given = [flag_of(name) for name in engine if getattr(self, name) is not None]
        if self.emulate is None and given:
            raise ValueError(
                f"{given[0]} is of an emulated engine; give --emulate its profile, or leave it out"
            )
        if self.emulate is not None and self.canary is not None:
            raise ValueError("--emulate has no versions; leave out --canary")
        return self

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        if self.request_rows_max > self.batch_size_max:
            raise ValueError(
                f"--rows-max {self.rows_max} is more than --batch-size-max {self.batch_size_max}, and the "
                "rows of a request are never split; raise one or lower the other"
            )
        return self

    @property
    def request_rows_max(self) -> int:
        """Largest number of rows in one request."""
        return self.batch_size_max if self.rows_max is None else self.rows_max


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Settings by the names of their fields; None means left out, and an error names the flag."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise InputError(message) from None
        flag = flag_of(str(first["loc"][0]))
        raise InputError(f"{flag}: {message}, got {quoted(first['input'])}; see --help") from None
