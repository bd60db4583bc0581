"""Reading settings: from what a person typed to settings that are valid."""

import os
from pathlib import Path
from typing import Any

from capacity.errors import InputError
from capacity.reading import read_text
from capacity.units import parse_duration_s
from serve_api.settings import (
    AccessSettings,
    BatchSettings,
    BreakerSettings,
    InferenceSettings,
    LimitSettings,
    ListenSettings,
    RolloutSettings,
    Settings,
)

_TOKEN_BYTES_MAX = 4096


def read_settings(given: dict[str, Any]) -> Settings:
    """Settings from the parameters of the command, by their names.

    Raises:
        InputError: one of them is wrong.
    """
    return Settings(
        rollout=RolloutSettings(
            artifacts=read_artifacts(given["artifacts"]),
            canary=given["canary"],
            canary_share=given["canary_share"],
            poll_interval_s=_seconds(given, "poll_interval"),
        ),
        batch=BatchSettings(size_max=given["batch_size_max"], wait_max_s=_seconds(given, "batch_wait_max")),
        inference=InferenceSettings(
            threads=given["threads"],
            nice=given["inference_nice"],
            time_max_s=_seconds(given, "inference_time_max"),
        ),
        limits=_limits(given),
        breaker=BreakerSettings(
            failures_max=given["breaker_failures"],
            cooldown_s=_seconds(given, "breaker_cooldown"),
            probes_max=given["breaker_probes"],
        ),
        access=AccessSettings(
            token=_token(given["token_file"]),
            metrics_too=given["token_metrics"],
            cors_origins=tuple(given["cors_origin"] or ()),
        ),
        listen=ListenSettings(
            host=given["host"],
            port=given["port"],
            drain_delay_s=_seconds(given, "drain_delay"),
            drain_max_s=_seconds(given, "drain_max"),
        ),
    )


def read_artifacts(given: Path | str | None) -> Path:
    """`--artifacts`; some versions of Typer leave the parameters of a context as they were typed.

    Raises:
        InputError: it is not there.
    """
    if given is None:
        raise InputError("--artifacts is missing; name the folder of one model, such as artifacts/mlp")
    return Path(given)


def _limits(given: dict[str, Any]) -> LimitSettings:
    return LimitSettings(
        queue_max=given["queue_max"],
        in_flight_max=given["in_flight_max"],
        connections_max=given["connections_max"],
        rows_max=given["rows_max"],
        body_bytes_max=given["body_bytes_max"],
        open_bytes_max=given["open_bytes_max"],
        body_time_max_s=_seconds(given, "body_time_max"),
        header_time_max_s=_seconds(given, "header_time_max"),
        answer_time_max_s=_seconds(given, "answer_time_max"),
        deadline_s=_seconds(given, "deadline"),
    )


def _seconds(given: dict[str, Any], name: str) -> float:
    return parse_duration_s(given[name], "--" + name.replace("_", "-"))


def _token(file: Path | str | None) -> str | None:
    """From the file or the environment; no flag, since the command line of a process is seen by all.

    Editors end a file with a new line, and secrets are made from files.
    """
    if file is not None:
        return read_text(Path(file), _TOKEN_BYTES_MAX).rstrip("\r\n")
    token = os.environ.get("SERVE_TOKEN")
    return None if token is None else token.rstrip("\r\n")
