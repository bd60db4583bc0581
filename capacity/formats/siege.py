"""The JSON that siege prints at its end, with whatever it printed before; seconds with two decimals, no percentiles.

`concurrency` is the sum of all response times over the elapsed time, so that it holds the mean response more exactly
than `response_time` does. Users wait for each answer; how many there were (`-c`) is not in the text.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from capacity.errors import InputError
from capacity.files import parse_object
from capacity.formats.document import Document, Part
from capacity.formats.load_test import LoadRun, LoadTest, Loop

NAME = "siege --json-output"
RESOLUTION_S = 0.01
_KEYS = ('"transactions"', '"availability"', '"elapsed_time"', '"transaction_rate"')
_NO_PERCENTILES = "siege writes no percentiles; only the mean and the longest response are known"


def recognises(document: Document) -> bool:
    """Whether it ends in an object with siege's keys."""
    return not document.head.startswith(("[", "<")) and all(key in document.start for key in _KEYS)


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: the object is not whole, nothing was answered, or a number that cannot be.

    Source:
        siege 4.1.6, src/main.c, `json_format`; its manual, "Performance statistics".
    """
    text = document.text[document.text.rindex("{", 0, document.text.rindex(_KEYS[0])) :]
    result = Part(document.name, parse_object(text, document.name, "siege's result is a JSON object"))
    count, elapsed_s = result.whole("transactions"), result.number("elapsed_time")
    if count <= 0 or elapsed_s <= 0.0:
        raise InputError(f"{document.name} has no transactions; run the load test again")
    run = LoadRun(
        name="siege",
        loop=Loop.CLOSED,
        duration_s=elapsed_s,
        throughput_rps=count / elapsed_s,
        succeeded=result.whole("successful_transactions"),
        failed=result.whole("failed_transactions"),
        mean_s=_mean_s(result, count, elapsed_s),
        min_s=result.number("shortest_transaction"),
        max_s=result.number("longest_transaction"),
        resolution_s=RESOLUTION_S,
    )
    return LoadTest(tool="siege", name=document.name, runs=(run,), notes=(_NO_PERCENTILES,))


def _mean_s(result: Part, count: int, elapsed_s: float) -> float:
    """The mean response, from the sum that `concurrency` holds; it must round to `response_time`. [s]"""
    told_s = result.number("response_time")
    mean_s = result.number("concurrency") * elapsed_s / count
    error_s = RESOLUTION_S / 2.0 * (1.0 + (elapsed_s + mean_s) / count)
    if not math.isclose(mean_s, told_s, rel_tol=0.0, abs_tol=error_s + 1e-9):
        raise InputError(
            f"{result.where}: concurrency and elapsed_time give a mean response of {mean_s:.3g} s, and "
            f"response_time is {told_s:g} s; were figures changed?"
        )
    return mean_s


READERS: Mapping[str, Callable[[Document], Any]] = {"load-test": read_load_test}
