"""Window: what a server's metrics showed at the beginning and at the end of a stretch of its traffic."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from capacity.errors import DependencyError
from measurements.http_exchange import HttpExchange
from measurements.metrics_text import Scrape, parse_metrics
from measurements.sampling import Clock, Report

_STEP_S = 5.0
_HEADERS = {"Accept": "text/plain;version=0.0.4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Two scrapes.

    Attributes:
        seconds: between them. [s]
        interrupt: what ended it early, to be raised again when all is safe; None where nothing did.
    """

    before: Scrape
    after: Scrape
    seconds: float
    interrupt: KeyboardInterrupt | None = None


def watch(
    exchange: HttpExchange,
    duration_s: float,
    report: Report,
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Window:
    """Scrape, wait, scrape. An interrupt ends the wait: what was seen until then is a window too.

    Raises:
        DependencyError: a scrape failed.
    """
    before, began_s = scrape(exchange), clock()
    interrupt = None
    try:
        while (left_s := began_s + duration_s - clock()) > 0.0:
            report(f"watching the server's metrics for {left_s:.0f} s more")
            sleep(min(_STEP_S, left_s))
    except KeyboardInterrupt as stop:
        interrupt = stop
    return Window(before=before, after=scrape(exchange), seconds=clock() - began_s, interrupt=interrupt)


def scrape(exchange: HttpExchange) -> Scrape:
    """The metrics as they are now."""
    body = exchange.ask("GET", None, _HEADERS).body
    try:
        return parse_metrics(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise DependencyError("the metrics are not UTF-8 text; check --metrics") from None
