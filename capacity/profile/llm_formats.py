"""Profiles of language models as JSON, and as CSV with one measured pass in each row."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, Literal

from capacity.errors import InputError, quoted
from capacity.files import csv_rows, located, printable
from capacity.json_text import Line, read_as
from capacity.profile.llm import (
    Calibration,
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
    SaturationCheck,
    Scheduler,
)
from capacity.profile.speculation import Speculation
from capacity.profile.steps import StepTiming
from capacity.units import is_number

# Columns of a CSV, named as in the engines' own records of their forward passes.
CSV_COLUMNS = {
    "num_prefill_requests": "prefill_requests",
    "sum_prefill_tokens": "prefill_tokens",
    "sum_prefill_kv_tokens": "prefill_kv_tokens",
    "num_decode_requests": "decode_requests",
    "sum_decode_kv_tokens": "decode_kv_tokens",
}
_DURATION = "wall_time_s"


@dataclass(frozen=True, kw_only=True)
class _LlmDocument:
    """A language model's profile as its JSON file holds it."""

    kind: Literal["llm"]
    name: Line
    kv: KvCache
    limits_measured: LimitsMeasured
    schema_version: int = 1
    steps: tuple[StepTiming, ...] | None = None
    coefficients: Coefficients | None = None
    model: Line | None = None
    device: Line | None = None
    devices: int = 1
    tensor_parallel: int = 1
    all_reduce: bool = False
    precision: Line | None = None
    hourly_usd: float | None = None
    engine: Engine | None = None
    overhead: Overhead | None = None
    check: SaturationCheck | None = None
    calibration: Calibration | None = None
    speculation: Speculation | None = None
    source: dict[Line, Line] | Line | None = None


def read_llm_document(document: Mapping[str, Any], shown: str) -> LlmProfile:
    """A profile from the content of a JSON file.

    Raises:
        InputError: not a valid profile; `shown` names the place.
    """
    return located(shown, lambda: _profile(read_as(_LlmDocument, dict(document))))


def _profile(document: _LlmDocument) -> LlmProfile:
    if document.schema_version != 1:
        raise InputError(f"schema_version must be 1, got {document.schema_version}")
    known = {one.name for one in fields(LlmProfile) if one.init}
    given = {key: value for key, value in vars(document).items() if key in known and value is not None}
    if isinstance(document.source, str):
        given["source"] = {"source": document.source}
    return LlmProfile(**given)


def parse_llm_csv(text: str, file_name: str, profile_name: str) -> LlmProfile:
    """A profile from passes, one a row; what a CSV cannot say follows from its rows, or is left to flags.

    The KV cache holds no more than one context of the longest row until `--kv-tokens` says more.
    """
    rows = csv_rows(text, file_name, "keep fewer steps")
    line, header = next(rows)  # this row names the durations, by which the file is recognised
    columns = [name.strip() for name in header]
    _check_header(columns, f"{file_name} line {line}")
    steps = []
    for at, cells in rows:
        where = f"{file_name} line {at}"
        steps.append(located(where, partial(_step, columns, cells, where)))
    if not steps:
        raise InputError(f"{file_name} has no steps; give a row for each measured pass")
    limits = LimitsMeasured(  # for passes of one kind, between which mixed ones are interpolated
        sequences_max=max((step.decode_requests for step in steps if not step.prefill_tokens), default=1),
        batched_tokens_max=max(
            (step.prefill_tokens for step in steps if not step.decode_requests), default=1
        ),
        context_tokens_max=max(1, *(int(max(step.context, step.past)) for step in steps)),
    )
    tokens = max(
        32, *(step.decode_kv_tokens + step.prefill_kv_tokens + step.prefill_tokens for step in steps)
    )
    return located(
        file_name,
        lambda: LlmProfile(
            name=profile_name, kv=KvCache(tokens=tokens), limits_measured=limits, steps=tuple(steps)
        ),
    )


def _check_header(columns: list[str], where: str) -> None:
    wanted = {_DURATION, *CSV_COLUMNS}
    unknown = sorted(set(columns) - wanted)
    missing = sorted(wanted - set(columns))
    if len(set(columns)) < len(columns):
        raise InputError(f"{where}: a column is given twice; keep one of each")
    if unknown:
        raise InputError(
            f"{where}: unknown column {printable(unknown[0])!r}; a step has "
            f"{', '.join([_DURATION, *CSV_COLUMNS])}"
        )
    if missing:
        raise InputError(
            f"{where}: no column {missing[0]}; a step has all of {_DURATION}, {', '.join(CSV_COLUMNS)}"
        )


def _step(columns: list[str], cells: list[str], where: str) -> StepTiming:
    if len(cells) != len(columns):
        raise InputError(f"{where}: {len(cells)} cells for {len(columns)} columns; complete or drop the row")
    given: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        text = cell.strip()
        if name == _DURATION:
            given["mean_s"] = _number(text, name)
        elif not re.fullmatch(r"[0-9]{1,12}", text):
            raise InputError(f"{name} must be a whole number, got {quoted(text)}")
        else:
            given[CSV_COLUMNS[name]] = int(text)
    return StepTiming(**given, count=1)


def _number(text: str, name: str) -> float:
    if not is_number(text):
        raise InputError(f"{name} must be a positive number, got {quoted(text)}")
    return float(text)


def llm_profile_to_document(profile: LlmProfile) -> dict[str, Any]:
    """A profile as its JSON file holds it; unknown fields are absent."""
    document: dict[str, Any] = {"schema_version": 1, "kind": "llm"}
    for one in fields(profile):
        value = getattr(profile, one.name)
        if not one.init or one.name == "path" or value is None or value == ():
            continue
        if one.name == "steps":
            document["steps"] = [
                {key: x for key, x in asdict(step).items() if x is not None} for step in profile.steps
            ]
        elif isinstance(value, Mapping):
            document["source"] = dict(value)
        elif hasattr(value, "__dataclass_fields__"):
            document[one.name] = {key: x for key, x in asdict(value).items() if x is not None}
        else:
            document[one.name] = value
    return document


def with_settings(
    profile: LlmProfile,
    *,
    kv_tokens: int | None = None,
    block_tokens: int | None = None,
    scheduler: Scheduler | None = None,
    prefix_caching: bool | None = None,
    async_scheduling: bool | None = None,
    chunked_prefill: bool | None = None,
    long_prefill_tokens: int | None = None,
    watermark: float | None = None,
    mixed_chunk: bool | None = None,
    draft_tokens: int | None = None,
) -> LlmProfile:
    """The profile with the cache and engine settings of the flags in place of those in its file."""
    kv = profile.kv if kv_tokens is None else profile.kv.of_size(kv_tokens)
    kv = kv if block_tokens is None else replace(kv, block_tokens=block_tokens)
    settings = {
        "scheduler": scheduler,
        "prefix_caching": prefix_caching,
        "async_scheduling": async_scheduling,
        "chunked_prefill": chunked_prefill,
        "long_prefill_tokens": long_prefill_tokens,
        "watermark": watermark,
        "mixed_chunk": mixed_chunk,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    engine = replace(profile.engine, **given)
    source = {key: text for key, text in profile.source.items() if key != "kv" or kv_tokens is None}
    speculation = _drafting(profile, draft_tokens)
    return replace(profile, kv=kv, engine=engine, source=source, speculation=speculation)


def _drafting(profile: LlmProfile, tokens: int | None) -> Speculation | None:
    """What the engine drafts with this many tokens a draft; None for 0.

    Raises:
        InputError: the profile says nothing of drafts, or has fewer tokens in one.
    """
    known = profile.speculation
    if known is None or tokens is None:
        if tokens:
            raise InputError(
                f"profile {profile.name} does not say how many drafted tokens are accepted; add its speculation, or "
                "leave --draft-tokens out"
            )
        return known
    if tokens == 0 and not known.in_steps:
        return None
    return known.drafting(tokens)
