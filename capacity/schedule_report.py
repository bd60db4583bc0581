"""Schedule report: a day's replicas hour by hour, as JSON and for people."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from capacity.report import Document
from capacity.schedule import Schedule
from capacity.tables import sparkline, table
from capacity.units import format_rate


def schedule_document(day: Schedule) -> Document:
    """`schedule` of `capacity plan --daily`."""
    rows = zip(day.rates_rps, day.replicas, strict=True)
    document: Document = {
        "hours": [
            {"hour": hour, "arrival_rate_rps": rate_rps, "replicas": replicas}
            for hour, (rate_rps, replicas) in enumerate(rows)
        ],
        "replica_hours_flat": day.replica_hours_flat,
        "replica_hours_ideal": day.replica_hours_ideal,
        "share_saved": day.share_saved,
    }
    if day.unkept_rps:
        document["unkept_rates_rps"] = list(day.unkept_rps)
    if day.daily_usd_saved is not None:
        document["daily_usd_saved"] = day.daily_usd_saved
    return document


def schedule_tables(day: Schedule) -> Iterator[RenderableType]:
    """Rates and replicas of the day in a line each, runs of hours alike in a row, and what would be saved."""
    yield Text(f"The day, hour by hour: rate {sparkline(day.rates_rps)}, replicas {sparkline(day.replicas)}")
    yield table(("<hours", "rate", "replicas"), _runs(day))
    money = "" if day.daily_usd_saved is None else f" and {day.daily_usd_saved:.2f} USD"
    yield Text(
        f"With the fleet for the peak all day: {day.replica_hours_flat} replica-hours. An ideal schedule "
        f"would take {day.replica_hours_ideal}, and save {100.0 * day.share_saved:.0f} %{money} a day; its "
        "hours were judged as in a search, and are not certified."
    )
    if day.unkept_rps:
        rates = ", ".join(map(format_rate, day.unkept_rps))
        yield Text(
            f"Not even the fleet for the peak is known to keep the objective at {rates}: a batch that waits "
            "keeps a request the longer the fewer arrive. Give a shorter --batch-wait, or 0ms."
        )


def _runs(day: Schedule) -> Iterator[tuple[str, str, str]]:
    hours = list(enumerate(zip(day.rates_rps, day.replicas, strict=True)))
    start = 0
    for hour, held in hours:
        if hour + 1 == len(hours) or hours[hour + 1][1] != held:
            rate_rps, replicas = held
            yield f"{start:02}:00 to {hour + 1:02}:00", format_rate(rate_rps), str(replicas)
            start = hour + 1
