"""Body: what a client sends to be predicted, read within limits and taken strictly."""

import asyncio
import json
import math
from typing import Any

import numpy as np
from starlette.types import Receive

from serve_api.backend import FloatRows
from serve_api.refusal import Reason, Refused
from serve_api.settings import LimitSettings

_NUMBERS = frozenset({int, float})  # a bool is none, though Python counts with it


async def read_body(receive: Receive, announced: int | None, limits: LimitSettings) -> bytes:
    """The body, never more of it in memory than is allowed.

    Args:
        announced: its bytes by `Content-Length`, if there is one.

    Raises:
        Refused: too large, too slow, or the client left.
    """
    if announced is not None and announced > limits.body_bytes_max:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_time_max_s):
            return await _read(receive, limits)
    except TimeoutError:
        message = f"the body took longer than {limits.body_time_max_s:g} s"
        raise Refused(Reason.BODY_TOO_SLOW, message) from None


async def _read(receive: Receive, limits: LimitSettings) -> bytes:
    event = await receive()
    if event["type"] == "http.request" and not event.get("more_body", False):
        return _within(event["body"], limits)
    parts: list[bytes] = []
    size = 0
    while event["type"] == "http.request":
        parts.append(event["body"])
        size += len(event["body"])
        if size > limits.body_bytes_max:
            raise _too_large(limits)
        if not event.get("more_body", False):
            return b"".join(parts)
        event = await receive()
    raise Refused(Reason.DISCONNECTED, "the client left")


def _within(body: bytes, limits: LimitSettings) -> bytes:
    if len(body) > limits.body_bytes_max:
        raise _too_large(limits)
    return body


def _too_large(limits: LimitSettings) -> Refused:
    return Refused(Reason.BODY_TOO_LARGE, f"the body is larger than {limits.body_bytes_max} bytes")


def _refuse_constant(name: str) -> float:
    raise Refused(Reason.NOT_FINITE, f"{name} is not a number; send finite numbers")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise Refused(Reason.INVALID_JSON, "a key stands twice in one object; keep one")
    return keys


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)


def parse_rows(body: bytes, features: int, rows_max: int) -> FloatRows:
    """Rows of `{"instances": [[...], ...]}`.

    Raises:
        Refused: no JSON, another shape, or numbers that are not finite as float32.
    """
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else type(error).__name__
        raise Refused(Reason.INVALID_JSON, f"the body is not valid JSON ({reason})") from None
    if type(document) is not dict or document.keys() != {"instances"}:
        raise Refused(Reason.WRONG_SHAPE, 'the body must be {"instances": [[...], ...]} and nothing else')
    instances = document["instances"]
    _check_shape(instances, features, rows_max)
    return _finite(instances)


def _check_shape(instances: Any, features: int, rows_max: int) -> None:
    if type(instances) is not list or not 1 <= len(instances) <= rows_max:
        raise Refused(Reason.WRONG_SHAPE, f"instances must be a list of 1 to {rows_max} rows")
    for index, row in enumerate(instances):
        if type(row) is not list or len(row) != features or not _NUMBERS.issuperset(map(type, row)):
            raise Refused(Reason.WRONG_SHAPE, f"row {index} must be a list of {features} numbers")


def _finite(instances: list[list[float]]) -> FloatRows:
    try:
        with np.errstate(over="ignore"):
            rows: FloatRows = np.array(instances, dtype=np.float32)
    except OverflowError:
        rows = np.array([[math.inf]], dtype=np.float32)
    if not np.isfinite(rows).all():
        raise Refused(Reason.NOT_FINITE, "a number is beyond what float32 holds; send finite numbers")
    return rows
