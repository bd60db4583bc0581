"""Window: what a server's metrics showed of a stretch of its traffic, at both ends and in between."""

import math
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from capacity.errors import DependencyError
from measurements.http_exchange import HttpExchange
from measurements.mean_interval import SECTIONS_MAX, SECTIONS_MIN
from measurements.metrics_text import Scrape, parse_metrics
from measurements.sampling import Clock, Report

_STEP_S = 5.0
# Sections that are shorter hold few batches, and looking takes the server's time.
_SECTION_MIN_S = 0.5
_HEADERS = {"Accept": "text/plain;version=0.0.4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Two scrapes, and what was kept of others between them.

    Attributes:
        between: in their order; of a server that did not answer one in time, fewer.
        seconds: from the first to the last. [s]
        interrupt: what ended it early, to be raised again when all is safe; None where nothing did.
    """

    before: Scrape
    after: Scrape
    seconds: float
    between: tuple[Scrape, ...] = ()
    interrupt: KeyboardInterrupt | None = None

    @property
    def scrapes(self) -> tuple[Scrape, ...]:
        """All in their order."""
        return (self.before, *self.between, self.after)


def watch(
    exchange: HttpExchange,
    duration_s: float,
    report: Report,
    kept: Collection[str] = (),
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Window:
    """Scrape, wait, scrape. An interrupt ends the wait: what was seen until then is a window too.

    Args:
        kept: names of series that are looked at in between too, some twenty times where there is time enough.

    Raises:
        DependencyError: the first or the last scrape failed.
        KeyboardInterrupt: the last scrape failed after an interrupt.
    """
    before, began_s = scrape(exchange), clock()
    between: list[Scrape] = []
    tell = _seldom(report, clock)
    interrupt = None
    try:
        for instant_s in _instants_s(duration_s) if kept else (duration_s,):
            while (left_s := began_s + instant_s - clock()) > 0.0:
                tell(began_s + duration_s - clock())
                sleep(min(_STEP_S, left_s))
            if instant_s < duration_s:
                with suppress(DependencyError):  # the last one tells whether the server is gone
                    between.append(scrape(exchange, kept))
    except KeyboardInterrupt as stop:
        interrupt = stop
        exchange.hang_up()  # it may have come within a scrape
    try:
        after = scrape(exchange)
    except DependencyError:
        if interrupt is not None:
            raise interrupt from None
        raise
    return Window(
        before=before, after=after, seconds=clock() - began_s, between=tuple(between), interrupt=interrupt
    )


def _instants_s(duration_s: float) -> list[float]:
    """Ends of the sections; of the whole alone where it is too short for enough of them."""
    count = min(SECTIONS_MAX, int(duration_s / _SECTION_MIN_S))
    return [*(duration_s * k / count for k in range(1, count if count >= SECTIONS_MIN else 1)), duration_s]


def _seldom(report: Report, clock: Clock) -> Callable[[float], None]:
    """What tells how much time is left, once in some seconds."""
    told_s = -math.inf

    def tell(left_s: float) -> None:
        nonlocal told_s
        if clock() - told_s >= _STEP_S:
            told_s = clock()
            report(f"watching the server's metrics for {left_s:.0f} s more")

    return tell


def scrape(exchange: HttpExchange, names: Collection[str] = ()) -> Scrape:
    """The metrics as they are now; of these names alone, where some are given."""
    body = exchange.ask("GET", None, _HEADERS).body
    try:
        return parse_metrics(body.decode("utf-8"), names)
    except UnicodeDecodeError:
        raise DependencyError("the metrics are not UTF-8 text; check --metrics") from None
