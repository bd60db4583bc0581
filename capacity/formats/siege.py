"""siege's output, as JSON or as text, with whatever it printed before; seconds with two decimals.

`concurrency` is the sum of all response times over the elapsed time, so it holds the mean response more exactly than
`response_time` does. Users wait for each answer; their number (`-c`) is in what siege prints first, unless it is
quiet. There are no percentiles.
"""

import math
import re
from typing import Any

from capacity.errors import InputError
from capacity.formats.document import Document, Part, parsed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.json_text import parse_object

NAME = "siege"
RESOLUTION_S = 0.01
_KEYS = ('"transactions"', '"availability"', '"elapsed_time"', '"transaction_rate"')
_TITLE, _LINES = "** SIEGE ", ("Transactions:", "Availability:", "Elapsed time:", "Transaction rate:")
_FIELD = re.compile(r"([A-Z][a-z]+(?: [a-z]+)?):\s+([0-9.]{1,20})(?: (?:hits|%|secs|MB|trans/sec|MB/sec))?")
_END = re.compile(r"Shortest transaction:\s+[0-9]{1,15}\.[0-9]{2}")
_USERS = re.compile(r"\*\* Preparing ([0-9]{1,9}) concurrent users? for battle\.?")
_NO_PERCENTILES = "siege writes no percentiles; only the mean and the longest response are known"


def recognises(document: Document) -> bool:
    """Whether it has siege's title, or ends in an object with its keys, or in its lines."""
    if document.head.startswith(("[", "<")):
        return False
    ends = (all(one in document.start for one in ones) for ones in (_KEYS, _LINES))
    return _TITLE in document.head or any(ends)


def read_load_test(document: Document) -> LoadTest:
    """The one run.

    Raises:
        InputError: the result is not whole, nothing was answered, or a number that cannot be.

    Source:
        siege 4.1.6, src/main.c, its two forms of the result; its manual, "Performance statistics".
    """
    result = Part(document.name, _json(document) if _KEYS[0] in document.text else _text(document))
    count, elapsed_s = result.whole("transactions"), result.number("elapsed_time")
    if count <= 0 or elapsed_s <= 0.0:
        raise InputError(f"{document.name} has no transactions; run the load test again")
    run = LoadRun(
        name="siege",
        loop=Loop.CLOSED,
        users=_users(document),
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


def _users(document: Document) -> float | None:
    """Users that siege prepared; None if that is not in the text."""
    told = {float(found[1]) for found in _USERS.finditer(document.text)}
    if len(told) > 1:
        raise InputError(f"{document.name} has several runs of siege; keep one a file")
    return told.pop() if told else None


def _json(document: Document) -> dict[str, Any]:
    text = document.text
    start = text.rfind("{", 0, text.rindex(_KEYS[0]))
    if start < 0:
        raise InputError(f"{document.name} has a result of siege without its beginning; save all of it")
    end = text.find("}", start) + 1 or None  # there are no objects within
    return parse_object(text[start:end], document.name, "siege's result is a JSON object")


def _text(document: Document) -> dict[str, Any]:
    """The lines of the result by the keys of the JSON; the last one is `Shortest transaction`."""
    fields = document.ended_by(_END).found(_FIELD)
    found = {match[1].lower().replace(" ", "_"): parsed(match[2], where) for where, match in fields}
    if "shortest_transaction" not in found:
        raise InputError(f"{document.name} ends before Shortest transaction; was it cut off?")
    return found


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


READERS = {"load-test": read_load_test}
