"""Rows: what a body says, taken strictly."""

import json
import math
from typing import Any

import numpy as np

from serve_api.backend import FloatRows
from serve_api.refusal import Reason, Refused

_NUMBERS = frozenset({int, float})  # a bool is none, though Python counts with it


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
