"""`capacity compare`: fleets side by side under the same requests."""

import typer

from capacity.commands.options import EFFORT, Flag, argument, flags, reads
from capacity.commands.output import Format, emit, run


@flags(
    f"plans fleet profile rate arrivals request_overhead quantile {EFFORT}",
    plans=argument(list[str], None, "Plans that capacity plan has saved by -o.", show_default=False),
    fleet=Flag(list[str], None, "replicas=4,batch=16,wait=2ms,routing=random,profile=NAME; may be repeated."),
    profile=reads(list[str], None, "As in simulate; of --fleet, where it is no saved plan's."),
    seed=Flag(int, None, "0, or that of the first plan, by default."),
    confidence=Flag(float, None, "0.95, or as planned."),
    precision=Flag(float, None, "Relative half-width of the highest quantile; 0.02."),
    requests_max=Flag(int, None, "Requests to simulate for one fleet; 100000000."),
    engine=Flag(str, None, "kernel or simpy; both give the same bytes."),
)
def compare(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """Fleets side by side under the same requests, and how sure their differences are."""
    from capacity import api

    emit(run(api.compare, context), output, as_json=as_json)
