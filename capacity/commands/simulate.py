"""`capacity simulate`: the performance of one plan."""

from pathlib import Path

import typer

from capacity.commands.options import BATCHING, EFFORT, LLM, flags, writes
from capacity.commands.output import Format, emit, run
from capacity.errors import InputError
from capacity.files import check_target


@flags(
    f"profile replicas rate batch_size_max batch_wait {BATCHING} routing arrivals users think_time queue_limit "
    f"request_overhead instances_per_device quantile {LLM} replay {EFFORT} file verbose",
    file=writes("Save the requests of a --replay, a row each, as .csv."),
)
def simulate(
    context: typer.Context, file: str | None, output: Format, *, verbose: bool, as_json: bool
) -> None:
    """Latency, load and losses of one fleet, with intervals.

    Examples:
      capacity simulate --profile resnet50-t4-fp16 --rate 1500rps --replicas 2
      capacity simulate --profile engine.json --arrivals trace:requests.csv --replay --replicas 1 -o served.csv
      capacity simulate --profile resnet50-t4-fp16 --users 64 --think-time 100ms --replicas 1
    """
    from capacity import api
    from capacity.answers import SimulationAnswer

    if file is not None:
        check_target(Path(file), "a table of requests", (".csv",))
        if not context.params["replay"]:
            raise InputError("-o saves the requests of a replay; give --replay with --arrivals trace:FILE")
    found = run(api.simulate, context)
    emit(found, output, as_json=as_json, verbose=verbose)
    if file is not None and not isinstance(found, SimulationAnswer):
        found.write_requests(Path(file))
